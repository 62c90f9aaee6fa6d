"""Metrics of a confusion matrix that is pooled over folds. Never a mean of scores of folds.

Arrays of matrices ``(..., C, C)``, rows true and columns predicted, are measured at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from schemas.errors import ProtocolError
from schemas.model import Model

METRICS = ("uf1", "uar", "accuracy", "macro_f1_eq30")
METRIC_TITLES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy", "macro_f1_eq30": "macro-F1 (Eq. 30)"}


class ClassScores(Model):
    """Pooled counts and scores of one class. ``accuracy`` is that of its clips, that is, recall.

    ``precision`` of a class that was never predicted is 0.
    """

    name: str
    clips: int
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float
    accuracy: float
    f1: float


class Scores(Model):
    """What one confusion matrix says.

    Attributes:
        confusion: counts, rows true and columns predicted, in the order of ``classes``.
        confusion_percent: of each row.
        uf1: mean over classes of 2 TP / (2 TP + FP + FN).
        uar: mean over classes of TP / N.
        accuracy: right ones of all clips.
        macro_f1_eq30: harmonic mean of macro precision and macro recall, the paper's Eq. 30.
    """

    clips: int
    confusion: tuple[tuple[int, ...], ...]
    confusion_percent: tuple[tuple[float, ...], ...]
    classes: tuple[ClassScores, ...]
    uf1: float
    uar: float
    accuracy: float
    macro_f1_eq30: float


def count_confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """``(C, C) int64`` counts of ``(N,)`` true (rows) and predicted (columns) class indices."""
    counts: NDArray[np.int64] = confusion_matrix(labels, predicted, labels=range(classes)).astype(np.int64)
    return counts


def count_by_group(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], group: NDArray[np.int64], *, groups: int, classes: int
) -> NDArray[np.int64]:
    """``(G, C, C) int64``: ``count_confusion`` of each group, at once; ``group`` is ``(N,)`` indices below G."""
    counts = np.zeros((groups, classes, classes), dtype=np.int64)
    np.add.at(counts, (group, labels, predicted), 1)
    return counts


def measure(confusion: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """``METRICS`` of ``(..., C, C)`` counts, each of shape ``(...)``; every class must have a clip.

    UF1 and UAR as in MEGC 2019 and the paper's Eqs. 31 and 32. What divides by no prediction at all is 0.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    true, predicted = confusion.sum(-1), confusion.sum(-2)
    recall = (hits / true).mean(-1)
    precision = (hits / np.maximum(predicted, 1)).mean(-1)
    both = recall + precision
    return {
        "uf1": (2 * hits / (true + predicted)).mean(-1),
        "uar": recall,
        "accuracy": hits.sum(-1) / true.sum(-1),
        "macro_f1_eq30": 2 * recall * precision / np.where(both > 0, both, 1),
    }


def score(confusion: NDArray[np.int64], classes: Sequence[str], *, of: str = "the clips") -> Scores:
    """Scores of one ``(C, C)`` matrix of pooled counts.

    Args:
        confusion: rows true, columns predicted.
        classes: their names.
        of: what was scored, for the message.

    Raises:
        ProtocolError: a class has no clip; its recall does not exist, and 0 would be a lie.
    """
    true, predicted, hits = confusion.sum(1), confusion.sum(0), np.diagonal(confusion)
    absent = [name for name, clips in zip(classes, true, strict=True) if clips == 0]
    if absent:
        raise ProtocolError(f"{of}: no clip of class {', '.join(absent)}; a class without clips has no score")
    per_class = tuple(
        ClassScores(
            name=name,
            clips=int(true[k]),
            true_positives=int(hits[k]),
            false_positives=int(predicted[k] - hits[k]),
            false_negatives=int(true[k] - hits[k]),
            precision=float(hits[k] / max(predicted[k], 1)),
            accuracy=float(hits[k] / true[k]),
            f1=float(2 * hits[k] / (true[k] + predicted[k])),
        )
        for k, name in enumerate(classes)
    )
    return Scores(
        clips=int(confusion.sum()),
        confusion=tuple(tuple(map(int, row)) for row in confusion),
        confusion_percent=tuple(tuple(map(float, row)) for row in 100 * confusion / true[:, None]),
        classes=per_class,
        **{name: float(value) for name, value in measure(confusion).items()},
    )
