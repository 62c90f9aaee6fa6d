"""Many objects at once, over a network that fails."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_THREADS = 16  # each waits for the network most of the time


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
