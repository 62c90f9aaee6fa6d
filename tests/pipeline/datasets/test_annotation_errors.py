"""A spreadsheet that cannot be used is one clear error, with its path, the reason, and what to do."""

import contextlib
import datetime
import re
import struct
import time
import warnings
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets import scan_dataset
from pipeline.datasets.spreadsheet import read_workbook
from pipeline.datasets.tables import find_table
from schemas.errors import AnnotationError
from tests.pipeline.datasets.old_excel import old_excel
from tests.pipeline.datasets.open_document import open_document, text_rows
from tests.pipeline.datasets.tiny_clips import save_sheets, write_tiny

NAMES = {
    "samm": "SAMM_Micro_FACS_Codes_v2.xlsx",
    "casme2": "CASME2-coding-20190701.xlsx",
    "casme-sq": "CAS(ME)^2code_final.xlsx",
    "smic": "SMIC-HS-E_annotation.xlsx",
}
LAYOUTS = {"smic": "hs-long"}
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


@pytest.fixture(params=NAMES)
def annotation(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A dataset's spreadsheet, three folders below anything else."""
    root = tmp_path / "a" / "b" / "c"
    write_tiny(request.param, root, LAYOUTS.get(request.param))
    return root / NAMES[request.param]


def message_of(annotation: Path) -> str:
    with pytest.raises(AnnotationError) as error:
        scan_dataset(annotation.parent)
    return str(error.value)


def test_missing(annotation: Path) -> None:
    """No spreadsheet at all: what it is usually called, where it was looked for, where to put it."""
    annotation.unlink()
    message = message_of(annotation)
    assert "needs its annotation, usually " in message
    assert "no spreadsheet (.xlsx, .xls, .ods, .csv) below this folder or in the 3 folders above it" in message
    assert str(annotation.parent) in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "zero bytes; copy the spreadsheet again"),
        (b"Subject,Filename\n1,2\n", "not a spreadsheet; expected an Excel workbook"),
        (OLE + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "encrypted; open it with its password"),
        (OLE + b"\0" * 600, "damaged or not a spreadsheet"),
        (b"PK\x03\x04 and nothing more", "damaged or not a spreadsheet"),
    ],
)
def test_content_that_is_no_workbook(annotation: Path, content: bytes, expected: str) -> None:
    """Zero bytes, text, an encrypted envelope and damage each have their words."""
    annotation.write_bytes(content)
    message = message_of(annotation)
    assert expected in message
    assert str(annotation) in message


