"""Recipes: named starting points of a config, under what a file or an option sets."""

from collections.abc import Mapping
from typing import Any, get_args

from schemas.errors import ConfigError
from schemas.settings import validated
from training.config import RecipeName, TrainConfig
from training.models.base import ClipClassifier
from training.models.registry import model_facts, model_name

# The paper's own settings are the defaults of `TrainConfig`. `fast` is for a laptop: a third of the pixels, half
# the frames, few epochs, one seed. `native` is how a model's authors train it. What a recipe has of the model's own,
# small options or all of it, stands with the model.
_FAST: dict[str, Any] = {
    "frames": 8,
    "size": 64,
    "seeds": (0,),
    "optimisation": {"epochs": 20, "warmup_epochs": 2, "batch_size": 8, "lr": 1e-3, "lr_min": 1e-5},
}
RECIPES: dict[RecipeName, dict[str, Any]] = {"paper": {}, "fast": _FAST, "native": {}}


def resolve(recipe: str, *layers: Mapping[str, Any]) -> TrainConfig:
    """A config from a recipe and what is laid over it, the last layer winning field by field.

    Args:
        recipe: ``paper``, ``fast`` or ``native``.
        layers: fields of ``TrainConfig``, nested as its TOML file.

    Raises:
        ConfigError: no such recipe or field, or a value that is none.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"no recipe {recipe!r}; known: {', '.join(get_args(RecipeName))}")
    fields: Mapping[str, Any] = {}
    for layer in layers:
        fields = over(fields, layer)
    below: Mapping[str, Any] = RECIPES[recipe]
    model = fields.get("model", TrainConfig.model_fields["model"].default)
    if isinstance(model, str):  # what else it may be is a problem for the config to name
        model = model_name(model)
        below = over(below, _of_model(recipe, model))
        fields = {**fields, "model": model}
    return validated(TrainConfig, over(below, fields))


def check_recipe(config: TrainConfig, network: ClipClassifier) -> None:
    """Whether a model can be trained as the config says.

    Raises:
        ConfigError: it asks for something that the model has not.
    """
    optimisation, augmentation = config.optimisation, config.augmentation
    soft = {
        "augmentation.mixup": augmentation.mixup,
        "augmentation.cutmix": augmentation.cutmix,
        "optimisation.label_smoothing": optimisation.label_smoothing,
    }
    if asked := [name for name, value in soft.items() if value and not network.mixes]:
        raise ConfigError(f"the loss of {config.model} needs one class a clip: set {' and '.join(asked)} to 0")
    if optimisation.layer_decay < 1 and not network.layers:
        raise ConfigError(f"{config.model} does not say what its layers are: set optimisation.layer_decay to 1")
    if network.facts.motion == "none" != config.motion:
        raise ConfigError(f"{config.model} finds motion itself, in raw frames: --motion {config.motion} is none for it")


def _of_model(recipe: str, model: str) -> Mapping[str, Any]:
    facts = model_facts(model)
    own: Mapping[str, Any] = {"motion": facts.motion}
    match recipe:
        case "fast":
            rate = {} if facts.fast_lr is None else {"optimisation": {"lr": facts.fast_lr}}
            return over(own, {"model_options": facts.fast, **rate})
        case "native":
            return over(own, facts.native)
        case _:
            return own


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay fields over fields, nested ones field by field."""
    merged = dict(below)
    for name, value in above.items():
        own = merged.get(name)
        merged[name] = over(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return merged
