"""The gallery: filters, an order, and one page of cards. Pictures are read for the cards that are shown, no others."""

from html import escape

from bokeh.models import Button, Checkbox, Column, Row, Select, TextInput

from pipeline.view.clips import QUALITY, Clips, Filter, label_of
from pipeline.view.look import WRAPPED, html, said
from pipeline.view.thumbnails import Thumbnails
from schemas.errors import ConfigError, MerError
from schemas.manifest import ClipEntry
from schemas.words import count

PAGE = 24  # cards


class Gallery:
    """Clips as cards.

    Args:
        clips: to choose from.
        thumbnails: of the same store.

    Attributes:
        found: the clips that pass the filters, in order.
        cards: the page that is shown, as HTML.
        facets: name -> the widget that filters by it.
        text: free text, or conditions.
        order: what the clips are sorted by.
        layout: all of it.
    """

    def __init__(self, clips: Clips, thumbnails: Thumbnails) -> None:
        self._clips, self._thumbnails = clips, thumbnails
        self._cell: tuple[int, int] | None = None
        self._page, self._choosing = 0, False
        self.found: list[ClipEntry] = []
        self.cards = html()
        self.facets = {name: _facet(name, counts) for name in clips.facets if len(counts := clips.counts(name)) > 1}
        self.text = TextInput(title="words, or conditions", placeholder="sub01, fps>=100,emotion=fear|anger", width=250)
        first = next(iter(clips.orders))
        self.order = Select(title="sort by", options=list(clips.orders), value=first, width=170)
        self.descending = Checkbox(label="largest first", active=False)
        self.cell = Button(visible=False, button_type="warning", width=260)
        self.back, self.on = Button(label="◀", width=40), Button(label="▶", width=40)
        self.place = html()
        for widget in (*self.facets.values(), self.text, self.order):
            widget.on_change("value", self._changed)
        self.descending.on_change("active", self._changed)
        self.cell.on_click(lambda: self.choose())
        self.back.on_click(lambda: self.turn(-1))
        self.on.on_click(lambda: self.turn(1))
        self._select()
        sorting = Column(self.descending, styles={"margin-top": "22px"})
        filters = Row(*self.facets.values(), self.text, self.order, sorting, self.cell, **WRAPPED)
        pager = Row(self.back, self.place, self.on)
        self.layout = Column(filters, pager, self.cards, sizing_mode="stretch_width")

    def choose(self, *, cell: tuple[int, int] | None = None, **exact: str) -> None:
        """Show the clips of a cell of the confusion matrix, true and predicted class, or with values of facets.

        All other filters are taken off.
        """
        self._cell, self.cell.visible = cell, cell is not None
        if cell is not None and self._clips.run is not None:
            truth, predicted = (self._clips.run.classes[index] for index in cell)
            self.cell.label = f"✕ {truth}, predicted {predicted}"
        self._choosing = True  # one selection, not one for each widget: it reads thumbnails
        self.text.value = ""
        for name, widget in self.facets.items():
            widget.value = exact.get(name, "")
        self._choosing = False
        self._select()

    def turn(self, pages: int) -> None:
        """Go on or back by pages."""
        page = min(max(self._page + pages, 0), max(len(self.found) - 1, 0) // PAGE)
        if page != self._page:
            self._page = page
            self._draw()

    def turn_to(self, key: str) -> None:
        """Go to the page that has a clip, if it passes the filters."""
        keys = [entry.key for entry in self.found]
        if key in keys:
            self.turn(keys.index(key) // PAGE - self._page)

    def neighbour(self, key: str, step: int) -> str:
        """The clip before or after one in the order that is shown; the clip itself at an end."""
        keys = [entry.key for entry in self.found]
        if key not in keys:
            return keys[0] if keys else key
        return keys[min(max(keys.index(key) + step, 0), len(keys) - 1)]

    def _changed(self, attribute: str, old: object, new: object) -> None:
        if not self._choosing:
            self._select()

    def _select(self) -> None:
        exact = {name: str(widget.value) for name, widget in self.facets.items() if widget.value}
        try:
            self.found = self._clips.select(
                Filter(exact, self._cell, self.text.value), self.order.value, descending=self.descending.active
            )
        except ConfigError as error:
            self.found, self.cards.text, self.place.text = [], said(str(error)), "no clip"
            return
        self._page = 0
        self._draw()

    def _draw(self) -> None:
        first = self._page * PAGE
        shown = self.found[first : first + PAGE]
        every = len(self._clips.entries)
        of = count(len(self.found), "clip") + (f" (of {every})" if len(self.found) < every else "")
        self.place.text = f"{first + 1} to {first + len(shown)} of {of}" if shown else of
        self.back.disabled, self.on.disabled = first == 0, first + PAGE >= len(self.found)
        self.cards.text = f'<div class="cards">{"".join(map(self._card, shown))}</div>'

    def _card(self, entry: ClipEntry) -> str:
        dataset_subject, _, name = entry.key.rpartition("/")
        marks = [f'<span class="mark {kind}">{escape(text)}</span>' for kind, text in self._marks(entry)]
        return (
            f'<button type="button" class="card" data-clip="{escape(entry.key)}" title="{escape(entry.key)}">'
            f"{self._picture(entry)}<b>{escape(label_of(entry))}</b><span>{escape(dataset_subject)}</span>"
            f"<span>{escape(name)}</span><span>{''.join(marks)}</span></button>"
        )

    def _picture(self, entry: ClipEntry) -> str:
        if entry.failure is not None:
            return f'<span class="reason">{escape(entry.failure.message)}</span>'
        try:
            onset, apex = self._thumbnails.of(entry.key)
        except MerError as error:
            return f'<span class="reason">{escape(str(error))}</span>'
        return f'<span class="pair"><img src="{onset}" alt="onset"><img src="{apex}" alt="apex"></span>'

    def _marks(self, entry: ClipEntry) -> list[tuple[str, str]]:
        marks = [("bad", "failed")] if entry.failure is not None else []
        if (tested := self._clips.tested(entry)) is not None and self._clips.run is not None:
            answer = self._clips.run.classes[tested.predicted]
            kind, sign = ("bad", "✗") if tested.wrong else ("good", "✓")
            marks.append((kind, f"{sign} {answer} {tested.mean[tested.predicted]:.2f}"))
        if entry.apex_estimated:
            marks.append(("", "apex estimated"))
        marks += [("", kind.replace("_", " ")) for kind in dict.fromkeys(finding.kind for finding in entry.findings)]
        if self.order.value in QUALITY and (value := QUALITY[self.order.value].value(entry)) is not None:
            marks.append(("", f"{self.order.value} {value:.4g}"))
        return marks


def _facet(name: str, counts: dict[str, int]) -> Select:
    options = [("", "any"), *((value, f"{value} ({count})") for value, count in counts.items())]
    return Select(title=name, options=options, value="", width=150)
