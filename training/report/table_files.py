"""A table as files, for other programs and other texts: CSV, LaTeX (booktabs), Markdown."""

from collections.abc import Sequence
from pathlib import Path

from schemas.csv_cells import csv_text
from schemas.output import write_text
from training.report.page import Table

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "[": "{[}",  # at the start of a line it would belong to the \\ before it
        "]": "{]}",
        "*": "{*}",  # likewise
        "±": r"\ensuremath{\pm}",
    }
)
_MARKDOWN = str.maketrans(
    {letter: f"\\{letter}" for letter in "\\`*_{}[]|$~#"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


def write_table(folder: Path, name: str, table: Table) -> None:
    """Write ``name.csv``, ``name.tex`` and ``name.md`` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, form in (("csv", as_csv), ("tex", as_latex), ("md", as_markdown)):
        write_text(folder / f"{name}.{suffix}", form(table))


def as_csv(table: Table) -> str:
    """Heads and rows as they stand in the page; cells that a sentence replaces are blank."""
    rows = [(*row, *[""] * (len(table.columns) - len(row))) for row in table.rows]
    return csv_text([table.columns, *rows], line_end="\n")


def as_latex(table: Table) -> str:
    """A ``table`` with its caption; needs the package booktabs."""
    count = len(table.columns)
    inner = ("l" if table.words else "r") * (count - 1 - table.apart)
    apart = r"@{\qquad}" + "r" * table.apart if table.apart else ""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(_caption(table))}}}",
        rf"\begin{{tabular}}{{l{inner}{apart}}}",
        r"\toprule",
    ]
    if any(table.columns):
        lines += [_latex_row(table.columns), r"\midrule"]
    for index, row in enumerate(table.rows):
        if table.floors and index == len(table.rows) - table.floors:
            lines.append(r"\midrule")
        if len(row) < count:
            lines.append(rf"{_latex(row[0])} & \multicolumn{{{count - 1}}}{{l}}{{{_latex(row[1])}}} \\")
        else:
            lines.append(_latex_row(row, strong=index == table.strong))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def as_markdown(table: Table) -> str:
    """A pipe table under its title."""
    side = ":--" if table.words else "--:"
    lines = [
        f"**{_markdown(table.title)}**",
        "",
        _markdown_row(table.columns),
        _row([":--"] + [side] * (len(table.columns) - 1)),
    ]
    for index, row in enumerate(table.rows):
        filled = (*row, *[""] * (len(table.columns) - len(row)))
        lines.append(_markdown_row(filled, strong=index == table.strong))
    if table.note:
        lines += ["", _markdown(table.note)]
    return "\n".join([*lines, ""])


def _caption(table: Table) -> str:
    return f"{table.title}. {table.note}" if table.note else table.title


def _latex(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _latex_row(cells: Sequence[str], *, strong: bool = False) -> str:
    written = [rf"\textbf{{{_latex(cell)}}}" if strong else _latex(cell) for cell in cells]
    return " & ".join(written) + r" \\"


def _markdown(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def _markdown_row(cells: Sequence[str], *, strong: bool = False) -> str:
    return _row([f"**{_markdown(cell)}**" if strong and cell else _markdown(cell) for cell in cells])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