def test_truncated(annotation: Path) -> None:
    """Half a file is damaged."""
    annotation.write_bytes(annotation.read_bytes()[: annotation.stat().st_size // 2])
    assert "damaged or not a spreadsheet" in message_of(annotation)


def test_an_archive_that_is_no_workbook(annotation: Path) -> None:
    """A zip archive of something else is no spreadsheet."""
    with zipfile.ZipFile(annotation, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "damaged or not a spreadsheet" in message_of(annotation)


def test_empty_sheet(annotation: Path) -> None:
    """A workbook without a cell."""
    save_sheets(annotation, [])
    assert "empty; expected the columns " in message_of(annotation)


@pytest.mark.parametrize("dataset", ["samm", "casme2", "smic"])
def test_without_header(tmp_path: Path, dataset: str) -> None:
    """Rows without a header: the message lists the columns that are wanted."""
    write_tiny(dataset, tmp_path, LAYOUTS.get(dataset))
    path = tmp_path / NAMES[dataset]
    rows = [list(row) for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)]
    header = next(i for i, row in enumerate(rows) if "Subject" in row)
    save_sheets(path, rows[header + 1 :])
    message = message_of(path)
    assert "no header row in the first 60 rows of any sheet" in message
    assert "expected one with the columns Subject, Filename, Onset" in message


@pytest.mark.parametrize(
    ("dataset", "old", "new"),
    [("samm", "Onset Frame", "Start"), ("casme2", "Estimated Emotion", "Gefühl"), ("smic", "OffsetF", "End")],
)
def test_renamed_columns(tmp_path: Path, dataset: str, old: str, new: str) -> None:
    """The column that is missing, those expected, and those found."""
    write_tiny(dataset, tmp_path, LAYOUTS.get(dataset))
    path = tmp_path / NAMES[dataset]
    book = openpyxl.load_workbook(path)
    cell = next(c for row in book.worksheets[0].iter_rows() for c in row if c.value == old)
    cell.value = new
    book.save(path)
    message = message_of(path)
    assert re.search(rf"row \d+: columns missing: {old}; expected Subject, Filename, .*; found .*{new}", message)


def test_spelling_of_headers_does_not_matter(tmp_path: Path) -> None:
    """Case, blanks and punctuation of a header are not compared."""
    keys = write_tiny("samm", tmp_path)
    path = tmp_path / NAMES["samm"]
    book = openpyxl.load_workbook(path)
    for row in book.worksheets[0].iter_rows():
        for cell in row:
            if cell.value in ("Onset Frame", "Action Units"):
                cell.value = str(cell.value).upper().replace(" ", "_")
    book.save(path)
    assert len([clip for clip in scan_dataset(tmp_path)[1].clips if clip.usable]) == len(keys)


def test_header_in_the_first_row(tmp_path: Path) -> None:
    """SAMM's later edition has no preamble."""
    keys = write_tiny("samm", tmp_path)
    path = tmp_path / NAMES["samm"]
    rows = [list(row) for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)]
    path.unlink()
    save_sheets(tmp_path / "SAMM_20181215_Micro_FACS_Codes_v2.xlsx", rows[13:])
    assert sorted(keys) == [clip.key for clip in scan_dataset(tmp_path)[1].clips]


def test_no_rows_below_the_header(tmp_path: Path) -> None:
    """A header alone annotates nothing."""
    write_tiny("casme2", tmp_path)
    path = tmp_path / NAMES["casme2"]
    header = [cell.value for cell in openpyxl.load_workbook(path).worksheets[0][1]]
    save_sheets(path, [header])
    assert "no rows below the header in row 1" in message_of(path)


def test_casme_sq_with_something_else_in_its_first_sheet(tmp_path: Path) -> None:
    """Without headers it is the rows that must be expressions; the wanted order of columns is shown."""
    write_tiny("casme-sq", tmp_path)
    save_sheets(tmp_path / NAMES["casme-sq"], [["one", "two"], [1, 2]])
    message = message_of(tmp_path / NAMES["casme-sq"])
    assert "no row is an expression; expected these columns, without a header: subject, clip, onset, apex" in message


def test_the_wrong_datasets_spreadsheet(tmp_path: Path) -> None:
    """CASME II's annotation beside SAMM's images is not taken for SAMM's."""
    write_tiny("samm", tmp_path)
    (tmp_path / NAMES["samm"]).unlink()
    write_tiny("casme2", tmp_path / "other")
    with pytest.raises(AnnotationError, match="no clip name such as 006_1_2 in the column Filename"):
        scan_dataset(tmp_path, "samm")


def test_several_unusable_spreadsheets_are_all_explained(tmp_path: Path) -> None:
    """Each has its reason."""
    write_tiny("samm", tmp_path)
    (tmp_path / NAMES["samm"]).write_bytes(b"")
    save_sheets(tmp_path / "budget.xlsx", [["Item", "Cost"], ["Camera", 3]])
    message = message_of(tmp_path / NAMES["samm"])
    assert "none of the spreadsheets is SAMM's annotation" in message
    assert "zero bytes" in message
    assert "budget.xlsx: no header row" in message


def test_a_suffix_means_nothing(tmp_path: Path) -> None:
    """The kind of workbook is told by its first bytes."""
    write_tiny("samm", tmp_path)
    (tmp_path / NAMES["samm"]).rename(tmp_path / "codes.xls")
    assert scan_dataset(tmp_path)[1].annotation == "codes.xls"


def test_old_excel_files_are_read(tmp_path: Path) -> None:
    """A true ``.xls`` gives the same scan as the ``.xlsx`` that it replaces; its numbers are all floats."""
    write_tiny("casme2", tmp_path)
    _, before = scan_dataset(tmp_path)
    path = tmp_path / NAMES["casme2"]
    rows = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    cells = [
        [value if isinstance(value, str) else "" if value is None else float(value) for value in row] for row in rows
    ]
    path.unlink()
    (tmp_path / "coding.xls").write_bytes(old_excel(cells))
    _, after = scan_dataset(tmp_path)
    assert after.clips == before.clips
    assert after.annotation == "coding.xls"


def test_an_encrypted_old_excel_file(tmp_path: Path) -> None:
    """An ``.xls`` that says it is encrypted gets the words for that."""
    path = tmp_path / "x.xls"
    path.write_bytes(old_excel([["Subject"]], encrypted=True))
    with pytest.raises(AnnotationError, match=r"x.xls: encrypted; open it with its password and save it without one"):
        read_workbook(path)


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (65_535, 65_535, "its reader ran out of memory"),
        (65_535, 255, "more than 4,000,000 cells"),
    ],
)
def test_an_old_excel_file_with_a_cell_far_away(tmp_path: Path, row: int, column: int, reason: str) -> None:
    """The first made the reading library ask for 137 GB and abort the process, where no handler helps."""
    near, far = (struct.pack("<HHHH", 0x0203, 14, *place) for place in ((1, 0), (row, column)))  # records NUMBER
    data = old_excel([["b"], [1.0]])
    assert near in data
    path = tmp_path / "x.xls"
    path.write_bytes(data.replace(near, far))
    with pytest.raises(AnnotationError, match=rf"x.xls: damaged or not a spreadsheet \(.*{reason}\); open it in"):
        read_workbook(path)


