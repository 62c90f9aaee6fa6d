"""Tests between models: the values of the books, nothing found between equals, what is planted is found."""

from collections.abc import Mapping
from math import comb

import numpy as np
import pytest

from tests.training.labelled_manifests import casme2, smic
from training.evaluation.bootstrap import bootstrap_intervals
from training.evaluation.metrics import count_by_group, measure
from training.evaluation.significance import compare_pairs, holm
from training.protocols.protocol import find_protocol
from training.protocols.tasks import LabelledClip, select_clips

Answers = Mapping[int, np.ndarray]


def select(name: str) -> tuple[tuple[LabelledClip, ...], int]:
    """Test clips and number of classes."""
    task = find_protocol(name).task
    return select_clips(task, [{"casme2-5": casme2, "smic-3": smic}[name]()]).clips, len(task.classes)


def answer(clips: tuple[LabelledClip, ...], classes: int, skill: float, *seeds: int) -> Answers:
    """Probabilities that name the true class as often as ``skill`` says, else any with the classes' shares."""
    labels = np.array([clip.label for clip in clips])
    prior = np.bincount(labels) / len(labels)
    found = {}
    for seed in seeds:
        random = np.random.default_rng(seed)
        named = np.where(random.random(len(clips)) < skill, labels, random.choice(classes, len(clips), p=prior))
        found[seed] = (random.dirichlet(np.ones(classes), len(clips)) + 2 * np.eye(classes)[named]) / 3
    return found


def few(right: Mapping[str, str]) -> tuple[dict[str, Answers], list[LabelledClip]]:
    """Models whose right clips are 1 in a text, a clip a letter, and a subject a word."""
    words = next(iter(right.values())).split()
    clips = [LabelledClip(f"d/s{s}/c{c}", c % 2) for s, word in enumerate(words) for c in range(len(word))]
    labels = np.array([clip.label for clip in clips])
    hits = {name: np.array([int(letter) for letter in text.replace(" ", "")]) for name, text in right.items()}
    return {name: {0: np.eye(2)[np.where(hit, labels, 1 - labels)]} for name, hit in hits.items()}, clips


def test_mcnemar_by_hand() -> None:
    """One clip that the first alone got right, five that the second alone did: p = 2 (1 + 6) / 2^6."""
    answers, clips = few({"a": "1000 0011", "b": "0111 1111"})
    (pair,) = compare_pairs(answers, clips, 2, replicates=200)
    assert (pair.first, pair.second) == ("a", "b")
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (1, 5)
    assert pair.mcnemar.p == pytest.approx(2 * (comb(6, 0) + comb(6, 1)) / 2**6)
    assert pair.mcnemar.p_corrected == pair.mcnemar.p


def test_mcnemar_takes_the_mean_over_seeds() -> None:
    """A clip that two weak answers of three get wrong and a sure one right is right."""
    clips = [LabelledClip(f"d/s{i}/c", i % 2) for i in range(4)]
    right, labels = np.array([0.9, 0.4, 0.4]), np.array([0, 1, 0, 1])
    sure = {seed: np.where(np.eye(2)[labels] == 1, p, 1 - p) for seed, p in enumerate(right)}
    wrong = {seed: np.eye(2)[1 - labels] for seed in range(3)}
    (pair,) = compare_pairs({"sure": sure, "wrong": wrong}, clips, 2, replicates=100)
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (4, 0)


