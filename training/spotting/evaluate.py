"""Score intervals against the recordings of a store: pooled over all videos, beside floors, with uncertainty."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import PredictionsError
from schemas.model import Model
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from training.evaluation.bootstrap import Interval, draw_subjects, percentile_interval
from training.evaluation.evaluate import synthetic_caveat
from training.spotting.floors import Floor, floors
from training.spotting.intervals import ClassOf, Recording, Spotted, emotion_of, read_intervals, recordings_of
from training.spotting.scores import (
    KINDS,
    Analysis,
    Boundaries,
    Operating,
    analysis,
    average_precision,
    boundaries,
    by_video,
    count,
    f1_of,
    matched,
    neutral_minutes,
    precision_recall,
)

_REPLICATES = 2000
_LEVEL = 0.95


class SpottingScore(Model):
    """Pooled counts of one kind of expression (both, micro, macro), all seeds together, and F1, the mean over seeds."""

    kind: str
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float
    recall: float
    f1: float
    f1_of_seeds: dict[int, float]
    interval: Interval | None


class SpottingResult(Model):
    """What intervals are worth on the recordings of a store.

    Attributes:
        recordings: long videos, those without any expression too.
        subjects: people in them.
        minutes: length of all of them.
        expressions: true intervals by kind.
        seeds: of the answers.
        scores: for micro and macro together and each alone.
        floors: what guesses reach.
        false_alarms_per_minute: false intervals a minute of video without an expression, the mean over seeds.
        boundaries: errors of the right intervals.
        analysis: of the classes, where the answers have any.
        strs: F1 of spotting times that of the analysis.
        precision_recall: over the score, of the first seed.
        average_precision: the area below that.
        caveats: what a reader must know.
    """

    recordings: int
    subjects: int
    minutes: float
    expressions: dict[str, int]
    seeds: tuple[int, ...]
    scores: tuple[SpottingScore, ...]
    floors: tuple[Floor, ...]
    false_alarms_per_minute: float
    boundaries: Boundaries | None
    analysis: Analysis | None
    strs: float | None
    precision_recall: tuple[Operating, ...]
    average_precision: float | None
    caveats: tuple[str, ...]


def evaluate_intervals(path: Path, stores: Sequence[StoreLocation]) -> SpottingResult:
    """Score a table of intervals.

    Raises:
        PredictionsError: the table or the stores cannot be used; the message says why.
    """
    recordings = recordings_of([Store.open(store) for store in stores])
    return evaluate(read_intervals(path, recordings), recordings)


def evaluate(
    spotted: Sequence[Spotted], recordings: Sequence[Recording], class_of: ClassOf = emotion_of
) -> SpottingResult:
    """Score intervals.

    Args:
        spotted: the answers.
        recordings: with their truth.
        class_of: the class of a true interval, from its video and label.

    Raises:
        PredictionsError: there is no true interval to be spotted.
    """
    if not any(recording.truth for recording in recordings):
        raise PredictionsError("the store's recordings have no intervals; there is nothing to score against")
    seeds = tuple(sorted({one.seed for one in spotted})) or (0,)
    answers = {seed: [one for one in spotted if one.seed == seed] for seed in seeds}
    counts = np.stack([count(recordings, by_video(answers[seed])) for seed in seeds])
    pairs = [pair for seed in seeds for pair in matched(recordings, by_video(answers[seed]))]
    scores = _scores(counts, seeds, recordings)
    named = (class_of(recording.key, one.label) for recording in recordings for one in recording.truth)
    found = analysis(pairs, {name for name in named if name}, class_of)
    curve = precision_recall(recordings, answers[seeds[0]])
    return SpottingResult(
        recordings=len(recordings),
        subjects=len({recording.subject for recording in recordings}),
        minutes=sum(recording.minutes for recording in recordings),
        expressions={
            kind: sum(kind in ("both", one.label.expression_type) for r in recordings for one in r.truth)
            for kind in KINDS
        },
        seeds=seeds,
        scores=scores,
        floors=floors(recordings),
        false_alarms_per_minute=float(
            counts[:, :, 0, 1].sum() / len(seeds) / max(neutral_minutes(recordings), 1e-9)
        ),
        boundaries=boundaries(pairs),
        analysis=found,
        strs=None if found is None else scores[0].f1 * found.f1,
        precision_recall=curve,
        average_precision=average_precision(curve),
        caveats=(*_synthetic(recordings), *_caveats(found, len(pairs), scores)),
    )  # fmt: skip


def _scores(
    counts: NDArray[np.int64], seeds: Sequence[int], recordings: Sequence[Recording]
) -> tuple[SpottingScore, ...]:
    """Of counts ``(R, V, K, 3)`` of seeds, recordings and kinds."""
    subjects = sorted({recording.subject for recording in recordings})
    of_subject = np.zeros((len(subjects), len(seeds), len(KINDS), 3))
    for column, recording in enumerate(recordings):
        of_subject[subjects.index(recording.subject)] += counts[:, column]
    strata = [subject.partition("/")[0] for subject in subjects]
    weights = draw_subjects(strata, _REPLICATES, seed=0).astype(np.float64)
    drawn = np.tensordot(weights, of_subject, 1)  # (B, R, K, 3)
    per_seed = f1_of(counts.sum(1))
    found = []
    for row, kind in enumerate(KINDS):
        tp, fp, fn = (int(value) for value in counts[:, :, row].sum((0, 1)))
        usable = (drawn[:, :, row, 0] + drawn[:, :, row, 2] > 0).all(1)  # with an expression to be spotted
        found.append(
            SpottingScore(
                kind=kind,
                true_positives=tp,
                false_positives=fp,
                false_negatives=fn,
                precision=tp / (tp + fp) if tp + fp else 0.0,
                recall=tp / (tp + fn) if tp + fn else 0.0,
                f1=float(per_seed[:, row].mean()),
                f1_of_seeds=dict(zip(seeds, per_seed[:, row].tolist(), strict=True)),
                interval=percentile_interval(f1_of(drawn[usable, :, row]).mean(1), len(subjects), level=_LEVEL),
            )
        )
    return tuple(found)


def _synthetic(recordings: Sequence[Recording]) -> list[str]:
    names = sorted({recording.key.split("/")[0] for recording in recordings if recording.synthetic})
    return [synthetic_caveat(names)] if names else []


def _caveats(found: Analysis | None, pairs: int, scores: Sequence[SpottingScore]) -> list[str]:
    caveats = []
    if found is not None and found.without_sample:
        caveats.append(
            f"classes left out of the analysis, since none of their intervals was spotted: "
            f"{', '.join(found.without_sample)}"
        )
    if found is not None and found.intervals < pairs:
        caveats.append(f"{pairs - found.intervals} right intervals have no class, and are not in the analysis")
    for one in scores:
        if one.true_positives + one.false_negatives == 0:
            caveats.append(f"the recordings have no {one.kind}-expression; its F1 says nothing")
    return caveats
