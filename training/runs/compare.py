"""`mer compare`: many models under one protocol, on the same clips, folds and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from schemas.errors import ConfigError, RunFolderError
from schemas.model import Model
from schemas.output import locked, log_file, write_text
from schemas.settings import problems
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from schemas.words import count
from training.config import RecipeName, TrainConfig
from training.evaluation.comparison import ComparisonResult
from training.fit.folder import RUN_FILE, FoldFailure, FoldFolder, RunFolder
from training.models.registry import model_name, model_names
from training.runs.budget import Budget, epochs_within, seconds_per_epoch, within_epochs
from training.runs.comparison import summarise
from training.runs.folds import Resources, train_folds
from training.runs.plan import PlannedRun, plan_training
from training.runs.recipes import resolve
from training.runs.train import announce, evaluate_run

COMPARISON_FILE = "comparison.json"
RESULT_FILE = "result.json"
LOG_FILE = "compare.log"


class Comparison(Model):
    """``comparison.json``: what was asked for, and what a budget came to.

    Attributes:
        models: names, in the order of tables.
        budget: as it was asked for; ``None``: as long as the recipe says.
        epochs: that it came to, of each fold.
        seconds_per_epoch: of each model's first fold, where the budget is a time.
    """

    format: Literal["mer-comparison"] = "mer-comparison"
    format_version: Literal[1] = 1
    models: tuple[str, ...]
    recipe: RecipeName
    budget: Budget | None
    epochs: int | None = None
    seconds_per_epoch: dict[str, float] = Field(default_factory=dict)


def configs_of(models: str, recipe: RecipeName, *layers: Mapping[str, Any]) -> dict[str, TrainConfig]:
    """The config of each model.

    Args:
        models: ``all``, or names with commas between them.
        recipe: of all.
        layers: laid over it, as ``training.runs.recipes.resolve`` takes them.

    Raises:
        ConfigError: no such model, one named twice, or a layer that is not for all models.
    """
    names = model_names() if models == "all" else tuple(model_name(name.strip()) for name in models.split(","))
    if len(set(names)) < len(names):
        raise ConfigError(f"--models {models}: a model stands there twice")
    for field in ("model", "model_options"):
        if any(field in layer for layer in layers):
            raise ConfigError(f"the config sets {field}, but a comparison is of several models; remove it")
    return {name: resolve(recipe, *layers, {"model": name}) for name in names}


def compare(
    stores: Sequence[StoreLocation],
    configs: Mapping[str, TrainConfig],
    resources: Resources,
    *,
    out: Path,
    recipe: RecipeName,
    published: Mapping[str, Path] | None = None,
    budget: Budget | None = None,
    overwrite: bool = False,
) -> ComparisonResult | None:
    """Train and evaluate every model; a run folder each, and the comparison, lie in ``out``.

    A model that does not fit the stores, or whose folds fail, is reported as such and stops no other.

    Args:
        stores: to train and test on.
        configs: model -> its config; protocol and seeds are those of all.
        resources: where to train.
        out: folder of the comparison; one that was interrupted goes on.
        recipe: that the configs are of.
        published: model -> file of the weights that its config names as ``published``.
        budget: ``None``: as long as the recipe says.
        overwrite: replace the runs that are there.

    Returns:
        Every model beside the others; ``None`` where none has a result.

    Raises:
        MerError: wrong input or usage.
    """
    if budget is not None and recipe == "native":
        raise ConfigError("--budget: native trains each model as long as its authors do; use --recipe paper or fast")
    opened = [Store.open(store) for store in stores]
    plans, failures = _plan(opened, configs, published or {}, resources)
    with locked(out), log_file(out / LOG_FILE):
        before = None if overwrite else _read(out)
        asked = _settle(Comparison(models=tuple(configs), recipe=recipe, budget=budget), before, plans, resources)
        if asked.epochs is not None:
            plans = {name: _limited(planned, asked.epochs) for name, planned in plans.items()}
        folders = {name: RunFolder(out / name) for name in plans}
        for name, planned in plans.items():
            folders[name].begin(planned.run, overwrite=overwrite)
        write_text(out / COMPARISON_FILE, asked.model_dump_json(indent=1) + "\n")
        _announce(plans, failures, asked, resources, out)
        runs = {name: (planned, folders[name]) for name, planned in plans.items()}
        failures |= _failures(runs, train_folds(list(runs.values()), resources))
        finished = {name: (*run, evaluate_run(*run)) for name, run in runs.items() if name not in failures}
        if not finished:
            resources.say(f"{out}: no model has a result; {_listed(failures)}")
            return None
        result = summarise(
            asked.models,
            finished,
            failures,
            recipe=recipe,
            budget=budget,
            epochs=asked.epochs,
            device=resources.device,
        )
        write_text(out / RESULT_FILE, result.model_dump_json(indent=1) + "\n")
        return result


def _plan(
    stores: Sequence[Store], configs: Mapping[str, TrainConfig], weights: Mapping[str, Path], resources: Resources
) -> tuple[dict[str, PlannedRun], dict[str, str]]:
    """Runs by model, and why other models cannot be trained."""
    plans, failures = {}, {}
    for name, config in configs.items():
        try:
            plans[name] = plan_training(stores, config, resources.device, weights=weights.get(name))
        except ConfigError as error:
            failures[name] = str(error)
    if not plans:
        raise ConfigError(f"no model can be trained; {_listed(failures)}")
    return plans, failures


def _read(out: Path) -> Comparison | None:
    """The comparison that is there, if any.

    Raises:
        RunFolderError: something else is there.
    """
    file = out / COMPARISON_FILE
    try:
        return Comparison.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise RunFolderError(f"{file}: not a comparison: {problems(error)}") from error
    except FileNotFoundError as error:
        mine = {child for child in out.iterdir() if child.name == LOG_FILE or (child / RUN_FILE).is_file()}
        if others := sorted(child.name for child in set(out.iterdir()) - mine):
            raise RunFolderError(f"{out}: holds {others[0]} and no comparison; choose another --out") from error
        return None  # or one that was killed as it began


def _settle(
    asked: Comparison, before: Comparison | None, plans: Mapping[str, PlannedRun], resources: Resources
) -> Comparison:
    """What a budget comes to; one of time was measured once, and stands when the comparison goes on."""
    if asked.budget is None:
        return asked
    if asked.budget.kind == "epochs":
        return asked.model_copy(update={"epochs": int(asked.budget.amount)})
    if before is not None and before.model_copy(update={"epochs": None, "seconds_per_epoch": {}}) == asked:
        return before
    resources.say(f"timing an epoch of {count(len(plans), 'model')}")
    taken = seconds_per_epoch(plans, resources)
    epochs = epochs_within(asked.budget.amount, plans, taken)
    return asked.model_copy(update={"epochs": epochs, "seconds_per_epoch": taken})


def _limited(planned: PlannedRun, epochs: int) -> PlannedRun:
    run = planned.run
    config = within_epochs(run.config, epochs, action_units=len(run.action_units))
    return replace(planned, run=run.model_copy(update={"config": config}))


def _announce(
    plans: Mapping[str, PlannedRun], failures: Mapping[str, str], asked: Comparison, resources: Resources, out: Path
) -> None:
    first = next(iter(plans.values()))
    announce(first, resources, f"{count(len(first.run.config.seeds), 'seed')}, {count(len(plans), 'model')} -> {out}")
    if asked.epochs is not None:
        resources.say(f"  budget: {count(asked.epochs, 'epoch')} of each fold, a model's own pre-training included")
    for name, why in failures.items():
        resources.say(f"  left out: {name}: {why}")


def _failures(
    runs: Mapping[str, tuple[PlannedRun, RunFolder]], failed: Sequence[tuple[FoldFolder, FoldFailure]]
) -> dict[str, str]:
    """Model -> why it has no result."""
    found = {}
    for name, (planned, folder) in runs.items():
        if own := [(fold, why) for fold, why in failed if fold.path.is_relative_to(folder.path.absolute())]:
            fold, why = own[0]
            folds = len(planned.run.folds) * len(planned.run.config.seeds)
            found[name] = f"{len(own)} of {count(folds, 'fold')} failed; {fold.name}: {why.error}: {why.message}"
    return found


def _listed(failures: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in failures.items())
