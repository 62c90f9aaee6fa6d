"""Outputs that cannot be written: every command says so in one line, exits 2, and shows no traceback."""

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline.sharing.pack import pack
from tests.command_line import mer
from tests.training.run_folders import make_run_folder
from tests.training.small_stores import CONFIG, MODEL, PROTOCOL, small_store
from training.protocols.protocol import choose_protocol

# Half-written archives try once more when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Command -> its words. OUT is the output that cannot be written, IN the folder of what is read.
COMMANDS = {
    "scan": "scan OUT.csv --template",
    "preprocess": "preprocess IN/casme2 -o OUT --depth mesh --au mesh --size 112 --device cpu --workers 0 --limit 1",
    "synth": "synth casme2 OUT --subjects 1 --clips 1 --frames 8",
    "demo": "demo -o OUT",
    "show": "show IN/s.zarr casme2/sub01/happiness0 -o OUT.png",
    "merge": "merge IN/s.zarr -o OUT",
    "subset": "subset IN/s.zarr -o OUT --subjects sub01",
    "key": "subset IN/s.zarr -o IN/never --anonymise --key OUT",
    "relabel": "relabel IN/s.zarr IN/labels.csv -o OUT",
    "pack": "pack IN/s.zarr OUT.zip",
    "unpack": "unpack IN/s.zip OUT",
    "push": "push IN/s.zarr OUT --yes",
    "pull": "pull IN/s.zarr OUT",
    "train": "train --store IN/s.zarr --protocol IN/two.toml --config IN/c.toml --partial --workers 0 -o OUT",
    "pretrain": "pretrain --store IN/s.zarr --config IN/c.toml --workers 0 -o OUT",
    "ablate": "ablate IN/a.toml --store IN/s.zarr --workers 0 -o OUT",
    "compare": "compare --store IN/s.zarr --models au-logistic --protocol IN/two.toml --partial --workers 0 -o OUT",
    "report": "report OUT --store IN/s.zarr",
    "predict": "predict IN/run IN/s.zarr -o OUT --device cpu",
    "export": "export IN/regression --onnx -o OUT",
}
SLOW = ("demo", "export", "report")  # they run all, load ONNX and PyTorch's exporter, and draw all figures
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in COMMANDS]


class Place(NamedTuple):
    """What is read, and the folder for what is written."""

    inputs: Path
    out: Path

    def run(self, name: str) -> str:
        """The one line that a command ends with, exit code 2 or 0; nothing where it could write after all."""
        words = COMMANDS[name].replace("OUT", str(self.out)).replace("IN", str(self.inputs))
        done = mer(*words.split())
        assert "Traceback" not in done.error, done.error
        assert "Logging error" not in done.error, done.error
        assert done.code in (0, 2), (done.code, done.error)
        lines = done.error.splitlines()
        assert done.code == 0 or lines[-1].startswith("error: "), done.error
        return lines[-1] if done.code else ""


@pytest.fixture(scope="module")
def inputs(shared_casme2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "casme2").symlink_to(shared_casme2)
    store = small_store(folder / "s.zarr", subjects=2)
    pack(store, folder / "s.zip")
    config = f"counts = 'any'\nprotocol = '{folder / 'two.toml'}'\n{CONFIG}"
    for name, text in (
        ("two.toml", PROTOCOL),
        ("c.toml", CONFIG),
        ("a.toml", config),
        ("labels.csv", "clip,emotion\ncasme2/sub01/happiness0,fear\n"),
    ):
        (folder / name).write_text(text)
    protocol = choose_protocol(str(folder / "two.toml"), [])
    make_run_folder(folder / "run", [store], protocol, model=MODEL)
    make_run_folder(folder / "regression", [store], protocol, model={}, network="au-logistic")  # a graph of few nodes
    return folder


@pytest.fixture
def place(inputs: Path, tmp_path: Path, name: str) -> Place:
    """A folder that can be written, so far."""
    if name == "report":
        shutil.copytree(inputs / "run", tmp_path / "out")
    return Place(inputs, tmp_path / "out")


@contextmanager
def limited(what: int, soft: int) -> Iterator[None]:
    """A limit of this process, for a while."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


@pytest.mark.parametrize("name", NAMES)
def test_an_output_below_a_file(inputs: Path, tmp_path: Path, name: str) -> None:
    """Not even the superuser can write there."""
    (tmp_path / "file").touch()
    said = Place(inputs, tmp_path / "file" / "out").run(name)
    assert f"{tmp_path / 'file'}" in said


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_grows_too_large(place: Place, name: str) -> None:
    """As on a full disk: the first bytes can be written, and no more."""
    with limited(resource.RLIMIT_FSIZE, 200):
        said = place.run(name)
    assert "the file is larger than is allowed there" in said


@pytest.mark.parametrize("name", NAMES)
def test_without_locks(place: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As on some network file systems; commands that lock nothing work there."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    said = place.run(name)
    assert not said or "the file system gives no locks" in said


@pytest.mark.parametrize("name", NAMES)
def test_without_descriptors(place: Place, name: str) -> None:
    """Where no file can be opened beside those that are."""
    lowest = os.dup(0)
    os.close(lowest)  # the first that is free: below it there is none
    with limited(resource.RLIMIT_NOFILE, lowest):
        said = place.run(name)
    assert said
