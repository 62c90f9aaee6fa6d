"""Durable writes: whole or not at all, and flushed before they take their name."""

import logging
import os
import stat
from pathlib import Path

import pytest

from schemas.errors import OutputLockedError, StoreWriteError
from schemas.output import locked, log_file, replacing, write_text

log = logging.getLogger("mer")


def test_a_file_is_flushed_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that reaches the disk before the bytes would leave an empty file after a power cut."""
    target, calls = tmp_path / "predictions.csv", []
    fsync, rename = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "bytes")
        fsync(descriptor)

    def renamed(self: Path, other: Path) -> Path:
        calls.append("rename")
        return rename(self, other)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    write_text(target, "clip,a\n")
    assert calls == ["bytes", "rename", "folder"]
    assert target.read_text() == "clip,a\n"


def test_an_error_in_between_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_text(target, "old")

    def interrupted() -> None:
        with replacing(target) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert target.read_text() == "old"


def test_what_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreWriteError, match=r"file/result\.json: a file is where a folder is needed"):
        write_text(tmp_path / "file" / "result.json", "text")


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    """Colleagues read a shared store: temporary files of the library are for their owner alone."""
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_nothing_is_left_beside_an_output(tmp_path: Path) -> None:
    """Neither the lock nor an empty log; what was logged stays, and nobody else gets in while the lock is held."""
    out = tmp_path / "a.zarr"
    for message in ("", "something"):
        with locked(out), log_file(tmp_path / "a.log"):
            with pytest.raises(OutputLockedError), locked(out):
                pytest.fail("two hold it")
            if message:
                log.info(message)
        assert [path.name for path in tmp_path.iterdir()] == (["a.log"] if message else [])
    assert "something" in (tmp_path / "a.log").read_text()


def test_what_a_killed_run_left_half_written_is_deleted_by_the_next(tmp_path: Path) -> None:
    """In the output and in a folder of it; a SIGKILL while ``result.json`` was written left it there for good."""
    out = tmp_path / "run"
    written = [out / "result.json", out / "figures" / "a.png"]
    for path in written:
        write_text(path, "whole")
        path.with_name(f".{path.name}.{'0' * 32}.partial").write_text("half")
    with locked(out):
        assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(written)
