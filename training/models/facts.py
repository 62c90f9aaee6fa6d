"""What is known of a model beside its code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.config import Motion
from training.models.config import ModelConfig
from training.models.published import PublishedCost, PublishedWeights

# Accuracy of each class and their mean in per cent, macro-F1 of Eq. 30.
PrintedRow = tuple[tuple[float, ...], float, float]


@dataclass(frozen=True)
class ModelFacts:
    """What lists, recipes, reports and tests read of a model; ``training.models.registry.model`` takes the fields.

    Attributes:
        title: in reports.
        paper: authors, venue and year; empty where there is none.
        place: in tables: 0 ours, 1 to 13 as in the MADV-Net paper's tables, from 80 those that it does not compare.
        approximate: rebuilt from a paper that leaves sizes open.
        config: the model's config, which checks its options.
        motion: what it sees of the texture unless the config says otherwise; ``none`` where it finds the motion itself.
        fast: its options for the ``fast`` recipe.
        fast_lr: its learning rate there, where at the recipe's own it never leaves the largest class.
        native: how its authors train it, as fields of ``TrainConfig``; what is not in there is as the paper says.
        ablations: what can be switched off, and the options that do it.
        weights: published weights that it can start from, the usual ones first.
        cost: as published.
        printed: dataset -> its row in the MADV-Net paper's table of that dataset.
    """

    title: str = ""
    paper: str = ""
    place: int = 50
    approximate: bool = False
    config: type[ModelConfig] = ModelConfig
    motion: Motion = "adjacent"
    fast: Mapping[str, Any] = field(default_factory=dict)
    fast_lr: float | None = None
    native: Mapping[str, Any] = field(default_factory=dict)
    ablations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: tuple[PublishedWeights, ...] = ()
    cost: PublishedCost | None = None
    printed: Mapping[str, PrintedRow] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The title, and whether the model is an approximation."""
        return f"{self.title} (approx.)" if self.approximate else self.title

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the published weights, as `mer weights` lists them."""
        return tuple(weights.source for weights in self.weights)
