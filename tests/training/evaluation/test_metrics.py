"""Metrics against scikit-learn and formulas written out; intervals and floors against simulation and counting."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score

from schemas.errors import ProtocolError
from training.evaluation.bootstrap import bootstrap_intervals
from training.evaluation.chance import majority_class, prior_guesser
from training.evaluation.metrics import METRICS, count_by_group, count_confusion, measure, score


@st.composite
def answers(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """True and predicted classes; every class has a clip, but may never be predicted."""
    classes = draw(st.integers(2, 6))
    extra = draw(st.lists(st.integers(0, classes - 1), max_size=40))
    true = np.array([*range(classes), *extra])
    predicted = draw(st.lists(st.integers(0, classes - 1), min_size=len(true), max_size=len(true)))
    return true, np.array(predicted), classes


@given(answers())
@settings(max_examples=60)
def test_scores_are_those_of_scikit_learn(made: tuple[NDArray[np.int64], NDArray[np.int64], int]) -> None:
    """UF1, UAR, accuracy, classes: as computed from the clips, not the matrix. Eq. 30 from macro P and R."""
    true, predicted, classes = made
    names = [f"c{k}" for k in range(classes)]
    scores = score(count_confusion(true, predicted, classes), names)
    options = {"labels": range(classes), "zero_division": 0}
    assert scores.uf1 == pytest.approx(f1_score(true, predicted, average="macro", **options))
    assert scores.uar == pytest.approx(recall_score(true, predicted, average="macro", **options))
    assert scores.accuracy == pytest.approx(accuracy_score(true, predicted))
    precision = precision_score(true, predicted, average="macro", **options)
    expected = 2 * precision * scores.uar / (precision + scores.uar) if precision + scores.uar else 0
    assert scores.macro_f1_eq30 == pytest.approx(expected)
    for name, function in {"precision": precision_score, "accuracy": recall_score, "f1": f1_score}.items():
        values = [getattr(c, name) for c in scores.classes]
        np.testing.assert_allclose(values, function(true, predicted, average=None, **options))
    for k, one in enumerate(scores.classes):
        assert one.true_positives == sum((true == k) & (predicted == k))
        assert one.false_positives == sum((true != k) & (predicted == k))
        assert one.false_negatives == sum((true == k) & (predicted != k)) == one.clips - one.true_positives
    np.testing.assert_allclose(np.sum(scores.confusion_percent, axis=1), 100)


@given(answers(), st.integers(0, 99))
@settings(max_examples=30)
def test_pooling_over_folds_is_scoring_all_at_once(
    made: tuple[NDArray[np.int64], NDArray[np.int64], int], seed: int
) -> None:
    """Sums of the folds' matrices are the whole's, also of folds that lack a class; each is scikit-learn's own."""
    true, predicted, classes = made
    folds = np.random.default_rng(seed).integers(0, 4, len(true))
    by_fold = count_by_group(true, predicted, folds, groups=5, classes=classes)
    np.testing.assert_array_equal(by_fold.sum(axis=0), count_confusion(true, predicted, classes))
    for fold in set(folds):
        mine = folds == fold
        np.testing.assert_array_equal(by_fold[fold], count_confusion(true[mine], predicted[mine], classes))
    assert not by_fold[4].any()


def test_a_worked_example() -> None:
    """TP 3, 1; FP 2, 1; FN 1, 2: by hand."""
    scores = score(np.array([[3, 1], [2, 1]]), ("a", "b"))
    assert scores.uf1 == pytest.approx((6 / 9 + 2 / 5) / 2)
    assert scores.uar == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert scores.accuracy == pytest.approx(4 / 7)
    recall, precision = (3 / 4 + 1 / 3) / 2, (3 / 5 + 1 / 2) / 2
    assert scores.macro_f1_eq30 == pytest.approx(2 * recall * precision / (recall + precision))
    assert scores.confusion_percent[0] == (75, 25)


def test_pooled_f1_is_not_the_mean_of_folds() -> None:
    """Two folds of one class each, all right but one: the mean of folds' F1 would be another number."""
    one, other = np.array([[4, 0], [0, 0]]), np.array([[0, 0], [1, 3]])
    assert score(one + other, ("a", "b")).uf1 == pytest.approx((8 / 9 + 6 / 7) / 2)


def test_a_class_without_clips_is_an_error() -> None:
    """Not zero, not left out of the mean."""
    with pytest.raises(ProtocolError, match="the test part: no clip of class b, c; a class without clips has no score"):
        score(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), ("a", "b", "c"), of="the test part")


@pytest.mark.parametrize("metric", METRICS)
def test_many_matrices_are_measured_at_once(metric: str) -> None:
    """Each as alone."""
    matrices = np.random.default_rng(0).integers(1, 9, (2, 5, 4, 4))
    found = measure(matrices)[metric]
    assert found.shape == (2, 5)
    for index in np.ndindex(2, 5):
        assert found[index] == pytest.approx(getattr(score(matrices[index], "abcd"), metric))


