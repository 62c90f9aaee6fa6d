"""Folds as independent tasks: one after the other here, or on a Dask cluster."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import torch
from distributed import Client, as_completed, get_worker
from distributed.scheduler import KilledWorker

from schemas.config import Device
from schemas.errors import RunError
from schemas.store.location import StoreLocation
from training.config import Cache
from training.data.batch import Input
from training.data.clips import ClipCache, ClipReader, ClipSource
from training.data.dataset import FoldData
from training.fit.epoch_metrics import Metrics
from training.fit.fold import train_fold
from training.fit.folder import FoldFailure, FoldFolder, FoldTime, Run, write_text
from training.fit.initial_weights import Backbone, read_backbone
from training.runs.progress import EpochDone

log = logging.getLogger("mer")
_TRIES = 3  # of a fold whose worker dies


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

    def source(self, kept: "Callable[[_Clips], ClipSource]") -> ClipSource:
        """The clips of the run; ``kept`` remembers those that it has opened."""
        where = {"ram": "cpu", "device": self.device, "none": None}[self.cache]
        contents = tuple(store.content_sha256 for store in self.run.stores)
        return kept(_Clips(self.stores, self.keys, self.run.config.size, self.inputs, where, contents))


class FoldTask(NamedTuple):
    """One fold of one seed of a run."""

    common: FoldTasks
    folder: FoldFolder

    @property
    def name(self) -> str:
        """For people: ``madv_net, seed 0, casme2/sub03``."""
        return f"{self.common.run.config.model}, {self.folder.name}"

    def train(self, source: ClipSource, threads: int, report: Callable[[EpochDone], None]) -> FoldFailure | None:
        """Train it with so many PyTorch threads; whatever goes wrong is written down, and returned."""
        common, folder = self.common, self.folder
        # Workers of Dask are daemons unless told otherwise, and these may not have processes of their own.
        loaders = common.loaders if common.cache == "none" and not current_process().daemon else 0
        clock = _Clock(folder.time)

        def on_epoch(epoch: int, metrics: Metrics) -> None:
            clock.write()
            report(EpochDone(self.name, epoch, metrics["loss"] or 0.0, metrics["accuracy"]))

        try:
            train_fold(
                common.run,
                folder,
                FoldData(source, common.keys, common.labels, loaders=loaders),
                device=torch.device(common.device),
                threads=threads,
                backbone=self._backbone(),
                on_epoch=on_epoch,
            )
        except Exception as error:  # whatever it is, the other folds go on; the log has the traceback
            log.exception("%s failed", self.name)
            return _failed(folder, error)
        return None

    def _backbone(self) -> Backbone | None:
        files = self.common.pretrained
        return read_backbone(files[self.folder.seed], self.common.run.config) if files else None


Outcome = tuple[FoldTask, FoldFailure | None]


def tasks_here(tasks: Sequence[FoldTask], report: Callable[[EpochDone], None]) -> Iterator[Outcome]:
    """One fold after the other in this process."""
    kept = lru_cache(maxsize=1)(_open)
    for task in tasks:
        yield task, task.train(task.common.source(kept), torch.get_num_threads(), report)


def tasks_on(
    client: Client, tasks: Sequence[FoldTask], report: Callable[[EpochDone], None], *, threads: int
) -> Iterator[Outcome]:
    """All folds as tasks of a cluster, each with so many PyTorch threads, as they are finished."""
    topic = f"mer-train-{uuid4().hex}"
    running: dict[Any, FoldTask] = {}
    deaths: Counter[Path] = Counter()

    def start(task: FoldTask) -> Any:
        resources = {"GPU": 1} if task.common.device == "cuda" else None
        future = client.submit(_train_on_worker, task, threads, topic, pure=False, resources=resources)
        running[future.key] = task
        return future

    with _reports(client, topic, report):
        completed = as_completed([start(task) for task in tasks], loop=client.loop)
        for future in completed:
            task = running.pop(future.key)
            try:
                yield task, future.result()
            except KilledWorker:
                deaths[task.folder.path] += 1
                if deaths[task.folder.path] < _TRIES:
                    completed.add(start(task))  # goes on from its last checkpoint
                else:
                    died = RunError(f"{_TRIES} workers that took this fold died; give them more memory")
                    yield task, _failed(task.folder, died)


class _Clips(NamedTuple):
    """Clips to open. Other ``contents`` tell a store that was made anew, since workers may outlive a run."""

    stores: tuple[StoreLocation, ...]
    keys: tuple[str, ...]
    size: int
    inputs: frozenset[Input]
    cache: str | None
    contents: tuple[str, ...]


class _Clock:
    """Adds up the seconds of a fold over the runs that it took, epoch by epoch."""

    def __init__(self, file: Path) -> None:
        self._file, self._started = file, time.monotonic()
        self._before = FoldTime.model_validate_json(file.read_bytes()).seconds if file.is_file() else 0.0

    def write(self) -> None:
        spent = FoldTime(seconds=self._before + time.monotonic() - self._started)
        write_text(self._file, spent.model_dump_json() + "\n")


def _open(clips: _Clips) -> ClipSource:
    return open_source(clips.stores, clips.keys, clips.size, clips.inputs, clips.cache)


def open_source(
    stores: tuple[StoreLocation, ...], keys: tuple[str, ...], size: int, inputs: frozenset[Input], cache: str | None
) -> ClipSource:
    """Clips of stores, read once onto ``cache`` where that is a device, else one by one when asked for."""
    reader = ClipReader(stores, keys, size=size, inputs=inputs)
    return reader if cache is None else ClipCache(reader, cache)


_kept_on_worker = lru_cache(maxsize=1)(_open)  # a worker process trains many folds on the same clips


def _train_on_worker(task: FoldTask, threads: int, topic: str) -> FoldFailure | None:
    worker = get_worker()
    source = task.common.source(_kept_on_worker)
    return task.train(source, threads, lambda event: worker.log_event(topic, tuple(event)))


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
