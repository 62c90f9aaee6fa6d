"""Counts of right, false and missed intervals, and what follows from them (MEGC: IoU of at least 0.5, pooled)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.clip import ExpressionInterval
from schemas.model import Model
from training.spotting.intervals import ClassOf, Recording, Spotted, emotion_of
from training.spotting.matching import match

KINDS = ("both", "micro", "macro")
_MOST_THRESHOLDS = 200


@dataclass(frozen=True)
class Matched:
    """A true interval that was spotted, the answer, and the recording's frames per second."""

    truth: ExpressionInterval
    spotted: Spotted
    fps: float


class Operating(Model):
    """Precision and recall of the intervals with at least this score."""

    threshold: float
    precision: float
    recall: float


class Boundaries(Model):
    """Errors of the right intervals, ms: mean of the absolute value, and mean with its sign, late being positive."""

    onset_ms: float
    offset_ms: float
    onset_bias_ms: float
    offset_bias_ms: float


class Analysis(Model):
    """What the classes of the right intervals are worth.

    Attributes:
        f1: mean over classes of 2 TP / (2 TP + FP + FN).
        intervals: that were spotted rightly, have a true class, and were given one.
        classes: F1 of each class with a true interval among them.
        without_sample: classes that are left out, since none of their intervals was spotted.
    """

    f1: float
    intervals: int
    classes: dict[str, float]
    without_sample: tuple[str, ...]


def f1_of(counts: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """``2 TP / (2 TP + FP + FN)`` of counts ``(..., 3)``; 0 where there is neither an interval nor an answer."""
    tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    whole = 2 * tp + fp + fn
    return np.asarray(2 * tp / np.where(whole > 0, whole, 1), np.float64)


def by_video(spotted: Iterable[Spotted]) -> dict[str, list[Spotted]]:
    """The intervals of each recording."""
    found: dict[str, list[Spotted]] = {}
    for one in spotted:
        found.setdefault(one.video, []).append(one)
    return found


def count(recordings: Sequence[Recording], spotted: Mapping[str, Sequence[Spotted]]) -> NDArray[np.int64]:
    """``(V, 3, 3) int64``: for each recording and each of ``KINDS`` the right, false and missed intervals.

    Of one kind alone, only intervals of this kind are held against each other.
    """
    counts = np.zeros((len(recordings), len(KINDS), 3), np.int64)
    for row, recording in enumerate(recordings):
        answers = spotted.get(recording.key, ())
        for column, kind in enumerate(KINDS):
            truth = [one for one in recording.truth if kind in ("both", one.label.expression_type)]
            given = [one for one in answers if kind in ("both", one.type)]
            right = len(match(truth, given))
            counts[row, column] = right, len(given) - right, len(truth) - right
    return counts


def matched(recordings: Sequence[Recording], spotted: Mapping[str, Sequence[Spotted]]) -> list[Matched]:
    """All right intervals, whatever their kind."""
    return [
        Matched(recording.truth[t], spotted[recording.key][s], recording.fps)
        for recording in recordings
        if recording.key in spotted
        for t, s in match(recording.truth, spotted[recording.key])
    ]


def boundaries(pairs: Sequence[Matched]) -> Boundaries | None:
    """Errors of onset and offset; ``None`` where nothing was spotted rightly."""
    if not pairs:
        return None
    onset = np.array([(pair.spotted.onset - pair.truth.onset) / pair.fps for pair in pairs]) * 1000
    offset = np.array([(pair.spotted.offset - pair.truth.offset) / pair.fps for pair in pairs]) * 1000
    return Boundaries(
        onset_ms=float(np.abs(onset).mean()),
        offset_ms=float(np.abs(offset).mean()),
        onset_bias_ms=float(onset.mean()),
        offset_bias_ms=float(offset.mean()),
    )


def analysis(pairs: Sequence[Matched], classes: Iterable[str], class_of: ClassOf = emotion_of) -> Analysis | None:
    """Unweighted F1 over the classes of the right intervals; ``None`` where the answers have no classes.

    Args:
        pairs: the right intervals.
        classes: all that there are.
        class_of: the class of a true interval, from its video and label.
    """
    known = [(class_of(pair.spotted.video, pair.truth.label), pair.spotted.emotion) for pair in pairs]
    both = [(truth, given) for truth, given in known if truth is not None and given]
    if not both:
        return None
    present = sorted({truth for truth, _ in both})
    scores = {}
    for name in present:
        tp = sum(truth == given == name for truth, given in both)
        wrong = sum((truth == name) != (given == name) for truth, given in both)
        scores[name] = 2 * tp / (2 * tp + wrong)
    return Analysis(
        f1=float(np.mean(list(scores.values()))),
        intervals=len(both),
        classes=scores,
        without_sample=tuple(sorted(set(classes) - set(present))),
    )


def precision_recall(recordings: Sequence[Recording], spotted: Sequence[Spotted]) -> tuple[Operating, ...]:
    """Precision and recall from the highest score down; none where the answers have no scores.

    The intervals above each threshold are matched anew. Of more than 200 different scores, evenly ranked ones.
    """
    scores = np.array([one.score for one in spotted])
    if not len(scores) or np.isnan(scores).any():
        return ()
    distinct = np.unique(scores)[::-1]
    if len(distinct) > _MOST_THRESHOLDS:
        distinct = distinct[np.linspace(0, len(distinct) - 1, _MOST_THRESHOLDS).round().astype(int)]
    curve = []
    for threshold in distinct:
        kept = by_video(one for one in spotted if one.score >= threshold)
        tp, fp, fn = count(recordings, kept)[:, 0].sum(0)
        recall = float(tp / (tp + fn)) if tp + fn else 0.0
        curve.append(Operating(threshold=float(threshold), precision=float(tp / (tp + fp)), recall=recall))
    return tuple(curve)


def average_precision(curve: Sequence[Operating]) -> float | None:
    """Precision, averaged over the steps of recall; ``None`` without a curve."""
    if not curve:
        return None
    recall = np.array([point.recall for point in curve])
    precision = np.array([point.precision for point in curve])
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def neutral_minutes(recordings: Iterable[Recording]) -> float:
    """Minutes of video with no expression; frames of several expressions count once."""
    minutes = 0.0
    for recording in recordings:
        busy = np.zeros(recording.last - recording.first + 1, bool)
        for one in recording.truth:
            busy[max(0, one.onset - recording.first) : max(0, one.offset - recording.first + 1)] = True
        minutes += float((~busy).sum() / recording.fps / 60)
    return minutes
