"""What a benchmark yields, and the Markdown table "ours, peer, limit, ratio" that is made of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

START, END = "<!-- made by `python -m tests.benchmarks` -->", "<!-- /made -->"
HEAD = "| | what | ours | peer | limit | ratio | goal | |\n| --- | --- | --- | --- | --- | --- | --- | --- |"


class Beside(NamedTuple):
    """A figure that ours is measured against, in ours' unit, and what it is of."""

    figure: float
    name: str


class Goal(NamedTuple):
    """What we aim at: at least (or at most) so many times the peer or the limit, or so many of the unit.

    Of the unit, it is of the figure ``itself``, or of what the figure is ``beyond`` the limit.
    """

    sign: Literal["≥", "≤"]
    figure: float
    of: Literal["peer", "limit", "itself", "beyond"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing measured beside others, all in one run.

    Attributes:
        what: what was measured.
        unit: of all figures.
        ours: our figure.
        peer: what else people would use, or what we had before.
        limit: what could not be bettered.
        taken: the ratio, where it was taken in turns; else that of the figures.
        goal: what we aim at; none where the figure only informs.
        why: where the time goes and why the goal is missed; said only then.
    """

    what: str
    unit: str
    ours: float
    peer: Beside | None = None
    limit: Beside | None = None
    taken: float | None = None
    goal: Goal | None = None
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours over the peer or the limit, whichever the goal is about."""
        beside = self.peer if self.goal is None or self.goal.of == "peer" else self.limit
        other = beside or self.limit or self.peer
        return self.ours / other.figure if self.taken is None and other else self.taken

    @property
    def met(self) -> bool:
        """Whether the goal is."""
        if self.goal is None:
            return True
        if self.goal.of == "beyond" and self.limit is not None:
            figure = self.ours - self.limit.figure
        else:
            held = self.ours if self.goal.of == "itself" else self.ratio
            assert held is not None, f"{self.what}: nothing to hold the goal against"
            figure = held
        return figure >= self.goal.figure if self.goal.sign == "≥" else figure <= self.goal.figure

    def cells(self) -> tuple[str, ...]:
        """All columns but the first."""
        goal = ""
        if self.goal is not None:
            unit = {"itself": self.unit, "beyond": f"{self.unit} beyond the limit"}.get(
                self.goal.of, f"of the {self.goal.of}"
            )
            goal = f"{self.goal.sign} {number(self.goal.figure)} {unit}"
        beside = (f"{number(one.figure)}, {one.name}" if one else "" for one in (self.peer, self.limit))
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = "" if self.goal is None else "met" if self.met else "**missed**"
        return (self.what, f"{number(self.ours)} {self.unit}", *beside, ratio, goal, verdict)

    def reason(self) -> str:
        """Why a goal is missed; empty where it is not."""
        return "" if self.met else f"{self.what}: {self.why or 'no reason is known'}."


@dataclass(frozen=True)
class LeftOut:
    """What this machine cannot measure, why, and what to run on one that can."""

    what: str
    lacks: str
    command: str
    goal: str = ""

    def cells(self) -> tuple[str, ...]:
        """All columns but the first."""
        return (self.what, f"{self.lacks}: left out", "", "", "", self.goal, f"`{self.command}`")

    def reason(self) -> str:
        """Nothing was missed."""
        return ""


def number(value: float) -> str:
    """Three figures, none of them after a point that would not help."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def lines_of(name: str, rows: Sequence[Row | LeftOut]) -> list[str]:
    """The rows of one benchmark, and a line for each goal that is missed."""
    table = [f"| `{name}` | {' | '.join(row.cells())} |" for row in rows]
    return table + [f"- `{name}`, {row.reason()}" for row in rows if row.reason()]


def filled(page: str, machine: str, measured: Mapping[str, Iterable[str]], order: Sequence[str]) -> str:
    """The page with these benchmarks' lines in its table, those of others kept.

    Raises:
        ValueError: the page has no markers, or holds rows of another machine, beside which ours would mislead.
    """
    block = re.search(f"{re.escape(START)}\n(.*?){re.escape(END)}", page, re.DOTALL)
    if block is None:
        raise ValueError(f"no table between {START} and {END}")
    lines: dict[str, list[str]] = {}
    for line in block[1].splitlines():
        if found := re.match(r"(?:\| |- )`(\w+)`", line):
            lines.setdefault(found[1], []).append(line)
    if (lines.keys() - measured.keys()) and machine not in block[1]:
        raise ValueError(f"its other rows are not of {machine}: measure all of them")
    lines |= {name: list(own) for name, own in measured.items()}
    found_lines = [line for name in order for line in lines.get(name, ())]
    rows = [line for line in found_lines if line.startswith("|")]
    missed = [line for line in found_lines if line.startswith("-")]
    body = "\n".join([machine, "", HEAD, *rows, "", *missed])
    return page[: block.start(1)] + f"\n{body.rstrip()}\n\n" + page[block.end(1) :]
