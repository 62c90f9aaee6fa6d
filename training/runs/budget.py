"""`--budget`: every model gets the same number of updates, as many as were asked for or as the time allows."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self

import torch

from schemas.errors import ConfigError
from schemas.model import Model
from schemas.words import count
from training.config import TrainConfig
from training.data.sampling import batch_count
from training.fit.folder import RunFolder
from training.models.registry import create_model
from training.runs.folds import Resources, fold_tasks, train_here
from training.runs.plan import PlannedRun

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = 0.9  # of the time is for epochs; starting, testing and writing take the rest


class Budget(Model):
    """What each model may use, as it was asked for: epochs of every fold, or seconds for all models together."""

    text: str
    kind: Literal["epochs", "seconds"]
    amount: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """``20`` epochs, or ``90s``, ``45m``, ``2h`` of time.

        Raises:
            ConfigError: it is none of these.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
        amount = float(found[1]) if found else 0.0
        if found is None or amount <= 0 or not (found[2] or amount.is_integer()):
            raise ConfigError(f"--budget {text!r}: expected a number of epochs (20) or a time (90s, 45m, 2h)")
        if not found[2]:
            return cls(text=text, kind="epochs", amount=amount)
        return cls(text=text, kind="seconds", amount=amount * _UNITS[found[2]])


def within_epochs(config: TrainConfig, epochs: int, *, action_units: int) -> TrainConfig:
    """A config that takes so many epochs in all.

    Where a model pre-trains itself, its pre-training is part of them, with the share that it has in the recipe.
    """
    first = pretraining_epochs(config, action_units=action_units)
    if first == 0:
        before, options = 0, config.model_options
    else:
        before = min(round(epochs * first / (first + config.optimisation.epochs)), epochs - 1)
        options = {**config.model_options, "pretrain_epochs": before}
    optimisation = config.optimisation.model_copy(update={"epochs": epochs - before})
    return config.model_copy(update={"model_options": options, "optimisation": optimisation})


def pretraining_epochs(config: TrainConfig, *, action_units: int) -> int:
    """For how long a model trains itself before it sees a label; not at all where it starts from weights."""
    if config.pretrained is not None or config.published is not None:
        return 0
    with torch.device("meta"):
        network = create_model(
            config.model,
            classes=2,  # their number has no part in this
            frames=config.frames,
            size=config.size,
            action_units=action_units,
            **config.model_options,
        )
        first = network.pretraining()
    return 0 if first is None else first.epochs


def epochs_within(seconds: float, plans: Mapping[str, PlannedRun], per_epoch: Mapping[str, float]) -> int:
    """Epochs of each fold, the same for all models, that the time allows in one process.

    Args:
        seconds: of all folds, seeds and models together.
        plans: by model.
        per_epoch: seconds of an epoch of each model's first fold.

    Raises:
        ConfigError: not even one.
    """
    one = 0.0
    for name, taken in per_epoch.items():
        updates = updates_per_epoch(plans[name])
        one += taken * len(plans[name].run.config.seeds) * sum(updates) / updates[0]
    epochs = int(seconds * _SHARE / one)
    if epochs < 1:
        raise ConfigError(
            f"--budget: one epoch of {count(len(per_epoch), 'model')} takes about {one / _SHARE:.0f} s here, "
            f"{seconds:g} s are given; give more, or take fewer models, seeds, folds (--protocol kfold-3), "
            "or --recipe fast"
        )
    return epochs


def updates_per_epoch(plan: PlannedRun) -> list[int]:
    """Steps of the optimiser in an epoch, of each fold."""
    size = plan.run.config.optimisation.batch_size
    return [batch_count(len(fold.train), size) for fold in plan.run.folds]


def seconds_per_epoch(plans: Mapping[str, PlannedRun], resources: Resources) -> dict[str, float]:
    """Of each model the time of one epoch of its first fold, in this process, after one that is not timed.

    A model whose fold fails is left out; it will fail again, and say why, when it is trained.
    """
    ends: dict[str, list[float]] = {}
    with TemporaryDirectory() as scratch:
        tasks = [
            fold_tasks(_trial(plan), RunFolder(Path(scratch) / name), resources)[0] for name, plan in plans.items()
        ]
        models = {task.name: task.run.config.model for task in tasks}
        for _ in train_here(tasks, lambda event: ends.setdefault(models[event.fold], []).append(time.monotonic())):
            pass
    return {model: times[1] - times[0] for model, times in ends.items() if len(times) == 2}


def _trial(planned: PlannedRun) -> PlannedRun:
    """Two epochs of it."""
    run = planned.run
    config = within_epochs(run.config, 2, action_units=len(run.action_units))
    return replace(planned, run=run.model_copy(update={"config": config, "folds": run.folds[:1]}))
