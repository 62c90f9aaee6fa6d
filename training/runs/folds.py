"""Folds as independent tasks: one after the other in this process, or all at once on a Dask cluster."""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import current_process
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import torch
from dask.system import CPU_COUNT
from distributed import Client, as_completed, get_worker
from distributed.scheduler import KilledWorker
from pydantic import ValidationError
from rich.console import Console

from schemas.config import Device
from schemas.errors import RunError
from schemas.output import write_text
from schemas.progress import Progress
from training.config import Cache, LoggerName
from training.data.clips import Clips, ClipSource
from training.fit.epoch_metrics import Metrics
from training.fit.fold import fold_updates
from training.fit.folder import FoldFailure, FoldFolder, FoldTime, Run, RunFolder
from training.fit.initial_weights import read_initial_weights
from training.fit.update import Updates, alone
from training.fit.update import together as train_together
from training.runs.plan import PlannedRun

log = logging.getLogger("mer")
_TRIES = 3  # of a fold whose worker dies


class EpochDone(NamedTuple):
    """One epoch of one fold."""

    fold: str
    epoch: int
    loss: float
    accuracy: float | None


Cluster = Callable[[int], AbstractContextManager[Client]]
Report = Callable[[EpochDone], None]
Outcome = tuple["FoldTask", FoldFailure | None]


@dataclass(frozen=True)
class Resources:
    """What a run has to train on; of this only the device and ``together`` change its bits.

    Attributes:
        device: to train on.
        cluster: opens a client for so many folds; ``None`` trains in this process.
        cache: where decoded clips are kept.
        loaders: reading processes a fold, without a cache.
        console: where to print.
        logger: where the metrics of epochs go.
        together: folds whose updates are made in one pass, without a cluster; more than 1 change bits by rounding.
    """

    device: Device
    cluster: Cluster | None
    cache: Cache
    loaders: int
    console: Console
    logger: LoggerName = "tensorboard"
    together: int = 1

    def say(self, text: str) -> None:
        """Print a line; paths and labels may hold brackets."""
        self.console.print(text, markup=False, highlight=False)


@dataclass(frozen=True)
class FoldTask:
    """One fold of one seed of a run; small, so that it can travel to a worker.

    Attributes:
        run: what is trained.
        folder: of the fold, absolute: a worker may run in another directory.
        clips: of the run.
        weights: file of weights that the fold starts from.
        cache: where decoded clips are kept.
        loaders: reading processes, without a cache and where a process may have some.
        logger: where the metrics of epochs go.
        together: folds that are trained at a time in one process.
    """

    run: Run
    folder: FoldFolder
    clips: Clips
    weights: Path | None
    cache: Cache
    loaders: int
    logger: LoggerName = "tensorboard"
    together: int = 1

    @property
    def name(self) -> str:
        """For people: ``madv_net, seed 0, casme2/sub03``."""
        return f"{self.run.config.model}, {self.folder.name}"

    def updates(
        self, opened: "Callable[[Clips, str | None], ClipSource]", threads: int, report: Report
    ) -> Updates[None]:
        """Train it with so many PyTorch threads, by updates that somebody makes.

        Args:
            opened: opens clips, and keeps those that it opened last.
            threads: of PyTorch.
            report: told of every epoch.
        """
        run, folder, cache = self.run, self.folder, self.cache
        clock = _Clock(folder.time, self.together)

        def on_epoch(epoch: int, metrics: Metrics) -> None:
            clock.write()
            report(EpochDone(self.name, epoch, metrics["loss"] or 0.0, metrics["accuracy"]))

        yield from fold_updates(
            run,
            folder,
            self.clips,
            opened(self.clips, {"ram": "cpu", "device": run.device, "none": None}[cache]),
            device=torch.device(run.device),
            threads=threads,
            # Workers of Dask are daemons unless told otherwise, and these may not have processes of their own.
            loaders=self.loaders if cache == "none" and not current_process().daemon else 0,
            weights=None if self.weights is None else read_initial_weights(self.weights, run.config),
            logger=self.logger,
            on_epoch=on_epoch,
        )

    def train(self, opened: "Callable[[Clips, str | None], ClipSource]", threads: int, report: Report) -> Outcome:
        """The same, alone; whatever goes wrong is written down, and returned."""
        try:
            alone(self.updates(opened, threads, report))
        except Exception as error:  # whatever it is, the other folds go on
            return self.failed(error)
        return self, None

    def failed(self, error: Exception) -> Outcome:
        """Write down why it has no result; the log has the traceback."""
        log.error("%s failed", self.name, exc_info=error)
        return self, _failed(self.folder, error)


def fold_tasks(planned: PlannedRun, folder: RunFolder, resources: Resources) -> list[FoldTask]:
    """One for each fold of each seed."""
    return [
        FoldTask(
            planned.run,
            fold,
            planned.clips,
            planned.weights.get(fold.seed),
            resources.cache,
            resources.loaders,
            resources.logger,
            1 if resources.cluster else resources.together,
        )
        for fold in RunFolder(folder.path.absolute()).folds(planned.run)
    ]


