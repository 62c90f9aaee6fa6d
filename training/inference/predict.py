"""`mer predict`: the models of a run on the clips of a store that it was not evaluated on."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from schemas import words
from schemas.config import PreprocessConfig
from schemas.datasets import SYNTHETIC_NOTE
from schemas.errors import ConfigError, ProtocolError, RunFolderError
from schemas.store.reader import Store
from schemas.words import chosen
from training.data.batch import ClipBatch, Input
from training.data.clips import ClipReader, check_stores
from training.data.dataset import BatchReader, StoreDataset
from training.data.sampling import batches
from training.fit.folder import FoldFolder, Run, RunFolder
from training.models.trained_model import TrainedModel, load_trained_model
from training.protocols.tasks import refuse_recordings, subject_of
from training.runs.leaks import pixels_of, sources_of

_CLIPS_HELD = 256  # in memory at once, while every model looks at them
_OF_BACKENDS = ("depth", "depth_size", "depth_runtime", "au")


@dataclass(frozen=True, eq=False)
class StorePrediction:
    """What a run makes of the clips of a store.

    Attributes:
        classes: C names, the columns of ``probabilities``.
        clips: N keys.
        probabilities: ``(N, C) float64``; NaN for a clip without a class.
        reasons: why it has none; empty for the others.
        models: names of those that were averaged.
        caveats: what the probabilities are not, for people.
        run_sha256: of the run.
        store_sha256: of the store's content.
    """

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    probabilities: NDArray[np.float64]
    reasons: tuple[str, ...]
    models: tuple[str, ...]
    caveats: tuple[str, ...]
    run_sha256: str
    store_sha256: str

    @property
    def predicted(self) -> tuple[str, ...]:
        """The likeliest class of each clip; empty for one that failed."""
        likeliest = np.argmax(self.probabilities, axis=1)
        return tuple("" if reason else self.classes[i] for reason, i in zip(self.reasons, likeliest, strict=True))


@dataclass(frozen=True)
class Ensemble:
    """Trained models of a run, to be averaged.

    Attributes:
        run: that they are of.
        folders: where they lie.
        missing: models that were asked for and are not there: their folds failed or are unfinished.
    """

    run: Run
    folders: tuple[FoldFolder, ...]
    missing: int

    @classmethod
    def open(cls, run_folder: RunFolder, *, fold: str | None = None, seed: int | None = None) -> "Ensemble":
        """The models of this fold and seed; of all folds and seeds where none is given.

        Raises:
            RunFolderError: no run, no such fold or seed, none of the models is there, one is damaged, or they know
                no classes.
        """
        run, path = run_folder.read(), run_folder.path
        names, seeds = [each.name for each in run.folds], run.config.seeds
        if not run.classes:
            raise RunFolderError(f"{path}: pre-trained without labels, it knows no classes; run `mer train`")
        if fold is not None:
            fold = _fold_name(fold, names, path)
        if seed not in (None, *seeds):
            raise RunFolderError(f"{path}: no seed {seed}; there are {', '.join(map(str, seeds))}")
        wanted = [f for f in run_folder.folds(run) if fold in (None, f.fold.name) and seed in (None, f.seed)]
        there = tuple(folder for folder in wanted if folder.model.is_file())
        if not there:
            raise RunFolderError(
                f"{path}: of {words.count(len(wanted), 'model')} none is there; type the same `mer train` command again"
            )
        for folder in there:
            if folder.record.is_file() and (damage := folder.damage()):
                raise RunFolderError(f"{folder.path}: {damage}; type the same `mer train` command again to mend it")
        return cls(run, there, len(wanted) - len(there))

    def without(self, subject: str) -> "Ensemble":
        """The models that have not learnt from a person, ``dataset/subject``: all, where no model knows the name.

        Raises:
            ProtocolError: each of them has, or the run started from weights that had.
        """
        if any(subject in step.people for step in self.run.history):
            raise ProtocolError(
                f"the run started from weights that learnt from {subject}: its classes for this person are no test; "
                "take a run that was pre-trained on other people"
            )
        folders = tuple(f for f in self.folders if subject not in {subject_of(key) for key in f.fold.learned})
        if not folders:
            raise ProtocolError(
                f"each model of the run has learnt from {subject}: its classes for this person are no test; take a run "
                "by leave-one-subject-out, or on other people"
            )
        return replace(self, folders=folders)


def _fold_name(fold: str, names: Sequence[str], path: Path) -> str:
    """The fold that is meant; a subject without its dataset is enough where no other has its name."""
    subjects = Counter(name.rpartition("/")[2] for name in names)
    short = {subject: name for name in names if subjects[subject := name.rpartition("/")[2]] == 1}
    try:
        return chosen(fold, names, "fold", short)
    except ConfigError as error:
        raise RunFolderError(f"{path}: {error}") from error


def predict_store(
    ensemble: Ensemble, store: Store, *, device: torch.device | str = "cpu", left_out: Mapping[str, str] | None = None
) -> StorePrediction:
    """Class probabilities of every clip: the mean over the models of the softmax.

    Each model sees a clip as it sees the test clips of its fold: the same frames, normalised by its own training
    clips. Clips of ``left_out``, key -> reason, get no class.

    Raises:
        ConfigError: the store's frames are smaller than the models', or it lacks what they read.
        RunFolderError: a model cannot be read.
    """
    first = load_trained_model(ensemble.folders[0].model, classes=ensemble.run.classes)
    _check_store(store, first)
    entries = store.manifest.rows
    left_out = left_out or {}
    reasons = [left_out.get(e.key, "") if e.failure is None else e.failure.message for e in entries]
    good = [row for row, reason in enumerate(reasons) if not reason]
    probabilities = np.full((len(entries), len(ensemble.run.classes)), np.nan)
    for start in range(0, len(good), _CLIPS_HELD):
        rows = good[start : start + _CLIPS_HELD]
        raw = _read(store, [entries[row].key for row in rows], first, ensemble.run.config.optimisation.batch_size)
        each = [_probabilities(folder, raw, torch.device(device), first) for folder in ensemble.folders]
        probabilities[rows] = np.mean(each, axis=0)
    return StorePrediction(
        classes=ensemble.run.classes,
        clips=tuple(entry.key for entry in entries),
        probabilities=probabilities,
        reasons=tuple(reasons),
        models=tuple(folder.name for folder in ensemble.folders),
        caveats=tuple(_caveats(ensemble, store, first.inputs)),
        run_sha256=ensemble.run.sha256,
        store_sha256=store.manifest.content_sha256,
    )


def faces_seen(store: Store) -> str:
    """How many faces there were on the frame that the face of each clip was looked for, in words."""
    counts = Counter(entry.quality.faces if entry.quality is not None else 0 for entry in store.manifest.rows)
    return "faces: " + ", ".join(
        f"{faces or 'none'} in {words.count(clips, 'clip')}" for faces, clips in sorted(counts.items())
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
    refuse_recordings(store.manifest)
    names = check_stores([store], size=model.header.size, inputs=model.inputs)
    if names != model.header.action_units:
        raise ConfigError(
            f"{store.path}: its action units are {', '.join(names)}; the model reads "
            f"{', '.join(model.header.action_units)}: preprocess with the backend of the run's stores"
        )


def _read(store: Store, keys: Sequence[str], model: TrainedModel, batch_size: int) -> list[ClipBatch]:
    """The clips as batches; of each only the frames that the models look at stay in memory."""
    reader = ClipReader([store.path], keys, size=model.header.size, inputs=model.inputs)
    dataset = StoreDataset(reader, [0] * len(keys), frames=model.header.frames)
    with BatchReader(dataset, device=torch.device("cpu")) as batch_reader:
        return list(batch_reader.read(batches(np.arange(len(keys)), batch_size)))


def _probabilities(
    folder: FoldFolder, raw: Sequence[ClipBatch], device: torch.device, first: TrainedModel
) -> NDArray[np.float64]:
    """``(N, C)`` of one model, which reads the same as the first."""
    model = load_trained_model(folder.model, device, classes=first.header.classes)
    if _reads(model) != _reads(first):
        raise RunFolderError(f"{folder.model}: of other frames, sizes or action units than the other models of the run")
    return torch.cat([model.probabilities(batch.to(device)).cpu() for batch in raw]).numpy()


def _reads(model: TrainedModel) -> tuple[object, ...]:
    return model.header.frames, model.header.size, model.header.action_units, model.network.inputs


def _caveats(ensemble: Ensemble, store: Store, inputs: frozenset[Input]) -> Iterator[str]:
    if ensemble.missing:
        yield f"{words.count(ensemble.missing, 'model')} missing: the folds failed or are unfinished"
    if any(trained.synthetic for trained in ensemble.run.stores):
        yield f"the models were trained on clips that are {SYNTHETIC_NOTE}"
    if store.manifest.synthetic:
        yield f"the clips are {SYNTHETIC_NOTE}"
    folds = [folder.fold for folder in ensemble.folders]
    learned = {key for fold in folds for key in fold.learned}
    seen = {subject_of(key) for key in learned}
    subjects = {subject_of(entry.key) for entry in store.manifest.rows}
    if known := sorted(subjects & seen):
        yield (
            f"NO TEST RESULT: {len(known)} of {len(subjects)} subjects were trained on by these models "
            f"({', '.join(known[:3])}{', ...' if len(known) > 3 else ''}); `mer evaluate` scores the run's own "
            "predictions, each by a model that has not seen the subject"
        )
    twins = _learned_under_other_names(ensemble.run, learned, store)
    if twins := [key for key in twins if subject_of(key) not in seen]:
        named = twins[0] + ", ..." * (len(twins) > 1)
        yield (
            f"NO TEST RESULT: {len(twins)} of {len(store.manifest.rows)} clips ({named}) are training clips "
            "of these models under other names: their files or their pixels are the same"
        )
    if not known and ensemble.run.config.pretrained is not None:
        yield "the models were pre-trained on other clips; whether these subjects were among them is not known here"
    if all(entry.label.raw_emotion is None for entry in store.manifest.rows):
        yield (
            "the models have no class for 'no expression': they were trained on clips that hold one, and give a class "
            "to every other too"
        )
    faces = [entry.quality.faces for entry in store.manifest.rows if entry.quality is not None]
    if several := sum(count > 1 for count in faces):
        yield f"up to {max(faces)} faces were seen, in {several} of {len(faces)} clips; the largest is taken"
    yield from _other_backends(ensemble.run, store, inputs)


def _learned_under_other_names(run: Run, learned: Collection[str], store: Store) -> list[str]:
    """Keys of the store's clips whose files or pixels are those of clips that the models learned from."""
    keys, twins = {entry.key for entry in store.manifest.rows}, set[str]()
    for known, found in ((run.sources, sources_of([store], keys)), (run.pixels, pixels_of([store], keys))):
        hashes = {sha256 for key, sha256 in known.items() if key in learned}
        twins |= {key for key, sha256 in found.items() if sha256 in hashes}
    return sorted(twins)


def _other_backends(run: Run, store: Store, inputs: frozenset[Input]) -> Iterator[str]:
    mine = store.manifest.provenance.config
    for name in _OF_BACKENDS:
        if name.split("_")[0] not in inputs or (
            name.startswith("depth_") and not mine.depth.startswith("depth-anything")
        ):
            continue
        own: Any = getattr(mine, name)
        theirs = {getattr(trained.preprocess, name) for trained in run.stores}
        if own not in theirs:
            yield (
                f"the store was made with {name} {own}, the run's with {', '.join(map(str, theirs))}: the models have "
                "never seen such values"
            )
