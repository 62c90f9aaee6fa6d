"""What is read one after the other from a URL is fetched several at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")

_AHEAD = 8  # items under way; their threads wait for the network most of the time


def ahead(items: Iterable[_Item], bring: Callable[[_Item], object]) -> Iterator[_Item]:
    """The items in their order, each when it has been brought; the next few are brought meanwhile, in threads.

    Args:
        items: to be read by whoever iterates.
        bring: what makes one ready; its error is raised when its item's turn comes.
    """
    coming: deque[tuple[_Item, Future[object]]] = deque()

    def brought() -> _Item:
        item, future = coming.popleft()
        future.result()
        return item

    pool = ThreadPoolExecutor(_AHEAD)
    try:
        for item in items:
            coming.append((item, pool.submit(bring, item)))
            if len(coming) > _AHEAD:
                yield brought()
        while coming:
            yield brought()
    finally:
        pool.shutdown(cancel_futures=True)
