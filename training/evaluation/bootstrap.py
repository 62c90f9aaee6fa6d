"""Intervals by resampling subjects: clips of one person are not independent, people are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.model import Model
from training.evaluation.metrics import measure

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
        confusion: as ``resample`` takes it.
        strata: as ``resample`` takes them.
        replicates: draws.
        seed: of the draws.
        level: of the interval.

    Returns:
        ``None`` where there are fewer than two subjects, or fewer than 100 usable draws.
    """
    drawn = resample(confusion, strata, replicates=replicates, seed=seed)
    return {name: percentile_interval(values, len(strata), level=level) for name, values in drawn.items()}


def resample(
    confusion: NDArray[np.int64], strata: Sequence[str], *, replicates: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Each metric's mean over runs, in every usable draw of subjects.

    Which subjects are drawn, and which draws are usable, depends on the seed and on the clips' own classes alone: two
    models on the same clips get the same draws, in the same order.

    Args:
        confusion: ``(R, S, C, C)`` counts of R runs (seeds) and S subjects.
        strata: of the S subjects, their dataset: as many of each are drawn as there are.
        replicates: draws; those in which a class has no clip are left out.
        seed: of the draws.

    Returns:
        Metric -> ``(B,)``, B the usable draws.
    """
    runs, subjects, classes, _ = confusion.shape
    weights = draw_subjects(strata, replicates, seed=seed).astype(np.float64)  # exact, and multiplies fast
    counts = confusion.transpose(1, 0, 2, 3).reshape(subjects, -1)
    pooled = (weights @ counts).reshape(replicates, runs, classes, classes)
    usable = pooled[(pooled.sum(-1) > 0).all(axis=(1, 2))]
    return {name: values.mean(axis=1) for name, values in measure(usable).items()}


def percentile_interval(values: NDArray[np.float64], subjects: int, *, level: float) -> Interval | None:
    """What holds the middle share ``level`` of ``(B,)`` draws, if there are enough draws and subjects for one."""
    if subjects < 2 or len(values) < _LEAST_REPLICATES:
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, replicates=len(values))


def draw_subjects(strata: Sequence[str], replicates: int, *, seed: int) -> NDArray[np.int64]:
    """``(B, S)``: how often each subject is drawn; arguments as of ``resample``."""
    random = np.random.default_rng(seed)
    names = np.array(strata)
    weights = np.zeros((replicates, len(names)), dtype=np.int64)
    for stratum in sorted(set(strata)):
        members = np.flatnonzero(names == stratum)
        weights[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), replicates)
    return weights
