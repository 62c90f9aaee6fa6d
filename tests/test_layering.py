"""Who may import whom, read off the source: data flows one way, and so do imports."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "dask", "distributed", "cv2", "feat", "transformers"}
TOP = {"cli", "madv_mer"}  # the command and the library stand above everything
FORBIDDEN = {
    "schemas": {"pipeline", "training", *TOP, *HEAVY},
    "pipeline": {"training", *TOP},
    "training": {"pipeline", *TOP, "cv2", "feat", "facenet_pytorch"},
    "madv_mer": {"cli"},
}
COMMANDS = ROOT / "training" / "cli"  # a command may bring both sides together; no library module may
FLOORS = {  # of each package, from the ground up; a room imports only from floors below its own
    "pipeline": [
        {"weights"},
        {"clip"},
        {"datasets", "synthesis"},
        {"preprocessing"},
        {"inspect"},
        {"sharing"},
        {"view"},
        {"demo"},
        {"cli"},
    ],
    "training": [
        {"protocols"},
        {"config"},
        {"data"},
        {"models"},
        {"evaluation"},
        {"spotting", "fit"},
        {"runs", "report"},
        {"inference"},
        {"cli"},
    ],
}


def modules(package: str) -> list[Path]:
    return [path for path in (ROOT / package).rglob("*.py") if path != ROOT / package / "__init__.py"]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    """``schemas`` knows nobody, ``pipeline`` and ``training`` know ``schemas`` but not each other."""
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[package] and not (path.parent == COMMANDS and name.startswith("pipeline"))
    }
    assert not found


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_import_only_from_the_floors_below(package: str) -> None:
    """No arrow runs back up, also none inside a function."""
    floors = {room: floor for floor, rooms in enumerate(FLOORS[package]) for room in rooms}
    upwards = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.startswith(f"{package}.") and (other := name.split(".")[1]) != room_of(path)
        if floors[other] >= floors[room_of(path)]
    }
    assert not upwards


def test_no_circle_of_modules() -> None:
    """A circle would be hidden, not mended, by an import inside a function: those count too."""
    known = {dotted(path): path for package in FORBIDDEN for path in modules(package)}
    graph = {name: {found for found in imports(path) if found in known} - {name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_the_reader_of_imports_sees_imports(tmp_path: Path) -> None:
    """The checks above could otherwise pass on nothing."""
    file = tmp_path / "module.py"
    file.write_text("import numpy as np\nfrom pipeline import clip\n\ndef f():\n    from torch.nn import Module\n")
    assert imports(file) == {"numpy", "pipeline", "pipeline.clip", "torch.nn", "torch.nn.Module"}
    assert len(modules("training")) > 50


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[1]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path: Path) -> set[str]:
    """Dotted names of imported modules; of ``from a import b`` both ``a`` and ``a.b``, either may be the module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
