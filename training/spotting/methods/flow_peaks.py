"""``flow-peaks``: an expression is where the face is somewhere else than shortly before and shortly after.

The classic of the field, in the way of Moilanen et al. (ICPR 2014: difference against the mean of an earlier and a
later frame) and He et al. (FG 2020: optical flow in regions of the face), smoothed by Savitzky-Golay. All that is
learnt from the intervals of training subjects, for micro- and macro-expressions each, is how far to look, how high a
peak must be and how far beyond its flanks the interval goes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import find_peaks, peak_widths, savgol_filter

from schemas.clip import ExpressionInterval
from schemas.errors import PredictionsError, RunFolderError
from schemas.labels import ExpressionType
from schemas.model import Model
from schemas.output import write_text
from training.spotting.config import SpotConfig
from training.spotting.course import Course, Observer
from training.spotting.intervals import Recording, Spotted, apart
from training.spotting.matching import match, overlaps
from training.spotting.method import METHODS, Curve
from training.spotting.scores import f1_of

_LARGEST = 3  # regions whose mean counts: an expression moves few
_FLANK = 0.75  # share of a peak's height, from its top, at which its flanks are taken to end
_BEYOND = (0.0, 0.25, 0.5, 0.75, 1.0)  # lags that are tried: the curve is 0 already where half of the way is gone
_HEIGHTS = 60  # thresholds that are tried
_MOST_A_TRUE_ONE = 3  # peaks
_LEAST = 0.5  # height of a peak that is looked at
_KINDS: tuple[ExpressionType, ...] = get_args(ExpressionType)
_FILE = "rules.json"


class PeakRule(Model):
    """What a peak of one kind is.

    Attributes:
        lag: s to the earlier and the later frame; half the median length of the training intervals.
        height: least height of the curve.
        beyond: lags by which the interval goes on beyond the flanks of its peak, on both sides.
    """

    lag: float
    height: float
    beyond: float


@METHODS.register("flow-peaks")
class FlowPeaks(Model):
    """The rules of both kinds; ``None`` for a kind that no training subject shows."""

    seeded: ClassVar[bool] = False
    reads_fields: ClassVar[bool] = False
    micro: PeakRule | None = None
    macro: PeakRule | None = None

    @classmethod
    def fit(
        cls, courses: Mapping[str, Course], recordings: Sequence[Recording], config: SpotConfig, *, seed: int
    ) -> Self:
        """The rules with the highest F1 of each kind on these recordings.

        Args:
            courses: key -> course, for each of the recordings.
            recordings: of training subjects.
            config: has nothing that these rules depend on.
            seed: the same.

        Raises:
            PredictionsError: they hold no expression.
        """
        rules = {kind: _fit_kind(courses, recordings, kind) for kind in _KINDS}
        if not any(rules.values()):
            raise PredictionsError("the training recordings hold no expression to learn from")
        return cls(micro=rules["micro"], macro=rules["macro"])

    def observer(self, fps: float) -> Observer | None:
        """None: the positions of the regions are enough."""
        return None

    def spot(self, course: Course) -> list[Spotted]:
        """The expressions of a recording; ``score`` is a peak's height over the least one of its kind.

        Where intervals of both kinds share at least half of the shorter one, the one with the higher score stays.
        """
        return apart(
            one for kind, rule in self.rules().items() for one in _peaks(course, curve(course, rule.lag), kind, rule)
        )

    def curves(self, course: Course) -> list[Curve]:
        """Each kind's curve over its least height."""
        return [Curve(kind, curve(course, rule.lag) / rule.height) for kind, rule in self.rules().items()]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write ``rules.json``."""
        write_text(folder / _FILE, self.model_dump_json(indent=1) + "\n")
        return (folder / _FILE,)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``rules.json``.

        Raises:
            RunFolderError: it is not there, or no rules.
        """
        try:
            return cls.model_validate_json((folder / _FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise RunFolderError(f"{folder / _FILE}: no rules that this version reads; run `mer spot` again") from error

    def rules(self) -> dict[ExpressionType, PeakRule]:
        """Kind -> its rule."""
        found: dict[ExpressionType, PeakRule | None] = {"micro": self.micro, "macro": self.macro}
        return {kind: rule for kind, rule in found.items() if rule is not None}


def curve(course: Course, lag: float) -> NDArray[np.float64]:
    """How far the face is from where it was before and will be after, ``(T,) float64``; 0 without a face.

    With ``a = p(t) - p(t - lag)`` and ``b = p(t) - p(t + lag)`` it is the root of their product where that is positive:
    what comes and goes in one direction counts, a step or a drift does not. The mean of the three regions with the
    largest value is smoothed and divided by how far regions usually are from where they were (the same mean of ``|a|``,
    its median in the recording). At the ends of a segment its first and last frame stand for those beyond.
    """
    frames = max(1, round(lag * course.fps))
    found, usual = np.zeros(len(course.positions)), np.zeros(len(course.positions))
    for start, stop in _stretches(np.asarray(np.isfinite(course.positions).all((1, 2)))):
        part = course.positions[start:stop].astype(np.float64)
        at = np.arange(len(part))
        earlier, later = part[np.maximum(at - frames, 0)], part[np.minimum(at + frames, len(part) - 1)]
        together = ((part - earlier) * (part - later)).sum(2)
        sizes = _largest(np.sqrt(np.maximum(together, 0)))
        usual[start:stop] = _largest(np.linalg.norm(part - earlier, axis=2))
        window = min(2 * (frames // 2) + 1, len(part) - 1 + len(part) % 2)
        found[start:stop] = savgol_filter(sizes, window, 2, mode="nearest") if window > 2 else sizes
    seen = usual[usual > 0]
    return np.maximum(found, 0) / np.median(seen) if len(seen) else found


def _largest(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(T, R)`` to ``(T,)``: the mean of the three regions with the largest value."""
    return np.asarray(np.sort(sizes, axis=1)[:, -_LARGEST:].mean(1), np.float64)


def _fit_kind(courses: Mapping[str, Course], recordings: Sequence[Recording], kind: ExpressionType) -> PeakRule | None:
    truth = {r.key: [one for one in r.truth if one.label.expression_type == kind] for r in recordings}
    seconds = [(one.offset - one.onset + 1) / r.fps for r in recordings for one in truth[r.key]]
    if not seconds:
        return None
    lag = float(np.median(seconds)) / 2
    curves = {r.key: curve(courses[r.key], lag) for r in recordings}
    best, best_score = PeakRule(lag=lag, height=float("inf"), beyond=0.0), (-1.0, 0.0)
    for beyond in _BEYOND:
        lowest = PeakRule(lag=lag, height=_LEAST, beyond=beyond)
        found = {key: _peaks(courses[key], values, kind, lowest) for key, values in curves.items()}
        scores = np.array([one.score for spotted in found.values() for one in spotted]) * _LEAST
        for height in _heights(scores, len(seconds)):
            if (score := _f1_and_overlap(truth, found, height)) > best_score:
                lower, upper = scores[scores < height], scores[scores >= height]
                middle = (max(lower, default=upper.min()) + upper.min()) / 2  # of the gap: all in it are equally good
                best, best_score = PeakRule(lag=lag, height=float(middle), beyond=beyond), score
    return best


def _heights(scores: NDArray[np.float64], expressions: int) -> NDArray[np.float64]:
    """Heights to try, of the peaks' own: of the highest, up to three an expression, since more make a poor F1."""
    highest = np.unique(scores)[::-1][: _MOST_A_TRUE_ONE * expressions]
    if not len(highest):
        return highest
    ranks = np.unique(np.linspace(0, len(highest) - 1, _HEIGHTS).round().astype(int))
    return np.asarray(highest[ranks], np.float64)


def _f1_and_overlap(
    truth: Mapping[str, Sequence[ExpressionInterval]], found: Mapping[str, Sequence[Spotted]], height: float
) -> tuple[float, float]:
    """F1 of the peaks from a height on, and the mean overlap of the right ones."""
    counts, common = np.zeros(3), [0.0]
    for key, spotted in found.items():
        high = [one for one in spotted if one.score * _LEAST >= height]
        pairs, iou = match(truth[key], high), overlaps(truth[key], high)
        counts += len(pairs), len(high) - len(pairs), len(truth[key]) - len(pairs)
        common += [float(iou[pair]) for pair in pairs]
    return float(f1_of(counts)), sum(common) / max(1, len(common) - 1)


def _peaks(course: Course, values: NDArray[np.float64], kind: ExpressionType, rule: PeakRule) -> list[Spotted]:
    apart = max(1, round(rule.lag * course.fps))
    tops, _ = find_peaks(values, height=rule.height, distance=apart)
    if not len(tops):
        return []
    # A flank ends at a share of the height itself, not of the prominence, which noise in the valleys would decide; and
    # a lag from the peak at the latest, half of what an expression of this kind lasts.
    bases = (values[tops], np.maximum(tops - apart, 0), np.minimum(tops + apart, len(values) - 1))
    more = rule.beyond * rule.lag * course.fps
    _, _, left, right = peak_widths(values, tops, rel_height=_FLANK, prominence_data=bases)
    return [
        Spotted(
            video=course.video,
            onset=int(course.numbers[max(0, round(begin - more))]),
            offset=int(course.numbers[min(len(values) - 1, round(end + more))]),
            type=kind,
            score=float(values[top] / rule.height),
            apex=int(course.numbers[top]),
        )
        for top, begin, end in zip(tops, left, right, strict=True)
    ]


def _stretches(inside: NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Where a mask is true, as ``(start, stop)``."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
