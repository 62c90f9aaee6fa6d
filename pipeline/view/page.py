"""The page: gallery, clip, quality and run as tabs, and what a click or key in the browser has to do."""

from html import escape
from importlib.resources import files

from bokeh.document import Document
from bokeh.models import Column, CustomJS, TabPanel, Tabs, TextInput

from pipeline.view.clips import Clips
from pipeline.view.frames import CHANGE_STEP, DEPTH_STEP
from pipeline.view.gallery import Gallery
from pipeline.view.look import DARK, darken_widgets, html
from pipeline.view.overview import Confusion, Quality
from pipeline.view.player import GREY_LEVELS, SPEEDS, Player
from pipeline.view.predictions import RunPredictions
from pipeline.view.thumbnails import Thumbnails
from schemas.datasets import SYNTHETIC_NOTE
from schemas.store.reader import Store
from schemas.words import count

GALLERY, CLIP = 0, 1  # numbers of the tabs

_TEMPLATE = """
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; background: #fff; color: #111; }
  @media (prefers-color-scheme: dark) { :root { background: #14171a; color: #d8dce0; } }
  body { padding: 0 12px 12px; }
</style>
{% endblock %}
"""


class Page:
    """What one browser tab shows.

    Args:
        store: to look at; nothing is written.
        run: what a run answered on its clips.
        thumbnails: shared by all tabs.
    """

    def __init__(self, store: Store, run: RunPredictions | None, thumbnails: Thumbnails) -> None:
        self.store = store
        self.clips = Clips(store.manifest, run)
        self.gallery = Gallery(self.clips, thumbnails)
        self.player = Player(store, self.clips)
        self.command = TextInput(visible=False)
        self.quality = Quality(self.clips, self.open, self._show_cell_of_labels)
        self.confusion = None if run is None else Confusion(run, self._show_cell_of_run)
        layouts = {"Clips": self.gallery.layout, "Clip": self.player.layout, "Quality": self.quality.layout}
        layouts |= {} if self.confusion is None else {"Run": self.confusion.layout}
        self.tabs = Tabs(
            tabs=[TabPanel(child=layout, title=title) for title, layout in layouts.items()],
            sizing_mode="stretch_width",
            name="tabs",
        )
        self.command.on_change("value", lambda attr, old, new: self.obey(new))
        self.tabs.on_change("active", lambda attr, old, new: self._changed_tab(old, new))
        self.player.before.on_click(lambda: self.step(-1))
        self.player.next.on_click(lambda: self.step(1))

    def add_to(self, document: Document) -> None:
        """Make it the content of a document."""
        document.title = f"mer view {self.store.path.name}"
        document.template = _TEMPLATE
        root = Column(html(self._heading()), self.tabs, self.command, sizing_mode="stretch_width")
        darken_widgets(root)
        document.add_root(root)
        document.js_on_event("document_ready", self._script())

    def open(self, key: str) -> None:
        """Show a clip; one that the store does not have is none."""
        if key in self.store.manifest.index:
            self.player.open(self.store.entry(key))
            self.tabs.active = CLIP

    def step(self, step: int) -> None:
        """Show the next clip, or the one before, in the order of the gallery."""
        current = "" if self.player.entry is None else self.player.entry.key
        if (key := self.gallery.neighbour(current, step)) != current:
            self.open(key)

    def obey(self, command: str) -> None:
        """Do what ``view.js`` asks for: ``NUMBER open KEY``, and ``next``, ``previous``, ``dark``."""
        _, _, words = command.partition(" ")
        verb, _, key = words.partition(" ")
        if verb == "open":
            self.open(key)
        elif verb in ("next", "previous"):
            self.step(1 if verb == "next" else -1)
        elif verb == "dark" and self.command.document is not None:
            self.command.document.theme = DARK

    def _changed_tab(self, old: int, new: int) -> None:
        """Show the gallery where the clip stands that one comes from."""
        if (old, new) == (CLIP, GALLERY) and self.player.entry is not None:
            self.gallery.turn_to(self.player.entry.key)

    def _show_cell_of_labels(self, subject: str, label: str) -> None:
        self.gallery.choose(subject=subject, label=label)
        self.tabs.active = GALLERY

    def _show_cell_of_run(self, cell: tuple[int, int]) -> None:
        self.gallery.choose(cell=cell)
        self.tabs.active = GALLERY

    def _heading(self) -> str:
        manifest = self.store.manifest
        failed = sum(entry.failure is not None for entry in manifest.rows)
        subjects = len({entry.key.rpartition("/")[0] for entry in manifest.rows})
        facts = [
            ", ".join(manifest.datasets),
            f"{count(len(manifest.clips), 'clip')} of {count(subjects, 'subject')}, {failed} failed",
            f"content {manifest.content_sha256[:12]}",
        ]
        if manifest.synthetic:
            facts.append(SYNTHETIC_NOTE)
        if self.clips.run is not None:
            facts.append(self.clips.run.title)
        return f"<h1>{escape(self.store.path.name)}</h1><p>{escape('; '.join(facts))}</p>"

    def _script(self) -> CustomJS:
        player = self.player
        return CustomJS(
            args={
                "command": self.command,
                "tabs": self.tabs,
                "slider": player.slider,
                "play": player.play,
                "speed": player.speed,
                "speeds": SPEEDS,
                "gain": player.gain,
                "colours": player.change_colours,
                "grey_levels": GREY_LEVELS,
                "frames": player.frames,
                "curves": player.curves,
                "units": player.units,
                "pictures": player.pictures,
                "now": player.now,
                "change_step": CHANGE_STEP,
                "depth_step": DEPTH_STEP,
            },
            code=files(__package__).joinpath("view.js").read_text(encoding="utf-8"),
        )
