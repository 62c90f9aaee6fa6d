"""Where folds are trained: in this process or on a cluster, those of one run or of many."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from dask.system import CPU_COUNT
from distributed import Client
from rich.console import Console

from schemas.config import Device
from training.config import Cache
from training.fit.folder import FoldFailure, FoldFolder, RunFolder
from training.runs.fold_tasks import FoldTask, FoldTasks, tasks_here, tasks_on
from training.runs.plan import TrainPlan
from training.runs.progress import TrainProgress

Cluster = Callable[[int], AbstractContextManager[Client]]


@dataclass(frozen=True)
class Machine:
    """Where a run executes; of this only the device changes its bits.

    Attributes:
        device: to train on.
        cluster: opens a client for so many folds; ``None`` trains in this process.
        cache: where decoded clips are kept.
        loaders: reading processes a fold, without a cache.
        console: where to print.
    """

    device: Device
    cluster: Cluster | None
    cache: Cache
    loaders: int
    console: Console

    def say(self, text: str) -> None:
        """Print a line; paths and labels may hold brackets."""
        self.console.print(text, markup=False, highlight=False)


@dataclass(frozen=True)
class PlannedRun:
    """A run, its folder, and the file of weights that each seed starts from, if any."""

    plan: TrainPlan
    folder: RunFolder
    weights: Mapping[int, Path] = field(default_factory=dict)

    def tasks(self, machine: Machine) -> list[FoldTask]:
        """One for each fold of each seed. Paths are absolute: a worker may run in another directory."""
        common = FoldTasks(
            run=self.plan.run,
            stores=tuple(store.path.absolute() for store in self.plan.stores),
            keys=tuple(clip.key for clip in self.plan.clips),
            labels=tuple(clip.label for clip in self.plan.clips),
            inputs=self.plan.inputs,
            device=machine.device,
            cache=machine.cache,
            loaders=machine.loaders,
            pretrained=dict(self.weights),
        )
        return [FoldTask(common, fold) for fold in RunFolder(self.folder.path.absolute()).folds(self.plan.run)]


def train_folds(runs: Sequence[PlannedRun], machine: Machine) -> list[tuple[FoldFolder, FoldFailure]]:
    """Train the folds that are left, all of them at once as far as the machine allows.

    Returns:
        Those that failed, and why; they stop no other.
    """
    tasks = [task for run in runs for task in run.tasks(machine)]
    left = [task for task in tasks if not task.folder.done]
    if not left:
        return []
    if len(left) < len(tasks):
        machine.say(f"  going on: {len(tasks) - len(left)} of {len(tasks)} folds are done")
    failures = []
    epochs = {task.name: task.common.run.config.optimisation.epochs for task in tasks}
    done = [task.name for task in tasks if task.folder.done]
    with TrainProgress(machine.console, epochs=epochs, done=done) as progress:

        def collect(task: FoldTask, failure: FoldFailure | None) -> None:
            progress.fold_done(task.name, "done" if failure is None else f"failed: {failure.message}")
            if failure is not None:
                failures.append((task.folder, failure))

        try:
            if machine.cluster is None:
                for outcome in tasks_here(left, progress.epoch_done):
                    collect(*outcome)
            else:
                with machine.cluster(len(left)) as client:
                    threads = max(1, CPU_COUNT // len(client.nthreads()))
                    for outcome in tasks_on(client, left, progress.epoch_done, threads=threads):
                        collect(*outcome)
        except KeyboardInterrupt:
            machine.say("interrupted; finished epochs are safe: type the same command again to go on")
            raise
    return failures
