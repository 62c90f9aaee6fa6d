"""Spotted intervals as a table, and the recordings of a store that they are held against."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from schemas.clip import ExpressionInterval
from schemas.csv_cells import csv_text, unquoted
from schemas.errors import PredictionsError, ProtocolError
from schemas.labels import ExpressionType, Label
from schemas.output import write_text
from schemas.store.reader import Store
from training.protocols.tasks import Task

LONGEST_MICRO = 0.5  # s (Yan et al., Journal of Nonverbal Behavior 37, 2013)
_SHARED = 0.5  # of the shorter of two intervals, from which they are one
_REQUIRED = ("video", "onset", "offset")
COLUMNS = (*_REQUIRED, "apex", "type", "score", "emotion", "seed")
ClassOf = Callable[[str, Label], str | None]
_INTEGER = re.compile(r"-?\d{1,12}(?:\.0*)?")


@dataclass(frozen=True)
class Spotted:
    """One answer: an expression from frame ``onset`` to frame ``offset``, both inclusive, numbered as in the store.

    Attributes:
        video: key of the recording, ``dataset/subject/video``.
        onset: first frame.
        offset: last frame.
        type: micro or macro.
        score: larger is surer; NaN where a method gives none.
        apex: frame of the largest motion, where it is known.
        emotion: class that a recogniser gave it, empty for none.
        seed: random seed of the run.
    """

    video: str
    onset: int
    offset: int
    type: ExpressionType
    score: float = float("nan")
    apex: int | None = None
    emotion: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Recording:
    """A long recording of a store, and what is true about it.

    Attributes:
        key: ``dataset/subject/video``.
        fps: frames per second.
        first: number of its first frame.
        last: number of its last frame.
        truth: its expressions, sorted by onset.
        synthetic: made by `mer synth`.
    """

    key: str
    fps: float
    first: int
    last: int
    truth: tuple[ExpressionInterval, ...]
    synthetic: bool = False

    @property
    def subject(self) -> str:
        """``dataset/subject``, unique where datasets are mixed."""
        return self.key.rpartition("/")[0]

    @property
    def minutes(self) -> float:
        """Its length."""
        return (self.last - self.first + 1) / self.fps / 60


def type_of(onset: int, offset: int, fps: float) -> ExpressionType:
    """Micro, if an expression lasts at most half a second."""
    return "micro" if (offset - onset + 1) / fps <= LONGEST_MICRO else "macro"


def recordings_of(stores: Sequence[Store]) -> tuple[Recording, ...]:
    """The long recordings of stores, sorted by key; one that failed is left out, as no method sees it.

    Raises:
        PredictionsError: a store holds clips, no recordings.
    """
    found = []
    for store in stores:
        for entry in store.manifest.clips:
            if entry.status != "ok":
                continue
            if not entry.segments or entry.onset is None or entry.offset is None:
                raise PredictionsError(
                    f"{store.path}: {entry.key} is a clip, no long recording; make the store with "
                    "`mer preprocess ... --long`"
                )
            found.append(
                Recording(entry.key, entry.fps, entry.onset, entry.offset, entry.intervals, store.manifest.synthetic)
            )
    return tuple(sorted(found, key=lambda recording: recording.key))


def emotion_of(video: str, label: Label) -> str | None:
    """The class of a true interval where nobody says otherwise."""
    return label.emotion


def classes_of(task: Task, recordings: Sequence[Recording]) -> ClassOf:
    """What class of a task a true interval has, given its video and label; of micro-expressions alone, if it says so.

    Of a dataset that the task does not know, emotions that are called as its classes are these.

    Raises:
        ProtocolError: no interval of the recordings has a class.
    """
    rules = {rule.dataset: rule for rule in task.datasets}

    def class_of(video: str, label: Label) -> str | None:
        rule = rules.get(video.split("/")[0])
        if rule is None:
            return label.emotion if label.emotion in task.classes else None
        return rule.class_of(label) if rule.expression_type in (None, label.expression_type) else None

    if not any(class_of(recording.key, one.label) for recording in recordings for one in recording.truth):
        raise ProtocolError(
            f"{task.name} has a class for none of the intervals; its classes are {', '.join(task.classes)}, of "
            f"{', '.join(rules)}: choose a run whose task is about this store"
        )
    return class_of


def read_intervals(path: Path, recordings: Sequence[Recording]) -> tuple[Spotted, ...]:
    """Anybody's intervals: CSV with ``video``, ``onset``, ``offset``, and what else of ``COLUMNS`` there is.

    Without ``type`` an interval is micro if it lasts at most half a second.

    Raises:
        PredictionsError: the table cannot be read, lacks a column, or names a video or frames that are not there.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{path}: not a CSV table ({error}); expected {', '.join(_REQUIRED)}") from error
    table.columns = table.columns.str.strip()
    if absent := [name for name in _REQUIRED if name not in table]:
        raise PredictionsError(
            f"{path}: no column {', '.join(absent)}; expected {', '.join(_REQUIRED)}, and may have "
            f"{', '.join(COLUMNS[len(_REQUIRED) :])}"
        )
    known = {recording.key: recording for recording in recordings}
    rows = (dict(zip(table.columns, cells, strict=True)) for cells in table.itertuples(index=False))
    return tuple(_spotted(row, f"{path} line {number}", known) for number, row in enumerate(rows, 2))


