"""JSON from a stranger: a key is there once, and nothing is nested so deep that reading it breaks."""

import json
from typing import Any


def strict_json(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, is not UTF-8, has a key twice in one object, or is nested too deep.
    """
    try:
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
