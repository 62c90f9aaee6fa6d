"""The page as data: sections of texts, warnings, tables and figures, and their way into HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Text:
    """A paragraph. ``tone`` is ``missing`` where something is not there, ``caution`` where a number may mislead."""

    text: str
    tone: Literal["plain", "missing", "caution"] = "plain"
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of a row is its name.

    Attributes:
        title: caption.
        columns: heads.
        rows: as many cells each, or two: a name, and a sentence in place of numbers.
        folded: shown when asked for; printed always.
        strong: the row to stand out.
        note: below the table.
        words: the cells hold words rather than numbers, and stand to the left.
        apart: so many of the last columns are not of the same kind as the others, and stand apart.
        floors: so many of the last rows, likewise.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    strong: int | None = None
    note: str = ""
    words: bool = False
    apart: int = 0
    floors: int = 0
    kind: Literal["table"] = "table"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) not in (2, len(self.columns)):
                raise ValueError(f"{self.title}: a row of {len(row)} cells under {len(self.columns)} heads: {row}")


@dataclass(frozen=True)
class Picture:
    """A figure: file name without suffix, caption, and SVG that stands alone."""

    name: str
    caption: str
    svg: Markup
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Loop:
    """A clip that moves: what it is, and a ``data:`` URL."""

    words: str
    source: str


@dataclass(frozen=True)
class Loops:
    """Clips side by side, and what they are."""

    caption: str
    shown: tuple[Loop, ...]
    kind: Literal["loops"] = "loops"


Part = Text | Table | Picture | Loops


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading. ``anchor`` is unique in the page."""

    anchor: str
    title: str
    parts: tuple[Part, ...]


def render(title: str, *, facts: Sequence[tuple[str, str]], caveats: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page. Every text is escaped; nothing outside the page is referred to."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    return template.render(title=title, facts=facts, caveats=caveats, sections=sections)
