"""A run folder: everything that a training run leaves, from which every number and figure can be made again.

::

    run.json                      what was run: config, protocol, folds, stores, versions (written first)
    seed-0/03-sub03/              one fold of one seed
        metrics.csv               one line an epoch
        checkpoint.safetensors    while it is under way: model, optimiser, history
        model.safetensors         weights, and in the header all that using them needs
        tensorboard/              the metrics again, for `tensorboard --logdir`
        time.json                 seconds that its training took
        predictions.csv           of the test clips
        inputs.json               what the model answers to them with one input altered
        done.json                 written last: the fold is done, and these are the hashes of its files
        failed.json               if it could not be trained
    predictions.csv, result.json  all folds and seeds together, and their evaluation
    figures/, report.html         for people
"""

import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from schemas.config import Device, PreprocessConfig, canonical_sha256
from schemas.differences import Differences, differing, now_and_there
from schemas.errors import PredictionsError, RunFolderError
from schemas.finished import damage, finish
from schemas.model import Model
from schemas.output import write_text
from schemas.settings import problems
from training.config import TrainConfig
from training.evaluation.predictions import read_predictions
from training.models.trained_model import SeenBefore
from training.protocols.protocol import Protocol
from training.protocols.splits import Fold
from training.protocols.tasks import subject_of

RUN_FILE = "run.json"
_NOT_COMPARED = ("git", "history", "pixels", "sources", "pseudonyms")  # the rest decides them, or they decide nothing


class RunStore(Model):
    """A store that was trained on. The hash, not the name, says which one."""

    name: str
    clips: int
    content_sha256: str
    preprocess: PreprocessConfig
    synthetic: bool = False


class Run(Model):
    """``run.json``: all that decides the result. No path, no time, no host is in it.

    Attributes:
        objective: labels, or pre-training by masked frame differences without any.
        protocol: ``None`` where no labels are read.
        folds: of the protocol; pre-training has one, with nothing to test.
        device: that it was trained on.
        git: revision of the checkout that it was run from, with ``-dirty`` where files were changed.
        history: what was seen by the runs that it started from, the earliest first.
        pixels: clip key -> hash of its pixels, of all clips that some fold learns from.
        sources: clip key -> hash of the files that it was read from, of the same clips.
        pseudonyms: whether subjects of its stores were renamed.
    """

    format: Literal["mer-run"] = "mer-run"
    format_version: Literal[2] = 2  # 1: raw frames
    config: TrainConfig
    objective: Literal["supervised", "frame_difference"] = "supervised"
    protocol: Protocol | None
    stores: tuple[RunStore, ...]
    action_units: tuple[str, ...]
    folds: tuple[Fold, ...]
    device: Device
    packages: dict[str, str]
    git: str | None
    history: tuple[SeenBefore, ...] = ()
    pixels: dict[str, str] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)
    pseudonyms: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits; none where no labels are read."""
        return () if self.protocol is None else self.protocol.task.classes

    def seen(self, folds: Iterable[Fold]) -> tuple[SeenBefore, ...]:
        """All that weights of these folds have seen, the earliest first: what taught them, what chose their epoch."""
        keys = {key for fold in folds for key in fold.learned}
        own = SeenBefore(
            run_sha256=self.sha256,
            stores=tuple(store.name for store in self.stores),
            people=tuple(sorted({subject_of(key) for key in keys})),
            # Of a run with one fold, which others may start from; every model of a run would repeat them.
            pixels={key: sha256 for key, sha256 in self.pixels.items() if key in keys and len(self.folds) == 1},
            pseudonyms=self.pseudonyms,
            complete=self.config.pretrained is None or bool(self.history),
        )
        return (*self.history, own)

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON form without what may differ where a run goes on, and without its history."""
        left_out: dict[str, Any] = {name: True for name in _NOT_COMPARED}
        left_out["stores"] = {"__all__": {"synthetic"}}  # their content decides it
        return canonical_sha256(self.model_dump(mode="json", exclude=left_out))


class FoldFailure(Model):
    """``failed.json``: why a fold has no result."""

    error: str
    message: str


class FoldTime(Model):
    """``time.json``: how long a fold took, and in what company.

    Attributes:
        seconds: of the epochs that it is made of; those of an epoch that was killed do not count.
        together: folds that were trained at a time in this process, at most; they share the seconds.
    """

    seconds: float
    together: int = 1


