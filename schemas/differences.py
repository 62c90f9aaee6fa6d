"""What differs between two models, field by field."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

Differences = dict[str, tuple[Any, Any]]


def differing(mine: BaseModel | None, theirs: BaseModel | None, *, without: Iterable[str] = ()) -> Differences:
    """Dotted field -> (this value, the other's), for what differs; a list counts as one value."""
    left_out = set(without)
    flat = [{} if model is None else _flat(model.model_dump(mode="json", exclude=left_out)) for model in (mine, theirs)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    pairs = {name: (flat[0].get(name), flat[1].get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def listed(differences: Differences) -> str:
    """On one line, for messages."""
    return ", ".join(f"{name} {mine!r} / {theirs!r}" for name, (mine, theirs) in differences.items())


def now_and_there(differences: Differences) -> str:
    """A line each, for a run that finds something made otherwise."""
    return "\n".join(f"  {name}: now {mine!r}, there {theirs!r}" for name, (mine, theirs) in differences.items())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
