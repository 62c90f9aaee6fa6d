"""Comparisons of models that never were: answers of known skill through the real evaluation, curves of any shape."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from schemas.manifest import Manifest
from training.evaluation.comparison import ComparedModel, ComparisonResult, Cost
from training.evaluation.evaluate import evaluate
from training.evaluation.predictions import Predictions, concatenate
from training.evaluation.significance import compare_pairs
from training.fit.epoch_metrics import metrics_csv
from training.protocols.protocol import Protocol
from training.protocols.splits import make_folds
from training.protocols.tasks import select_clips

REASON = "c3d: TrainingDivergedError: the loss of epoch 2 is nan; lower the learning rate"


def make_comparison(
    skills: Mapping[str, float | None],
    protocol: Protocol,
    manifests: Sequence[Manifest],
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    replicates: int = 1000,
) -> ComparisonResult:
    """A result whose models name the true class as often as their skill says; ``None`` is one that failed."""
    answers = {
        name: concatenate(_answers(skill, protocol, manifests, 1000 * place + seed, seed) for seed in seeds)
        for place, (name, skill) in enumerate(skills.items())
        if skill is not None
    }
    results = {name: evaluate(own, manifests, protocol, counts="any") for name, own in answers.items()}
    chosen = select_clips(protocol.task, manifests, counts="any").clips
    keys, classes = [clip.key for clip in chosen], protocol.task.classes
    probabilities = {name: own.aligned(classes, keys) for name, own in answers.items()}
    random = np.random.default_rng(0)
    some = next(iter(results.values()))
    return ComparisonResult(
        protocol=protocol,
        protocol_sha256=protocol.sha256,
        stores=some.stores,
        labels_sha256=some.labels_sha256,
        seeds=seeds,
        folds=some.test_folds,
        recipe="paper",
        budget="20 epochs",
        device="cpu",
        machine="a processor that was made up, 2 cores",
        models=tuple(
            ComparedModel(name=name, failure=REASON, epochs=20, batch_size=8, lr=1e-3, frames=16, size=112)
            if name not in results
            else ComparedModel(
                name=name,
                inputs=("texture", "depth", "au") if name == "madv_net" else ("texture",),
                epochs=20,
                batch_size=8,
                lr=5e-5,
                frames=16,
                size=112,
                groups=results[name].groups,
                cost=_cost(name, random),
            )
            for name in skills
        ),
        pairs=compare_pairs(probabilities, chosen, len(classes), replicates=replicates),
        caveats=some.caveats,
    )


def _cost(name: str, random: np.random.Generator) -> Cost:
    macs = 85 if name == "au-logistic" else int(10 ** random.uniform(9.6, 11))
    return Cost(
        parameters=max(90, macs // int(random.integers(300, 3000))),
        macs=macs,
        latency=macs * 1e-11 + 1e-4,
        training_seconds=macs * 2e-7 + 3,
        updates=(120, 124),
        pretraining_updates=(400, 400) if name in ("videomae", "mae-dfer") else (0, 0),
    )


def _answers(skill: float, protocol: Protocol, manifests: Sequence[Manifest], noise: int, seed: int) -> Predictions:
    random = np.random.default_rng(noise)
    clips = select_clips(protocol.task, manifests, counts="any").clips
    fold_of = {key: fold.name for fold in make_folds(protocol.split, clips) for key in fold.test}
    labels = np.array([clip.label for clip in clips])
    classes = len(protocol.task.classes)
    own = random.choice(classes, len(clips), p=np.bincount(labels, minlength=classes) / len(labels))
    named = np.where(random.random(len(clips)) < skill, labels, own)
    keys = tuple(clip.key for clip in clips)
    return Predictions(
        protocol.task.classes,
        keys,
        tuple(fold_of[key] for key in keys),
        (seed,) * len(keys),
        (random.dirichlet(np.ones(classes), len(keys)) + 2 * np.eye(classes)[named]) / 3,
    )


def write_curves(
    folder: Path,
    skills: Mapping[str, float | None],
    *,
    epochs: int | None = None,
    runs: int = 3,
    validation: bool = True,
) -> dict[str, list[Path]]:
    """Model -> ``metrics.csv`` of some folds; without a number of epochs each model has its own."""
    found: dict[str, list[Path]] = {}
    for place, (name, skill) in enumerate(skills.items()):
        random = np.random.default_rng(place)
        last = epochs or 20 + 10 * (place % 4)
        for run in range(runs if skill is not None else 0):
            history = []
            for epoch in range(1, last + 1):
                rise = 1 - np.exp(-(2 + place % 5) * epoch / last)
                noise = random.normal(0, 0.015, 2)
                loss = (1.8 + place % 3) * np.exp(-(1 + place % 4) * epoch / last) + 0.05 + 0.02 * random.random()
                history.append({
                    "epoch": epoch, "lr": 1e-4, "loss": loss, "loss_cross_entropy": loss,
                    "accuracy": float(np.clip(0.3 + (0.3 + 0.5 * (skill or 0)) * rise + noise[0], 0, 1)),
                    "validation_loss": loss + 0.8 if validation else None,
                    "validation_accuracy": float(np.clip(0.25 + 0.5 * (skill or 0) * rise + noise[1], 0, 1))
                    if validation else None,
                })  # fmt: skip
            path = folder / name / f"{run}" / "metrics.csv"
            path.parent.mkdir(parents=True)
            path.write_text(metrics_csv(history))
            found.setdefault(name, []).append(path)
    return found
