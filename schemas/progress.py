"""How far a long job has come: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

_PLAIN_INTERVAL = 10.0  # s between lines where there is no terminal


class Progress:
    """Counts what is done and shows it with the rate, the failures and the remaining time. A context manager.

    Args:
        console: where to show it.
        unit: what is counted, e.g. ``clips``; ``bytes`` are shown as kB, MB and GB.
        total: units of the whole job.
        done: units that an earlier, interrupted run has finished; they do not count in the rate.
        title: what stands before the count, e.g. ``pull``.
    """

    def __init__(self, console: Console, *, unit: str, total: int, done: int = 0, title: str = "") -> None:
        self._console, self._unit, self._total, self._title = console, unit, total, title
        self._done = self._before = done
        self._failed = 0
        self._note = ""
        self._started = self._last_line = time.monotonic()
        self._said = True
        self._bar = bars.Progress(
            bars.TextColumn(f"[bold]{escape(title or unit)}"), bars.BarColumn(),
            bars.TextColumn("{task.fields[state]}"), bars.TimeElapsedColumn(), bars.TextColumn("left"),
            bars.TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, completed=done, state="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if not self._said:
            self._print()

    def advance(self, amount: int = 1, *, failed: bool = False, note: str = "") -> None:
        """Count what has just been done.

        Args:
            amount: units.
            failed: whether they failed, which is counted apart.
            note: what stands behind the figures until the next call, e.g. the last loss.
        """
        self._done += amount
        self._failed += failed
        self._note = note
        self._bar.update(self._task, completed=self._done, state=escape(self._state))
        self._said = self._console.is_terminal
        if not self._said and time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._print()

    def say(self, text: str) -> None:
        """Print a line that stays, above the bar where there is one."""
        self._console.print(text, markup=False, highlight=False)

    @property
    def _rate(self) -> float:
        return (self._done - self._before) / max(time.monotonic() - self._started, 1e-9)

    @property
    def _state(self) -> str:
        if self._unit == "bytes":
            counts = f"{decimal(self._done)} of {decimal(self._total)}, {decimal(round(self._rate))}/s"
        else:
            counts = f"{self._done}/{self._total} {self._unit}, {self._rate:.2f} {self._unit}/s"
        return ", ".join(
            part for part in (counts, f"{self._failed} failed" if self._failed else "", self._note) if part
        )

    def _print(self) -> None:
        self._last_line, self._said = time.monotonic(), True
        left = (self._total - self._done) / max(self._rate, 1e-9)
        title = f"{self._title}: " if self._title else ""
        self.say(f"{title}{self._state}{f', {left:.0f} s left' if self._done < self._total else ''}")
