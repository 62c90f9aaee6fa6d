"""Models by name."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from statistics import median
from types import ModuleType
from typing import Any

import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from schemas.errors import ConfigError
from schemas.settings import problems
from training.data.batch import ClipBatch
from training.models.base import ClipClassifier
from training.models.published import PublishedWeights

# name -> "module:function"; the function takes classes, frames, size, action_units and the model's own options.
# A string, so that listing the names imports no model.
# In the order of the paper's tables, then the floors; ours first.
_MODELS = {
    "madv_net": "training.models.madv_net:madv_net",
    "c3d": "training.models.baselines.c3d:c3d",
    "r2plus1d-18": "training.models.baselines.video_resnet:r2plus1d_18",
    "r3d-18": "training.models.baselines.video_resnet:r3d_18",
    "ec-stfl": "training.models.baselines.ec_stfl:ec_stfl",
    "resnet18-lstm": "training.models.baselines.resnet_rnn:resnet18_lstm",
    "resnet18-gru": "training.models.baselines.resnet_rnn:resnet18_gru",
    "former-dfer": "training.models.baselines.former_dfer:former_dfer",
    "ceflnet": "training.models.baselines.ceflnet:ceflnet",
    "est": "training.models.baselines.est:est",
    "stt": "training.models.baselines.stt:stt",
    "nr-dfernet": "training.models.baselines.nr_dfernet:nr_dfernet",
    "videomae": "training.models.baselines.videomae:videomae",
    "mae-dfer": "training.models.baselines.mae_dfer:mae_dfer",
    "ststnet": "training.models.baselines.ststnet:ststnet",
    "au-logistic": "training.models.baselines.au_logistic:au_logistic",
}


@dataclass(frozen=True)
class ModelInfo:
    """What a model costs for one clip.

    Attributes:
        name: in the registry.
        frames: T of the clip.
        size: side of its frames, px.
        parameters: trainable.
        macs: multiply-accumulates of one forward pass; matrix products, convolutions and attention.
        latency: s, median of the repeats, batch of one, float32, eval mode.
        device: that the latency was measured on.
    """

    name: str
    frames: int
    size: int
    parameters: int
    macs: int
    latency: float
    device: str


def model_names() -> tuple[str, ...]:
    """Names that ``create_model`` knows, in the order of tables."""
    return tuple(_MODELS)


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
    module, function = _found(name)
    build: Callable[..., ClipClassifier] = getattr(module, function)
    try:
        return build(classes=classes, frames=frames, size=size, action_units=action_units, **options)
    except ValidationError as error:
        raise ConfigError(f"model {name}: {problems(error)}") from error


def fast_options(name: str) -> Mapping[str, object]:
    """A model's own options for the ``fast`` recipe: ``FAST_OPTIONS`` of its module, if it has any.

    Raises:
        ConfigError: no such model.
    """
    options: Mapping[str, object] = getattr(_found(name)[0], "FAST_OPTIONS", {})
    return options


def native_recipe(name: str) -> Mapping[str, Any]:
    """How a model's authors train it, as fields of ``TrainConfig``: ``NATIVE_RECIPE`` of its module.

    A module without one is trained as the paper says.

    Raises:
        ConfigError: no such model.
    """
    recipe: Mapping[str, Any] = getattr(_found(name)[0], "NATIVE_RECIPE", {})
    return recipe


def ablations(name: str) -> Mapping[str, Mapping[str, object]]:
    """What of a model can be switched off, and the options that do it: ``ABLATIONS`` of its module, if it has any.

    Raises:
        ConfigError: no such model.
    """
    found: Mapping[str, Mapping[str, object]] = getattr(_found(name)[0], "ABLATIONS", {})
    return found


def published_sources(name: str) -> tuple[str, ...]:
    """Names in `mer models` of the published weights that a model can start from, the usual ones first.

    Raises:
        ConfigError: no such model.
    """
    return tuple(weights.source for weights in _published(name))


def published_weights(name: str, source: str) -> PublishedWeights:
    """How a model takes published weights.

    Args:
        name: of the model.
        source: of the weights, as `mer models` calls them.

    Raises:
        ConfigError: no such model, or it cannot start from these.
    """
    known = {weights.source: weights for weights in _published(name)}
    if source not in known:
        hint = f"known are {', '.join(known)}" if known else "it always starts from random weights"
        raise ConfigError(f"{name} has no published weights {source!r}; {hint}")
    return known[source]


def _published(name: str) -> tuple[PublishedWeights, ...]:
    weights: tuple[PublishedWeights, ...] = getattr(_found(name)[0], "PUBLISHED_WEIGHTS", ())
    return weights


def _found(name: str) -> tuple[ModuleType, str]:
    if name not in _MODELS:
        near = get_close_matches(name, _MODELS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known models: {', '.join(model_names())}"
        raise ConfigError(f"no model {name!r}; {hint}")
    module, function = _MODELS[name].split(":")
    return import_module(module), function


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
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        macs=counter.get_total_flops() // 2,
        latency=median(seconds),
        device=str(device),
    )


def _timed(model: ClipClassifier, clip: ClipBatch) -> float:
    start = time.perf_counter()
    logits = model(clip).logits
    if logits.is_cuda:
        torch.cuda.synchronize(logits.device)
    return time.perf_counter() - start
