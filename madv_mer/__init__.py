"""The library: open stores and runs, preprocess, train and evaluate from Python; ``mer`` does the same in a shell.

Everything is loaded when it is first used. What goes wrong is a ``MerError``, whose message says what to do.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from madv_mer import registry
    from madv_mer.actions import evaluate, preprocess, train
    from madv_mer.results import Evaluation, Run, open_run
    from madv_mer.store import Clip, Store, open_store
    from schemas.errors import MerError

__all__ = [
    "Clip",
    "Evaluation",
    "MerError",
    "Run",
    "Store",
    "evaluate",
    "open_run",
    "open_store",
    "preprocess",
    "registry",
    "train",
]

_HOMES = {
    "madv_mer.actions": ("evaluate", "preprocess", "train"),
    "madv_mer.results": ("Evaluation", "Run", "open_run"),
    "madv_mer.store": ("Clip", "Store", "open_store"),
    "schemas.errors": ("MerError",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def _refuse_namesakes() -> None:
    """Say whose module would be taken for one of ours: Python looks for modules beside a script or notebook first.

    Raises:
        ImportError: naming the file or folder.
    """
    home = Path(__file__).resolve().parents[1]
    for name in ("schemas", "pipeline", "training"):
        spec = find_spec(name)
        if spec is None:
            raise ImportError(f"madv-mer is not installed as a whole: {home / name} is missing; install it again")
        found = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), name)).resolve()
        if home / name not in found.parents:
            place = found.parent if found.name == "__init__.py" else found
            raise ImportError(
                f"{place} has the name of madv-mer's own {name!r} ({home / name}) and is found before it; rename "
                f"{place.name}, or start Python in another folder than {place.parent}",
                name=name,
                path=str(place),
            )


_refuse_namesakes()


def __getattr__(name: str) -> Any:
    if name == "registry":
        return import_module("madv_mer.registry")
    if name not in _HOME:
        raise AttributeError(f"module 'madv_mer' has no attribute {name!r}")
    found = getattr(import_module(_HOME[name]), name)
    setattr(sys.modules[__name__], name, found)
    return found


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]
