"""Progress of a training run: live bars on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PLAIN_INTERVAL = 10.0  # s between lines where there is no terminal


class EpochDone(NamedTuple):
    """One epoch of one fold."""

    fold: str
    epoch: int
    loss: float
    accuracy: float | None


class TrainProgress:
    """Shows epochs done of all folds, and where each running fold stands. A context manager.

    Args:
        console: where to show it.
        epochs: of each fold, by its name.
        done: names of the folds that an earlier, interrupted run has finished.
    """

    def __init__(self, console: Console, *, epochs: Mapping[str, int], done: Sequence[str]) -> None:
        self._console, self._epochs = console, epochs
        self._total, self._finished = sum(epochs.values()), len(done)
        self._epochs_done = self._epochs_before = sum(epochs[name] for name in done)
        self._at: dict[str, int] = {}
        self._started = self._last_line = time.monotonic()
        columns = (
            TextColumn("[bold]epochs of all folds"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=self._total, completed=self._epochs_done, now="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def epoch_done(self, event: EpochDone) -> None:
        """Count one epoch; the first of a fold that goes on counts those before it too."""
        self._epochs_done += event.epoch - self._at.get(event.fold, 0)
        self._at[event.fold] = event.epoch
        now = f"{event.fold}: epoch {event.epoch}, loss {event.loss:.3f}"
        if event.accuracy is not None:
            now += f", accuracy {event.accuracy:.2f}"
        self._bar.update(self._task, completed=self._epochs_done, now=escape(now))
        if not self._console.is_terminal and time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._line(now)

    def fold_done(self, fold: str, outcome: str) -> None:
        """Count one fold, and say how it ended."""
        self._finished += 1
        self._epochs_done += self._epochs[fold] - self._at.pop(fold, 0)
        self._bar.update(self._task, completed=self._epochs_done)
        self._line(f"{fold}: {outcome}")

    def _line(self, what: str) -> None:
        self._last_line = time.monotonic()
        rate = (self._epochs_done - self._epochs_before) / max(self._last_line - self._started, 1e-9)
        left = self._total - self._epochs_done
        remaining = f", {left / rate:.0f} s left" if left and rate else ""
        self._console.print(
            f"{self._finished}/{len(self._epochs)} folds; {what}{remaining}", markup=False, highlight=False
        )
