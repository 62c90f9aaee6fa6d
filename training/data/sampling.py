"""Which frames of a clip a model sees, and in which order it sees the clips."""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from training.config import Sampling


def frame_indices(
    n_frames: int, *, onset: int, apex: int, frames: int, random: np.random.Generator | None = None
) -> NDArray[np.int64]:
    """T positions from onset to the end of a clip, in order of time, always with onset, apex and the last frame.

    The span is cut into T equal parts; each gives its middle frame, or with ``random`` any of its frames. A clip of
    fewer frames repeats some. The apex takes the place of the frame nearest to it.

    Args:
        n_frames: of the clip.
        onset: position of the onset.
        apex: position of the apex.
        frames: T, at least 2.
        random: of the jitter; ``None``: none.
    """
    last = n_frames - 1
    edges = np.linspace(onset, last, frames)
    half = (last - onset) / (2 * (frames - 1))
    shift = np.zeros(frames) if random is None else random.uniform(-half, half, frames)
    chosen = np.rint(np.clip(edges + shift, onset, last)).astype(np.int64)
    chosen[0], chosen[-1] = onset, last
    if onset < apex < last and frames > 2:
        chosen[1 + np.abs(edges[1:-1] - apex).argmin()] = apex  # no other part reaches beyond it
    return chosen


def epoch_order(labels: Sequence[int], *, sampling: Sampling, random: np.random.Generator) -> NDArray[np.int64]:
    """Positions of the clips of one epoch, as many as there are clips.

    ``balanced`` draws a class, then one of its clips, with replacement.
    """
    if sampling == "shuffled":
        return random.permutation(len(labels))
    of_class = [np.flatnonzero(np.asarray(labels) == label) for label in sorted(set(labels))]
    drawn = random.integers(len(of_class), size=len(labels))
    return np.array([random.choice(of_class[which]) for which in drawn], dtype=np.int64)


def batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """The order in parts of at most ``size``; a last part of one clip joins its neighbour: batch norm needs two."""
    yield from np.split(order, _cuts(len(order), size))


def batch_count(clips: int, size: int) -> int:
    """How many ``batches`` there are of so many clips."""
    return len(_cuts(clips, size)) + 1


def _cuts(clips: int, size: int) -> list[int]:
    cuts = list(range(size, clips, size))
    return cuts[:-1] if cuts and clips - cuts[-1] == 1 else cuts


def draw_seed(*of: object) -> int:
    """A seed of 63 bits from what it is for, the same on every machine: ``draw_seed(seed, fold, epoch)``."""
    return int.from_bytes(sha256(repr(of).encode()).digest()[:8]) >> 1
