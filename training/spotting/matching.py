"""Which spotted intervals are right: at least half in common with a true one, each taken once."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LEAST_IOU = 0.5


class Span(Protocol):
    """Frames ``onset`` to ``offset``, both inclusive."""

    @property
    def onset(self) -> int:
        """First frame."""

    @property
    def offset(self) -> int:
        """Last frame."""


def overlaps(truth: Sequence[Span], spotted: Sequence[Span]) -> NDArray[np.float64]:
    """Intersection over union, ``(len(truth), len(spotted)) float64``, counted in frames."""
    a = np.array([(one.onset, one.offset) for one in truth], np.int64).reshape(-1, 2)
    b = np.array([(one.onset, one.offset) for one in spotted], np.int64).reshape(-1, 2)
    common = np.minimum(a[:, None, 1], b[None, :, 1]) - np.maximum(a[:, None, 0], b[None, :, 0]) + 1
    common = np.maximum(common, 0)
    lengths = (a[:, 1] - a[:, 0] + 1)[:, None] + (b[:, 1] - b[:, 0] + 1)[None]
    return np.asarray(common / (lengths - common), np.float64)


def match(truth: Sequence[Span], spotted: Sequence[Span]) -> list[tuple[int, int]]:
    """Pairs of positions ``(truth, spotted)`` of one recording, the largest overlap first, each used once.

    Of equal overlaps the earlier intervals are taken, so that the order of the arguments does not matter.
    """
    iou = overlaps(truth, spotted)
    found = np.argwhere(iou >= LEAST_IOU)

    def order(pair: NDArray[np.intp]) -> tuple[float, int, int, int, int]:
        t, s = truth[pair[0]], spotted[pair[1]]
        return -float(iou[pair[0], pair[1]]), t.onset, t.offset, s.onset, s.offset

    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for one in sorted(found, key=order):
        t, s = int(one[0]), int(one[1])
        if t not in taken[0] and s not in taken[1]:
            pairs.append((t, s))
            taken[0].add(t)
            taken[1].add(s)
    return pairs
