"""What a comparison gives: every model's numbers and cost, tests between models, and what must be said beside them."""

from typing import Literal

from pydantic import Field, field_validator

from schemas.config import Device
from schemas.model import Model
from training.config import RecipeName
from training.evaluation.bootstrap import Interval
from training.evaluation.result import COMPOSITE, EvaluatedStore, GroupResult
from training.protocols.protocol import Protocol


class Cost(Model):
    """What a model takes.

    Attributes:
        parameters: trainable.
        macs: multiply-accumulates of one clip.
        latency: s, median of one clip, batch of one, float32, measured when the comparison was finished.
        training_seconds: of all folds and seeds, added up; a fold's clock runs while it trains.
        updates: steps of the optimiser in a fold, least and most.
        pretraining_updates: those of the model's own pre-training, which come before, least and most.
    """

    parameters: int
    macs: int
    latency: float
    training_seconds: float
    updates: tuple[int, int]
    pretraining_updates: tuple[int, int]


class ComparedModel(Model):
    """One model of the comparison.

    Attributes:
        name: in the registry, and of its run folder in the comparison's.
        inputs: what it reads of a clip.
        epochs, batch_size, lr: of its recipe, those that differ most between models.
        frames, size: of the clips that it reads, size in px.
        weights: published ones that it started from, by their name in `mer weights`; ``None``: random ones.
        groups: as ``EvaluationResult.groups``; empty where it failed.
        cost: ``None`` where it failed.
        failure: why there is no result; ``None`` where there is one.
    """

    name: str
    inputs: tuple[str, ...] = ()
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    frames: int | None = None
    size: int | None = None
    weights: str | None = None
    groups: dict[str, GroupResult] = Field(default_factory=dict)
    cost: Cost | None = None
    failure: str | None = None

    @property
    def headline(self) -> GroupResult:
        """The composite, or the only dataset."""
        return self.groups.get(COMPOSITE) or next(iter(self.groups.values()))


class Difference(Model):
    """First minus second in one metric, mean over seeds.

    Attributes:
        mean: of the difference.
        interval: by resampling subjects, the same draws for both models; ``None`` where subjects or draws are too few.
        p: two-sided, by swapping the two models' answers on subjects.
        p_corrected: after Holm, over all pairs of the comparison.
    """

    mean: float
    interval: Interval | None
    p: float
    p_corrected: float


class McNemar(Model):
    """Exact McNemar test of the clips that one of two models got right, each by its mean probabilities over seeds.

    Attributes:
        first_only: clips that the first got right and the second wrong.
        second_only: the other way round.
        p: two-sided binomial.
        p_corrected: after Holm, over all pairs of the comparison.
    """

    first_only: int
    second_only: int
    p: float
    p_corrected: float


class Pair(Model):
    """Two models on the same clips. ``differences``: ``uf1`` and ``uar``."""

    first: str
    second: str
    differences: dict[str, Difference]
    mcnemar: McNemar


class ComparisonResult(Model):
    """``result.json`` of a comparison.

    Attributes:
        labels_sha256: of clip key -> class of the test clips.
        budget: as it was asked for; ``None``: as long as the recipe says.
        device: that models were trained and timed on.
        machine: processor and cores, in words; times are of this machine.
        models: by their UF1 in the headline group, the best first; then those without a result.
        pairs: every two models that have a result; of the headline group.
    """

    kind: Literal["comparison"] = "comparison"
    format_version: Literal[1] = 1
    protocol: Protocol
    protocol_sha256: str
    stores: tuple[EvaluatedStore, ...]
    labels_sha256: str
    seeds: tuple[int, ...]
    folds: int
    recipe: RecipeName
    budget: str | None
    device: Device
    machine: str
    models: tuple[ComparedModel, ...] = Field(min_length=1)
    pairs: tuple[Pair, ...]
    caveats: tuple[str, ...]

    @field_validator("models")
    @classmethod
    def _best_first(cls, models: tuple[ComparedModel, ...]) -> tuple[ComparedModel, ...]:
        return tuple(sorted(models, key=lambda model: -model.headline.metrics["uf1"].mean if model.groups else 1))

    def best(self, group: str | None = None) -> str | None:
        """Name of the model with the highest UF1, of a group or of the headline one; the first of equals."""
        found = {m.name: m.groups[group] if group else m.headline for m in self.models if m.groups}
        return max(found, key=lambda name: found[name].metrics["uf1"].mean, default=None)
