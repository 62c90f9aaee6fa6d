"""One clip: its frames with what changed, its depth, its action units, and curves over time.

All frames of a block lie in the browser, where ``view.js`` shows the one that the slider is at: playing asks the server
for nothing.
"""

from html import escape
from typing import Any

import cv2
import numpy as np
from bokeh.core.properties import value
from bokeh.models import (
    BasicTicker,
    Button,
    Checkbox,
    ColorBar,
    Column,
    ColumnDataSource,
    CustomJS,
    CustomJSTickFormatter,
    FactorRange,
    HoverTool,
    LinearColorMapper,
    Range1d,
    Row,
    Select,
    Slider,
    Span,
    Toggle,
)
from bokeh.plotting import figure
from bokeh.transform import dodge
from numpy.typing import NDArray

from pipeline.inspect.figures import annotated_units, depth_source
from pipeline.view.clips import Clips
from pipeline.view.facts import answers_on, facts_of
from pipeline.view.frames import ClipFrames, Curves, masks
from pipeline.view.look import (
    ACCENT,
    APEX,
    CATEGORIES,
    DIVERGING,
    OFFSET,
    ONSET,
    SEQUENTIAL,
    WRAPPED,
    chart,
    html,
    said,
)
from pipeline.view.timeline import Timeline
from schemas.errors import MerError
from schemas.manifest import ClipEntry
from schemas.store.reader import Store

SPEEDS = {"real speed": 1.0, "1/4 speed": 0.25, "1/10 speed": 0.1}
_SIDE = 270  # px, of a picture
GREY_LEVELS = 64.0  # of change, at the ends of the colour bar where it is not amplified
_GAIN = 6  # to begin with
_ACTIVE = 0.05  # activation by which a unit has to rise for its region to be outlined
_LINES = 5  # regions or units whose curves are drawn


