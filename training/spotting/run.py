"""A spotting run: every subject spotted with what the others taught, fold by fold, and a spotter for new videos.

::

    spotter.json                how: config, stores, subjects (written first)
    seed-0/01-casme-sq-s01/     one fold of one seed: this subject was left out
        rules.json, network.safetensors, ...   what the method learnt
        intervals.csv           what it spotted in this subject's recordings
        done.json               written last: hashes of these files
    seed-0/all/                 learnt from all subjects, for new videos

A run that is started again goes on with the folds that are not done, or are damaged.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from schemas.differences import differing, now_and_there
from schemas.errors import ProtocolError, RunFolderError
from schemas.finished import damage, finish
from schemas.model import Model
from schemas.output import write_text
from training.spotting.config import SpotConfig
from training.spotting.course import Course
from training.spotting.intervals import Recording, Spotted, read_intervals, write_intervals
from training.spotting.method import METHODS, Spotter

RUN_FILE = "spotter.json"


class SpottingRun(Model):
    """``spotter.json``.

    Attributes:
        config: how the spotters are made.
        stores: content ids of the stores that they are fitted on.
        synthetic: whether any of these was made by `mer synth`.
        subjects: each is left out once.
    """

    format: Literal["mer-spotter"] = "mer-spotter"
    format_version: Literal[2] = 2  # 1: all rules of flow-peaks in one file
    config: SpotConfig
    stores: tuple[str, ...]
    synthetic: bool
    subjects: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Random seeds; one where chance has no part."""
        return tuple(range(self.config.seeds if METHODS[self.config.method].seeded else 1))

    def folds(self) -> list[tuple[str, str | None]]:
        """Folder of each fold and the subject that it leaves out; the last, of all subjects, leaves out none."""
        names: list[tuple[str, str | None]] = [
            (f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', subject)[:60]}", subject)
            for number, subject in enumerate(self.subjects, 1)
        ]
        return [*names, ("all", None)]


def plan(recordings: Sequence[Recording], stores: Sequence[str], config: SpotConfig) -> SpottingRun:
    """What is to be run.

    Args:
        recordings: of at least two subjects.
        stores: content ids.
        config: how the spotters are made.

    Raises:
        ProtocolError: a single subject.
        ConfigError: no method has this name.
    """
    subjects = sorted({recording.subject for recording in recordings})
    if len(subjects) < 2:
        raise ProtocolError(
            f"{len(subjects)} subject: a spotter is tested on subjects that it was not fitted on; at least 2 are needed"
        )
    _ = METHODS[config.method]
    synthetic = any(recording.synthetic for recording in recordings)
    return SpottingRun(config=config, stores=tuple(stores), synthetic=synthetic, subjects=tuple(subjects))


def execute(
    folder: Path,
    run: SpottingRun,
    courses: Mapping[str, Course],
    recordings: Sequence[Recording],
    *,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Spotted, ...]:
    """Do what is not done yet; gives the intervals of all subjects and seeds.

    Args:
        folder: of the run.
        run: what to do.
        courses: key -> course, of each of the recordings.
        recordings: of all subjects.
        advance: called after each fold.

    Raises:
        RunFolderError: another run is in the folder.
        PredictionsError: no expression to learn from.
    """
    if (folder / RUN_FILE).is_file() and (differences := differing(run, read_run(folder))):
        raise RunFolderError(
            f"{folder}: holds intervals that were spotted otherwise:\n{now_and_there(differences)}\n"
            "choose another --out, or remove the folder"
        )
    write_text(folder / RUN_FILE, run.model_dump_json(indent=1) + "\n")
    answers: list[Spotted] = []
    for seed in run.seeds:
        for name, subject in run.folds():
            answers += _fold(folder / f"seed-{seed}" / name, run, courses, recordings, subject=subject, seed=seed)
            advance()
    return tuple(answers)


def _fold(
    folder: Path,
    run: SpottingRun,
    courses: Mapping[str, Course],
    recordings: Sequence[Recording],
    *,
    subject: str | None,
    seed: int,
) -> Sequence[Spotted]:
    own = [one for one in recordings if one.subject == subject]
    record, table = folder / "done.json", folder / "intervals.csv"
    if not record.is_file() or damage(record) is not None:
        record.unlink(missing_ok=True)
        training = [one for one in recordings if one.subject != subject]
        spotter = METHODS[run.config.method].fit(courses, training, run.config, seed=seed)
        found = [replace(spotted, seed=seed) for one in own for spotted in spotter.spot(courses[one.key])]
        files = spotter.write(folder)
        write_intervals(table, found)
        finish(record, (*files, table))
    return read_intervals(table, own)


def read_run(folder: Path) -> SpottingRun:
    """What was run in a folder.

    Raises:
        RunFolderError: `mer spot` did not write it, or another version did.
    """
    path = folder / RUN_FILE
    try:
        return SpottingRun.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{folder}: no {RUN_FILE} there; expected the folder that `mer spot STORE` wrote"
        ) from error
    except (OSError, ValidationError) as error:
        raise RunFolderError(f"{path}: not a spotter that this version reads; run `mer spot STORE` again") from error


def read_spotter(folder: Path, run: SpottingRun, *, without: str | None = None) -> Spotter:
    """The first seed's spotter of a run: that of all subjects, or the one that a subject was left out of.

    Raises:
        RunFolderError: it is not finished, or damaged.
    """
    name = next(name for name, subject in run.folds() if subject == without)
    place = folder / "seed-0" / name
    record = place / "done.json"
    if not record.is_file():
        raise RunFolderError(f"{place}: not finished; type the same `mer spot STORE` again to go on")
    if (problem := damage(record)) is not None:
        raise RunFolderError(f"{place}: {problem}; run `mer spot STORE` again")
    return METHODS[run.config.method].read(place)
