"""Where the metrics of a fold's epochs go beside ``metrics.csv``: TensorBoard, Weights & Biases, or MLflow.

A run of ours is a group there (W&B) or an experiment of that name (MLflow), each fold of each seed a run in it, and
the result one more. What is resumed here goes on there: under the same id, without an epoch twice. Nothing goes
online but where the user's own settings of those packages (``WANDB_MODE``, ``MLFLOW_TRACKING_URI``) send it.
"""

import hashlib
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import ConfigError
from training.config import LoggerName, TrainConfig

_PACKAGES: dict[LoggerName, str] = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
_PROJECT = "mer"  # of W&B, unless WANDB_PROJECT names another


class MetricLogger(ABC):
    """The metrics of one fold, or of a result."""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step, unless they are there already."""

    @abstractmethod
    def close(self) -> None:
        """All is logged."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _TensorBoard(MetricLogger):
    """Files in the fold's folder, written again by a run that goes on: lines of a killed one would double."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb(MetricLogger):
    def __init__(self, run_folder: Path, title: str, config: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            group=run_folder.name,
            name=title,
            id=_id(run_folder, title),
            resume="allow",
            config=dict(config),
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self._run.step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow(MetricLogger):
    def __init__(self, run_folder: Path, title: str, config: Mapping[str, Any]) -> None:
        import pandas as pd
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", run_folder.name)
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        own = _id(run_folder, title)
        found = self._client.search_runs([experiment], f"tags.mer_id = '{own}'", max_results=1)
        self._done = -1
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            steps = (m.step for key in found[0].data.metrics for m in self._client.get_metric_history(self._id, key))
            self._done = max(steps, default=-1)
        else:
            self._id = self._client.create_run(experiment, run_name=title, tags={"mer_id": own}).info.run_id
            fields = pd.json_normalize(dict(config), sep=".").iloc[0].to_dict()
            self._client.log_batch(self._id, params=[Param(str(key), str(value)) for key, value in fields.items()])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if step > self._done:
            now = int(time.time() * 1000)
            self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


def check_logger(name: LoggerName) -> None:
    """Whether the package behind a logger is there.

    Raises:
        ConfigError: it is not; the message says how to get it.
    """
    if find_spec(_PACKAGES[name]) is None:
        raise ConfigError(f"--logger {name}: the package {_PACKAGES[name]} is missing; pip install 'madv-mer[{name}]'")


def fold_logger(name: LoggerName, run_folder: Path, title: str, config: TrainConfig, board: Path) -> MetricLogger:
    """The logger of one fold.

    Args:
        name: where to log.
        run_folder: of the run; its name is that of the group.
        title: of the fold, such as ``seed 0, casme2/sub03``.
        config: of the run, shown beside the metrics.
        board: folder of TensorBoard's files.

    Raises:
        ConfigError: the package is missing.
    """
    check_logger(name)
    if name == "tensorboard":
        return _TensorBoard(board)
    return (_Wandb if name == "wandb" else _Mlflow)(run_folder.absolute(), title, config.model_dump(mode="json"))


def log_result(name: LoggerName, run_folder: Path, config: TrainConfig, values: Mapping[str, float]) -> None:
    """Log the scores of a run beside its folds; TensorBoard, which shows curves alone, gets none."""
    if name != "tensorboard":
        with fold_logger(name, run_folder, "result", config, run_folder) as logger:
            logger.log(0, values)


def _id(run_folder: Path, title: str) -> str:
    return hashlib.sha256(f"{run_folder}\n{title}".encode()).hexdigest()[:16]
