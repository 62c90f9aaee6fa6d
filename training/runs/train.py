"""`mer train` and `mer pretrain`: stores to a run folder, or on with a run that was interrupted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from schemas.errors import ConfigError, ManifestMissingError, RunFolderError
from schemas.output import locked, log_file
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from training.config import TrainConfig
from training.evaluation.evaluate import evaluate
from training.evaluation.predictions import concatenate, read_predictions, write_predictions
from training.evaluation.result import EvaluationResult
from training.evaluation.terminal import evaluation_report
from training.fit.folder import RUN_FILE, FoldFailure, FoldFolder, Run, RunFolder, write_text
from training.protocols.protocol import Protocol
from training.report.depth import Regions
from training.report.report import write_report
from training.runs.machine import Machine, PlannedRun, train_folds
from training.runs.plan import TrainPlan, plan_self_supervised_pretraining, plan_supervised_pretraining, plan_training


def train(
    stores: Sequence[StoreLocation],
    config: TrainConfig,
    machine: Machine,
    *,
    out: Path,
    protocol: Protocol | None = None,
    pretrain: StoreLocation | None = None,
    published: Path | None = None,
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
        published: file of the weights that the config names as ``published``.
        regions: of the action units in a crop, for the report's figure of their depth.
        overwrite: replace the run that is there.

    Returns:
        Exit code: 0 there is a result, 1 some folds failed.

    Raises:
        MerError: wrong input or usage.
    """
    opened = [Store.open(store) for store in stores]
    if pretrain is not None and published is not None:
        raise ConfigError("--pretrain and --weights: folds start from one of them; leave the other out")
    first: TrainPlan | None = None  # what is to be pre-trained
    before: Run | None = None
    weights: Mapping[int, Path] = {} if published is None else dict.fromkeys(config.seeds, published.absolute())
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
    plan = plan_training(opened, config, machine.device, protocol=protocol, pretraining=before, weights=published)
    selection, protocol = plan.selection, plan.run.protocol
    assert selection is not None
    assert protocol is not None

    folder = RunFolder(out)
    with _begun(folder, plan.run, overwrite=overwrite):
        if first is not None:
            pretraining = RunFolder(out / "pretraining")
            machine.say(f"pre-training on {len(first.clips)} clips of {pretrain}")
            pretraining.begin(first.run, overwrite=overwrite)
            if failures := train_folds([PlannedRun(first, pretraining)], machine):
                return _say_failures(failures, machine)
            weights = _weights(pretraining, config)
        machine.say(
            f"{protocol.name}: {len(plan.clips)} clips, {len(plan.run.folds)} folds, {len(config.seeds)} seeds -> {out}"
        )
        for difference in selection.differences:
            machine.say(f"  not the published clips: {difference}")
        if failures := train_folds([PlannedRun(plan, folder, weights)], machine):
            machine.say(f"open {write_report(folder, opened, regions=regions)}")
            return _say_failures(failures, machine)
        result = evaluate_run(plan, folder)
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
        if failures := train_folds([PlannedRun(plan, folder)], machine):
            return _say_failures(failures, machine)
    machine.say(f"{out}: complete; next: mer train --store OTHER.zarr --pretrain {out}")
    return 0


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


def evaluate_run(plan: TrainPlan, folder: RunFolder) -> EvaluationResult:
    """Join the predictions of all folds, score them, and write both into the run folder."""
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
        folder.begin(run, overwrite=overwrite)
        with log_file(folder.path / "train.log"):
            yield
