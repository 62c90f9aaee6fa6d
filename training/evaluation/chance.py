"""Floors: what is reached without looking at a clip. A result that is not above them is none."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from schemas.model import Model
from training.evaluation.metrics import METRICS, measure

_DRAWS = 10_000


class ChanceScore(Model):
    """A metric's expected value, how it was computed, and where 95 % of single guesses lie."""

    expected: float
    method: Literal["exact", "simulation"]
    low: float
    high: float


class ChanceLevel(Model):
    """One way of guessing."""

    name: Literal["majority class", "class-prior guesser"]
    metrics: dict[str, ChanceScore]


def majority_class(class_clips: NDArray[np.int64]) -> ChanceLevel:
    """The largest class for every clip. ``class_clips`` is ``(C,)``."""
    confusion = np.zeros((len(class_clips), len(class_clips)), dtype=np.int64)
    confusion[:, class_clips.argmax()] = class_clips
    return ChanceLevel(
        name="majority class",
        metrics={
            name: ChanceScore(expected=float(value), method="exact", low=float(value), high=float(value))
            for name, value in measure(confusion).items()
        },
    )


def prior_guesser(class_clips: NDArray[np.int64], *, seed: int = 0) -> ChanceLevel:
    """Each clip a class drawn with the classes' own shares.

    UF1, UAR and accuracy are exact expectations, Eq. 30's F1 and all ranges come from 10,000 simulated guesses.
    """
    random = np.random.default_rng(seed)
    prior = class_clips / class_clips.sum()
    guesses = np.stack([random.multinomial(clips, prior, _DRAWS) for clips in class_clips], axis=1)  # (draws, C, C)
    simulated = measure(guesses)
    exact = _expectations(class_clips)
    metrics = {}
    for name in METRICS:
        low, high = np.quantile(simulated[name], [0.025, 0.975])
        metrics[name] = ChanceScore(
            expected=exact.get(name, float(simulated[name].mean())),
            method="exact" if name in exact else "simulation",
            low=float(low),
            high=float(high),
        )
    return ChanceLevel(name="class-prior guesser", metrics=metrics)


def _expectations(class_clips: NDArray[np.int64]) -> dict[str, float]:
    # Of a class with n of N clips, m ~ Bin(N, n/N) clips get its name, and given m, m n/N of them rightly on average:
    # E[F1] = sum over m of P(m) 2 (m n/N) / (n + m).
    total = int(class_clips.sum())
    prior = class_clips / total
    named = np.arange(total + 1)
    f1 = [
        float((binom.pmf(named, total, share) * 2 * named * share / (clips + named)).sum())
        for clips, share in zip(class_clips, prior, strict=True)
    ]
    return {"uf1": float(np.mean(f1)), "uar": 1 / len(class_clips), "accuracy": float((prior**2).sum())}