def test_bootstrap_is_deterministic_and_covers() -> None:
    """Equal seeds, equal intervals; of 60 samples of people, about 95 % of intervals hold the true UAR."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        skill = random.beta(6, 3, size=40)  # of each subject; the mean is 2/3
        right = random.binomial(6, skill[:, None], (40, 2))
        confusion = np.zeros((1, 40, 2, 2), dtype=np.int64)
        confusion[0, :, [0, 1], [0, 1]] = right.T
        confusion[0, :, [0, 1], [1, 0]] = 6 - right.T
        interval = bootstrap_intervals(confusion, ["d"] * 40, replicates=300)["uar"]
        assert interval == bootstrap_intervals(confusion, ["d"] * 40, replicates=300)["uar"]
        assert interval is not None
        held += interval.low <= 2 / 3 <= interval.high
    assert 52 <= held <= 60
    other = bootstrap_intervals(confusion, ["d"] * 40, replicates=300, seed=1)["uar"]
    assert other != interval


def test_bootstrap_leaves_out_what_has_no_score_and_says_how_much() -> None:
    """A class of one subject is missing from (1 - 1/10)^10 = 35 % of draws; of one subject there is no interval."""
    confusion = np.zeros((1, 10, 2, 2), dtype=np.int64)
    confusion[0, :, 0, 0] = 3
    confusion[0, 0, 1, 1] = 3
    interval = bootstrap_intervals(confusion, ["d"] * 10, replicates=2000)["uf1"]
    assert interval is not None
    assert interval.replicates == pytest.approx(2000 * (1 - 0.9**10), rel=0.05)
    assert set(bootstrap_intervals(confusion[:, :1], ["d"]).values()) == {None}


def test_bootstrap_is_of_the_mean_over_runs() -> None:
    """Of a run that is all right and one that is all wrong, every draw has the mean 1/2."""
    confusion = np.zeros((2, 6, 2, 2), dtype=np.int64)
    confusion[0, :, [0, 1], [0, 1]] = confusion[1, :, [0, 1], [1, 0]] = 2
    interval = bootstrap_intervals(confusion, ["d"] * 6, replicates=200)["uar"]
    assert interval is not None
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_bootstrap_keeps_each_datasets_number_of_subjects() -> None:
    """Classes that one subject of each dataset holds alone are in every draw."""
    confusion = np.zeros((1, 2, 2, 2), dtype=np.int64)
    confusion[0, 0, 0, 0] = confusion[0, 1, 1, 1] = 1
    interval = bootstrap_intervals(confusion, ["a", "b"], replicates=200)["uf1"]
    assert interval is not None
    assert interval.replicates == 200


def test_majority_class() -> None:
    """Of 6, 3, 1 clips, all called the first: F1 12/16, recall 1, 0, 0."""
    metrics = majority_class(np.array([6, 3, 1])).metrics
    assert metrics["uf1"].expected == pytest.approx(12 / 16 / 3)
    assert metrics["uar"].expected == pytest.approx(1 / 3)
    assert metrics["accuracy"].expected == pytest.approx(0.6)


def test_prior_guesser_is_exact() -> None:
    """Of 3 and 2 clips, the mean over all 32 guesses, each with its probability."""
    true, prior = np.array([0, 0, 0, 1, 1]), np.array([0.6, 0.4])
    expected = dict.fromkeys(("uf1", "uar", "accuracy", "macro_f1_eq30"), 0.0)
    for guess in itertools.product((0, 1), repeat=5):
        for name, value in measure(count_confusion(true, np.array(guess), 2)).items():
            expected[name] += float(prior[list(guess)].prod() * value)
    metrics = prior_guesser(np.array([3, 2])).metrics
    for name in ("uf1", "uar", "accuracy"):
        assert metrics[name].expected == pytest.approx(expected[name])
        assert metrics[name].method == "exact"
    assert metrics["macro_f1_eq30"].method == "simulation"
    assert metrics["macro_f1_eq30"].expected == pytest.approx(expected["macro_f1_eq30"], abs=0.01)


def test_prior_guesser_of_megc2019() -> None:
    """UF1 .331 as published for a guesser over 250, 109 and 83 clips; the range holds about 95 % of real guesses."""
    clips = np.array([250, 109, 83])
    floor = prior_guesser(clips).metrics["uf1"]
    assert floor.expected == pytest.approx(0.331, abs=0.003)
    random, true = np.random.default_rng(5), np.repeat(np.arange(3), clips)
    guesses = [random.choice(3, len(true), p=clips / 442) for _ in range(300)]
    scores = np.array([measure(count_confusion(true, guess, 3))["uf1"] for guess in guesses])
    assert 0.91 < ((scores >= floor.low) & (scores <= floor.high)).mean() < 0.99
    assert balanced_accuracy_score(true, guesses[0]) == pytest.approx(1 / 3, abs=0.1)
