"""SAMM: 159 grey clips of 29 people at 200 fps, FACS-coded (Davison et al., IEEE TAC 9(1), 2018)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.adapter import Adapter, Source, assemble, emotion_counts
from pipeline.datasets.annotated_clip import Expression, Phases, action_units
from pipeline.datasets.annotation import choice_finding, read_annotations
from pipeline.datasets.image_trees import (
    ImageTree,
    PlacedClip,
    find_clip_files,
    group_trees,
    is_cropped,
    subject_folder,
)
from pipeline.datasets.row_labels import integer, look_up_emotion
from pipeline.datasets.spreadsheet import Row, Table, Workbook, find_table
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label

_FPS = 200.0
_SUBJECT = re.compile(r"\d{3}")
_CLIP = re.compile(r"(\d{3})_\d+_\d+")
_LAYOUTS = ("raw", "cropped", "video")
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("Onset Frame",),
    "apex": ("Apex Frame",),
    "offset": ("Offset Frame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
    "objective_class": ("Objective Classes", "Objective Class"),
    "expression_type": ("Micro",),
}
_OPTIONAL = frozenset({"objective_class", "expression_type"})
_EMOTIONS: dict[str, Emotion] = {
    "anger": "anger", "happiness": "happiness", "other": "others", "surprise": "surprise",
    "contempt": "contempt", "disgust": "disgust", "fear": "fear", "sadness": "sadness",
}  # fmt: skip
_EXPECTED = {"clips": 159, "subjects": 29} | emotion_counts(
    {
        "anger": 57, "happiness": 26, "others": 26, "surprise": 15,
        "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6,
    }
)  # fmt: skip
_EXAMPLE = "SAMM_Micro_FACS_Codes_v2.xlsx"


def _find(tree: Tree) -> Sequence[ImageTree]:
    return group_trees(_placed(tree), _layout, _LAYOUTS)


def _layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    if clips[0].files.video:
        return "video"
    return "cropped" if is_cropped(path) else "raw"


def _placed(tree: Tree) -> Iterator[tuple[Path, PlacedClip]]:
    for files in find_clip_files(tree, _CLIP):
        # A clip's name begins with its subject, so that a tree without subject folders will do as well.
        subject = files.match[1]
        found = subject_folder(files.holder, _SUBJECT)
        folder, path = (found[0][0], found[1]) if found else (subject, files.holder)
        yield path, PlacedClip(subject, files.name, files, None if folder == subject else folder)


@dataclass(frozen=True)
class _Annotation:
    path: Path
    table: Table


def _read(book: Workbook) -> _Annotation:
    table = find_table(book, _COLUMNS, _OPTIONAL)
    if not any(_CLIP.fullmatch(row["name"]) for row in table.rows):
        raise AnnotationError(f"{book.path}: no clip name such as 006_1_2 in the column Filename")
    return _Annotation(book.path, table)


def _scan(tree: Tree, trees: Sequence[ImageTree]) -> tuple[Path, DatasetScan]:
    found = read_annotations(tree, trees[0].path, _read, title="SAMM", example=_EXAMPLE)
    annotation = found[0]
    expressions, findings = [], choice_finding(found)
    for row in annotation.table.rows:
        place = f"{annotation.path.name} row {row.number}"
        if _CLIP.fullmatch(row["name"]):
            expressions.append(_expression(row, place))
        else:
            message = f"{place}: no clip name such as 006_1_2: {row.words}"
            findings.append(Finding(kind="unreadable_row", clip=place, message=message))
    source = Source("samm", trees, annotation.path, _FPS, whole=False, expected=_EXPECTED)
    return assemble(tree, source, expressions, findings)


def _expression(row: Row, place: str) -> Expression:
    name = row["name"]
    code, notes = action_units(row.raw("action_units"))
    emotion, unknown = look_up_emotion(row["emotion"], _EMOTIONS)
    macro = row["expression_type"].lower().startswith("macro")
    label = Label(
        raw_emotion=row["emotion"],
        emotion=emotion,
        objective_class=integer(row["objective_class"]),
        expression_type="macro" if macro else "micro",
        action_units=code,
    )
    phases = Phases(row["onset"], row["apex"], row["offset"])
    return Expression(name[:3], name, name, place, phases, label, (*unknown, *notes))


SAMM = Adapter(
    name="samm",
    title="SAMM",
    looks_for="folders such as 006/006_1_2 with images such as 006_05562.jpg, or videos 006/006_1_2.avi",
    find=_find,
    scan=_scan,
)
