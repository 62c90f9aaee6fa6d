"""Packages of other people, as an installer leaves them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.registry import Registry


@contextmanager
def installed(registry: Registry[Any], site: Path, entry_point: str, code: str) -> Iterator[None]:
    """A package of one module whose item is found by ``entry_point``; the registry is read anew around it.

    Args:
        registry: that is to find it.
        site: folder to install into.
        entry_point: as its file has it, ``NAME = MODULE:OBJECT``.
        code: of the module.
    """
    module = entry_point.partition("=")[2].partition(":")[0].strip()
    about = site / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[mer.{registry.kind}]\n{entry_point}\n")
    registry.names()
    before = dict(registry._items)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        del registry.__dict__["_loaded"]  # as in a process that begins
        yield
    registry._items.clear()
    registry._items.update(before)
    registry.__dict__.pop("_loaded", None)
    sys.modules.pop(module, None)
