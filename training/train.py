"""`mer train` and `mer pretrain`: stores to a run folder, or on with a run that was interrupted."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dask.system import CPU_COUNT
from distributed import Client
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schemas.config import Device
from schemas.differences import Differences, differing, now_and_there
from schemas.errors import ConfigError, ManifestMissingError, RunFolderError
from schemas.location import StoreLocation
from schemas.output import locked, log_file
from schemas.store import Store
from training.config import Cache, TrainConfig
from training.evaluation import evaluate
from training.evaluation_report import evaluation_report
from training.evaluation_result import EvaluationResult
from training.fold_tasks import FoldTasks
from training.plan import TrainPlan, plan_self_supervised_pretraining, plan_supervised_pretraining, plan_training
from training.predictions import concatenate, read_predictions, write_predictions
from training.progress import TrainProgress
from training.protocols import Protocol
from training.report.depth import Regions
from training.report.report import write_report
from training.run_folder import RUN_FILE, FoldFailure, FoldFolder, Run, RunFolder, write_text

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


def train(
    stores: Sequence[StoreLocation],
    config: TrainConfig,
    machine: Machine,
    *,
    out: Path,
    protocol: Protocol | None = None,
    pretrain: StoreLocation | None = None,
    regions: Regions | None = None,
    overwrite: bool = False,
) -> int:
    """Train and evaluate a model under a protocol; everything that comes of it lies in ``out``.

    Args:
        stores: made by `mer preprocess`.
        config: of the run.
        machine: where to train.
        out: run folder; one that was interrupted goes on.
        protocol: instead of the config's, which is its name.
        pretrain: a store to learn from first, with its labels, or a run of `mer pretrain`.
        regions: of the action units in a crop, for the report's figure of their depth.
        overwrite: replace the run that is there.

    Returns:
        Exit code: 0 there is a result, 1 some folds failed.

    Raises:
        MerError: wrong input or usage.
    """
    opened = [Store.open(store) for store in stores]
    first: TrainPlan | None = None  # what is to be pre-trained
    before: Run | None = None
    weights: Mapping[int, Path] = {}
    if isinstance(pretrain, Path) and (pretrain / RUN_FILE).is_file():
        before = RunFolder(pretrain).read()
        weights = _weights(RunFolder(pretrain), config)
    elif pretrain is not None:
        try:
            taught = Store.open(pretrain)
        except ManifestMissingError as error:
            raise ConfigError(
                f"--pretrain {pretrain}: neither a run of `mer pretrain` nor a store ({error})"
            ) from error
        first = plan_supervised_pretraining([taught], config, machine.device)
        before = first.run
    plan = plan_training(opened, config, machine.device, protocol=protocol, pretraining=before)
    selection, protocol = plan.selection, plan.run.protocol
    assert selection is not None
    assert protocol is not None

    folder = RunFolder(out)
    with _begun(folder, plan.run, overwrite=overwrite):
        if first is not None:
            pretraining = RunFolder(out / "pretraining")
            machine.say(f"pre-training on {len(first.clips)} clips of {pretrain}")
            _begin(pretraining, first.run, overwrite=overwrite)
            if failures := _train(first, pretraining, machine):
                return _say_failures(failures, machine)
            weights = _weights(pretraining, config)
        machine.say(
            f"{protocol.name}: {len(plan.clips)} clips, {len(plan.run.folds)} folds, {len(config.seeds)} seeds -> {out}"
        )
        for difference in selection.differences:
            machine.say(f"  not the published clips: {difference}")
        if failures := _train(plan, folder, machine, weights):
            machine.say(f"open {write_report(folder, opened, regions=regions)}")
            return _say_failures(failures, machine)
        result = _evaluate(plan, folder)
        machine.console.print(evaluation_report(result))
        machine.say(f"{out}: complete; open {write_report(folder, opened, regions=regions)}")
        return 0


def pretrain(
    stores: Sequence[StoreLocation], config: TrainConfig, machine: Machine, *, out: Path, overwrite: bool = False
) -> int:
    """Train a model on stores without their labels, for `mer train --pretrain`; arguments as of ``train``."""
    plan = plan_self_supervised_pretraining([Store.open(store) for store in stores], config, machine.device)
    folder = RunFolder(out)
    with _begun(folder, plan.run, overwrite=overwrite):
        machine.say(f"masked frame differences: {len(plan.clips)} clips, {len(config.seeds)} seeds -> {out}")
        if failures := _train(plan, folder, machine):
            return _say_failures(failures, machine)
    machine.say(f"{out}: complete; next: mer train --store OTHER.zarr --pretrain {out}")
    return 0


def _train(
    plan: TrainPlan, folder: RunFolder, machine: Machine, weights: Mapping[int, Path] = {}
) -> list[tuple[FoldFolder, FoldFailure]]:
    """Train the folds that are left; those that failed."""
    folders = list(RunFolder(folder.path.absolute()).folds(plan.run))  # a worker may run in another directory
    left = [fold for fold in folders if not fold.done]
    if not left:
        return []
    if len(left) < len(folders):
        machine.say(f"  going on: {len(folders) - len(left)} of {len(folders)} folds are done")
    tasks = FoldTasks(
        run=plan.run,
        stores=tuple(store.path.absolute() for store in plan.stores),
        keys=tuple(clip.key for clip in plan.clips),
        labels=tuple(clip.label for clip in plan.clips),
        inputs=plan.inputs,
        device=machine.device,
        cache=machine.cache,
        loaders=machine.loaders,
        pretrained=dict(weights),
    )
    failures = []
    epochs = plan.run.config.optimisation.epochs
    with TrainProgress(machine.console, folds=len(folders), epochs=epochs, done=len(folders) - len(left)) as progress:
        try:
            if machine.cluster is None:
                outcomes = tasks.here(left, progress.epoch_done)
                failures = _collect(outcomes, progress)
            else:
                with machine.cluster(len(left)) as client:
                    threads = max(1, CPU_COUNT // len(client.nthreads()))
                    failures = _collect(tasks.on(client, left, progress.epoch_done, threads=threads), progress)
        except KeyboardInterrupt:
            machine.say("interrupted; finished epochs are safe: type the same command again to go on")
            raise
    return failures


def _collect(
    outcomes: Iterator[tuple[FoldFolder, FoldFailure | None]], progress: TrainProgress
) -> list[tuple[FoldFolder, FoldFailure]]:
    failures = []
    for fold, failure in outcomes:
        progress.fold_done(fold.name, "done" if failure is None else f"failed: {failure.message}")
        if failure is not None:
            failures.append((fold, failure))
    return failures


def _weights(pretraining: RunFolder, config: TrainConfig) -> dict[int, Path]:
    """Seed -> weights to start from: those of the same seed, or of the only one that was pre-trained."""
    before = pretraining.read()
    if len(before.folds) > 1:
        raise ConfigError(f"{pretraining.path}: a run of {len(before.folds)} folds; expected one of `mer pretrain`")
    models = {fold.seed: fold.model for fold in RunFolder(pretraining.path.absolute()).folds(before)}
    missing = [path for path in models.values() if not path.is_file()]
    if missing:
        raise RunFolderError(f"{missing[0]}: no such file; type the command of that run again to finish it")
    if len(models) == 1:
        return dict.fromkeys(config.seeds, next(iter(models.values())))
    if lacking := [seed for seed in config.seeds if seed not in models]:
        raise ConfigError(f"{pretraining.path}: pre-trained seeds {sorted(models)}, none for seed {lacking[0]}")
    return models


def _evaluate(plan: TrainPlan, folder: RunFolder) -> EvaluationResult:
    assert plan.run.protocol is not None
    predictions = concatenate(read_predictions(fold.predictions) for fold in folder.folds(plan.run))
    write_predictions(folder.predictions, predictions)
    manifests = [store.manifest for store in plan.stores]
    result = evaluate(predictions, manifests, plan.run.protocol, counts=plan.run.config.counts)
    write_text(folder.result, result.model_dump_json(indent=1) + "\n")
    return result


def _say_failures(failures: Sequence[tuple[FoldFolder, FoldFailure]], machine: Machine) -> int:
    table = Table("fold", "what happened", title=f"{len(failures)} folds failed")
    for fold, failure in failures:
        table.add_row(escape(fold.name), escape(f"{failure.error}: {failure.message}"))
    machine.console.print(table)
    machine.say("no result: every test clip needs a prediction. The same command tries the failed folds again")
    return 1


@contextmanager
def _begun(folder: RunFolder, run: Run, *, overwrite: bool) -> Iterator[None]:
    """The folder of a run under way, for this process alone."""
    with locked(folder.path):
        _begin(folder, run, overwrite=overwrite)
        with log_file(folder.path / "train.log"):
            yield


def _begin(folder: RunFolder, run: Run, *, overwrite: bool) -> None:
    """Bring the folder to the state "under way", unless another run is there."""
    record = folder.path / RUN_FILE
    if overwrite and record.is_file():
        for child in folder.path.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            elif child != record:
                child.unlink()
        record.unlink()  # last: a folder without it is not ours to empty
    if not record.is_file():
        folder.path.mkdir(parents=True, exist_ok=True)
        if others := sorted(child.name for child in folder.path.iterdir() if child.name != f"{RUN_FILE}.part"):
            raise RunFolderError(f"{folder.path}: holds {others[0]} and no run; choose another --out")
        folder.write(run)
        return
    there = folder.read()
    if differences := _differences(run, there):
        raise RunFolderError(
            f"{folder.path}: holds a run that was made otherwise:\n{now_and_there(differences)}\n"
            "choose another --out, or replace it with --overwrite"
        )


def _differences(mine: Run, theirs: Run) -> Differences:
    """Dotted field -> (this value, the other's); the revision may differ, versions say what matters."""
    found = dict(sorted(differing(mine, theirs, without=("git", "folds")).items()))
    if not found and mine.folds != theirs.folds:
        found = {"folds": (f"{len(mine.folds)} of today's clips", f"{len(theirs.folds)} others")}
    return found
