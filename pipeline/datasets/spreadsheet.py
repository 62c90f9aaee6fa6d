"""Spreadsheets as text: every cell a string as written."""

import csv
import io
import pickle
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from pathlib import Path
from xml.parsers import expat

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from schemas.errors import AnnotationError, ConfigError
from schemas.parquet import PARQUET_MAGIC, read_columns

SPREADSHEET_SUFFIXES = frozenset({".xlsx", ".xlsm", ".xls", ".ods", ".csv", ".tsv"})

_ZIP_MAGIC = b"PK\x03\x04"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old .xls, and the envelope of an encrypted .xlsx
_ENCRYPTED = re.compile(  # an encrypted .xlsx, or the record FILEPASS behind the first one of an .xls
    re.escape("EncryptedPackage".encode("utf-16-le")) + rb"|\x09\x08\x10\x00.{16}\x2f\x00", re.DOTALL
)
_MOST_CELLS = 4_000_000  # of a sheet, blank ones between others included: reading is dense
_MOST_BYTES = 64 << 20  # of a sheet's XML, unpacked
_MOST_SECONDS = 120  # for an .xls
_TOO_LARGE = (
    "more than any annotation has; delete the rows and columns behind the last one that is used, and save it again"
)

_XLSX_BARE_FORMULA = re.compile(rb"</f>\s*(?:<v\s*/>|<v></v>|</c>)|<f\s*[^>]*/>\s*</c>")
_CELL = re.compile(r"([A-Za-z]{0,8})(\d{1,12})")

Cells = tuple[str, ...]


@dataclass(frozen=True)
class Workbook:
    """Sheet name -> rows of cells as text; blank cells are empty strings.

    ``uncomputed`` counts formulas without the value that a spreadsheet program stores beside them: blank cells here.
    """

    path: Path
    sheets: dict[str, tuple[Cells, ...]]
    uncomputed: int = 0