class FoldFolder:
    """Where one fold of one seed lies, and whether it is done."""

    def __init__(self, path: Path, seed: int, fold: Fold) -> None:
        self.path, self.seed, self.fold = path, seed, fold
        self.run = path.parent.parent
        self.metrics = path / "metrics.csv"
        self.time = path / "time.json"
        self.tensorboard = path / "tensorboard"
        self.checkpoint = path / "checkpoint.safetensors"
        self.model = path / "model.safetensors"
        self.predictions = path / "predictions.csv"
        self.inputs = path / "inputs.json"
        self.record = path / "done.json"
        self.failure = path / "failed.json"

    @property
    def name(self) -> str:
        """For people: ``seed 0, casme2/sub03``."""
        return f"seed {self.seed}, {self.fold.name}"

    @property
    def marked(self) -> bool:
        """Whether the fold says that it is done; folds of earlier versions have no ``done.json``."""
        older = self.predictions if self.fold.test else self.model
        return self.record.is_file() or (older.is_file() and not self.checkpoint.is_file())

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do, and nothing is damaged. It reads every file of the fold."""
        return self.marked and self.damage() is None

    def finish(self) -> None:
        """Mark the fold as done, with the hashes of its files."""
        files = (self.model, self.metrics, self.time, self.predictions, self.inputs)
        finish(self.record, files)
        self.checkpoint.unlink(missing_ok=True)

    def damage(self) -> str | None:
        """What is wrong with a fold that is marked as done: no other files than it was finished with are used."""
        if not self.record.is_file():
            return self._damage_without_record()
        return damage(self.record)

    def _damage_without_record(self) -> str | None:
        """A fold of an earlier version can be checked no further than that its predictions are of its clips."""
        if not self.fold.test:
            return None
        try:
            predictions = read_predictions(self.predictions)
        except PredictionsError as error:
            return str(error)
        if (set(predictions.clips), set(predictions.seeds)) != (set(self.fold.test), {self.seed}):
            return f"{self.predictions.name} is of other clips or seeds"
        return None


class RunFolder:
    """The paths of a run; nothing is read or written before it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.predictions = path / "predictions.csv"
        self.result = path / "result.json"
        self.figures = path / "figures"
        self.report = path / "report.html"

    def read(self) -> Run:
        """What was run.

        Raises:
            RunFolderError: this is no run folder, or a damaged one.
        """
        file = self.path / RUN_FILE
        if not file.is_file():  # nothing is there, or a folder, or a pipe that would be waited for
            raise RunFolderError(f"{file}: no such file; expected a folder made by `mer train`")
        try:
            return Run.model_validate_json(file.read_bytes())
        except OSError as error:
            raise RunFolderError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error
        except ValidationError as error:
            raise RunFolderError(f"{file}: not a run: {problems(error)}") from error

    def write(self, run: Run) -> None:
        """Write ``run.json``."""
        write_text(self.path / RUN_FILE, run.model_dump_json(indent=1) + "\n")

    def begin(self, run: Run, *, overwrite: bool) -> None:
        """Bring the folder to the state "under way"; a run that was interrupted keeps what it has.

        Args:
            run: to be trained here.
            overwrite: throw away the run that is there.

        Raises:
            RunFolderError: another run is there, or files that are none of a run.
        """
        record = self.path / RUN_FILE
        if overwrite and record.is_file():
            for child in self.path.iterdir():
                if child.is_dir():
                    shutil.rmtree(child)
                elif child != record:
                    child.unlink()
            record.unlink()  # last: a folder without it is not ours to empty
        if not record.is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            unfinished = set(self.path.glob(f".{RUN_FILE}.*.partial"))  # of a run that was killed as it began
            if others := sorted(child.name for child in self.path.iterdir() if child not in unfinished):
                raise RunFolderError(f"{self.path}: holds {others[0]} and no run; choose another --out")
            self.write(run)
            return
        there = self.read()
        if differences := _differences(run, there):
            raise RunFolderError(
                f"{self.path}: holds a run that was made otherwise:\n{now_and_there(differences)}\n"
                "choose another --out, or replace it with --overwrite"
            )

    def folds(self, run: Run) -> Iterator[FoldFolder]:
        """Every fold of every seed, in order."""
        for seed in run.config.seeds:
            for number, fold in enumerate(run.folds, 1):
                name = re.sub(r"[^A-Za-z0-9._-]+", "-", fold.name.split("/", 1)[-1])[:60]
                yield FoldFolder(self.path / f"seed-{seed}" / f"{number:03d}-{name}", seed, fold)


def _differences(mine: Run, theirs: Run) -> Differences:
    """Dotted field -> (this value, the other's); the revision may differ, versions say what matters."""
    found = dict(sorted(differing(mine, theirs, without=(*_NOT_COMPARED, "folds")).items()))
    if not found and mine.folds != theirs.folds:
        found = {"folds": (f"{len(mine.folds)} of today's clips", f"{len(theirs.folds)} others")}
    return found
