"""Models by name: ours, and those of other packages."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from schemas.errors import ConfigError
from schemas.registry import Registry
from schemas.settings import problems
from schemas.words import chosen
from training.data.batch import ClipBatch
from training.models.base import ClipClassifier
from training.models.facts import ModelFacts
from training.models.published import PublishedWeights

MODELS: Registry[type[ClipClassifier]] = Registry("models", "training.models")
M = TypeVar("M", bound=ClipClassifier)


def model(name: str, **facts: Any) -> Callable[[type[M]], type[M]]:
    """Return a decorator that registers a model under a name.

    Args:
        name: for ``--model``.
        **facts: fields of ``ModelFacts``; the title is the name by default.
    """

    def add(cls: type[M]) -> type[M]:
        cls.facts = ModelFacts(**{"title": name, **facts})
        MODELS.register(name)(cls)
        return cls

    return add


@dataclass(frozen=True)
class ModelRow:
    """A line of the list of models.

    Attributes:
        name: in the registry.
        title: in reports.
        parameters: trainable, of its full size, for 7 classes, 20 action units and 16 frames of 112 px.
        inputs: what it reads of a clip, sorted.
        paper: authors, venue and year; empty where there is none.
    """

    name: str
    title: str
    parameters: int
    inputs: tuple[str, ...]
    paper: str


@dataclass(frozen=True)
class ModelInfo:
    """What a model costs for one clip.

    Attributes:
        name: in the registry.
        frames: T of the clip.
        size: side of its frames, px.
        parameters: trainable.
        macs: multiply-accumulates of one forward pass; matrix products, convolutions and attention.
        printed_macs: the same by the formula that the model's paper prints, where it prints one.
        latency: s, median of the repeats, batch of one, float32, eval mode.
        device: that the latency was measured on.
    """

    name: str
    frames: int
    size: int
    parameters: int
    macs: int
    printed_macs: int | None
    latency: float
    device: str


def model_names() -> tuple[str, ...]:
    """Names that ``create_model`` knows, in the order of tables."""
    return tuple(sorted(MODELS.names(), key=lambda name: MODELS[name].facts.place))


def model_name(text: str) -> str:
    """The name of the model that somebody means, who may have typed its title in tables.

    Raises:
        ConfigError: no such model; the message has those that are nearly called so.
    """
    names = model_names()
    return chosen(text, names, "model", {model_facts(name).label: name for name in names})


def model_facts(name: str) -> ModelFacts:
    """What is known of a model beside its code.

    Raises:
        ConfigError: no such model.
    """
    return MODELS[name].facts


def model_rows() -> list[ModelRow]:
    """Every model in the order of tables, in seconds: its parameters are counted without being made."""
    rows = []
    for name in model_names():
        with torch.device("meta"):
            network = create_model(name, classes=7, frames=16, size=112, action_units=20)
        facts = network.facts
        inputs = tuple(sorted(network.inputs))
        rows.append(ModelRow(name, facts.title, _trainable(network), inputs, facts.paper))
    return rows


def create_model(
    name: str, *, classes: int, frames: int, size: int, action_units: int, **options: object
) -> ClipClassifier:
    """Build a model with fresh weights.

    Args:
        name: one of ``model_names()``.
        classes: C.
        frames: T.
        size: side of the frames, px.
        action_units: A.
        options: the model's own.

    Raises:
        ConfigError: no such model, or an option that it does not take.
    """
    try:
        return MODELS[name].build(classes=classes, frames=frames, size=size, action_units=action_units, **options)
    except ValidationError as error:
        raise ConfigError(f"model {name}: {problems(error)}") from error


def published_weights(name: str, source: str) -> PublishedWeights:
    """How a model takes published weights.

    Args:
        name: of the model.
        source: of the weights, as `mer weights` calls them.

    Raises:
        ConfigError: no such model, or it cannot start from these.
    """
    known = {weights.source: weights for weights in model_facts(name).weights}
    if source not in known:
        hint = f"known are {', '.join(known)}" if known else "it always starts from random weights"
        raise ConfigError(f"{name} has no published weights {source!r}; {hint}")
    return known[source]


def model_info(
    name: str,
    *,
    classes: int,
    frames: int,
    size: int,
    action_units: int,
    device: torch.device | str = "cpu",
    repeats: int = 5,
    **options: object,
) -> ModelInfo:
    """Count and time a model on one clip of noise.

    Args:
        name: one of ``model_names()``.
        classes: C.
        frames: T.
        size: side of the frames, px.
        action_units: A.
        device: to time on.
        repeats: timed passes, after one that is not.
        options: the model's own.

    Raises:
        ConfigError: as ``create_model``.
    """

    def build(where: torch.device | str) -> tuple[ClipClassifier, ClipBatch]:
        with torch.device(where):
            model = create_model(name, classes=classes, frames=frames, size=size, action_units=action_units, **options)
            clip = ClipBatch(
                texture=torch.rand(1, frames, 3, size, size),
                depth=torch.rand(1, frames, 1, size, size),
                au=torch.rand(1, action_units),
            )
        return model.eval(), clip

    with torch.no_grad():
        model, clip = build("meta")  # no arithmetic, and no fused kernel that the counter would not know
        with FlopCounterMode(display=False) as counter:
            model(clip)
        model, clip = build(device)
        seconds = [_timed(model, clip) for _ in range(repeats + 1)][1:]
    return ModelInfo(
        name=name,
        frames=frames,
        size=size,
        parameters=_trainable(model),
        macs=counter.get_total_flops() // 2,
        printed_macs=model.printed_macs,
        latency=median(seconds),
        device=str(device),
    )


def _trainable(model: ClipClassifier) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _timed(model: ClipClassifier, clip: ClipBatch) -> float:
    start = time.perf_counter()
    logits = model(clip).logits
    if logits.is_cuda:
        torch.cuda.synchronize(logits.device)
    return time.perf_counter() - start