def test_holms_correction_of_known_values() -> None:
    """The usual example of four tests; never smaller than a more significant one; never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5, 0.02]) == pytest.approx([1, 1, 0.06])
    assert holm([]) == []


def test_two_equal_models_do_not_differ() -> None:
    """Every p is 1, every interval nothing but 0."""
    clips, classes = select("casme2-5")
    one = answer(clips, classes, 0.5, 1, 2)
    (pair,) = compare_pairs({"one": one, "same": one}, clips, classes, replicates=300)
    for difference in pair.differences.values():
        assert (difference.mean, difference.p, difference.p_corrected) == (0, 1, 1)
        assert difference.interval is not None
        assert (difference.interval.low, difference.interval.high) == (0, 0)
    assert (pair.mcnemar.p, pair.mcnemar.first_only, pair.mcnemar.second_only) == (1, 0, 0)


def test_a_planted_difference_is_found_and_no_other() -> None:
    """One good model of six among guessers: its pairs pass the correction for all fifteen, no other pair does."""
    clips, classes = select("casme2-5")
    skills = {"good": 0.6} | {f"guesser {i}": 0.0 for i in range(5)}
    answers = {
        name: answer(clips, classes, skill, 10 * i, 10 * i + 1) for i, (name, skill) in enumerate(skills.items())
    }
    pairs = compare_pairs(answers, clips, classes, replicates=3000)
    assert [(pair.first, pair.second) for pair in pairs][:5] == [("good", f"guesser {i}") for i in range(5)]
    for pair in pairs:
        for difference in pair.differences.values():
            assert difference.interval is not None
            if pair.first == "good":
                assert difference.p_corrected < 0.05
                assert difference.interval.low > 0
            else:
                assert difference.p_corrected > 0.05
            assert difference.p_corrected >= difference.p > 0
            assert difference.interval.low <= difference.mean <= difference.interval.high


def test_the_difference_is_that_of_the_models_own_scores() -> None:
    """Mean over seeds, as in each model's result; the interval's draws are the same for both."""
    clips, classes = select("smic-3")
    answers = {"a": answer(clips, classes, 0.5, 1, 2), "b": answer(clips, classes, 0.2, 3, 4)}
    subjects = sorted({clip.subject for clip in clips})
    whose, labels = (np.array(v) for v in ([subjects.index(c.subject) for c in clips], [c.label for c in clips]))
    counts = {
        name: np.stack(
            [count_by_group(labels, p.argmax(1), whose, groups=len(subjects), classes=classes) for p in runs.values()]
        )
        for name, runs in answers.items()
    }
    (pair,) = compare_pairs(answers, clips, classes, replicates=1000)
    own = {name: bootstrap_intervals(of, ["smic-hs"] * len(subjects)) for name, of in counts.items()}
    for metric, difference in pair.differences.items():
        a, b = (measure(of.sum(1))[metric].mean() for of in counts.values())
        assert difference.mean == pytest.approx(a - b)
        assert difference.interval is not None
        both = sum(i.high - i.low for i in (own["a"][metric], own["b"][metric]) if i is not None)
        assert 0 < difference.interval.high - difference.interval.low < both


@pytest.mark.parametrize("name", ["casme2-5", "smic-3"])
def test_equally_good_models_are_called_different_as_often_as_the_level_says(name: str) -> None:
    """Of 120 pairs of guessers one in ten at a level of 10 %, half at 50 %, in UF1; more often would be a lie."""
    clips, classes = select(name)
    p = []
    for m in range(120):
        answers = {
            "a": answer(clips, classes, 0.2, 4 * m, 4 * m + 1),
            "b": answer(clips, classes, 0.2, 4 * m + 2, 4 * m + 3),
        }
        (pair,) = compare_pairs(answers, clips, classes, replicates=200, seed=m)
        p.append(pair.differences["uf1"].p)
    assert 0.04 < np.mean(np.array(p) <= 0.1) < 0.18
    assert 0.38 < np.mean(np.array(p) <= 0.5) < 0.62


def test_the_order_of_clips_does_not_matter() -> None:
    """Nor that of their rows, as long as they go together."""
    clips, classes = select("smic-3")
    answers = {name: answer(clips, classes, skill, 1, 2) for name, skill in (("a", 0.5), ("b", 0.3), ("c", 0.2))}
    order = np.random.default_rng(0).permutation(len(clips))
    moved = {name: {seed: values[order] for seed, values in runs.items()} for name, runs in answers.items()}
    shuffled = [clips[i] for i in order]
    assert compare_pairs(answers, clips, classes, replicates=500) == compare_pairs(
        moved, shuffled, classes, replicates=500
    )


def test_two_subjects_have_no_small_p() -> None:
    """Four swaps, of which two are as large: nothing can be significant, whatever the clips say."""
    answers, clips = few({"a": "11111111 11111111", "b": "00000000 00000000"})
    (pair,) = compare_pairs(answers, clips, 2, replicates=2000)
    assert pair.differences["uf1"].mean == 1
    assert pair.differences["uf1"].p == pytest.approx(0.5, abs=0.05)
    assert pair.mcnemar.p < 0.001
    (alone,) = compare_pairs(*few({"a": "1111", "b": "0000"}), 2, replicates=200)
    assert alone.differences["uf1"].interval is None
    assert alone.differences["uf1"].p == 1
