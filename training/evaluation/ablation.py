"""``ablation.json``: what each path of a model is worth, as variants of one run without it."""

from typing import Any, Literal

from pydantic import Field

from schemas.model import Model
from training.evaluation.result import Spread

ABLATION_FILE = "ablation.json"


class AblationVariant(Model):
    """The model without something; the first variant of a table is the full one.

    Attributes:
        name: short, unique.
        switched_off: in words; empty for the full model.
        options: ``model_options`` that differ from the full model's.
        metrics: ``uf1`` and ``uar`` (or more), over seeds, as the evaluation of the variant gave them.
        differences: metric -> variant minus full, seed by seed; ``None`` for the full model.
    """

    name: str
    switched_off: str
    options: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Spread]
    differences: dict[str, Spread] | None


class Ablation(Model):
    """Variants under one protocol, on the same clips with the same seeds and recipe."""

    kind: Literal["ablation"] = "ablation"
    format_version: Literal[1] = 1
    model: str
    protocol: str
    protocol_sha256: str
    labels_sha256: str
    seeds: tuple[int, ...]
    caveats: tuple[str, ...] = ()
    variants: tuple[AblationVariant, ...] = Field(min_length=1)
