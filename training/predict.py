"""`mer predict`: the models of a run on the clips of a store that it was not evaluated on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.config import PreprocessConfig
from schemas.errors import ConfigError, RunFolderError
from schemas.store import Store
from training.batch import ClipBatch, Input
from training.clips import ClipReader, check_stores
from training.dataset import BatchReader, StoreDataset
from training.run_folder import FoldFolder, Run, RunFolder
from training.sampling import batches
from training.tasks import subject_of
from training.trained_model import TrainedModel, load_trained_model

_CLIPS_HELD = 256  # in memory at once, while every model looks at them
_OF_BACKENDS = ("depth", "depth_size", "au")


@dataclass(frozen=True, eq=False)
class StorePrediction:
    """What a run makes of the clips of a store.

    Attributes:
        classes: C names, the columns of ``probabilities``.
        clips: N keys.
        probabilities: ``(N, C) float64``; NaN for a clip that is not in the store, because it failed.
        reasons: why it failed; empty for the others.
        models: names of those that were averaged.
        caveats: what keeps the probabilities from being more than they are, for people.
    """

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    probabilities: NDArray[np.float64]
    reasons: tuple[str, ...]
    models: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def predicted(self) -> tuple[str, ...]:
        """The likeliest class of each clip; empty for one that failed."""
        likeliest = np.argmax(self.probabilities, axis=1)
        return tuple("" if reason else self.classes[i] for reason, i in zip(self.reasons, likeliest, strict=True))


def predict_store(
    run_folder: RunFolder,
    store: Store,
    *,
    fold: str | None = None,
    seed: int | None = None,
    device: torch.device | str = "cpu",
) -> StorePrediction:
    """Class probabilities of every clip: the mean of the softmax over the models of all folds and seeds.

    Each model sees a clip as it sees the test clips of its fold: the same frames, normalised by its own training
    clips.

    Args:
        run_folder: made by `mer train`.
        store: of the clips.
        fold: name of a fold, to use its models alone.
        seed: to use its models alone.
        device: to compute on.

    Raises:
        RunFolderError: no run, or no trained model of this fold and seed.
        ConfigError: the store's frames are smaller than the models', or it lacks what they read.
    """
    run = run_folder.read()
    wanted = chosen_folds(run_folder, run, fold=fold, seed=seed)
    folders = [folder for folder in wanted if folder.model.is_file()]
    if not folders:
        raise RunFolderError(
            f"{run_folder.path}: none of its {len(wanted)} models is there; type the same `mer train` command again"
        )
    first = load_trained_model(folders[0].model)
    _check_store(store, first)
    entries = store.manifest.clips
    good = [row for row, entry in enumerate(entries) if entry.failure is None]
    probabilities = np.full((len(entries), len(run.classes)), np.nan)
    for start in range(0, len(good), _CLIPS_HELD):
        rows = good[start : start + _CLIPS_HELD]
        raw = _read(store, [entries[row].key for row in rows], first, run.config.optimisation.batch_size)
        each = [_probabilities(folder, raw, torch.device(device)) for folder in folders]
        probabilities[rows] = np.mean(each, axis=0)
    return StorePrediction(
        classes=run.classes,
        clips=tuple(entry.key for entry in entries),
        probabilities=probabilities,
        reasons=tuple("" if entry.failure is None else entry.failure.message for entry in entries),
        models=tuple(folder.name for folder in folders),
        caveats=tuple(_caveats(run, wanted, folders, store, first.network.inputs)),
    )


def chosen_folds(run_folder: RunFolder, run: Run, *, fold: str | None, seed: int | None) -> tuple[FoldFolder, ...]:
    """The folds of this name and seed; all of them where neither is given.

    Raises:
        RunFolderError: the run has no such fold or seed, or knows no classes.
    """
    if not run.classes:
        raise RunFolderError(f"{run_folder.path}: pre-trained without labels, it knows no classes; run `mer train`")
    names = [each.name for each in run.folds]
    if fold is not None and fold not in names:
        raise RunFolderError(f"{run_folder.path}: no fold {fold!r}; there are {', '.join(names)}")
    if seed is not None and seed not in run.config.seeds:
        raise RunFolderError(f"{run_folder.path}: no seed {seed}; there are {', '.join(map(str, run.config.seeds))}")
    return tuple(
        folder for folder in run_folder.folds(run) if fold in (None, folder.fold.name) and seed in (None, folder.seed)
    )


def preprocessing_of(run: Run) -> PreprocessConfig:
    """How new clips have to be preprocessed for the models of a run: as those that they were trained on.

    Raises:
        ConfigError: those were preprocessed in several ways.
    """
    first, *others = (store.preprocess for store in run.stores)
    for name in ("size", "apex", *_OF_BACKENDS):
        found = {getattr(config, name) for config in (first, *others)}
        if len(found) > 1:
            raise ConfigError(
                f"the stores of this run differ in {name} ({', '.join(sorted(map(str, found)))}), so that there is no "
                "one way to preprocess a video for it: run `mer preprocess` yourself, and predict on that store"
            )
    return first


def _check_store(store: Store, model: TrainedModel) -> None:
    names = check_stores([store], size=model.header.size, inputs=model.network.inputs)
    if names != model.header.action_units:
        raise ConfigError(
            f"{store.path}: its action units are {', '.join(names)}; the model reads "
            f"{', '.join(model.header.action_units)}: preprocess with the backend of the run's stores"
        )


def _read(store: Store, keys: Sequence[str], model: TrainedModel, batch_size: int) -> list[ClipBatch]:
    """The clips as batches; of each only the frames that the models look at stay in memory."""
    reader = ClipReader([store.path], keys, size=model.header.size, inputs=model.network.inputs)
    dataset = StoreDataset(reader, [0] * len(keys), frames=model.header.frames)
    with BatchReader(dataset, device=torch.device("cpu")) as batch_reader:
        return list(batch_reader.read(batches(np.arange(len(keys)), batch_size)))


def _probabilities(folder: FoldFolder, raw: Sequence[ClipBatch], device: torch.device) -> NDArray[np.float64]:
    """``(N, C)`` of one model."""
    model = load_trained_model(folder.model, device)
    return torch.cat([model.probabilities(batch.to(device)).cpu() for batch in raw]).numpy()


def _caveats(
    run: Run,
    wanted: Sequence[FoldFolder],
    folders: Sequence[FoldFolder],
    store: Store,
    inputs: frozenset[Input],
) -> Iterator[str]:
    if len(folders) < len(wanted):
        yield f"{len(wanted) - len(folders)} of {len(wanted)} models are missing: their folds failed or are unfinished"
    seen = {subject_of(key) for f in folders for key in (*f.fold.train, *(f.fold.validation or ()))}
    subjects = {subject_of(entry.key) for entry in store.manifest.clips}
    if known := sorted(subjects & seen):
        yield (
            f"NO TEST RESULT: {len(known)} of {len(subjects)} subjects were trained on by these models "
            f"({', '.join(known[:3])}{', ...' if len(known) > 3 else ''}); `mer evaluate` scores the run's own "
            "predictions, each by a model that has not seen the subject"
        )
    elif run.config.pretrained is not None:
        yield "the models were pre-trained on other clips; whether these subjects were among them is not known here"
    if all(entry.label.raw_emotion is None for entry in store.manifest.clips):
        yield (
            "the models know no class for 'no expression': they were trained on clips that hold one, and give a class "
            "to every other too"
        )
    yield from _other_backends(run, store, inputs)


def _other_backends(run: Run, store: Store, inputs: frozenset[Input]) -> Iterator[str]:
    mine = store.manifest.provenance.config
    for name in _OF_BACKENDS:
        if name.split("_")[0] not in inputs or (name == "depth_size" and not mine.depth.startswith("depth-anything")):
            continue
        own: Any = getattr(mine, name)
        theirs = {getattr(trained.preprocess, name) for trained in run.stores}
        if own not in theirs:
            yield (
                f"the store was made with {name} {own}, the run's with {', '.join(map(str, theirs))}: the models have "
                "never seen such values"
            )
