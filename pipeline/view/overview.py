"""Pages about all clips at once: quality figures, labels by subject, failures, and a run's confusion matrix.

A tap on a clip opens it, a tap on a cell shows its clips in the gallery.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from html import escape

from bokeh.models import (
    BasicTicker,
    ColorBar,
    Column,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    LinearColorMapper,
    Row,
    Select,
)
from bokeh.plotting import figure

from pipeline.view.clips import QUALITY, Clips, label_of
from pipeline.view.look import ACCENT, APEX, SEQUENTIAL, UNKNOWN, WRAPPED, chart, html
from pipeline.view.predictions import RunPredictions

_LISTED = 200  # failures
_NAMED = 60  # subjects, of which more would not be legible on an axis
_COLOURS = {"wrong": APEX, "right": ACCENT, "not tested": UNKNOWN}


class Quality:
    """Any two quality figures against each other, labels by subject, failures.

    Args:
        clips: all of them.
        open_clip: called with the key of a clip that is tapped.
        show: called with a subject and a label whose cell is tapped.

    Attributes:
        points: one clip a row: ``key``, ``x``, ``y``.
        cells: one subject and label a row, with ``count``.
        x: the widget that chooses the first figure.
        y: the widget that chooses the second.
        layout: all of it.
    """

    def __init__(self, clips: Clips, open_clip: Callable[[str], None], show: Callable[[str, str], None]) -> None:
        self._clips, self._open, self._show = clips, open_clip, show
        self.x = Select(title="x", options=list(QUALITY), value="eye distance", width=170)
        self.y = Select(title="y", options=list(QUALITY), value="residual motion", width=170)
        self.points, self.cells = ColumnDataSource(), ColumnDataSource()
        self.scatter = chart(
            "quality, one point a clip: tap opens it", "", "", height=380, tools="tap,pan,wheel_zoom,reset"
        )
        self.scatter.update(sizing_mode="stretch_width", min_width=340, toolbar_location="right")
        self.scatter.toolbar.logo = None
        self._plot()
        self.scatter.scatter("x", "y", source=self.points, size=7, color="colour", alpha=0.6, legend_group="group")
        self.scatter.legend.visible = clips.run is not None
        hover(self.scatter, [("", "@key"), ("label", "@label"), ("x, y", "@x, @y")])
        for widget in (self.x, self.y):
            widget.on_change("value", lambda attr, old, new: self._plot())
        self.points.selected.on_change("indices", self._tapped)
        self.labels = self._make_labels()
        self.cells.selected.on_change("indices", self._cell_tapped)
        self.layout = Column(
            Row(self.x, self.y), Row(self.scatter, self.labels, **WRAPPED), html(self._failures()),
            sizing_mode="stretch_width",
        )  # fmt: skip

    def _plot(self) -> None:
        x, y = QUALITY[self.x.value], QUALITY[self.y.value]
        rows = [
            (entry.key, label_of(entry), first, second, self._clips.answered(entry))
            for entry in self._clips.entries
            if (first := x.value(entry)) is not None and (second := y.value(entry)) is not None
        ]
        names = ("key", "label", "x", "y", "group")
        data = (
            dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in names}
        )
        plain = self._clips.run is None
        self.points.data = data | {"colour": [ACCENT if plain else _COLOURS[group] for group in data["group"]]}
        self.points.selected.indices = []
        self.scatter.xaxis.axis_label, self.scatter.yaxis.axis_label = x.title, y.title

    def _make_labels(self) -> figure:
        counts = Counter((entry.key.rpartition("/")[0], label_of(entry)) for entry in self._clips.entries)
        subjects, labels = (sorted({pair[part] for pair in counts}) for part in (0, 1))
        most = max(counts.values(), default=1)
        self.cells.data = {
            "subject": [subject for subject, _ in counts],
            "label": [label for _, label in counts],
            "count": list(counts.values()),
            "ink": inks(counts.values(), most),
        }
        made = heat_map(
            self.cells, ("subject", subjects), ("label", labels), "count", "clips by subject and label: tap shows them",
            most=most, unit="clips",
        )  # fmt: skip
        made.xaxis.major_label_orientation = 1.0
        if len(subjects) > _NAMED:
            made.xaxis.major_label_text_font_size = "0px"
        hover(made, [("subject", "@subject"), ("label", "@label"), ("clips", "@count")])
        return made

    def _failures(self) -> str:
        failed = [entry for entry in self._clips.entries if entry.failure is not None]
        if not failed:
            return "<h2>No clip failed.</h2>"
        rows = "".join(
            f'<tr><td class="text"><button type="button" class="link" data-clip="{escape(entry.key)}">'
            f'{escape(entry.key)}</button></td><td class="text">{entry.failure.stage}</td>'
            f'<td class="text">{escape(entry.failure.error)}: {escape(entry.failure.message)}</td></tr>'
            for entry in failed[:_LISTED]
            if entry.failure is not None
        )
        more = f"<p>and {len(failed) - _LISTED} more</p>" if len(failed) > _LISTED else ""
        heads = "<tr><th>clip</th><th>stage</th><th>what happened</th></tr>"
        return f'<h2>Failed clips: {len(failed)}</h2><table class="texts">{heads}{rows}</table>{more}'

    def _tapped(self, attribute: str, old: list[int], new: list[int]) -> None:
        if new:
            self._open(self.points.data["key"][new[0]])

    def _cell_tapped(self, attribute: str, old: list[int], new: list[int]) -> None:
        if new:
            self._show(*(self.cells.data[name][new[0]] for name in ("subject", "label")))
            self.cells.selected.indices = []


class Confusion:
    """The confusion matrix of a run on the clips of the store; a tap shows the clips of a cell.

    Args:
        run: what was answered.
        show: called with true and predicted class of a cell that is tapped.

    Attributes:
        cells: one true and predicted class a row, with ``count`` and ``share`` of the true class.
        layout: all of it.
    """

    def __init__(self, run: RunPredictions, show: Callable[[tuple[int, int]], None]) -> None:
        counts, number = run.confusion(), len(run.classes)
        pairs = [(truth, predicted) for truth in range(number) for predicted in range(number)]
        shares = [float(counts[pair] / max(counts[pair[0]].sum(), 1)) for pair in pairs]
        self.cells = ColumnDataSource(
            {
                "truth": [run.classes[truth] for truth, _ in pairs],
                "predicted": [run.classes[predicted] for _, predicted in pairs],
                "count": [int(counts[pair]) for pair in pairs],
                "share": shares,
                "ink": inks(shares, 1.0),
            }
        )
        classes = list(run.classes)
        made = heat_map(
            self.cells, ("predicted", classes), ("truth", classes[::-1]), "share",
            "test clips by true and predicted class: tap shows them", most=1.0, unit="share of the true class",
        )  # fmt: skip
        self._show, self._pairs = show, pairs
        self.cells.selected.on_change("indices", self._tapped)
        note = "Predicted is the class of the largest probability, the mean over seeds; result.json counts every seed."
        self.layout = Column(html(f"<p>{escape(run.title)}. {note}</p>"), made, sizing_mode="stretch_width")

    def _tapped(self, attribute: str, old: list[int], new: list[int]) -> None:
        if new:
            self._show(self._pairs[new[0]])
            self.cells.selected.indices = []


def heat_map(
    source: ColumnDataSource,
    x: tuple[str, list[str]],
    y: tuple[str, list[str]],
    number: str,
    title: str,
    *,
    most: float,
    unit: str,
) -> figure:
    """Cells coloured by a number from 0 to ``most``, with their ``count`` written in ``ink``.

    ``x`` and ``y`` are columns and their values in order.
    """
    made = chart(
        title, x[0], y[0], height=380, sizing_mode="stretch_width", min_width=340, max_width=900, tools="tap",
        x_range=FactorRange(*x[1]), y_range=FactorRange(*y[1]),
    )  # fmt: skip
    mapper = LinearColorMapper(palette=SEQUENTIAL, low=0, high=most)
    made.rect(
        x[0], y[0], width=1, height=1, source=source, fill_color={"field": number, "transform": mapper},
        line_color=None, nonselection_fill_alpha=1.0,
    )  # fmt: skip
    if len(x[1]) <= _NAMED:
        made.text(
            x[0], y[0], text="count", text_color="ink", text_align="center", text_baseline="middle", source=source,
            text_font_size="12px", nonselection_text_alpha=1.0,
        )  # fmt: skip
    made.grid.visible = False
    made.add_layout(
        ColorBar(color_mapper=mapper, title=unit, width=10, ticker=BasicTicker(desired_num_ticks=4)), "right"
    )
    return made


def inks(values: Iterable[float], most: float) -> list[str]:
    """Colours that are legible on ``SEQUENTIAL``, whose upper half is light."""
    return ["#000000" if value > most / 2 else "#ffffff" for value in values]


def hover(made: figure, rows: list[tuple[str, str]]) -> None:
    """Say what is under the pointer."""
    made.add_tools(HoverTool(tooltips=rows))
