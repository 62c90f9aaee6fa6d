"""Intervals by resampling subjects: clips of one person are not independent, people are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.model import Model
from training.metrics import measure

_LEAST_REPLICATES = 100


class Interval(Model):
    """Percentile interval. ``replicates`` counts those that were used: one that lacks a class has no UF1."""

    low: float
    high: float
    level: float
    replicates: int


def bootstrap_intervals(
    confusion: NDArray[np.int64], strata: Sequence[str], *, replicates: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval | None]:
    """Intervals of each metric's mean over runs, for other subjects of the same kind.

    Args:
        confusion: ``(R, S, C, C)`` counts of R runs (seeds) and S subjects.
        strata: of the S subjects, their dataset: as many of each are drawn as there are.
        replicates: draws; those in which a class has no clip are left out.
        seed: of the draws.
        level: of the interval.

    Returns:
        ``None`` where there are fewer than two subjects, or fewer than 100 usable draws.
    """
    weights = _draw(strata, replicates, np.random.default_rng(seed))
    pooled = np.einsum("bs,rsij->brij", weights, confusion, optimize=True)
    usable = pooled[(pooled.sum(-1) > 0).all(axis=(1, 2))]
    measured = measure(usable)
    if len(strata) < 2 or len(usable) < _LEAST_REPLICATES:
        return dict.fromkeys(measured)
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals: dict[str, Interval | None] = {}
    for name, values in measured.items():
        low, high = np.quantile(values.mean(axis=1), tails)
        intervals[name] = Interval(low=float(low), high=float(high), level=level, replicates=len(usable))
    return intervals


def _draw(strata: Sequence[str], replicates: int, random: np.random.Generator) -> NDArray[np.int64]:
    """``(B, S)``: how often each subject is drawn."""
    names = np.array(strata)
    weights = np.zeros((replicates, len(names)), dtype=np.int64)
    for stratum in sorted(set(strata)):
        members = np.flatnonzero(names == stratum)
        weights[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), replicates)
    return weights
