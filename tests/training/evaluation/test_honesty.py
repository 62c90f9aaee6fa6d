"""A random guesser stays at chance however long it trains; only the leaky score rises, and it says what it is."""

import inspect

import numpy as np
import pytest
from pydantic import ValidationError

from schemas.errors import PredictionsError
from tests.training.evaluation.leaky import LeakyScores, leaky_best_epoch
from tests.training.labelled_manifests import casme2, samm, smic
from training.evaluation.chance import prior_guesser
from training.evaluation.evaluate import evaluate
from training.evaluation.predictions import Predictions, concatenate
from training.evaluation.result import EvaluationResult
from training.protocols.protocol import find_protocol
from training.protocols.splits import Fold, make_folds
from training.protocols.tasks import select_clips

PROTOCOL = find_protocol("megc2019")
MANIFESTS = [casme2(), samm(), smic()]
SELECTION = select_clips(PROTOCOL.task, MANIFESTS)
FOLDS = make_folds(PROTOCOL.split, SELECTION.clips, validation=0.2)
LABEL = {clip.key: clip.label for clip in SELECTION.clips}
PRIOR = np.bincount(SELECTION.labels) / len(SELECTION.labels)
CHANCE = prior_guesser(np.bincount(SELECTION.labels)).metrics["uf1"]


def guess(random: np.random.Generator, keys: tuple[str, ...]) -> np.ndarray:
    """``(N, 3)`` probabilities whose largest is drawn with the classes' shares."""
    return (np.eye(3)[random.choice(3, len(keys), p=PRIOR)] + 0.1) / 1.3


def guesser_run(fold: Fold, epochs: int, seed: int) -> Predictions:
    """A fold of a model that learns nothing, with early stopping: best epoch on validation, test seen once."""
    random = np.random.default_rng([seed, FOLDS.index(fold)])
    assert fold.validation is not None
    truth = np.array([LABEL[key] for key in fold.validation])
    guesses = random.choice(3, (epochs, len(truth)), p=PRIOR)
    best = int((guesses == truth).mean(axis=1).argmax())
    of_best_epoch = np.random.default_rng([seed, FOLDS.index(fold), best + 1])
    rows = len(fold.test)
    return Predictions(
        PROTOCOL.task.classes, fold.test, (fold.name,) * rows, (seed,) * rows, guess(of_best_epoch, fold.test)
    )


@pytest.mark.parametrize("epochs", [1, 10, 50])
def test_a_guesser_stays_at_chance_for_any_number_of_epochs(epochs: int) -> None:
    """Early stopping on other subjects finds nothing: the seeds scatter about the floor as single guesses do."""
    runs = concatenate(guesser_run(fold, epochs, seed) for seed in range(12) for fold in FOLDS)
    headline = evaluate(runs, MANIFESTS, PROTOCOL).headline
    scores = np.array([scores.uf1 for scores in headline.seeds.values()])
    assert headline.metrics["uf1"].mean == pytest.approx(CHANCE.expected, abs=0.02)  # 3 standard errors
    assert ((scores >= CHANCE.low) & (scores <= CHANCE.high)).mean() >= 0.75
    assert headline.metrics["uar"].mean == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(("epochs", "published"), [(1, 0.331), (10, 0.584), (50, 0.712)])
def test_the_leaky_score_reproduces_the_published_inflation(epochs: int, published: float) -> None:
    """Varanka et al.: a guesser that keeps each subject's best of K epochs, over 68 subjects in three classes."""
    found = [leaky_guesser(epochs, seed) for seed in range(3)]
    assert np.mean([leaky.scores.uf1 for leaky in found]) == pytest.approx(published, abs=0.04)
    assert found[0].label == "leaky (for comparison with the literature)"
    assert found[0].epochs == epochs


def leaky_guesser(epochs: int, seed: int) -> LeakyScores:
    random = np.random.default_rng([epochs, seed])
    keys = tuple(key for fold in FOLDS for key in fold.test)
    folds = tuple(fold.name for fold in FOLDS for _ in fold.test)
    made = [
        Predictions(PROTOCOL.task.classes, keys, folds, (seed,) * len(keys), guess(random, keys)) for _ in range(epochs)
    ]
    return leaky_best_epoch(made, SELECTION, FOLDS)


def test_epochs_cannot_reach_the_evaluation() -> None:
    """Two epochs of one run are doubled clips; as two seeds they are averaged, never chosen among."""
    random = np.random.default_rng(0)
    keys = tuple(key for fold in FOLDS for key in fold.test)
    folds = tuple(fold.name for fold in FOLDS for _ in fold.test)
    one, other = (
        Predictions(PROTOCOL.task.classes, keys, folds, (seed,) * len(keys), guess(random, keys)) for seed in (0, 1)
    )
    again = Predictions(other.classes, other.clips, other.folds, one.seeds, other.probabilities)
    with pytest.raises(PredictionsError, match=r"doubled: .* expected each clip once a seed"):
        concatenate([one, again])
    both = evaluate(concatenate([one, other]), MANIFESTS, PROTOCOL).headline.metrics["uf1"].mean
    single = [evaluate(p, MANIFESTS, PROTOCOL).headline.metrics["uf1"].mean for p in (one, other)]
    assert both == pytest.approx(np.mean(single))
    assert not [name for name in inspect.signature(evaluate).parameters if "epoch" in name]


def test_a_leaky_score_is_no_result() -> None:
    """It cannot be read as an evaluation, nor be given another label; and it takes one run only."""
    leaky = leaky_guesser(2, 0)
    with pytest.raises(ValidationError):
        EvaluationResult.model_validate(leaky.model_dump())
    with pytest.raises(ValidationError, match="label"):
        LeakyScores(label="result", epochs=2, scores=leaky.scores)
    runs = concatenate(guesser_run(fold, 1, seed) for seed in (0, 1) for fold in FOLDS)
    with pytest.raises(PredictionsError, match="2 seeds in one epoch of one run; expected 1"):
        leaky_best_epoch([runs], SELECTION, FOLDS)
