"""The inflated score of the literature, for comparison alone: the best epoch of each fold by its test clips.

Nothing that trains, selects or reports a result reads this. Varanka et al., IEEE TAFFC 2024, measured how much it
adds; a random guesser reaches any score by it, given enough epochs.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictionsError
from schemas.model import Model
from training.evaluation.metrics import Scores, count_confusion, score
from training.evaluation.predictions import Predictions
from training.protocols.splits import Fold
from training.protocols.tasks import Selection


class LeakyScores(Model):
    """Scores that must never stand where a result stands; ``label`` must stand beside them."""

    label: Literal["leaky (for comparison with the literature)"] = "leaky (for comparison with the literature)"
    epochs: int
    scores: Scores


def leaky_best_epoch(epochs: Sequence[Predictions], selection: Selection, folds: Sequence[Fold]) -> LeakyScores:
    """Scores after choosing, for each fold, the epoch with the most right test clips (the first of equals).

    Args:
        epochs: of one run of one seed, each with all test clips.
        selection: with the labels.
        folds: whose test parts choose.

    Raises:
        PredictionsError: an epoch is not one complete set of one seed.
    """
    classes = selection.task.classes
    label_of = {clip.key: clip.label for clip in selection.clips}
    keys = [key for fold in folds for key in fold.test]
    answers = np.stack([_only_seed(epoch, classes, keys) for epoch in epochs])  # (K, N)
    labels = np.array([label_of[key] for key in keys])
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    start = 0
    for fold in folds:
        part = slice(start, start := start + len(fold.test))
        best = (answers[:, part] == labels[part]).sum(axis=1).argmax()
        confusion += count_confusion(labels[part], answers[best, part], len(classes))
    return LeakyScores(epochs=len(epochs), scores=score(confusion, classes))


def _only_seed(epoch: Predictions, classes: Sequence[str], keys: Sequence[str]) -> NDArray[np.int64]:
    by_seed = epoch.aligned(classes, keys)
    if len(by_seed) != 1:
        raise PredictionsError(f"{len(by_seed)} seeds in one epoch of one run; expected 1")
    answers: NDArray[np.int64] = next(iter(by_seed.values())).argmax(axis=1)
    return answers
