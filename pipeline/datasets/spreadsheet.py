"""Spreadsheets as text: every cell a string as shown, columns found by their headers."""

import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

import openpyxl
import xlrd
from openpyxl.utils.exceptions import InvalidFileException

from schemas.errors import AnnotationError

SPREADSHEET_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xls"})

_ZIP_MAGIC = b"PK\x03\x04"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old .xls, and the envelope of an encrypted .xlsx
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_HEADER_DEPTH = 60  # rows searched for the header; SAMM's is row 14
_DAMAGE = (
    InvalidFileException, zipfile.BadZipFile, zlib.error, xlrd.XLRDError, xlrd.compdoc.CompDocError, ParseError,
    struct.error, KeyError, IndexError, ValueError, TypeError, AssertionError, EOFError, OSError, NotImplementedError,
)  # fmt: skip

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Workbook:
    """Sheet name -> rows of cells as text; blank cells are empty strings."""

    path: Path
    sheets: dict[str, tuple[Cells, ...]]


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
    """Rows below a header, blank ones left out. ``fields`` are those whose column is there."""

    path: Path
    sheet: str
    fields: frozenset[str]
    rows: tuple[Row, ...]


def read_workbook(path: Path) -> Workbook:
    """Read an ``.xlsx`` or ``.xls``, told apart by content; formulas give the values stored beside them.

    Raises:
        AnnotationError: missing, empty, encrypted, or not a spreadsheet.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read ({error.strerror}); expected the annotation spreadsheet"
        ) from error
    if not data:
        raise AnnotationError(f"{path}: zero bytes; copy the spreadsheet again from the original")
    if not data.startswith((_ZIP_MAGIC, _OLE_MAGIC)):
        raise AnnotationError(f"{path}: not a spreadsheet; expected an Excel workbook, .xlsx or .xls")
    if data.startswith(_OLE_MAGIC) and _ENCRYPTED_STREAM in data:
        raise AnnotationError(_encrypted(path))
    try:
        return Workbook(path, _read_xlsx(data) if data.startswith(_ZIP_MAGIC) else _read_xls(data))
    except _DAMAGE as error:
        if "encrypted" in str(error).lower():
            raise AnnotationError(_encrypted(path)) from error
        raise AnnotationError(
            f"{path}: damaged or not a spreadsheet ({type(error).__name__}: {error}); "
            "open it in a spreadsheet program and save it again as .xlsx"
        ) from error


def _encrypted(path: Path) -> str:
    return f"{path}: encrypted; open it with its password and save it without one"


def _read_xlsx(data: bytes) -> dict[str, tuple[Cells, ...]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about drop-down lists and styles, which hold no data
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = {}
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # the recorded ones may be wrong
            sheets[sheet.title] = tuple(tuple(map(_text, row)) for row in sheet.iter_rows(values_only=True))
        book.close()
    return sheets


def _read_xls(data: bytes) -> dict[str, tuple[Cells, ...]]:
    with xlrd.open_workbook(file_contents=data, logfile=io.StringIO()) as book:
        return {
            sheet.name: tuple(tuple(map(_text, sheet.row_values(i))) for i in range(sheet.nrows))
            for sheet in book.sheets()
        }


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # .xls knows no integers
    return str(value)


def find_table(book: Workbook, columns: Mapping[str, Sequence[str]], optional: frozenset[str] = frozenset()) -> Table:
    """The table whose header has all required columns, wherever the header is.

    Args:
        book: the workbook.
        columns: field -> accepted headers, compared without case, blanks and punctuation.
        optional: fields whose column may be absent.

    Raises:
        AnnotationError: no such header; the message names the columns expected and found.
    """
    required = [field for field in columns if field not in optional]
    best: tuple[int, str, int, Cells] = (0, "", 0, ())
    for title, rows in book.sheets.items():
        for number, cells in enumerate(rows[:_HEADER_DEPTH], 1):
            positions = _positions(cells, columns)
            found = sum(field in positions for field in required)
            if found == len(required):
                return _table(book, title, number, positions)
            best = max(best, (found, title, number, cells))
    expected = ", ".join(columns[field][0] for field in required)
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
    # Columns that we do not know are kept under their position, so that a message can show the whole row.
    by_position = {position: field for field, position in positions.items()}
    rows = tuple(
        Row(number, {by_position.get(i, str(i)): cell for i, cell in enumerate(cells)})
        for number, cells in enumerate(book.sheets[title][header:], header + 1)
        if any(map(str.strip, cells))
    )
    if not rows:
        raise AnnotationError(f"{book.path}, sheet {title}: no rows below the header in row {header}")
    return Table(book.path, title, frozenset(positions), rows)
