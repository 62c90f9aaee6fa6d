"""CSV that spreadsheet programs open as text and numbers: no cell is taken for a formula, whoever named the clip."""

import csv
import io
import re
from collections.abc import Iterable

_START = r"'*(?:[=@\t\r]|[+-](?![\d.,e%±()\[\] to+-]*$))"  # signed numbers and intervals of them are no formulas
_FORMULA, _QUOTED = re.compile(_START), re.compile(f"'{_START}")


def csv_text(rows: Iterable[Iterable[object]], *, line_end: str = "\r\n") -> str:
    """Rows as RFC 4180 has them; a text that would be a formula gets an apostrophe before it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerows([_quoted(cell) for cell in row] for row in rows)
    return text.getvalue()


def _quoted(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def unquoted(cell: str) -> str:
    """A cell of ``csv_text`` as it was."""
    return cell[1:] if _QUOTED.match(cell) else cell
