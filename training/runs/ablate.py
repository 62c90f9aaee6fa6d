"""`mer ablate`: the same run with each path of the model switched off, and what each is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from training.config import TrainConfig
from training.evaluation.result import EvaluationResult, Spread
from training.fit.folder import RunFolder, write_text
from training.models.registry import model_facts
from training.protocols.protocol import Protocol
from training.report.ablation import ABLATION_FILE, Ablation, AblationVariant
from training.report.depth import Regions
from training.report.report import write_report
from training.runs.machine import Machine
from training.runs.train import train

_METRICS = ("uf1", "uar")
_FULL = "full"


@dataclass(frozen=True)
class _Variant:
    name: str
    switched_off: str
    options: Mapping[str, Any]
    pretrain: StoreLocation | None

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "-")


def ablate(
    stores: Sequence[StoreLocation],
    config: TrainConfig,
    machine: Machine,
    *,
    out: Path,
    protocol: Protocol | None = None,
    pretrain: StoreLocation | None = None,
    regions: Regions | None = None,
    overwrite: bool = False,
) -> int:
    """Train every variant under the same protocol; arguments as of ``training.runs.train.train``.

    Each variant is a run folder below ``out``; the full one's report has the table.

    Returns:
        Exit code: 0 the table is there, 1 some folds of a variant failed.

    Raises:
        MerError: wrong input or usage.
    """
    variants = _variants(config, pretrain)
    codes = []
    for variant in variants:
        machine.console.rule(f"{variant.name}", align="left")
        changed = config.model_copy(update={"model_options": {**config.model_options, **variant.options}})
        code = train(
            stores,
            changed,
            machine,
            out=out / variant.folder,
            protocol=protocol,
            pretrain=variant.pretrain,
            regions=regions,
            overwrite=overwrite,
        )
        codes.append(code)
    if any(codes):
        return 1
    full = RunFolder(out / _FULL)
    table = _table(config, variants, {v.name: _result(out / v.folder) for v in variants})
    write_text(full.path / ABLATION_FILE, table.model_dump_json(indent=1) + "\n")
    machine.console.rule("ablation", align="left")
    for row in table.variants:
        difference = "" if row.differences is None else f", {row.differences['uf1'].mean:+.3f} against full"
        machine.say(f"{row.name:24} UF1 {row.metrics['uf1'].mean:.3f}  UAR {row.metrics['uar'].mean:.3f}{difference}")
    page = write_report(full, [Store.open(store) for store in stores], regions=regions)
    machine.say(f"{out}: complete; open {page}")
    return 0


def _variants(config: TrainConfig, pretrain: StoreLocation | None) -> list[_Variant]:
    found = [_Variant(_FULL, "", {}, pretrain)]
    for name, options in model_facts(config.model).ablations.items():
        found.append(_Variant(f"no {name}", name, options, pretrain))
    if pretrain is not None:
        found.append(_Variant("no pre-training", "pre-training", {}, None))
    return found


def _result(path: Path) -> EvaluationResult:
    return EvaluationResult.model_validate_json(RunFolder(path).result.read_bytes())


def _table(config: TrainConfig, variants: Sequence[_Variant], results: Mapping[str, EvaluationResult]) -> Ablation:
    full = results[_FULL]
    rows = []
    for variant in variants:
        result = results[variant.name]
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