def train_folds(
    runs: Sequence[tuple[PlannedRun, RunFolder]], resources: Resources
) -> list[tuple[FoldFolder, FoldFailure]]:
    """Train the folds that are left, all of them at once as far as the cores allow.

    A fold that was finished, and whose files are not those any more, is trained again.

    Returns:
        Those that failed, and why; they stop no other.
    """
    tasks = [task for planned, folder in runs for task in fold_tasks(planned, folder, resources)]
    for task in tasks:
        if task.folder.marked and (damage := task.folder.damage()):
            log.warning("%s: damaged: %s; it is trained again", task.name, damage)
            resources.say(f"  {task.name}: damaged: {damage}; it is trained again")
            shutil.rmtree(task.folder.path)
    left = [task for task in tasks if not task.folder.marked]
    if not left:
        return []
    if len(left) < len(tasks):
        resources.say(f"  going on: {len(tasks) - len(left)} of {len(tasks)} folds are done")
    epochs = [task.run.config.optimisation.epochs for task in tasks]
    failures: list[tuple[FoldFolder, FoldFailure]] = []
    ended, at = len(tasks) - len(left), Counter[str]()
    before = sum(epochs) - sum(task.run.config.optimisation.epochs for task in left)
    with Progress(resources.console, unit="epochs", total=sum(epochs), done=before, title="folds") as progress:

        def count(event: EpochDone) -> None:
            accuracy = "" if event.accuracy is None else f", accuracy {event.accuracy:.2f}"
            note = f"{event.fold}: epoch {event.epoch}, loss {event.loss:.3f}{accuracy}"
            progress.advance(event.epoch - at[event.fold], note=note)  # the first of a fold that goes on counts all
            at[event.fold] = event.epoch

        try:
            for task, failure in _train(left, resources, count):
                ended += 1
                outcome = "done" if failure is None else f"failed: {failure.message}"
                progress.advance(task.run.config.optimisation.epochs - at[task.name])
                progress.say(f"{ended}/{len(tasks)} folds; {task.name}: {outcome}")
                if failure is not None:
                    failures.append((task.folder, failure))
        except KeyboardInterrupt:
            resources.say("interrupted; finished epochs are safe: type the same command again to go on")
            raise
    return failures


def _train(tasks: Sequence[FoldTask], resources: Resources, report: Report) -> Iterator[Outcome]:
    if resources.cluster is None:
        yield from train_here(tasks, report)
        return
    with resources.cluster(len(tasks)) as client:
        yield from train_on(client, tasks, report, threads=max(1, CPU_COUNT // len(client.nthreads())))


def train_here(tasks: Sequence[FoldTask], report: Report) -> Iterator[Outcome]:
    """In this process, one fold after the other, or as many at once as they say."""
    opened, threads = lru_cache(maxsize=1)(Clips.open), torch.get_num_threads()
    most = max((task.together for task in tasks), default=1)
    if most == 1:
        for task in tasks:
            yield task.train(opened, threads, report)
        return
    folds = ((task, task.updates(opened, threads, report)) for task in tasks)
    for task, error in train_together(folds, most):
        yield (task, None) if error is None else task.failed(error)


def train_on(client: Client, tasks: Sequence[FoldTask], report: Report, *, threads: int) -> Iterator[Outcome]:
    """All folds as tasks of a cluster, each with so many PyTorch threads, as they are finished."""
    topic = f"mer-train-{uuid4().hex}"
    running: dict[Any, FoldTask] = {}
    deaths: Counter[Path] = Counter()

    def start(task: FoldTask) -> Any:
        resources = {"GPU": 1} if task.run.device == "cuda" else None
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


_opened_on_worker = lru_cache(maxsize=1)(Clips.open)  # a worker process trains many folds on the same clips


class _LeftAloneError(BaseException):
    """Nobody waits for the fold any more: it is no failure of the fold's, which ``FoldTask.train`` would record."""


def _train_on_worker(task: FoldTask, threads: int, topic: str) -> FoldFailure | None:
    worker = get_worker()
    key = worker.get_current_task()

    def report(event: EpochDone) -> None:
        # Dask cannot stop a thread. Whoever took up the run again would wait for it, or train the fold beside it.
        if (state := worker.state.tasks.get(key)) is None or state.state == "cancelled":
            raise _LeftAloneError
        worker.log_event(topic, tuple(event))

    try:
        return task.train(_opened_on_worker, threads, report)[1]
    except _LeftAloneError:
        return None


@contextmanager
def _reports(client: Client, topic: str, report: Report) -> Iterator[None]:
    def handle(event: tuple[float, Any]) -> None:
        report(EpochDone(*event[1]))

    client.subscribe_topic(topic, handle)
    try:
        yield
    finally:
        if client.status == "running":
            client.unsubscribe_topic(topic)


class _Clock:
    """Adds up the seconds of a fold over the runs that it took, epoch by epoch."""

    def __init__(self, file: Path, together: int) -> None:
        self._file, self._started, self._before = file, time.monotonic(), FoldTime(seconds=0, together=together)
        if file.is_file():
            try:
                before = FoldTime.model_validate_json(file.read_bytes())
                self._before = before.model_copy(update={"together": max(before.together, together)})
            except ValidationError:
                log.warning("%s: damaged; the time of the fold is that from here on", file)

    def write(self) -> None:
        seconds = self._before.seconds + time.monotonic() - self._started
        spent = self._before.model_copy(update={"seconds": seconds})
        write_text(self._file, spent.model_dump_json(exclude_defaults=True) + "\n")


def _failed(folder: FoldFolder, error: Exception) -> FoldFailure:
    failure = FoldFailure(error=type(error).__name__, message=str(error))
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.failure, failure.model_dump_json(indent=1) + "\n")
    return failure
