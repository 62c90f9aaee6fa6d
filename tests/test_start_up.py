"""Commands that need no network of neurons, no cluster and no plots do not import any: each would take seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_stores import tiny_store

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01")
NEVER = {"torch", "torchvision", "transformers", "distributed", "matplotlib", "bokeh", "sklearn", "skimage", "scipy"}
PROGRAM = """
import sys
sys.argv = ["mer", *sys.argv[1:]]
import cli
try:
    cli.main()
finally:
    print("imported:", *sys.modules)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    for name, keys in (("one", KEYS), ("other", KEYS[:1])):
        tiny_store(folder / f"{name}.zarr", keys)
    return folder


@pytest.mark.parametrize(
    ("command", "also"),
    [
        ("--help", {"numpy", "zarr", "pydantic", "rich"}),
        ("inspect one.zarr", {"cv2", "dask", "pandas"}),
        ("verify one.zarr --deep", {"cv2", "dask", "pandas"}),
        ("diff one.zarr other.zarr", {"cv2", "dask", "pandas"}),
        ("cite one.zarr", {"dask", "pandas"}),
        ("pull one.zarr pulled.zarr", {"cv2", "dask", "pandas"}),
        ("view --help", {"cv2", "dask", "pandas"}),
    ],
)
def test_a_command_imports_only_what_it_needs(folder: Path, command: str, also: set[str]) -> None:
    """In a process of its own, from the first line to the last."""
    found = imported(folder, command.split())
    assert "typer" in found, "or nothing would be seen"
    assert not found & (NEVER | also)


def test_scan_imports_no_network(shared_casme2: Path) -> None:
    """It reads spreadsheets and file names."""
    assert not imported(shared_casme2.parent, ["scan", str(shared_casme2)]) & (NEVER | {"dask"})


def imported(folder: Path, arguments: list[str]) -> set[str]:
    """Names of the packages that a command has imported when it ends."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    *_, last = done.stdout.splitlines()
    return {name.partition(".")[0] for name in last.removeprefix("imported: ").split()}
