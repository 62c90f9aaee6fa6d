"""Many objects at once, over a network that fails, and how far it has come."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_THREADS = 16  # each waits for the network most of the time
_PLAIN_INTERVAL = 10.0  # s between lines where there is no terminal


class TransferProgress:
    """Bytes moved, rate and remaining time. A context manager.

    Args:
        console: where to show it.
        what: is being done, e.g. ``pull``.
        total: bytes to be moved.
    """

    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console, self._what, self._total = console, what, total
        self._moved = 0
        self._started = self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn(f"[bold]{what}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TextColumn("left"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "TransferProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._moved and not self._console.is_terminal:
            self._line()

    def moved(self, size: int) -> None:
        """Count the bytes of one object."""
        self._moved += size
        self._bar.update(self._task, advance=size)
        if not self._console.is_terminal and time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._line()

    def _line(self) -> None:
        self._last_line = time.monotonic()
        rate = self._moved / max(self._last_line - self._started, 1e-9)
        self._console.print(
            f"{self._what}: {decimal(self._moved)} of {decimal(self._total)}, {decimal(round(rate))}/s", highlight=False
        )


def in_parallel(action: Callable[[_Item], _Result], items: Iterable[_Item], done: Callable[[_Result], object]) -> None:
    """``done(action(item))`` for every item, the actions in threads and in any order, ``done`` in this one.

    The first error ends it: what is under way is waited for, the rest is not begun.
    """
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for future in as_completed([pool.submit(action, item) for item in items]):
            done(future.result())
    finally:
        pool.shutdown(cancel_futures=True)
