"""The tables of a page, read back."""

from html.parser import HTMLParser
from pathlib import Path


class Tables(HTMLParser):
    """Caption -> rows of cells of every table of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: dict[str, list[list[str]]] = {}
        self._text = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102
        if tag in ("caption", "td", "th"):
            self._text = ""
        elif tag == "tr":
            self._row: list[str] = []

    def handle_endtag(self, tag: str) -> None:  # noqa: D102
        if tag == "caption":
            self._rows = self.found.setdefault(self._text, [])
        elif tag in ("td", "th"):
            self._row.append(self._text)
        elif tag == "tr":
            self._rows.append(self._row)

    def handle_data(self, data: str) -> None:  # noqa: D102
        self._text += data
