"""What must be said of a run: its models learned nothing, or do not read what they are given, or had company."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from schemas.words import count
from training.evaluation.input_effects import INERT, FoldInputs, InputEffect, inert_inputs, input_effects
from training.evaluation.predictions import Predictions
from training.fit.epoch_metrics import read_metrics
from training.fit.folder import FoldFolder, FoldTime

_LEARNED = 0.03  # of accuracy on training clips, above the share of their largest class


def effects_of_inputs(
    folds: Sequence[FoldFolder], labels: Mapping[str, int], predictions: Predictions
) -> Iterator[InputEffect]:
    """What the inputs are worth; nothing where folds of an earlier version did not ask."""
    altered = [
        (fold.seed, FoldInputs.model_validate_json(fold.inputs.read_bytes())) for fold in folds if fold.inputs.is_file()
    ]
    answers = predictions.probabilities.argmax(axis=1)
    plain: dict[int, dict[str, int]] = {}
    for seed, clip, answer in zip(predictions.seeds, predictions.clips, answers.tolist(), strict=True):
        plain.setdefault(seed, {})[clip] = answer
    yield from input_effects(altered, plain, labels, len(predictions.classes))


def unread_inputs(effects: Sequence[InputEffect]) -> Iterator[str]:
    """A word on inputs that the models hardly read."""
    for name in inert_inputs(effects):
        yield (
            f"The models hardly read {name}: frozen or swapped with another clip's, it changes less than {INERT:.0%} "
            "of their answers. The score is that of the other inputs."
        )


def untaught_folds(folds: Sequence[FoldFolder], labels: Mapping[str, int]) -> Iterator[str]:
    """A word on finished folds that did not even learn their training clips; ``labels`` is clip key -> class index."""
    stuck = 0
    for fold in folds:
        counts = Counter(labels[key] for key in fold.fold.train)
        share = max(counts.values()) / counts.total()
        accuracy = max(float(line["accuracy"]) for line in read_metrics(fold.metrics))
        stuck += accuracy < share + _LEARNED
    if stuck:
        yield (
            f"In {stuck} of {count(len(folds), 'fold')} the model never did better on its own training clips than "
            "naming their largest class: it has learned nothing there, which is a matter of the recipe (learning rate, "
            "epochs, input), not a result about the data."
        )


def folds_in_company(folds: Sequence[FoldFolder]) -> Iterator[str]:
    """A word on finished folds that were trained together."""
    times = [fold.time.read_bytes() for fold in folds if fold.time.is_file()]  # of earlier versions there is none
    most = max((FoldTime.model_validate_json(text).together for text in times), default=1)
    if most > 1:
        yield (
            f"Up to {most} folds were trained in one pass (--together): trained alone they would end at weights that "
            "differ by rounding, and by the draws of dropout where the model has it."
        )
