"""Settings from files and options, and what is wrong with them in the user's words."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from schemas.errors import ConfigError
from schemas.model import Model

M = TypeVar("M", bound=Model)


def validated(model: type[M], fields: Mapping[str, Any], *, of: str = "") -> M:
    """A config from untrusted fields.

    Args:
        model: of the config.
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
    """Every problem that Pydantic found, on one line."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'all'}: {problem['msg']}, got {problem['input']!r}"
        for problem in error.errors()
    )


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