def test_cells_come_as_text(tmp_path: Path) -> None:
    """Leading zeros stay, whole floats lose their fraction, blanks are empty, formulas give stored values."""
    path = save_sheets(tmp_path / "x.xlsx", [["Subject", "Filename"], ["006", 7.0], ["01", None], [4, " L10 "]])
    table = find_table(read_workbook(path), {"subject": ("Subject",), "name": ("Filename",)})
    assert [(row["subject"], row.raw("name")) for row in table.rows] == [("006", "7"), ("01", ""), ("4", " L10 ")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_a_damaged_byte_is_read_or_reported(tmp_path: Path, position: float, byte: int) -> None:
    """Whatever byte of a workbook changes, it is read or refused with our error: nothing else escapes."""
    good = tmp_path / "good.xlsx"
    if not good.exists():
        save_sheets(good, [["Subject", "Filename"], ["006", "006_1_2"]])
    data = bytearray(good.read_bytes())
    data[int(position * len(data))] = byte
    damaged = tmp_path / "damaged.xlsx"
    damaged.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(AnnotationError):
            find_table(read_workbook(damaged), {"subject": ("Subject",), "name": ("Filename",)})


def test_cells_of_open_document_and_delimited_text(tmp_path: Path) -> None:
    """The same text comes out of .ods, .csv (semicolons, UTF-16) and .tsv; blank rows at the end cost nothing."""
    lines = [["Subject", "Filename"], ["006", "7"], ["01", ""]]
    blank = '<table:table-row table:number-rows-repeated="1048570"><table:table-cell/></table:table-row>'
    rows = text_rows(lines)
    paths = [
        open_document(tmp_path / "x.ods", rows + blank),
        tmp_path / "x.csv",
        tmp_path / "x.tsv",
        tmp_path / "y.csv",
    ]
    paths[1].write_bytes("\r\n".join(";".join(line) for line in lines).encode("utf-16"))
    paths[2].write_text("\n".join("\t".join(line) for line in lines))
    paths[3].write_text('Subject,Filename\n"006",7\n01,\n', encoding="utf-8-sig")
    for path in paths:
        table = find_table(read_workbook(path), {"subject": ("Subject",), "name": ("Filename",)})
        assert [(row["subject"], row["name"]) for row in table.rows] == [("006", "7"), ("01", "")], path.name


def test_a_date_is_no_number(tmp_path: Path) -> None:
    """What a spreadsheet program took for a date is named as one, so that no frame number comes of it."""
    path = save_sheets(tmp_path / "x.xlsx", [["Subject", "Filename"], ["006", datetime.date(2014, 5, 8)], [1, 2.5]])
    table = find_table(read_workbook(path), {"subject": ("Subject",), "name": ("Filename",)})
    assert [row["name"] for row in table.rows] == ["the date or time 2014-05-08", "2.5"]


FAR = {
    "rows": b'r="A2000000000"',
    "columns": b'r="XFDXFD2"',
    "other quotes": b"r='A2000000000'",
    "blanks": b'r = "A2000000000"',
    "small letters": b'r="a2000000000"',
    "behind an angle": b'x=">" r="A2000000000"',
    "entity": b'r="&#65;2000000000"',
    "other name": b'r="A2000000000"',
}


@pytest.mark.parametrize("kind", [*FAR, "ods", pytest.param("bomb", marks=pytest.mark.slow)])
def test_a_small_file_that_claims_a_giant_sheet(tmp_path: Path, kind: str) -> None:
    """Two cells at the ends of a sheet, or a packed desert of rows, are refused at once, not allocated."""
    path = save_sheets(tmp_path / "x.xlsx", [["Subject", "Filename"], ["006", 7]])
    if kind == "ods":
        far = '<table:table-row table:number-rows-repeated="2000000000"><table:table-cell/></table:table-row>'
        row = text_rows(["x"])
        path = open_document(tmp_path / "x.ods", row + far + row)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        sheet = "xl/worksheets/sheet1.xml"
        if kind == "bomb":
            members[sheet] = members[sheet].replace(b"<sheetData>", b"<sheetData>" + b" " * (300 << 20))
        else:
            members[sheet] = members[sheet].replace(b'r="B2"', FAR[kind])
        if kind == "other name":
            members["xl/other.dat"] = members.pop(sheet)
            links = "xl/_rels/workbook.xml.rels"
            members[links] = members[links].replace(b"worksheets/sheet1.xml", b"other.dat")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    started = time.monotonic()
    with pytest.raises(AnnotationError, match=r"(\d columns|a sheet of 300 MB), more than any annotation has"):
        read_workbook(path)
    assert time.monotonic() - started < 2


def test_formulas_without_values_are_counted(tmp_path: Path) -> None:
    """A library saves formulas and computes none of them; a spreadsheet program stores their values."""
    path = save_sheets(tmp_path / "x.xlsx", [["Subject", "Filename"], ["006", "=1+1"], ["007", "=2+2"]])
    assert read_workbook(path).uncomputed == 2
    assert read_workbook(save_sheets(tmp_path / "y.xlsx", [["a", 1]])).uncomputed == 0
