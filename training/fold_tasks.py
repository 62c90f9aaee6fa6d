"""The folds of a run as independent tasks: one after the other here, or on a Dask cluster."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from distributed import Client, as_completed, get_worker
from distributed.scheduler import KilledWorker
from torch import Tensor

from schemas.config import Device
from schemas.errors import RunError
from schemas.location import StoreLocation
from training.batch import Input
from training.clips import ClipCache, ClipReader, ClipSource
from training.config import Cache
from training.dataset import FoldData
from training.epoch_metrics import Metrics
from training.fold import train_fold
from training.progress import EpochDone
from training.run_folder import FoldFailure, FoldFolder, Run, write_text
from training.tensor_file import read_tensors
from training.trained_model import TrainedModelHeader

log = logging.getLogger("mer")
_TRIES = 3  # of a fold whose worker dies
Outcome = tuple[FoldFolder, FoldFailure | None]


@dataclass(frozen=True)
class FoldTasks:
    """What the tasks of a run have in common; small, so that it can travel.

    Attributes:
        run: what is trained.
        stores: where the clips are.
        keys: of all clips of the task.
        labels: class index of each.
        inputs: what the model reads.
        device: to train on.
        cache: where decoded clips are kept.
        loaders: reading processes of a fold, without a cache and where a process may have some.
        pretrained: file of weights for each seed that folds start from.
    """

    run: Run
    stores: tuple[StoreLocation, ...]
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    inputs: frozenset[Input]
    device: Device
    cache: Cache
    loaders: int
    pretrained: dict[int, Path]

    def here(self, folders: Sequence[FoldFolder], report: Callable[[EpochDone], None]) -> Iterator[Outcome]:
        """One fold after the other in this process."""
        data = self._data(open_source(self.stores, self.keys, self.run.config.size, self.inputs, self._cache_device))
        for folder in folders:
            yield folder, self._train(folder, data, torch.get_num_threads(), report)

    def on(
        self, client: Client, folders: Sequence[FoldFolder], report: Callable[[EpochDone], None], *, threads: int
    ) -> Iterator[Outcome]:
        """All folds as tasks of a cluster, each with so many PyTorch threads, as they are finished."""
        topic = f"mer-train-{uuid4().hex}"
        resources = {"GPU": 1} if self.device == "cuda" else None
        running: dict[Any, FoldFolder] = {}
        deaths: Counter[Path] = Counter()

        def start(folder: FoldFolder) -> Any:
            future = client.submit(_train_on_worker, self, folder, threads, topic, pure=False, resources=resources)
            running[future.key] = folder
            return future

        with _reports(client, topic, report):
            completed = as_completed([start(folder) for folder in folders], loop=client.loop)
            for future in completed:
                folder = running.pop(future.key)
                try:
                    yield folder, future.result()
                except KilledWorker:
                    deaths[folder.path] += 1
                    if deaths[folder.path] < _TRIES:
                        completed.add(start(folder))  # goes on from its last checkpoint
                    else:
                        died = RunError(f"{_TRIES} workers that took this fold died; give them more memory")
                        yield folder, _failed(folder, died)

    @property
    def _cache_device(self) -> str | None:
        return {"ram": "cpu", "device": self.device, "none": None}[self.cache]

    def _data(self, source: ClipSource) -> FoldData:
        # Workers of Dask are daemons unless told otherwise, and these may not have processes of their own.
        loaders = self.loaders if self.cache == "none" and not current_process().daemon else 0
        return FoldData(source, self.keys, self.labels, loaders=loaders)

    def _train(
        self, folder: FoldFolder, data: FoldData, threads: int, report: Callable[[EpochDone], None]
    ) -> FoldFailure | None:
        def on_epoch(epoch: int, metrics: Metrics) -> None:
            report(EpochDone(folder.name, epoch, metrics["loss"] or 0.0, metrics["accuracy"]))

        try:
            train_fold(
                self.run,
                folder,
                data,
                device=torch.device(self.device),
                threads=threads,
                backbone=self._backbone(folder.seed),
                on_epoch=on_epoch,
            )
        except Exception as error:  # whatever it is, the other folds go on; the log has the traceback
            log.exception("%s failed", folder.name)
            return _failed(folder, error)
        return None

    def _backbone(self, seed: int) -> dict[str, Tensor] | None:
        return read_tensors(self.pretrained[seed], TrainedModelHeader)[0] if self.pretrained else None


def open_source(
    stores: tuple[StoreLocation, ...], keys: tuple[str, ...], size: int, inputs: frozenset[Input], cache: str | None
) -> ClipSource:
    """Clips of stores, read once onto ``cache`` where that is a device, else one by one when asked for."""
    reader = ClipReader(stores, keys, size=size, inputs=inputs)
    return reader if cache is None else ClipCache(reader, cache)


@lru_cache(maxsize=1)  # a worker process trains many folds on the same clips
def _kept_source(
    stores: tuple[StoreLocation, ...],
    keys: tuple[str, ...],
    size: int,
    inputs: frozenset[Input],
    cache: str | None,
    contents: tuple[str, ...],
) -> ClipSource:
    """As ``open_source``; other ``contents`` tell a store that was made anew, since workers may outlive a run."""
    return open_source(stores, keys, size, inputs, cache)


def _train_on_worker(tasks: FoldTasks, folder: FoldFolder, threads: int, topic: str) -> FoldFailure | None:
    worker = get_worker()
    contents = tuple(store.content_sha256 for store in tasks.run.stores)
    source = _kept_source(tasks.stores, tasks.keys, tasks.run.config.size, tasks.inputs, tasks._cache_device, contents)
    return tasks._train(folder, tasks._data(source), threads, lambda event: worker.log_event(topic, tuple(event)))


@contextmanager
def _reports(client: Client, topic: str, report: Callable[[EpochDone], None]) -> Iterator[None]:
    def handle(event: tuple[float, Any]) -> None:
        report(EpochDone(*event[1]))

    client.subscribe_topic(topic, handle)
    try:
        yield
    finally:
        if client.status == "running":
            client.unsubscribe_topic(topic)


def _failed(folder: FoldFolder, error: Exception) -> FoldFailure:
    failure = FoldFailure(error=type(error).__name__, message=str(error))
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.failure, failure.model_dump_json(indent=1) + "\n")
    return failure
