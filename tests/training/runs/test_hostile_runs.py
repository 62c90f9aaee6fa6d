"""Run folders from somebody else: whatever stands where `run.json` should be gives one line and exit code 2."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.store.reader import Store
from tests.command_line import mer
from tests.training.run_folders import make_run_folder
from tests.training.small_stores import MODEL, PROTOCOL, small_store
from training.fit.folder import RUN_FILE
from training.protocols.protocol import choose_protocol

THERE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda file: file.unlink(missing_ok=True),
    "a folder": lambda file: file.mkdir(),
    "a pipe": lambda file: os.mkfifo(file),
    "a link to itself": lambda file: file.symlink_to(file),
    "no bytes": lambda file: file.touch(),
    "no text": lambda file: file.write_bytes(bytes(range(256)) * 4_000),
    "no object": lambda file: file.write_text("null"),
    "another object": lambda file: file.write_text("{}"),
    "a long text": lambda file: file.write_text(f'{{"format": "{"x" * 10**6}"}}'),
    "many fields": lambda file: file.write_text("{" + ",".join(f'"x{i}": {i}' for i in range(10**4)) + "}"),
    "deep lists": lambda file: file.write_text("[" * 10**6),
    "deep objects": lambda file: file.write_text('{"config":' * 10**5),
}
COMMANDS = ["predict RUN S -o new", "report RUN --store S", "export RUN --onnx", "ablate RUN --store S -o new",
            "train --store S --protocol two.toml --pretrain RUN --partial --workers 0 -o new"]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("store") / "s.zarr", subjects=2)


@pytest.mark.parametrize("place", THERE.values(), ids=THERE)
def test_what_is_no_run_is_refused_in_one_line(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], object]
) -> None:
    """By every command that takes a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RUN").mkdir()
    (tmp_path / "two.toml").write_text(PROTOCOL)
    place(tmp_path / "RUN" / "run.json")
    for command in COMMANDS:
        done = mer(*command.replace(" S", f" {store.path}").split())
        assert done.code == 2, command
        assert "RUN" in done.error, command
        assert done.error.count("\n") == 1, command
        assert len(done.error) < 2500, command
        assert not (tmp_path / "new").exists(), command


def test_classes_that_are_not_those_of_the_weights_are_refused(store: Store, tmp_path: Path) -> None:
    """Two swapped names in `run.json` would swap the names of all probabilities."""
    (tmp_path / "two.toml").write_text(PROTOCOL)
    folder = make_run_folder(tmp_path / "run", [store], choose_protocol(str(tmp_path / "two.toml"), []), model=MODEL)
    assert mer("predict", folder.path, store.path, "-o", tmp_path / "p", "--device", "cpu").code == 0
    text = (folder.path / RUN_FILE).read_text()
    swapped = re.sub(r'"happy",(\s+)"surprised"', r'"surprised",\1"happy"', text)
    assert swapped != text
    (folder.path / RUN_FILE).write_text(swapped)
    for command in (("predict", folder.path, store.path), ("export", folder.path, "--onnx")):
        done = mer(*command, "-o", tmp_path / "new")
        assert done.code == 2
        assert "model.safetensors: a model of the classes happy, surprised; its run has surprised, happy" in done.error
        assert not (tmp_path / "new").exists()
