"""`--budget`: every model gets the same number of updates, as many as were asked for or as the time allows."""

import re
import time
from collections.abc import Sequence
from statistics import median
from typing import Literal, Self

import torch

from schemas.config import Device
from schemas.errors import ConfigError
from schemas.model import Model
from training.batch import ClipBatch
from training.config import TrainConfig
from training.models.registry import create_model
from training.optimisation import autocast_of, build_optimiser
from training.plan import TrainPlan
from training.sampling import batch_count

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = 0.8  # of the time is for updates; reading, augmenting, testing and writing take the rest
_REPEATS = 3


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
    """For how long a model trains itself before it sees a label."""
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


def epochs_within(seconds: float, plans: Sequence[TrainPlan], seconds_per_update: Sequence[float]) -> int:
    """Epochs of each fold, the same for all models, that the time allows on one device.

    Raises:
        ConfigError: not even one.
    """
    one = sum(
        per_update * len(plan.run.config.seeds) * sum(updates_per_epoch(plan))
        for plan, per_update in zip(plans, seconds_per_update, strict=True)
    )
    epochs = int(seconds * _SHARE / one)
    if epochs < 1:
        raise ConfigError(
            f"--budget: one epoch of {len(plans)} models takes about {one / _SHARE:.0f} s here, {seconds:.0f} s are "
            "given; give more, or take fewer models, seeds, folds (--protocol kfold-3), or --recipe fast"
        )
    return epochs


def updates_per_epoch(plan: TrainPlan) -> list[int]:
    """Steps of the optimiser in an epoch, of each fold."""
    size = plan.run.config.optimisation.batch_size
    return [batch_count(len(fold.train), size) for fold in plan.run.folds]


def seconds_per_update(plan: TrainPlan, device: Device) -> float:
    """Median time of one update on noise, after one that is not timed."""
    run, config = plan.run, plan.run.config
    where = torch.device(device)
    size = config.optimisation.batch_size
    with where:
        batch = ClipBatch(
            texture=torch.rand(size, config.frames, 3, config.size, config.size),
            depth=torch.rand(size, config.frames, 1, config.size, config.size),
            au=torch.rand(size, len(run.action_units)),
            label=torch.arange(size) % len(run.classes),
        )
    network = create_model(
        config.model,
        classes=len(run.classes),
        frames=config.frames,
        size=config.size,
        action_units=len(run.action_units),
        **config.model_options,
    ).to(where)
    network.on_fold(torch.bincount(batch.targets(), minlength=len(run.classes)))
    network.train()
    optimiser = build_optimiser(network, config.optimisation)
    taken = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        with autocast_of(config.amp, where):
            loss = torch.stack(list(network.loss(network(batch), batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss.item()  # waits for a GPU
        taken.append(time.perf_counter() - start)
    return median(taken[1:])
