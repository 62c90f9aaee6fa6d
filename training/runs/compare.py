"""`mer compare`: many models under one protocol, on the same clips, folds and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from schemas.errors import ConfigError, RunFolderError
from schemas.model import Model
from schemas.output import locked, log_file
from schemas.settings import problems
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from training.config import RecipeName, TrainConfig
from training.fit.folder import RUN_FILE, FoldFailure, FoldFolder, RunFolder, write_text
from training.models.registry import model_names
from training.report.comparison import write_comparison
from training.runs.budget import Budget, epochs_within, seconds_per_epoch, within_epochs
from training.runs.comparison import comparison_report, summarise
from training.runs.machine import Machine, PlannedRun, train_folds
from training.runs.plan import TrainPlan, plan_training
from training.runs.recipes import resolve
from training.runs.train import evaluate_run

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
    names = model_names() if models == "all" else tuple(name.strip() for name in models.split(","))
    if len(set(names)) < len(names):
        raise ConfigError(f"--models {models}: a model stands there twice")
    if unknown := [name for name in names if name not in model_names()]:
        raise ConfigError(f"--models: no model {unknown[0]!r}; known: all, {', '.join(model_names())}")
    for field in ("model", "model_options"):
        if any(field in layer for layer in layers):
            raise ConfigError(f"the config sets {field}, but a comparison is of several models; remove it")
    return {name: resolve(recipe, *layers, {"model": name}) for name in names}


def compare(
    stores: Sequence[StoreLocation],
    configs: Mapping[str, TrainConfig],
    machine: Machine,
    *,
    out: Path,
    recipe: RecipeName,
    published: Mapping[str, Path] | None = None,
    budget: Budget | None = None,
    overwrite: bool = False,
) -> int:
    """Train and evaluate every model; a run folder each, and the comparison, lie in ``out``.

    A model that does not fit the stores, or whose folds fail, is reported as such and stops no other.

    Args:
        stores: to train and test on.
        configs: model -> its config; protocol and seeds are those of all.
        machine: where to train.
        out: folder of the comparison; one that was interrupted goes on.
        recipe: that the configs are of.
        published: model -> file of the weights that its config names as ``published``.
        budget: ``None``: as long as the recipe says.
        overwrite: replace the runs that are there.

    Returns:
        Exit code: 0 every model has a result, 1 some have none.

    Raises:
        MerError: wrong input or usage.
    """
    if budget is not None and recipe == "native":
        raise ConfigError("--budget: native trains each model as long as its authors do; use --recipe paper or fast")
    opened = [Store.open(store) for store in stores]
    weights = {} if published is None else {name: file.absolute() for name, file in published.items()}
    plans, failures = _plan(opened, configs, weights, machine)
    with locked(out), log_file(out / LOG_FILE):
        before = None if overwrite else _read(out)
        asked = _settle(Comparison(models=tuple(configs), recipe=recipe, budget=budget), before, plans, machine)
        if asked.epochs is not None:
            plans = {name: _limited(plan, asked.epochs) for name, plan in plans.items()}
        runs = {name: _run(plan, out / name, weights.get(name)) for name, plan in plans.items()}
        for run in runs.values():
            run.folder.begin(run.plan.run, overwrite=overwrite)
        write_text(out / COMPARISON_FILE, asked.model_dump_json(indent=1) + "\n")
        _announce(runs, failures, asked, machine, out)
        failures |= _failures(runs, train_folds(list(runs.values()), machine))
        finished = {
            name: (run, evaluate_run(run.plan, run.folder)) for name, run in runs.items() if name not in failures
        }
        if not finished:
            machine.say(f"{out}: no model has a result; {_listed(failures)}")
            return 1
        result = summarise(
            asked.models,
            finished,
            failures,
            recipe=recipe,
            budget=budget,
            epochs=asked.epochs,
            device=machine.device,
        )
        write_text(out / RESULT_FILE, result.model_dump_json(indent=1) + "\n")
        page = write_comparison(out, result, {name: _curves(run) for name, (run, _) in finished.items()})
    machine.console.print(comparison_report(result))
    machine.say(f"{out}: complete; open {page}")
    return 1 if failures else 0


def _plan(
    stores: Sequence[Store], configs: Mapping[str, TrainConfig], weights: Mapping[str, Path], machine: Machine
) -> tuple[dict[str, TrainPlan], dict[str, str]]:
    """Runs by model, and why other models cannot be trained."""
    plans, failures = {}, {}
    for name, config in configs.items():
        try:
            plans[name] = plan_training(stores, config, machine.device, weights=weights.get(name))
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
    asked: Comparison, before: Comparison | None, plans: Mapping[str, TrainPlan], machine: Machine
) -> Comparison:
    """What a budget comes to; one of time was measured once, and stands when the comparison goes on."""
    if asked.budget is None:
        return asked
    if asked.budget.kind == "epochs":
        return asked.model_copy(update={"epochs": int(asked.budget.amount)})
    if before is not None and before.model_copy(update={"epochs": None, "seconds_per_epoch": {}}) == asked:
        return before
    machine.say(f"timing an epoch of {len(plans)} models")
    taken = seconds_per_epoch(plans, machine)
    epochs = epochs_within(asked.budget.amount, plans, taken)
    return asked.model_copy(update={"epochs": epochs, "seconds_per_epoch": taken})


def _limited(plan: TrainPlan, epochs: int) -> TrainPlan:
    run = plan.run
    config = within_epochs(run.config, epochs, action_units=len(run.action_units))
    return replace(plan, run=run.model_copy(update={"config": config}))


def _run(plan: TrainPlan, out: Path, weights: Path | None) -> PlannedRun:
    return PlannedRun(plan, RunFolder(out), dict.fromkeys(plan.run.config.seeds, weights) if weights else {})


def _announce(
    runs: Mapping[str, PlannedRun], failures: Mapping[str, str], asked: Comparison, machine: Machine, out: Path
) -> None:
    plan = next(iter(runs.values())).plan
    assert plan.selection is not None
    assert plan.run.protocol is not None
    machine.say(
        f"{plan.run.protocol.name}: {len(plan.clips)} clips, {len(plan.run.folds)} folds, "
        f"{len(plan.run.config.seeds)} seeds, {len(runs)} models -> {out}"
    )
    for difference in plan.selection.differences:
        machine.say(f"  not the published clips: {difference}")
    if asked.epochs is not None:
        machine.say(f"  budget: {asked.epochs} epochs of each fold, a model's own pre-training included")
    for name, why in failures.items():
        machine.say(f"  left out: {name}: {why}")


def _failures(runs: Mapping[str, PlannedRun], failed: Sequence[tuple[FoldFolder, FoldFailure]]) -> dict[str, str]:
    """Model -> why it has no result."""
    found = {}
    for name, run in runs.items():
        folder = run.folder.path.absolute()
        if own := [(fold, failure) for fold, failure in failed if fold.path.is_relative_to(folder)]:
            fold, failure = own[0]
            folds = len(run.plan.run.folds) * len(run.plan.run.config.seeds)
            found[name] = f"{len(own)} of {folds} folds failed; {fold.name}: {failure.error}: {failure.message}"
    return found


def _curves(run: PlannedRun) -> list[Path]:
    return [fold.metrics for fold in run.folder.folds(run.plan.run)]


def _listed(failures: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in failures.items())
