"""Fields of configs, from files and from ``--set name.field=value``, and what is wrong with them in plain words."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from schemas.errors import ConfigError
from schemas.model import Model

M = TypeVar("M", bound=Model)
_SHOWN = 8  # problems of one file, and letters of a value
_LONGEST = 120


def validated(model: type[M], fields: Mapping[str, Any], *, of: str = "") -> M:
    """A model of untrusted fields.

    Args:
        model: of a config.
        fields: as files and options give them.
        of: what the config belongs to, said before the problems.

    Raises:
        ConfigError: naming every problem.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"{of}: {problems(error)}" if of else problems(error)) from error


def problems(error: ValidationError) -> str:
    """The problems that Pydantic found, on one line: the first few, and how many more there are."""
    found = error.errors()
    texts = [
        f"{'.'.join(map(str, problem['loc'])) or 'all'}: {problem['msg']}, got {shortened(problem['input'])}"
        for problem in found[:_SHOWN]
    ]
    return "; ".join(texts) + (f"; and {len(found) - _SHOWN} more problems" if len(found) > _SHOWN else "")


def shortened(value: object) -> str:
    """A value as a message shows it, however long it is."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def read_toml(path: Path | None) -> dict[str, Any]:
    """The fields of a config file; none without a file.

    Raises:
        ConfigError: it is missing, or not TOML.
    """
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"--config {path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: not TOML ({error})") from error


def assignments(texts: Sequence[str], model: type[Model]) -> dict[str, Any]:
    """Fields from ``name.field=value``; a value is TOML, or a text without quotes.

    Args:
        texts: of the assignments.
        model: that they are fields of.

    Raises:
        ConfigError: one is not an assignment, or names no field; with the nearest ones.
    """
    fields: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected name=value, such as optimisation.lr=1e-4")
        field_of(model, path.strip())
        try:
            fields[path.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            fields[path.strip()] = value.strip()
    return nested(fields)


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as nested dictionaries."""
    result: dict[str, Any] = {}
    for path, value in fields.items():
        *folders, name = path.split(".")
        place = result
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = value
    return result


def field_of(model: type[Model], path: str) -> FieldInfo | None:
    """The field of a dotted name; none below a field that is a free dictionary.

    Raises:
        ConfigError: there is none, with the nearest names.
    """
    first, _, rest = path.partition(".")
    field = model.model_fields.get(first)
    if field is None:
        known = [*_paths(model)]
        near = get_close_matches(path, known, n=3) or known
        raise ConfigError(f"{path}: no such field; did you mean {', '.join(near)}?")
    if not rest:
        return field
    if is_nested(field):
        return _below(field, first, rest)
    if get_origin(field.annotation) is dict:
        return None
    raise ConfigError(f"{path}: {first} has no fields of its own")


def _below(field: FieldInfo, first: str, rest: str) -> FieldInfo | None:
    try:
        return field_of(field.annotation, rest)  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(f"{first}.{error}") from error


def _paths(model: type[Model]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if is_nested(field):
            yield from (f"{name}.{below}" for below in _paths(field.annotation))  # type: ignore[arg-type]
        else:
            yield name


def is_nested(field: FieldInfo) -> bool:
    """Whether a field is a model with fields of its own."""
    return isinstance(field.annotation, type) and issubclass(field.annotation, Model)
