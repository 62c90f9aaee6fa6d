"""`mer ablate`: the same run with each path of the model switched off, and what each is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.output import write_text
from schemas.store.location import StoreLocation
from training.config import Motion, TrainConfig
from training.evaluation.ablation import ABLATION_FILE, Ablation, AblationVariant
from training.evaluation.result import EvaluationResult, Spread
from training.models.registry import model_facts
from training.protocols.protocol import Protocol
from training.runs.folds import Resources
from training.runs.train import TrainedRun, train

_METRICS = ("uf1", "uar")
_FULL = "full"
_INPUTS: dict[str, Motion] = {"raw frames": "none", "adjacent differences": "adjacent", "optical flow": "flow"}


@dataclass(frozen=True)
class _Variant:
    name: str
    switched_off: str
    options: Mapping[str, Any]
    pretrain: StoreLocation | None
    motion: Motion | None = None


def ablate(
    stores: Sequence[StoreLocation],
    config: TrainConfig,
    resources: Resources,
    *,
    out: Path,
    protocol: Protocol | None = None,
    pretrain: StoreLocation | None = None,
    overwrite: bool = False,
) -> tuple[tuple[TrainedRun, ...], Ablation | None]:
    """Train every variant under the same protocol; arguments as of ``training.runs.train.train``.

    Each variant is a run folder below ``out``, the full model's first; that one gets ``ablation.json``.

    Returns:
        The runs, and the table; ``None`` where folds of a variant failed.

    Raises:
        MerError: wrong input or usage.
    """
    variants = _variants(config, pretrain)
    runs = []
    for variant in variants:
        resources.console.rule(f"{variant.name}", align="left")
        changed = config.model_copy(update={"model_options": {**config.model_options, **variant.options}})
        if variant.motion is not None:
            depth = "adjacent" if variant.motion == "flow" else variant.motion  # of depth there is no flow
            changed = changed.model_copy(update={"motion": variant.motion, "depth_motion": depth})
        runs.append(
            train(
                stores,
                changed,
                resources,
                out=out / variant.name.replace(" ", "-"),
                protocol=protocol,
                pretrain=variant.pretrain,
                overwrite=overwrite,
            )
        )
    results = [run.result for run in runs if run.result is not None]
    if len(results) < len(runs):
        return tuple(runs), None
    table = _table(config, list(zip(variants, results, strict=True)))
    write_text(runs[0].folder.path / ABLATION_FILE, table.model_dump_json(indent=1) + "\n")
    return tuple(runs), table


def _variants(config: TrainConfig, pretrain: StoreLocation | None) -> list[_Variant]:
    found = [_Variant(_FULL, "", {}, pretrain)]
    for name, options in model_facts(config.model).ablations.items():
        found.append(_Variant(f"no {name}", name, options, pretrain))
    for title, motion in _INPUTS.items():
        if motion != config.motion:
            found.append(_Variant(title, f"motion is {config.motion}", {}, pretrain, motion))
    if pretrain is not None:
        found.append(_Variant("no pre-training", "pre-training", {}, None))
    return found


def _table(config: TrainConfig, trained: Sequence[tuple[_Variant, EvaluationResult]]) -> Ablation:
    full = trained[0][1]
    rows = []
    for variant, result in trained:
        differences = {
            metric: Spread.of([_of(result, seed, metric) - _of(full, seed, metric) for seed in full.seeds])
            for metric in _METRICS
        }
        rows.append(
            AblationVariant(
                name=variant.name,
                switched_off=variant.switched_off,
                options=dict(variant.options),
                metrics={metric: result.headline.metrics[metric] for metric in _METRICS},
                differences=None if variant.name == _FULL else differences,
            )
        )
    return Ablation(
        model=config.model,
        protocol=full.protocol.name,
        protocol_sha256=full.protocol_sha256,
        labels_sha256=full.labels_sha256,
        seeds=full.seeds,
        caveats=full.caveats,
        variants=tuple(rows),
    )


def _of(result: EvaluationResult, seed: int, metric: str) -> float:
    return float(getattr(result.headline.seeds[seed], metric))
