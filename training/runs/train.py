"""`mer train` and `mer pretrain`: stores to a run folder, or on with a run that was interrupted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from schemas.errors import ConfigError, ManifestMissingError, RunFolderError
from schemas.output import locked, log_file, write_text
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from schemas.words import count
from training.config import TrainConfig
from training.evaluation.evaluate import evaluate, lacking_classes
from training.evaluation.predictions import concatenate, read_predictions, write_predictions
from training.evaluation.result import EvaluationResult
from training.fit.folder import RUN_FILE, FoldFailure, FoldFolder, Run, RunFolder
from training.fit.loggers import log_result
from training.models.tensor_file import read_tensors
from training.models.trained_model import TrainedModelHeader
from training.protocols.protocol import Protocol
from training.runs.doubts import effects_of_inputs, folds_in_company, unread_inputs, untaught_folds
from training.runs.folds import Resources, train_folds
from training.runs.leaks import pixels_of, refuse_seen
from training.runs.plan import (
    PlannedRun,
    plan_self_supervised_pretraining,
    plan_supervised_pretraining,
    plan_training,
)


@dataclass(frozen=True)
class TrainedRun:
    """What a training run came to.

    Attributes:
        folder: that it lies in.
        stores: that it was trained on.
        result: of its evaluation; ``None`` where folds failed, and of pre-training.
        failures: folds that failed, and why.
    """

    folder: RunFolder
    stores: tuple[Store, ...]
    result: EvaluationResult | None
    failures: tuple[tuple[FoldFolder, FoldFailure], ...] = ()


def train(
    stores: Sequence[StoreLocation | Store],
    config: TrainConfig,
    resources: Resources,
    *,
    out: Path,
    protocol: Protocol | None = None,
    pretrain: StoreLocation | None = None,
    published: Path | None = None,
    overwrite: bool = False,
) -> TrainedRun:
    """Train and evaluate a model under a protocol; everything that comes of it lies in ``out``.

    Args:
        stores: made by `mer preprocess`, opened already or not.
        config: of the run.
        resources: where to train.
        out: run folder; one that was interrupted goes on.
        protocol: instead of the config's, which is its name.
        pretrain: a store to learn from first, with its labels, or a run of `mer pretrain`.
        published: file of the weights that the config names as ``published``.
        overwrite: replace the run that is there.

    Raises:
        MerError: wrong input or usage.
    """
    opened = [store if isinstance(store, Store) else Store.open(store) for store in stores]
    if pretrain is not None and published is not None:
        raise ConfigError("--pretrain and --weights: folds start from one of them; leave the other out")
    first: PlannedRun | None = None  # what is to be pre-trained
    before: Run | None = None
    if isinstance(pretrain, Path) and (pretrain / RUN_FILE).is_file():
        before = RunFolder(pretrain).read()
    elif pretrain is not None:
        try:
            taught = Store.open(pretrain)
        except ManifestMissingError as error:
            raise ConfigError(
                f"--pretrain {pretrain}: neither a run of `mer pretrain` nor a store ({error})"
            ) from error
        first = plan_supervised_pretraining([taught], config, resources.device)
        before = first.run
    planned = plan_training(opened, config, resources.device, protocol=protocol, pretraining=before, weights=published)
    if isinstance(pretrain, Path) and first is None:
        planned = replace(planned, weights=pretrained_weights(RunFolder(pretrain), config))
        for file in set(planned.weights.values()):  # which say themselves whom they have seen, whatever run.json says
            seen = read_tensors(file, TrainedModelHeader)[1].history
            refuse_seen(seen, planned.clips.keys, pixels_of(opened, planned.clips.keys))

    folder = RunFolder(out)
    with _begun(folder, planned.run, overwrite=overwrite):
        if first is not None:
            pretraining = RunFolder(out / "pretraining")
            resources.say(f"pre-training on {count(len(first.clips.keys), 'clip')} of {pretrain}")
            pretraining.begin(first.run, overwrite=overwrite)
            if failures := train_folds([(first, pretraining)], resources):
                return _failed(folder, planned, failures, resources)
            planned = replace(planned, weights=pretrained_weights(pretraining, config))
        announce(planned, resources, f"{count(len(config.seeds), 'seed')} -> {out}")
        if failures := train_folds([(planned, folder)], resources):
            return _failed(folder, planned, failures, resources)
        result = evaluate_run(planned, folder)
        scores = {metric: spread.mean for metric, spread in result.headline.metrics.items()}
        log_result(resources.logger, out, config, scores)
        return TrainedRun(folder, planned.stores, result)


def pretrain(
    stores: Sequence[StoreLocation], config: TrainConfig, resources: Resources, *, out: Path, overwrite: bool = False
) -> TrainedRun:
    """Train a model on stores without their labels, for `mer train --pretrain`; arguments as of ``train``."""
    planned = plan_self_supervised_pretraining([Store.open(store) for store in stores], config, resources.device)
    folder = RunFolder(out)
    with _begun(folder, planned.run, overwrite=overwrite):
        clips, seeds = len(planned.clips.keys), count(len(config.seeds), "seed")
        resources.say(f"masked frame differences: {count(clips, 'clip')}, {seeds} -> {out}")
        if failures := train_folds([(planned, folder)], resources):
            return _failed(folder, planned, failures, resources)
    return TrainedRun(folder, planned.stores, None)


def announce(planned: PlannedRun, resources: Resources, rest: str) -> None:
    """Say what is trained, and how its clips differ from the published ones."""
    run, selection = planned.run, planned.selection
    assert run.protocol is not None
    assert selection is not None
    resources.say(
        f"{run.protocol.name}: {count(len(selection.clips), 'clip')}, {count(len(run.folds), 'fold')}, {rest}"
    )
    for difference in selection.differences:
        resources.say(f"  not the published clips: {difference}")
    tested = {key for fold in run.folds for key in fold.test}
    for lacking in lacking_classes([clip for clip in selection.clips if clip.key in tested], run.classes).values():
        resources.say(f"  {lacking}")
    for caveat in planned.caveats:
        resources.say(f"  {caveat}")


def pretrained_weights(pretraining: RunFolder, config: TrainConfig) -> Mapping[int, Path]:
    """Seed -> weights to start from: those of the same seed, or of the only one that was pre-trained.

    Raises:
        RunFolderError: the run is unfinished or damaged.
        ConfigError: it has several folds, or lacks a seed.
    """
    before = pretraining.read()
    if len(before.folds) > 1:
        raise ConfigError(
            f"{pretraining.path}: a run of {count(len(before.folds), 'fold')}; expected one of `mer pretrain`"
        )
    models = {}
    for fold in RunFolder(pretraining.path.absolute()).folds(before):
        if not fold.marked:
            raise RunFolderError(f"{fold.model}: no such file; type the command of that run again to finish it")
        if damage := fold.damage():
            raise RunFolderError(f"{fold.path}: {damage}; type the command of that run again to mend it")
        models[fold.seed] = fold.model
    if len(models) == 1:
        return dict.fromkeys(config.seeds, next(iter(models.values())))
    if lacking := [seed for seed in config.seeds if seed not in models]:
        raise ConfigError(f"{pretraining.path}: pre-trained seeds {sorted(models)}, none for seed {lacking[0]}")
    return models


def evaluate_run(planned: PlannedRun, folder: RunFolder) -> EvaluationResult:
    """Join the predictions of all folds, score them, and write both into the run folder."""
    assert planned.run.protocol is not None
    predictions = concatenate(read_predictions(fold.predictions) for fold in folder.folds(planned.run))
    write_predictions(folder.predictions, predictions)
    manifests = [store.manifest for store in planned.stores]
    result = evaluate(predictions, manifests, planned.run.protocol, counts=planned.run.config.counts)
    folds, labels = list(folder.folds(planned.run)), dict(zip(planned.clips.keys, planned.clips.labels, strict=True))
    effects = tuple(effects_of_inputs(folds, labels, predictions))
    own = (*untaught_folds(folds, labels), *unread_inputs(effects), *folds_in_company(folds))
    caveats = (*result.caveats, *planned.caveats, *own)
    result = result.model_copy(update={"caveats": caveats, "inputs": effects})
    write_text(folder.result, result.model_dump_json(indent=1) + "\n")
    return result


def _failed(
    folder: RunFolder, planned: PlannedRun, failures: Sequence[tuple[FoldFolder, FoldFailure]], resources: Resources
) -> TrainedRun:
    table = Table("fold", "what happened", title=f"{count(len(failures), 'fold')} failed")
    for fold, failure in failures:
        table.add_row(escape(fold.name), escape(f"{failure.error}: {failure.message}"))
    resources.console.print(table)
    resources.say("no result: every test clip needs a prediction. The same command tries the failed folds again")
    return TrainedRun(folder, planned.stores, None, tuple(failures))


@contextmanager
def _begun(folder: RunFolder, run: Run, *, overwrite: bool) -> Iterator[None]:
    """The folder of a run under way, for this process alone."""
    with locked(folder.path):
        folder.begin(run, overwrite=overwrite)
        with log_file(folder.path / "train.log"):
            yield
