"""Progress of a run: a live bar on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_INTERVAL = 10.0  # s between lines where there is no terminal


class RunProgress:
    """Counts clips, failures, clips/s and the remaining time. A context manager.

    Args:
        console: where to show it.
        total: clips of the run, those already done included.
        done: clips done by an earlier, interrupted run; they do not count in the rate.
    """

    def __init__(self, console: Console, *, total: int, done: int) -> None:
        self._console, self._total, self._before = console, total, done
        self._status: Counter[str] = Counter()
        self._started = self._last_line = time.monotonic()
        self._shown = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "RunProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]clips"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                TextColumn("[red]{task.fields[failures]}"), TimeElapsedColumn(), TextColumn("left"),
                TimeRemainingColumn(), console=self._console,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=self._total, completed=self._before, rate="", failures="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._status.total() > self._shown:
            self._line()

    def clip_done(self, status: str) -> None:
        """Count one clip, ``ok`` or ``failed``."""
        self._status[status] += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, rate=f"{self._rate:.2f} clips/s", failures=self._failures)
        elif time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._line()

    @property
    def _rate(self) -> float:
        return self._status.total() / max(time.monotonic() - self._started, 1e-9)

    @property
    def _failures(self) -> str:
        failed = self._status["failed"]
        return f"{failed} failed" if failed else ""

    def _line(self) -> None:
        self._last_line, self._shown = time.monotonic(), self._status.total()
        done = self._before + self._status.total()
        left = (self._total - done) / max(self._rate, 1e-9)
        failures = f", {self._failures}" if self._failures else ""
        remaining = f", {left:.0f} s left" if done < self._total else ""
        self._console.print(f"{done}/{self._total} clips, {self._rate:.2f} clips/s{failures}{remaining}")