def _spotted(row: Mapping[str, str], place: str, known: Mapping[str, Recording]) -> Spotted:
    video = unquoted(row["video"].strip())
    recording = known.get(video)
    if recording is None:
        raise PredictionsError(f"{place}: no video {video!r} in the store; keys are like {next(iter(known), 'none')}")
    onset, offset = (_integer(row[name], f"{place}: {name}") for name in ("onset", "offset"))
    if not recording.first <= onset <= offset <= recording.last:
        raise PredictionsError(
            f"{place}: frames {onset} to {offset}; {video} has frames {recording.first} to {recording.last}"
        )
    kind = row.get("type", "").strip() or type_of(onset, offset, recording.fps)
    if kind not in get_args(ExpressionType):
        raise PredictionsError(f"{place}: type {kind!r}; expected micro or macro, or nothing")
    try:
        score = float(row.get("score") or "nan")
    except ValueError as error:
        raise PredictionsError(f"{place}: score {row['score']!r} is no number") from error
    apex, seed = row.get("apex", "").strip(), row.get("seed", "").strip()
    return Spotted(
        video, onset, offset, "micro" if kind == "micro" else "macro", score,
        _integer(apex, f"{place}: apex") if apex else None, unquoted(row.get("emotion", "").strip()),
        _integer(seed, f"{place}: seed") if seed else 0,
    )  # fmt: skip


def _integer(text: str, what: str) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise PredictionsError(f"{what} {text!r} is no whole number; frames are numbered as in the store")
    return int(float(text))


def write_intervals(path: Path, spotted: Iterable[Spotted]) -> None:
    """Write a table that ``read_intervals`` reads, in the order of videos and onsets."""
    ordered = sorted(spotted, key=lambda one: (one.seed, one.video, one.onset, one.offset))
    rows = [
        (one.video, one.onset, one.offset, "" if one.apex is None else one.apex, one.type,
         "" if np.isnan(one.score) else f"{one.score:.6g}", one.emotion, one.seed)
        for one in ordered
    ]  # fmt: skip
    write_text(path, csv_text([COLUMNS, *rows], line_end="\n"))


def apart(spotted: Iterable[Spotted]) -> list[Spotted]:
    """Non-maximum suppression: of two that share at least half of the shorter one, that with the higher score stays."""
    kept: list[Spotted] = []
    for one in sorted(spotted, key=lambda one: (-one.score, one.onset, one.offset)):
        if not any(are_one(one, other) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.onset)


def are_one(one: Spotted, other: Spotted) -> bool:
    """Whether two intervals have at least half of the shorter one in common."""
    common = min(one.offset, other.offset) - max(one.onset, other.onset) + 1
    return max(0, common) / (min(one.offset - one.onset, other.offset - other.onset) + 1) >= _SHARED
