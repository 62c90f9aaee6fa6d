"""What an evaluation gives: numbers, what they are about, and what must be said beside them."""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from schemas.model import Model
from training.evaluation.bootstrap import Interval
from training.evaluation.calibration import Calibration
from training.evaluation.chance import ChanceLevel
from training.evaluation.input_effects import InputEffect
from training.evaluation.metrics import Scores
from training.protocols.protocol import Protocol

COMPOSITE = "composite"


class Spread(Model):
    """A metric over seeds: mean, sample sd (``None`` of one seed), bootstrap interval of the mean over subjects."""

    mean: float
    sd: float | None
    interval: Interval | None

    @classmethod
    def of(cls, values: Sequence[float], interval: Interval | None = None) -> Self:
        """Of one value a seed."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(mean=float(np.mean(values)), sd=sd, interval=interval)

    def mean_sd(self, form: str = ".3f") -> str:
        """``0.512 ± 0.031``, without the sd of one seed."""
        return f"{self.mean:{form}}" + ("" if self.sd is None else f" ± {self.sd:.3f}")

    def low_high(self) -> str:
        """The interval, ``0.442 to 0.580``, or a dash."""
        return "-" if self.interval is None else f"{self.interval.low:.3f} to {self.interval.high:.3f}"


class GroupResult(Model):
    """One dataset, or all together.

    Attributes:
        class_clips: class -> clips.
        metrics: metric -> over seeds.
        floors: with this group's own shares of classes.
        seeds: seed -> scores.
        pooled: scores of all seeds' counts together; the confusion matrix to show.
    """

    clips: int
    subjects: int
    class_clips: dict[str, int]
    metrics: dict[str, Spread]
    floors: tuple[ChanceLevel, ...]
    seeds: dict[int, Scores]
    pooled: Scores


class SubjectResult(Model):
    """One subject: clips a class, share of right ones by seed. Too few clips for an F1."""

    subject: str
    class_clips: dict[str, int]
    accuracy: dict[int, float]


class EvaluatedStore(Model):
    """Which store the labels are from."""

    datasets: tuple[str, ...]
    content_sha256: str
    clips: int
    failed: int
    synthetic: bool = False


class EvaluationResult(Model):
    """Everything that was computed, and all that must be known to judge it.

    Attributes:
        protocol_sha256: results with different ones must not be compared.
        labels_sha256: of clip key -> class of the test clips; the same for all who hold the same data.
        published_counts: whether the clips are exactly the published ones; if not, ``differences`` says how, or nobody
            has published how many there are.
        left_out: reason -> clips of the stores that the task does not take.
        folds: the protocol's own, or others that satisfy it (k-fold only).
        ties: clip and seed pairs with two largest probabilities; the first class was taken.
        groups: dataset -> result, and ``composite`` where there is more than one.
        caveats: sentences to stand beside the numbers.
        calibration: of the probabilities; ``None`` in results of earlier versions.
        inputs: what each input is worth to the models, where they are there to ask.
    """

    kind: Literal["evaluation"] = "evaluation"
    format_version: Literal[1] = 1
    protocol: Protocol
    protocol_sha256: str
    stores: tuple[EvaluatedStore, ...]
    predictions_sha256: str
    labels_sha256: str
    published_counts: bool
    differences: tuple[str, ...]
    left_out: dict[str, int]
    failed: tuple[str, ...]
    folds: Literal["protocol", "other"]
    test_folds: int
    ties: int
    seeds: tuple[int, ...]
    groups: dict[str, GroupResult] = Field(min_length=1)
    subjects: tuple[SubjectResult, ...]
    caveats: tuple[str, ...]
    calibration: Calibration | None = None
    inputs: tuple[InputEffect, ...] = ()

    @property
    def which_clips(self) -> str:
        """Whether they are the published ones, in words."""
        if self.published_counts:
            return "the published ones"
        return "NOT the published ones" if self.differences else "all of the stores; nobody has published their number"

    @property
    def headline(self) -> GroupResult:
        """The composite, or the only dataset."""
        return self.groups.get(COMPOSITE) or next(iter(self.groups.values()))
