"""Whether probabilities mean what they say, and what is gained by answering only where they are high."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.model import Model

_BINS = 10
_COVERAGES = (1.0, 0.8, 0.6, 0.4, 0.2)


class ReliabilityBin(Model):
    """Answers whose probability lies in (low, high]: how sure they were on average, and how many were right."""

    low: float
    high: float
    answers: int
    confidence: float
    accuracy: float


class SelectiveAccuracy(Model):
    """Share of right ones among the surest answers, so many of all."""

    coverage: float
    answers: int
    accuracy: float


class Calibration(Model):
    """Of the answers to all test clips, all seeds together.

    Attributes:
        expected_calibration_error: mean over answers of |accuracy - confidence| of their bin, ten of equal width
            (Guo et al., ICML 2017).
        confidence: mean probability of the class that was answered.
        accuracy: share of right ones.
        bins: those that hold an answer.
        selective: from all answers to the surest fifth.
    """

    expected_calibration_error: float
    confidence: float
    accuracy: float
    bins: tuple[ReliabilityBin, ...]
    selective: tuple[SelectiveAccuracy, ...]


def calibrate(probabilities: Sequence[NDArray[np.float64]], labels: NDArray[np.int64]) -> Calibration:
    """Judge probabilities by the true classes.

    Args:
        probabilities: ``(N, C)`` of each seed, of the same clips.
        labels: ``(N,)`` class indices.
    """
    stacked = np.concatenate(list(probabilities))
    confidence = stacked.max(axis=1)
    right = stacked.argmax(axis=1) == np.tile(labels, len(probabilities))
    edges = np.linspace(0, 1, _BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, _BINS - 1)
    bins = [
        ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            answers=int(own.sum()),
            confidence=float(confidence[own].mean()),
            accuracy=float(right[own].mean()),
        )
        for number in range(_BINS)
        if (own := place == number).any()
    ]
    surest = right[np.argsort(-confidence, kind="stable")]
    counts = [max(1, round(share * len(surest))) for share in _COVERAGES]
    return Calibration(
        expected_calibration_error=sum(b.answers * abs(b.accuracy - b.confidence) for b in bins) / len(right),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=tuple(bins),
        selective=tuple(
            SelectiveAccuracy(coverage=share, answers=count, accuracy=float(surest[:count].mean()))
            for share, count in zip(_COVERAGES, counts, strict=True)
        ),
    )