class Player:
    """The page of one clip.

    Args:
        store: to read from.
        clips: of the store, with what a run answered on them.

    Attributes:
        entry: the clip that is shown.
        slider: position in the clip.
        frames: the block of frames that the browser has, as ``ClipFrames.read`` gives it.
        curves: one row a frame.
        pictures: ``texture``, ``change`` and ``depth``: one image each, which ``view.js`` fills.
        layout: all of it.
    """

    def __init__(self, store: Store, clips: Clips) -> None:
        self._store, self._clips = store, clips
        self.entry: ClipEntry | None = None
        self._clip: ClipFrames | None = None
        size = store.manifest.provenance.config.size
        self.heading, self.problem = html(said("Choose a clip.")), html(visible=False)
        self.frames = ColumnDataSource({"position": []})
        self.curves = ColumnDataSource({"number": [], "time": [], "phase": [], "motion": []})
        self.units = ColumnDataSource({"unit": [], "onset": [], "apex": [], "now": []})
        self.outlines = ColumnDataSource({"x": [], "y": [], "unit": []})
        blank = {"texture": np.zeros((size, size), np.uint32)}
        blank |= {name: np.zeros((size, size), np.float32) for name in ("change", "depth")}
        self.pictures = {
            name: ColumnDataSource({"image": [image]}, name=name, syncable=False) for name, image in blank.items()
        }
        self.now = [Span(dimension="height", line_color=ACCENT, line_width=2, syncable=False) for _ in range(3)]
        self._phases = [
            [Span(dimension="height", line_color=colour, line_dash="dashed") for colour in (ONSET, APEX, OFFSET)]
            for _ in self.now
        ]
        number = CustomJSTickFormatter(
            args={"curves": self.curves},
            code="const phase = curves.data.phase[tick]; return `${curves.data.number[tick]}${phase && `, ${phase}`}`",
        )
        self.slider = Slider(
            title="frame (← →)",
            start=0,
            end=1,
            value=0,
            step=1,
            format=number,
            sizing_mode="stretch_width",
            name="frame",
        )
        self.play = Toggle(label="▶ play (space)", button_type="primary", width=130, name="play")
        self.speed = Select(options=list(SPEEDS), value="1/4 speed", width=110)
        self.gain = Slider(title="amplify change", start=1, end=20, value=_GAIN, step=1, width=180)
        self.outlined = Checkbox(label="outline regions of units that rose", active=False)
        self.before, self.next = Button(label="previous (p)", width=100), Button(label="next (n)", width=100)
        self.panels = self._make_panels(size)
        self.bars = self._make_bars()
        self._charts = self._make_charts()
        self.timeline = Timeline(self.slider, self.curves)
        self.now.append(self.timeline.now)
        self.slider.on_change("value", self._moved)
        units = store.manifest.action_units
        controls = Row(self.before, self.next, self.play, self.speed, self.gain, self.outlined, **WRAPPED)
        panels = Row(*self.panels.values(), self.bars, **WRAPPED)
        notes = html(f"<p>Action units by {escape(units.tool)} {escape(units.version)}: {escape(units.unit)}.</p>")
        self.body = Column(
            controls, self.slider, self.timeline.figure, panels, notes, *self._charts.values(),
            sizing_mode="stretch_width", visible=False,
            tags=[self.frames],  # so that it is part of the document, although nothing draws it
        )  # fmt: skip
        self.layout = Column(self.heading, self.problem, self.body, sizing_mode="stretch_width")

    def open(self, entry: ClipEntry) -> None:
        """Show a clip, from its onset."""
        self.entry, self._clip = entry, None
        self.play.active = False
        self.heading.text = facts_of(entry) + answers_on(entry, self._clips)
        try:
            clip = ClipFrames(self._store, entry)
            curves = clip.curves()
            self._show(clip, curves)
        except MerError as error:
            self._complain(str(error))
            self.body.visible = False
            return
        self._complain("")
        self.body.visible = True

    def _complain(self, message: str) -> None:
        self.problem.text, self.problem.visible = said(message), bool(message)

    def _show(self, clip: ClipFrames, curves: Curves) -> None:
        entry = clip.entry
        values = self._store.action_units(entry.key)
        block = clip.read(clip.onset // clip.block)
        phases = [""] * entry.n_frames
        phases[-1], phases[clip.apex], phases[clip.onset] = "offset", "apex", "onset"
        self.curves.data = {
            "number": curves.numbers, "time": curves.times, "phase": phases, "motion": curves.motion,
            **({"units": np.stack(list(curves.units.values()), axis=1)} if curves.units else {}),
        }  # fmt: skip
        self.timeline.show(entry, curves.numbers)
        self.bars.visible = not entry.segments  # of a recording they are 0
        self._draw_lines("depth", curves, curves.depth, clip.apex)
        self._draw_lines("units", curves, curves.units, clip.apex)
        self._draw_bars(entry, values, curves)
        self._draw_outlines(values[1] - values[0])
        for name, panel in self.panels.items():
            panel.visible = name in block
        for part in (self._charts["motion"], self.gain, self.outlined):
            part.visible = "change" in block
        used = tuple(curves.numbers[[clip.onset, clip.apex, -1]].tolist())
        self.heading.text = facts_of(entry, used) + answers_on(entry, self._clips)
        for spans in self._phases:
            for span, number in zip(spans, used, strict=True):
                span.location = float(number)
        self.slider.update(end=max(entry.n_frames - 1, 1), value=clip.onset)
        self.frames.data = block
        self._clip = clip  # from here on the slider decides which block is sent

    def _moved(self, name: str, old: int, new: int) -> None:
        """Send the block of frames that the slider is in, if the browser has another."""
        if self._clip is None:
            return
        number = int(new) // self._clip.block
        if number * self._clip.block != self.frames.data["position"][0]:
            try:
                self.frames.data = self._clip.read(number)
            except MerError as error:
                self._complain(str(error))

    def _make_panels(self, size: int) -> dict[str, figure]:
        manifest = self._store.manifest
        titles = {"texture": "aligned face", "change": "change against onset", "depth": depth_source(manifest)}
        panels = {}
        for name, title in titles.items():
            panel = figure(
                title=title, width=_SIDE + 60, height=_SIDE + 130, sizing_mode="fixed", toolbar_location=None, tools="",
                min_border_left=50, min_border_right=10, min_border_top=25, min_border_bottom=105,  # a square is left
                x_range=Range1d(0, size), y_range=Range1d(size, 0), x_axis_label="x (px)", y_axis_label="y (px)",
            )  # fmt: skip
            panel.grid.visible = False
            panel.title.text_font_style = "normal"
            panels[name] = panel
        panels["texture"].image_rgba("image", x=0, y=0, dw=size, dh=size, source=self.pictures["texture"])
        span = GREY_LEVELS / _GAIN
        self.change_colours = LinearColorMapper(palette=DIVERGING, low=-span, high=span)
        colours = {
            "change": (self.change_colours, "grey levels"),
            "depth": (LinearColorMapper(palette=SEQUENTIAL, low=0, high=1), "depth (0 to 1 a clip, larger is nearer)"),
        }
        for name, (mapper, unit) in colours.items():
            panels[name].image("image", x=0, y=0, dw=size, dh=size, source=self.pictures[name], color_mapper=mapper)
            panels[name].add_layout(
                ColorBar(color_mapper=mapper, title=unit, height=10, ticker=BasicTicker(desired_num_ticks=5)), "below"
            )
        outline = panels["texture"].patches(
            "x", "y", source=self.outlines, fill_alpha=0.12, fill_color=APEX, line_color=APEX, visible=False
        )
        self.outlined.js_link("active", outline, "visible")
        panels["texture"].add_tools(HoverTool(renderers=[outline], tooltips="@unit"))
        return panels

    def _make_bars(self) -> figure:
        columns = self._store.manifest.action_units
        bars = chart(
            f"action units by {columns.tool}: {columns.kind}", f"{columns.kind} (see below)", "unit (● annotated)",
            height=_SIDE + 130, min_width=280, y_range=FactorRange(), sizing_mode="stretch_width", tools="",
        )  # fmt: skip
        bars.x_range.start = 0
        for phase, colour, shift in (("onset", ONSET, 0.2), ("apex", APEX, -0.2)):
            bars.hbar(
                dodge("unit", shift, range=bars.y_range), right=phase, height=0.36, color=colour, source=self.units,
                legend_label=phase,
            )  # fmt: skip
        bars.scatter(
            "now", "unit", source=self.units, color=ACCENT, size=8, marker="diamond", legend_label="this frame"
        )
        bars.add_layout(bars.legend[0], "below")
        bars.legend[0].update(orientation="horizontal", border_line_color=None)
        return bars

    def _make_charts(self) -> dict[str, figure]:
        titles = {
            "motion": ("motion", "mean change (grey levels)"),
            "depth": (f"{depth_source(self._store.manifest)}, by region", "change (of the clip's range)"),
            "units": (
                f"action units of every frame by {self._store.manifest.action_units.tool}",
                self._store.manifest.action_units.kind,
            ),
        }
        jump = CustomJS(  # to the frame that is nearest to where a chart is tapped
            args={"slider": self.slider, "curves": self.curves},
            code="""
            const away = Array.from(curves.get_array("number"), (number) => Math.abs(number - cb_obj.x))
            slider.value = away.indexOf(Math.min(...away))
            """,
        )
        charts = {}
        for index, (name, (title, unit)) in enumerate(titles.items()):
            made = chart(
                title, "frame, as in the files", unit, height=210, sizing_mode="stretch_width", tools="",
                visible=name == "motion",
            )  # fmt: skip
            made.js_on_event("tap", jump)
            for span in (*self._phases[index], self.now[index]):
                made.add_layout(span)
            charts[name] = made
        charts["motion"].line("number", "motion", source=self.curves, color=ACCENT, line_width=2)
        self._lines: dict[str, list[Any]] = {}
        for name in ("depth", "units"):
            self._lines[name] = [
                charts[name].line([], [], color=colour, line_width=2, legend_label=str(index))
                for index, colour in enumerate(CATEGORIES[:_LINES])
            ]
            charts[name].add_layout(charts[name].legend[0], "right")
        return charts

    def _draw_lines(self, name: str, curves: Curves, found: dict[str, NDArray[Any]], apex: int) -> None:
        """The curves that differ most from their onset at the apex."""
        self._charts[name].visible = bool(found)
        largest = sorted(found, key=lambda unit: -abs(float(found[unit][apex])))[:_LINES]
        for index, unit in enumerate(largest):
            self._lines[name][index].data_source.data = {"x": curves.numbers, "y": found[unit]}
            self._charts[name].legend[0].items[index].label = value(unit)

    def _draw_bars(self, entry: ClipEntry, values: NDArray[np.float32], curves: Curves) -> None:
        annotated = annotated_units(entry)
        names = [
            name.removeprefix("AU") + (" ●" if name in annotated else "")
            for name in self._store.manifest.action_units.names
        ]
        self.bars.y_range.factors = names[::-1]
        self.units.data = {"unit": names, "onset": values[0], "apex": values[1], "now": np.full(len(names), np.nan)}
        self.bars.legend[0].items[-1].visible = bool(curves.units)

    def _draw_outlines(self, rise: NDArray[np.float32]) -> None:
        regions = masks(self._store.manifest.provenance.config.size)
        x, y, units = [], [], []
        for name, risen in zip(self._store.manifest.action_units.names, rise, strict=True):
            if risen > _ACTIVE and name in regions:
                found, _ = cv2.findContours(regions[name].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
                x += [contour[:, 0, 0] + 0.5 for contour in found]
                y += [contour[:, 0, 1] + 0.5 for contour in found]
                units += [name] * len(found)
        self.outlines.data = {"x": x, "y": y, "unit": units}
