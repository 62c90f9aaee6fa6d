"""Tables of an annotation: a header found in a spreadsheet, wherever it is, and the rows below it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.spreadsheet import Cells, Workbook
from schemas.errors import AnnotationError

_HEADER_DEPTH = 60  # rows searched for the header; SAMM's is row 14


@dataclass(frozen=True)
class Row:
    """One row below a header: field name -> cell text as written, and its 1-based number in the sheet."""

    number: int
    cells: Mapping[str, str]

    def __getitem__(self, field: str) -> str:
        """The cell without surrounding blanks; empty where the column is absent."""
        return self.raw(field).strip()

    def raw(self, field: str) -> str:
        """The cell as written; empty where the column is absent or the row ends before it."""
        return self.cells.get(field, "")

    @property
    def words(self) -> str:
        """All that the row says, for messages."""
        return " | ".join(text.strip() for text in self.cells.values() if text.strip())


@dataclass(frozen=True)
class Table:
    """Rows below a header, blank ones left out.

    Attributes:
        path: of the workbook.
        sheet: its name.
        header: 1-based row of the header.
        uncomputed: formulas of the workbook without a value.
        fields: those whose column is there.
        rows: in order.
    """

    path: Path
    sheet: str
    header: int
    uncomputed: int
    fields: frozenset[str]
    rows: tuple[Row, ...]


def find_table(book: Workbook, columns: Mapping[str, Sequence[str]], optional: Iterable[str] = ()) -> Table:
    """The first of ``find_tables``."""
    return find_tables(book, columns, optional)[0]


def find_tables(book: Workbook, columns: Mapping[str, Sequence[str]], optional: Iterable[str] = ()) -> list[Table]:
    """The tables, one a sheet at most, whose header has all required columns, wherever the header is.

    Args:
        book: the workbook.
        columns: field -> accepted headers, compared without case, blanks and punctuation.
        optional: fields whose column may be absent.

    Raises:
        AnnotationError: no such header; the message names the columns expected and found.
    """
    required = [field for field in columns if field not in optional]
    tables = []
    best: tuple[int, str, int, Cells] = (0, "", 0, ())
    for title, rows in book.sheets.items():
        for number, cells in enumerate(rows[:_HEADER_DEPTH], 1):
            positions = _positions(cells, columns)
            found = sum(field in positions for field in required)
            if found == len(required):
                tables.append(_table(book, title, number, positions))
                break
            best = max(best, (found, title, number, cells))
    filled = [table for table in tables if table.rows]
    if filled:
        return filled
    expected = ", ".join(columns[field][0] for field in required)
    if tables:
        raise AnnotationError(
            f"{book.path}, sheet {tables[0].sheet}: no rows below the header in row {tables[0].header}"
        )
    found, title, number, cells = best
    if not any(any(map(str.strip, row)) for rows in book.sheets.values() for row in rows):
        raise AnnotationError(f"{book.path}: the spreadsheet is empty; expected the columns {expected}")
    if found < 2:
        raise AnnotationError(
            f"{book.path}: no header row in the first {_HEADER_DEPTH} rows of any sheet ({', '.join(book.sheets)}); "
            f"expected one with the columns {expected}"
        )
    positions = _positions(cells, columns)
    missing = ", ".join(columns[field][0] for field in required if field not in positions)
    header = ", ".join(cell.strip() for cell in cells if cell.strip())
    raise AnnotationError(
        f"{book.path}, sheet {title}, row {number}: columns missing: {missing}; expected {expected}; "
        f"found {header}; restore the original names"
    )


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _positions(cells: Cells, columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
    headers = [_plain(cell) for cell in cells]
    positions = {}
    for field, names in columns.items():
        for name in names:
            if _plain(name) in headers:
                positions[field] = headers.index(_plain(name))
                break
    return positions


def _table(book: Workbook, title: str, header: int, positions: Mapping[str, int]) -> Table:
    # Columns that nobody asked for are kept under their headers, for messages and as metadata.
    headers = book.sheets[title][header - 1]
    fields = {position: field for field, position in positions.items()}
    names = {
        i: fields.get(i) or (text.strip() if text.strip() not in positions else "") for i, text in enumerate(headers)
    }
    rows = tuple(
        Row(number, {names.get(i) or f"column {i + 1}": cell for i, cell in enumerate(cells)})
        for number, cells in enumerate(book.sheets[title][header:], header + 1)
        if any(map(str.strip, cells))
    )
    return Table(book.path, title, header, book.uncomputed, frozenset(positions), rows)
