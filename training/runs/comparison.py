"""The result of a comparison from those of its models."""

import platform
from collections.abc import Iterator, Mapping, Sequence

import torch
from dask.system import CPU_COUNT

from schemas.config import Device
from training.config import RecipeName
from training.evaluation.comparison import ComparedModel, ComparisonResult, Cost
from training.evaluation.predictions import read_predictions
from training.evaluation.result import EvaluationResult
from training.evaluation.significance import compare_pairs
from training.fit.folder import FoldTime, RunFolder
from training.models.registry import model_info
from training.runs.budget import Budget, pretraining_epochs, updates_per_epoch
from training.runs.plan import PlannedRun


def summarise(
    models: Sequence[str],
    finished: Mapping[str, tuple[PlannedRun, RunFolder, EvaluationResult]],
    failures: Mapping[str, str],
    *,
    recipe: RecipeName,
    budget: Budget | None,
    epochs: int | None,
    device: Device,
) -> ComparisonResult:
    """Put the models side by side, and test their differences.

    Args:
        models: names of all of them.
        finished: model -> its run, whose predictions are read again, and its result.
        failures: model -> why it has no result.
        recipe: that the models were trained with.
        budget: that they had.
        epochs: that it came to.
        device: to time a prediction on.
    """
    first, _, result = max(finished.values(), key=lambda run: len(run[2].seeds))  # a solved model has one seed alone
    assert first.selection is not None
    protocol = result.protocol
    tested = {key for fold in first.run.folds for key in fold.test}
    clips = [clip for clip in first.selection.clips if clip.key in tested]
    classes = protocol.task.classes
    probabilities = {}
    for name, (_, folder, _) in finished.items():
        by_seed = read_predictions(folder.predictions).aligned(classes, [clip.key for clip in clips])
        only = next(iter(by_seed.values()))
        probabilities[name] = {seed: by_seed.get(seed, only) for seed in result.seeds}
    compared = {name: _compared(name, *run, device) for name, run in finished.items()}
    compared |= {name: ComparedModel(name=name, failure=why) for name, why in failures.items()}
    return ComparisonResult(
        protocol=protocol,
        protocol_sha256=result.protocol_sha256,
        stores=result.stores,
        labels_sha256=result.labels_sha256,
        seeds=result.seeds,
        folds=result.test_folds,
        recipe=recipe,
        budget=None if budget is None else _budget_text(budget, epochs),
        device=device,
        machine=_machine(device),
        models=tuple(compared[name] for name in models),
        pairs=compare_pairs(probabilities, clips, len(classes)),
        caveats=tuple(_caveats({name: of for name, (_, _, of) in finished.items()}, failures, recipe, budget)),
    )


def _compared(
    name: str, planned: PlannedRun, folder: RunFolder, result: EvaluationResult, device: Device
) -> ComparedModel:
    config = planned.run.config
    return ComparedModel(
        name=name,
        inputs=tuple(sorted(planned.clips.inputs)),
        epochs=config.optimisation.epochs,
        batch_size=config.optimisation.batch_size,
        lr=config.optimisation.lr,
        frames=config.frames,
        size=config.size,
        weights=None if config.published is None else config.published.name,
        groups=result.groups,
        cost=_cost(planned, folder, device),
    )


def _cost(planned: PlannedRun, folder: RunFolder, device: Device) -> Cost:
    trained = planned.run
    config = trained.config
    info = model_info(
        config.model,
        classes=len(trained.classes),
        frames=config.frames,
        size=config.size,
        action_units=len(trained.action_units),
        device=device,
        **config.model_options,
    )
    updates = updates_per_epoch(planned)
    before = pretraining_epochs(config, action_units=len(trained.action_units))
    seconds = (FoldTime.model_validate_json(fold.time.read_bytes()) for fold in folder.folds(trained))
    return Cost(
        parameters=info.parameters,
        macs=info.macs,
        latency=info.latency,
        training_seconds=sum(time.seconds / time.together for time in seconds),
        updates=_range(updates, config.optimisation.epochs),
        pretraining_updates=_range(updates, before),
    )


def _range(updates: Sequence[int], epochs: int) -> tuple[int, int]:
    return min(updates) * epochs, max(updates) * epochs


def _budget_text(budget: Budget, epochs: int | None) -> str:
    asked = f"{budget.text} for all models, which came to " if budget.kind == "seconds" else ""
    return f"{asked}{epochs} epochs of each fold"


def _machine(device: Device) -> str:
    processor = f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}, {CPU_COUNT} cores"
    return f"{torch.cuda.get_device_name()}; {processor}" if device == "cuda" else processor


def _caveats(
    results: Mapping[str, EvaluationResult], failures: Mapping[str, str], recipe: RecipeName, budget: Budget | None
) -> Iterator[str]:
    first, *others = (result.caveats for result in results.values())
    common = [caveat for caveat in first if all(caveat in caveats for caveats in others)]
    yield from common
    for name, result in results.items():
        yield from (f"{name}: {caveat}" for caveat in result.caveats if caveat not in common)
    if failures:
        yield f"No result: {', '.join(failures)}; the reasons are in the table."
    match recipe:
        case "fast":
            yield "Recipe fast: small versions of the models on small clips, not the published ones."
        case "native":
            yield "Recipe native: each model as its authors train it, so that the numbers of updates differ."
    if budget is not None:
        yield (
            "All models made the same number of updates, their own pre-training included, in a budget: a model that "
            "learns slowly may be better than it looks."
        )
    yield "No hyper-parameter was searched for any model, and all start from random weights unless it says otherwise."
