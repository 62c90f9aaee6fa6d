"""The table that the benchmarks write into a page."""

import pytest

from tests.benchmarks.table import END, START, Beside, Goal, LeftOut, Row, filled, lines_of

PAGE = f"# Measured\n\n{START}\n{END}\n\nAfter.\n"


def row(ours: float, goal: Goal, **fields: object) -> Row:
    return Row(what="reading", unit="clips/s", ours=ours, peer=Beside(50, "plain"), limit=Beside(200, "codec"),
               goal=goal, why="copies", **fields)  # type: ignore[arg-type]  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "ratio", "met"),
    [
        (row(170, Goal("≥", 0.8, "limit")), 0.85, True),
        (row(150, Goal("≥", 0.8, "limit")), 0.75, False),
        (row(150, Goal("≥", 2, "peer")), 3.0, True),
        (row(150, Goal("≤", 2, "peer")), 3.0, False),
        (row(150, Goal("≤", 160, "itself")), 0.75, True),  # the ratio informs; the goal is about 150 itself
        (row(150, Goal("≤", 2, "beyond")), 0.75, True),  # 50 less than the limit
        (row(203, Goal("≤", 2, "beyond")), 203 / 200, False),
        (row(150, Goal("≥", 0.8, "limit"), taken=0.9), 0.9, True),
    ],
)
def test_a_goal_is_about_the_peer_the_limit_or_the_figure(measured: Row, ratio: float, met: bool) -> None:
    """Taken in turns, a ratio is not that of the medians."""
    assert measured.ratio == pytest.approx(ratio)
    assert measured.met is met
    assert bool(measured.reason()) is not met


def test_a_missed_goal_has_its_reason_beneath_the_table() -> None:
    """One line a row, and what this machine lacks is said with the command."""
    rows = [row(150, Goal("≥", 0.8, "limit")), LeftOut("depth", "needs a GPU", "python -m x")]
    assert lines_of("codec", rows) == [
        "| `codec` | reading | 150 clips/s | 50, plain | 200, codec | 0.75 | ≥ 0.8 of the limit | **missed** |",
        "| `codec` | depth | needs a GPU: left out |  |  |  |  | `python -m x` |",
        "- `codec`, reading: copies.",
    ]


def test_benchmarks_replace_their_own_rows_alone() -> None:
    """In the order of the benchmarks, whichever ran first, with the rest of the page as it was."""
    order = ("a", "b")
    page = filled(PAGE, "a laptop", {"b": ["| `b` | old |", "- `b`, old."]}, order)
    page = filled(page, "a laptop", {"a": ["| `a` | 1 |", "- `a`, 1."]}, order)
    page = filled(page, "a laptop", {"b": ["| `b` | new |"]}, order)
    assert [line for line in page.splitlines() if "`a`" in line or "`b`" in line] == [
        "| `a` | 1 |",
        "| `b` | new |",
        "- `a`, 1.",
    ]
    assert page.startswith("# Measured\n")
    assert page.endswith("\n\nAfter.\n")


def test_rows_of_two_machines_do_not_stand_in_one_table() -> None:
    """Figures of one beside those of another would mislead."""
    page = filled(PAGE, "a laptop", {"a": ["| `a` | 1 |"]}, ("a", "b"))
    with pytest.raises(ValueError, match="its other rows are not of a node"):
        filled(page, "a node", {"b": ["| `b` | 1 |"]}, ("a", "b"))
