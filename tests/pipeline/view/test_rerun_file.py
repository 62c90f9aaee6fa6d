"""A store as a recording of Rerun, read back with Rerun's own reader."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.view.predictions import Answer, ClipAnswers, RunPredictions
from pipeline.view.rerun_file import write_rerun
from schemas.errors import ConfigError
from tests.command_line import mer
from tests.tiny_stores import tiny_store

FIRST, SECOND, FAILED = "casme2/sub01/EP01", "casme2/sub01/EP02", "casme2/sub02/EP01"


def columns(file: Path, entity: str) -> dict[str, list[Any]]:
    """Everything logged to an entity: component -> values in time."""
    from rerun.chunk import RrdReader

    found: dict[str, list[Any]] = {}
    for chunk in RrdReader(str(file)).stream().to_chunks():
        if chunk.entity_path == f"/{entity}":
            table = chunk.to_record_batch()
            for name, column in zip(table.schema.names, table.columns, strict=True):
                found.setdefault(name, []).extend(column.to_pylist())
    return found


def test_a_recording_holds_what_the_store_does(tmp_path: Path) -> None:
    """Frames, times, depth, action units at onset and apex, and what a run answered; a failed clip is left out."""
    pytest.importorskip("rerun")
    store = tiny_store(tmp_path / "s.zarr", [FIRST, SECOND, FAILED], failed=[FAILED])
    run = RunPredictions("est, loso", ("calm", "happy"), {FIRST: ClipAnswers(1, (Answer("sub01", 0, (0.25, 0.75)),))})
    file = tmp_path / "clips.rrd"
    assert write_rerun(store, run, file) == 2
    entry = store.entry(FIRST)
    texture = columns(file, f"{FIRST}/texture")
    assert texture["frame"] == list(range(entry.n_frames))
    depth = columns(file, f"{FIRST}/depth")
    last = np.frombuffer(bytes(depth["DepthImage:buffer"][-1][0]), np.float32)
    assert np.array_equal(last, store.depth(FIRST)[-1].astype(np.float32).ravel())
    unit = columns(file, f"{FIRST}/au/AU12")
    assert unit["frame"] == [0, 1]
    assert unit["Scalars:scalars"] == [[pytest.approx(0.1)], [pytest.approx(0.25)]]
    [about] = columns(file, f"{FIRST}/about")["TextDocument:text"]
    assert "est, loso: calm 0.25, happy 0.75; true: happy" in about[0]
    assert "has two layouts" in about[0]
    assert columns(file, f"{SECOND}/texture")["frame"]
    assert not columns(file, f"{FAILED}/about")


def test_the_command_writes_it(tmp_path: Path) -> None:
    """It says how many clips, and opens no browser; where nothing can be written that is an error."""
    pytest.importorskip("rerun")
    store = tiny_store(tmp_path / "s.zarr", [FIRST, SECOND])
    done = mer("view", store.path, "--rerun", tmp_path / "clips.rrd")
    assert done.code == 0, done.error
    assert f"{tmp_path / 'clips.rrd'}: 2 clips" in done.printed
    (tmp_path / "file").touch()
    refused = mer("view", store.path, "--rerun", tmp_path / "file" / "clips.rrd")
    assert refused.code == 2
    assert f"{tmp_path / 'file'}" in refused.error


def test_a_missing_package_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a clip is read."""
    monkeypatch.setattr("pipeline.view.rerun_file.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"the package rerun-sdk is missing; pip install 'madv-mer\[rerun\]'"):
        write_rerun(tiny_store(tmp_path / "s.zarr", [FIRST]), None, tmp_path / "clips.rrd")
