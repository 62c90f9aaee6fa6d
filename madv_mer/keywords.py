"""Keyword arguments that are fields of Pydantic models: type, default and description stand there once."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from schemas.errors import ConfigError
from schemas.model import Model

F = TypeVar("F", bound=Callable[..., Any])


def fields_of(*models: type[Model], without: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Return a decorator that lists the fields of models in the signature and docstring, in place of ``**fields``.

    Args:
        models: whose fields the function takes.
        without: fields that it does not take.
    """
    fields = {name: field for model in models for name, field in model.model_fields.items() if name not in without}

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.get_default(call_default_factory=True),
                annotation=field.annotation,
            )
            for name, field in fields.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        lines = [f"    {name}: {field.description or 'see its own fields.'}" for name, field in fields.items()]
        function.__doc__ = "\n".join([f"{inspect.getdoc(function)}\n\nFields:", *lines])
        return function

    return decorate


def divided(given: Mapping[str, Any], *models: type[Model], without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The fields that were given, those of each model apart.

    Raises:
        ConfigError: one is a field of none of the models; with the nearest names.
    """
    known = [name for model in models for name in model.model_fields if name not in without]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known) or known
            raise ConfigError(f"{name}: no such argument; did you mean {', '.join(near)}?")
    return [{name: value for name, value in given.items() if name in model.model_fields} for model in models]
