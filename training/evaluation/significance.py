"""Which of several models differ, tested on the clips and subjects that all of them answered.

Clips of one person are not independent, people are: differences are tested by subject, and McNemar's test of clips,
which the field reports, stands beside. A difference is tested by swapping, on a random half of the subjects, what the
two models answered: under the hypothesis that it does not matter which of them answered, every swap is as likely as
what was seen. Resampling says how large a difference is, but tests it badly where subjects are few: with 16 of them it
calls one in 100 pairs of equally good guessers different at the level of 1 in 2000 that one of 120 pairs must pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from training.evaluation.bootstrap import percentile_interval, resample
from training.evaluation.comparison import Difference, McNemar, Pair
from training.evaluation.metrics import count_by_group, measure
from training.protocols.tasks import LabelledClip

Probabilities = Mapping[str, Mapping[int, NDArray[np.float64]]]  # model -> seed -> (N, C), rows as the clips

TESTED = ("uf1", "uar")
_CHUNK = 1000  # swaps at once: 16 models' counts of eight classes are 25 MB a seed
_ROUNDING = 1e-9  # differences this close are equal


def compare_pairs(
    probabilities: Probabilities,
    clips: Sequence[LabelledClip],
    classes: int,
    *,
    replicates: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Pair, ...]:
    """Differences of every two models, each with its interval and tests; all p also corrected for their number.

    Args:
        probabilities: of each model, the same seeds for all.
        clips: the N test clips, in the rows' order.
        classes: C.
        replicates: resamplings for an interval and swaps for a test, the same ones for all pairs.
        seed: of both.
        level: of the intervals.

    Returns:
        In the order of the models, the earlier one first in its pair. The same clips in another order give the same.
    """
    subjects = sorted({clip.subject for clip in clips})
    models = [_Answers.of(by_seed, clips, subjects, classes) for by_seed in probabilities.values()]
    pairs = list(combinations(range(len(models)), 2))
    strata = [subject.split("/")[0] for subject in subjects]
    drawn = [resample(model.confusion, strata, replicates=replicates, seed=seed) for model in models]
    measured = [measure(model.confusion.sum(axis=1)) for model in models]
    observed = {m: np.array([(measured[a][m] - measured[b][m]).mean() for a, b in pairs]) for m in TESTED}
    reached = _swap([model.confusion for model in models], pairs, observed, replicates, seed)
    differences = {
        metric: [
            Difference(mean=mean, interval=interval, p=p, p_corrected=corrected)
            for mean, interval, p, corrected in zip(
                map(float, observed[metric]),
                (
                    percentile_interval(drawn[a][metric] - drawn[b][metric], len(subjects), level=level)
                    for a, b in pairs
                ),
                reached[metric],
                holm(reached[metric]),
                strict=True,
            )
        ]
        for metric in TESTED
    }
    tests = _mcnemar([(models[a].right, models[b].right) for a, b in pairs])
    names = list(probabilities)
    return tuple(
        Pair(
            first=names[a],
            second=names[b],
            differences={metric: found[index] for metric, found in differences.items()},
            mcnemar=tests[index],
        )
        for index, (a, b) in enumerate(pairs)
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction (1979): each p as large as it must be for a level to hold for all tests together."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1))
    return [float(value) for value in np.minimum(corrected, 1)]


@dataclass(frozen=True)
class _Answers:
    """One model's.

    Attributes:
        confusion: ``(R, S, C, C)`` counts of R seeds and S subjects.
        right: ``(N,) bool``, by the mean probabilities over seeds.
    """

    confusion: NDArray[np.int64]
    right: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        by_seed: Mapping[int, NDArray[np.float64]],
        clips: Sequence[LabelledClip],
        subjects: Sequence[str],
        classes: int,
    ) -> "_Answers":
        labels = np.array([clip.label for clip in clips])
        position = {subject: index for index, subject in enumerate(subjects)}
        whose = np.array([position[clip.subject] for clip in clips])
        runs = [
            count_by_group(labels, values.argmax(axis=1), whose, groups=len(subjects), classes=classes)
            for values in by_seed.values()
        ]
        mean = np.mean(list(by_seed.values()), axis=0)
        return cls(np.stack(runs), mean.argmax(axis=1) == labels)


def _swap(
    confusion: Sequence[NDArray[np.int64]],
    pairs: Sequence[tuple[int, int]],
    observed: Mapping[str, NDArray[np.float64]],
    replicates: int,
    seed: int,
) -> dict[str, list[float]]:
    """Metric -> p of each pair: the share of swaps whose difference is at least as large as the observed one.

    What was observed counts as one of the swaps, so that no p is 0.
    """
    random = np.random.default_rng(seed)
    as_large = {metric: np.ones(len(pairs)) for metric in observed}
    # Counts in float32 are exact, and multiply fast: (models, S, R C C).
    counts = np.stack([np.swapaxes(own, 0, 1) for own in confusion]).astype(np.float32)
    shape = (-1, *counts.shape[2:])
    whole = counts.sum(axis=1)
    flat = counts.reshape(*counts.shape[:2], -1)
    for start in range(0, replicates, _CHUNK):
        draws = random.integers(0, 2, (min(_CHUNK, replicates - start), counts.shape[1])).astype(np.float32)
        kept = [(draws @ own).reshape(shape) for own in flat]
        for index, (a, b) in enumerate(pairs):
            first = kept[a] + whole[b] - kept[b]  # a's answers where it was kept, b's elsewhere
            one, other = measure(first), measure(whole[a] + whole[b] - first)
            for metric, values in observed.items():
                difference = (one[metric] - other[metric]).mean(axis=1)
                as_large[metric][index] += (np.abs(difference) >= abs(values[index]) - _ROUNDING).sum()
    return {metric: [float(p) for p in found / (replicates + 1)] for metric, found in as_large.items()}


def _mcnemar(pairs: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> list[McNemar]:
    only = [(int((a & ~b).sum()), int((b & ~a).sum())) for a, b in pairs]
    p = [float(binomtest(first, first + second).pvalue) if first + second else 1.0 for first, second in only]
    return [
        McNemar(first_only=first, second_only=second, p=own, p_corrected=corrected)
        for (first, second), own, corrected in zip(only, p, holm(p), strict=True)
    ]
