"""Metrics of epochs in TensorBoard, W&B and MLflow, read back with the readers of those packages themselves."""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from training.config import LoggerName, TrainConfig
from training.fit.loggers import check_logger, fold_logger, log_result

EPOCHS = [{"loss": 1.5, "accuracy": 0.25}, {"loss": 0.5, "accuracy": 0.75}, {"loss": 0.25, "accuracy": 1.0}]
CONFIG = TrainConfig(model="au-logistic", seeds=(3,))


def logged(name: LoggerName, run: Path, lines: list[dict[str, float]], title: str = "seed 3, sub01") -> None:
    """What a fold does: its whole history from the first epoch on, also where it was resumed."""
    with fold_logger(name, run, title, CONFIG, run / "tensorboard") as logger:
        for epoch, line in enumerate(lines, 1):
            logger.log(epoch, line)


def test_tensorboard_has_every_epoch_once(tmp_path: Path) -> None:
    """Also after the run was killed in its second epoch and resumed."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logged("tensorboard", tmp_path, EPOCHS[:2])
    logged("tensorboard", tmp_path, EPOCHS)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.5), (2, 0.5), (3, 0.25)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, at MLflow
def test_mlflow_goes_on_with_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run a fold in an experiment that is called like the run folder; no epoch twice; the config as parameters."""
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database, the default, takes ten seconds to make
    run = tmp_path / "my-run"
    logged("mlflow", run, EPOCHS[:2])
    logged("mlflow", run, EPOCHS)
    logged("mlflow", run, EPOCHS, title="seed 3, sub02")
    log_result("mlflow", run, CONFIG, {"uf1": 0.5})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("my-run")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"seed 3, sub01", "seed 3, sub02", "result"}
    first = runs["seed 3, sub01"]
    assert [(m.step, m.value) for m in client.get_metric_history(first.info.run_id, "loss")] == [
        (1, 1.5), (2, 0.5), (3, 0.25),
    ]  # fmt: skip
    assert first.data.params["model"] == "au-logistic"
    assert first.data.params["optimisation.lr"] == str(CONFIG.optimisation.lr)
    assert first.info.status == "FINISHED"
    assert runs["result"].data.metrics == {"uf1": 0.5}


@pytest.mark.slow
def test_wandb_writes_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, as ``WANDB_MODE`` says: every epoch with its step, the fold's name, the run as its group."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    logged("wandb", tmp_path / "my-run", EPOCHS)
    [file] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline, lines = time.monotonic() + 30, list(_wandb_records(file))
    while not any("exit" in line for line in lines) and time.monotonic() < deadline:  # another process writes it
        time.sleep(0.1)
        lines = list(_wandb_records(file))
    [started] = [line["run"] for line in lines if "run" in line]
    assert started["display_name"] == "seed 3, sub01"
    assert started["run_group"] == "my-run"
    history = [
        {(item.get("key") or item["nested_key"][0]): json.loads(item["value_json"]) for item in line["history"]["item"]}
        for line in lines
        if "history" in line
    ]
    assert [(row["_step"], row["loss"], row["accuracy"]) for row in history] == [
        (1, 1.5, 0.25), (2, 0.5, 0.75), (3, 0.25, 1.0),
    ]  # fmt: skip


def _wandb_records(file: Path) -> Iterator[dict[str, Any]]:
    """The records of W&B's file, a log in LevelDB's format: blocks of 32 kB, each part with checksum, length, type."""
    from google.protobuf.json_format import MessageToDict
    from wandb.proto import wandb_internal_pb2

    data, at, whole = file.read_bytes(), 7, b""  # its own header
    while at + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if 2**15 - at % 2**15 < 7:  # no room for another header
            at += 2**15 - at % 2**15
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield MessageToDict(record, preserving_proto_field_name=True)
            whole = b""


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read: the package, and the extra."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("training.fit.loggers.find_spec", lambda name: None if name == "wandb" else object())
    with pytest.raises(
        ConfigError, match=r"--logger wandb: the package wandb is missing; pip install 'madv-mer\[wandb\]'"
    ):
        check_logger("wandb")
    check_logger("tensorboard")


def test_an_unknown_logger_is_a_usage_error() -> None:
    """The command line knows the three."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "train", "--store", "x.zarr", "--logger", "aim"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "tensorboard" in done.stderr
