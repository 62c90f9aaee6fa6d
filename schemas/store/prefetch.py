"""Fetch the next items while one is read."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")

_AHEAD = 8  # items under way; their threads wait for the network most of the time


def prefetched(items: Iterable[_Item], fetch: Callable[[_Item], object]) -> Iterator[_Item]:
    """The items in their order, each once it has been fetched; the next few are fetched meanwhile, in threads.

    Args:
        items: to be read by whoever iterates.
        fetch: makes one ready; its error is raised when its item's turn comes.
    """
    coming: deque[tuple[_Item, Future[object]]] = deque()

    def fetched() -> _Item:
        item, future = coming.popleft()
        future.result()
        return item

    pool = ThreadPoolExecutor(_AHEAD)
    try:
        for item in items:
            coming.append((item, pool.submit(fetch, item)))
            if len(coming) > _AHEAD:
                yield fetched()
        while coming:
            yield fetched()
    finally:
        pool.shutdown(cancel_futures=True)
