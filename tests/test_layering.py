"""Who may import whom, read off the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "schemas": {"pipeline", "training", "cli", "torch", "dask", "distributed", "cv2", "feat", "transformers"},
    "pipeline": {"training", "cli"},
    "training": {"pipeline", "cli", "cv2", "feat", "facenet_pytorch"},
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_import_only_what_lies_below_them(package: str) -> None:
    """``schemas`` knows nobody, ``pipeline`` and ``training`` know ``schemas`` but not each other."""
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / package).rglob("*.py")
        for module in _imports(path)
        if module in FORBIDDEN[package]
    }
    assert not found


def test_the_reader_of_imports_sees_imports() -> None:
    """The check above could otherwise pass on nothing."""
    assert "schemas" in _imports(ROOT / "pipeline" / "preprocessing" / "run.py")
    assert "torch" in _imports(ROOT / "pipeline" / "preprocessing" / "backends.py"), (
        "imports inside functions count too"
    )


def _imports(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.split(".")[0])
    return modules