def read_workbook(path: Path) -> Workbook:
    """Read an ``.xlsx``, ``.xls``, ``.ods``, delimited text or Parquet; formulas give the values stored beside them.

    Only ``.csv`` and ``.tsv`` are told by their names, all others by their content.

    Raises:
        AnnotationError: missing, empty, encrypted, too large, or not a spreadsheet.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(
            f"{path}: cannot be read ({error.strerror}); expected the annotation spreadsheet"
        ) from error
    if not data:
        raise AnnotationError(f"{path}: zero bytes; copy the spreadsheet again from the original")
    if data.startswith((_ZIP_MAGIC, _OLE_MAGIC)):
        return _read_binary(path, data)
    if data.startswith(PARQUET_MAGIC):
        return Workbook(path, {path.stem: tuple(_parquet_rows(path, data))})
    if path.suffix.lower() in (".csv", ".tsv"):
        return Workbook(path, {path.stem: tuple(_text_rows(path, data))})
    raise AnnotationError(f"{path}: not a spreadsheet; expected an Excel workbook, .xlsx or .xls, or .ods, .csv, .tsv")


def _read_binary(path: Path, data: bytes) -> Workbook:
    if data.startswith(_OLE_MAGIC):
        return _read_old(path, data)
    try:
        uncomputed = _checked_archive(path, data)
        with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
            sheets = {
                name: tuple(tuple(map(_text, row)) for row in book.get_sheet_by_name(name).to_python(False))
                for name in book.sheet_names
            }
    except AnnotationError:
        raise
    except PasswordError as error:
        raise AnnotationError(_encrypted(path)) from error
    except (CalamineError, zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise AnnotationError(_damaged(path, error)) from error
    except BaseException as error:  # a panic of the Rust library, which is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise AnnotationError(_damaged(path, error)) from None
    return Workbook(path, sheets, uncomputed)


def _read_old(path: Path, data: bytes) -> Workbook:
    """An ``.xls``, whose claims cannot be looked at beforehand, in a process that may run out of memory or time."""
    if _ENCRYPTED.search(data):
        raise AnnotationError(_encrypted(path))
    command = [sys.executable, "-P", str(Path(__file__).with_name("xls_reader.py")), str(_MOST_CELLS)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=_MOST_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AnnotationError(_damaged(path, f"not read within {_MOST_SECONDS} s")) from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() if error.returncode > 0 else []
        raise AnnotationError(_damaged(path, said[-1] if said else "its reader ran out of memory")) from error
    sheets = pickle.loads(done.stdout)
    return Workbook(path, {name: tuple(tuple(map(_text, row)) for row in rows) for name, rows in sheets.items()})


def _encrypted(path: Path) -> str:
    return f"{path}: encrypted; open it with its password and save it without one"


def _damaged(path: Path, error: BaseException | str) -> str:
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return (
        f"{path}: damaged or not a spreadsheet ({reason}); open it in a spreadsheet program and save it again as .xlsx"
    )


def _checked_archive(path: Path, data: bytes) -> int:
    """Refuse sheets whose cells would not fit in memory; count the formulas without values."""
    uncomputed = 0
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            if entry.filename.lower().endswith("workbook.bin"):
                raise AnnotationError(f"{path}: a binary workbook; open it and save it as .xlsx")
            if entry.file_size > _MOST_BYTES:
                raise AnnotationError(f"{path}: a sheet of {entry.file_size >> 20} MB, {_TOO_LARGE}")
            xml = archive.read(entry)
            if b"sheetData" not in xml and b"table-row" not in xml:
                continue  # whatever its name, no sheet
            rows, columns = _extent(xml)
            if rows * columns > _MOST_CELLS:
                raise AnnotationError(f"{path}: claims {rows:,} rows and {columns:,} columns, {_TOO_LARGE}")
            uncomputed += len(_XLSX_BARE_FORMULA.findall(xml))
    return uncomputed


def _extent(xml: bytes) -> tuple[int, int]:
    """Rows and columns of the sheets in an XML file, ``.xlsx`` or ``.ods``; blank cells at the end do not count.

    Raises:
        ValueError: it is not XML.
    """
    rows = columns = 1
    end, position, used, repeat = 1, 0, 0, 1  # of .ods, which says how often each row and cell is repeated

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal rows, columns, position, used, repeat
        kind = name.rpartition(":")[2]
        if kind in ("c", "row") and (place := _CELL.fullmatch(attributes.get("r", "").strip())):
            columns, rows = max(columns, _column(place[1].upper())), max(rows, int(place[2]))
        elif kind == "table-row":
            position = used = 0
            repeat = _count(attributes, "table:number-rows-repeated")
        elif kind in ("table-cell", "covered-table-cell"):
            position += _count(attributes, "table:number-columns-repeated")
            used = position if any("value" in attribute for attribute in attributes) else used

    def finish(name: str) -> None:
        nonlocal rows, columns, end
        if name.rpartition(":")[2] == "table-row":
            end += repeat
            if used:
                rows, columns = max(rows, end), max(columns, used)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, finish
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from error
    return rows, columns


def _count(attributes: Mapping[str, str], name: str) -> int:
    text = attributes.get(name, "1").strip()[:12]
    return int(text) if text.isdecimal() else 1


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, date | time | timedelta):
        return f"the date or time {value}"  # a spreadsheet program's guess at what somebody typed; never a number
    return str(value)


def _text_rows(path: Path, data: bytes) -> Iterator[Cells]:
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max("\t;,", key=first.count)
    try:
        yield from map(tuple, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise AnnotationError(_damaged(path, error)) from error


def _parquet_rows(path: Path, data: bytes) -> Iterator[Cells]:
    try:
        columns = read_columns(io.BytesIO(data))
    except ConfigError as error:
        raise AnnotationError(f"{path}: {error}") from error
    except ValueError as error:
        raise AnnotationError(_damaged(path, error)) from error
    yield tuple(columns)
    for row in zip(*columns.values(), strict=True):
        yield tuple("" if value is None or value != value else _text(value) for value in row)  # NaN is a blank too
