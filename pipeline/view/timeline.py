"""The expressions of a long recording along its time; a tap on one shows its onset."""

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, FactorRange, HoverTool, Range1d, Slider, Span
from numpy.typing import NDArray

from pipeline.view.look import ACCENT, APEX, CATEGORIES, chart
from schemas.manifest import ClipEntry

_COLOURS = {"micro": APEX, "macro": CATEGORIES[0]}
_NEAR = 0.004  # of the whole, beside an interval that is too short to be hit


class Timeline:
    """A lane of micro- and a lane of macro-expressions; not seen where a clip is no recording.

    Args:
        slider: position in the recording, which a tap sets.
        curves: has the ``number`` of each frame.

    Attributes:
        intervals: one expression a row.
        now: where the slider is, which ``view.js`` moves.
        figure: all of it.
    """

    def __init__(self, slider: Slider, curves: ColumnDataSource) -> None:
        self.intervals = ColumnDataSource({name: [] for name in ("kind", "left", "right", "colour", "words")})
        self.now = Span(dimension="height", line_color=ACCENT, line_width=2, syncable=False)
        self.figure = chart(
            "expressions: tap shows the onset", "frame, as in the files", "", height=140, tools="", visible=False,
            sizing_mode="stretch_width", x_range=Range1d(0, 1), y_range=FactorRange("macro", "micro"),
            name="timeline",
        )  # fmt: skip
        bars = self.figure.hbar(
            "kind", left="left", right="right", height=0.6, color="colour", line_width=2, source=self.intervals
        )
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips="@words"))
        self.figure.add_layout(self.now)
        tapped = CustomJS(
            args={"slider": slider, "curves": curves, "intervals": self.intervals, "x": self.figure.x_range},
            code=f"""
            const near = {_NEAR} * (x.end - x.start), {{left, right}} = intervals.data
            const apart = Array.from(left, (from, i) => Math.max(from - cb_obj.x, cb_obj.x - right[i], 0))
            const nearest = Math.min(...apart)
            const aim = nearest <= near ? left[apart.indexOf(nearest)] : cb_obj.x
            const away = Array.from(curves.get_array("number"), (number) => Math.abs(number - aim))
            slider.value = away.indexOf(Math.min(...away))
            """,
        )
        self.figure.js_on_event("tap", tapped)

    def show(self, entry: ClipEntry, numbers: NDArray[np.int32]) -> None:
        """Show the expressions of a recording.

        Args:
            entry: of the recording; a clip has no segments.
            numbers: ``(T,)``, of its frames.
        """
        self.figure.visible = bool(entry.segments)
        kinds = [one.label.expression_type for one in entry.intervals]
        self.intervals.data = {
            "kind": kinds,
            "left": [one.onset for one in entry.intervals],
            "right": [one.offset for one in entry.intervals],
            "colour": [_COLOURS[kind] for kind in kinds],
            "words": [
                f"{one.label.expression_type}-expression {one.label.emotion or ''}: {one.onset} to {one.offset}"
                for one in entry.intervals
            ],
        }
        self.figure.x_range.update(start=int(numbers[0]), end=int(numbers[-1]) + 1)
