"""CASME II: 255 labelled clips of 26 people at 200 fps (Yan et al., PLoS ONE 9(1), 2014)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.adapter import Adapter, Source, assemble, emotion_counts
from pipeline.datasets.annotated_clip import Expression, Phases, action_units
from pipeline.datasets.annotation import choice_finding, read_annotations
from pipeline.datasets.frame_files import frame_number
from pipeline.datasets.image_trees import (
    ImageTree,
    PlacedClip,
    find_clip_files,
    group_trees,
    is_cropped,
    mostly,
    subject_folder,
)
from pipeline.datasets.row_labels import integer, look_up_emotion
from pipeline.datasets.spreadsheet import Row, Table, Workbook, find_table
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label

_FPS = 200.0
_SUBJECT = re.compile(r"sub(\d{1,2})", re.IGNORECASE)
_CLIP = re.compile(r"EP\d+(?:_\d+)*[a-z]?", re.IGNORECASE)
_LAYOUTS = ("selected", "whole", "cropped", "video")  # full frames before crops, images before compressed video
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
    "objective_class": ("Objective Classes", "Objective Class"),
}
_OPTIONAL = frozenset({"objective_class"})
_EMOTIONS: dict[str, Emotion] = {
    "others": "others", "other": "others", "disgust": "disgust", "happiness": "happiness", "repression": "repression",
    "surprise": "surprise", "sadness": "sadness", "fear": "fear",
}  # fmt: skip
_COUNTS = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}
_COUNTS_2019 = _COUNTS | {"surprise": 28, "sadness": 4}  # three of sub24 moved
_EXAMPLE = "CASME2-coding-20190701.xlsx"


@dataclass(frozen=True)
class _Annotation:
    """The main spreadsheet, or the one with nothing but objective classes."""

    path: Path
    table: Table

    @property
    def labels(self) -> bool:
        return "onset" in self.table.fields

    @property
    def revised(self) -> bool:
        """The version of 2019, the one that has objective classes."""
        return "objective_class" in self.table.fields


def _find(tree: Tree) -> Sequence[ImageTree]:
    return group_trees(_placed(tree), _layout, _LAYOUTS)


def _placed(tree: Tree) -> Iterator[tuple[Path, PlacedClip]]:
    for files in find_clip_files(tree, _CLIP):
        found = subject_folder(files.holder, _SUBJECT)
        if found:  # clip names repeat from subject to subject, so that one without is nobody's
            match, path = found
            yield path, PlacedClip(_subject(match[1]), files.name, files)


def _subject(number: str) -> str:
    return f"sub{int(number):02d}"


def _layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    if clips[0].files.video:
        return "video"
    if is_cropped(path) or mostly(clips, lambda clip: any(name.startswith("reg_") for name in clip.files.images)):
        return "cropped"
    return "whole" if mostly(clips, _from_one) else "selected"


def _from_one(clip: PlacedClip) -> bool:
    return any(frame_number(name) == 1 for name in clip.files.images)


def _read(book: Workbook) -> _Annotation:
    try:
        table = find_table(book, _COLUMNS, _OPTIONAL)
    except AnnotationError as error:
        objective = _objective_table(book)
        if objective is None:
            raise error from None  # the main spreadsheet is what the user has to mend
        table = objective
    if not any(_CLIP.fullmatch(row["name"]) for row in table.rows):
        raise AnnotationError(f"{book.path}: no clip name such as EP02_01f in the column Filename")
    return _Annotation(book.path, table)


def _objective_table(book: Workbook) -> Table | None:
    """The table of the spreadsheet that has subject, name and objective class alone."""
    columns = {"subject", "name", "objective_class"}
    try:
        table = find_table(book, _COLUMNS, optional=frozenset(_COLUMNS) - columns)
    except AnnotationError:
        return None
    return table if table.fields == columns else None


def _read_labels(book: Workbook) -> _Annotation:
    annotation = _read(book)
    if not annotation.labels:
        raise AnnotationError(f"{book.path}: has objective classes only, no onsets and no emotions")
    return annotation


def _scan(tree: Tree, trees: Sequence[ImageTree]) -> tuple[Path, DatasetScan]:
    mains = read_annotations(tree, trees[0].path, _read_labels, title="CASME II", example=_EXAMPLE)
    mains.sort(key=lambda annotation: not annotation.revised)
    annotation, findings = mains[0], choice_finding(mains)
    extra = {} if annotation.revised else _objective_classes(tree, trees[0].path)
    expressions = []
    for row in annotation.table.rows:
        place = f"{annotation.path.name} row {row.number}"
        number = row["subject"].lower().removeprefix("sub")
        if _CLIP.fullmatch(row["name"]) and integer(number) is not None:
            expressions.append(_expression(row, _subject(number), place, extra))
        else:
            message = f"{place}: no subject such as 01 and clip name such as EP02_01f: {row.words}"
            findings.append(Finding(kind="unreadable_row", clip=place, message=message))
    counts = _COUNTS_2019 if annotation.revised else _COUNTS
    expected = {"clips": 255, "subjects": 26} | emotion_counts(counts)
    source = Source("casme2", trees, annotation.path, _FPS, whole=trees[0].layout == "whole", expected=expected)
    return assemble(tree, source, expressions, findings)


def _objective_classes(tree: Tree, images: Path) -> dict[tuple[str, str], int | None]:
    """From the separate spreadsheet that accompanies the version of 2014, where there is one."""
    classes = {}
    for annotation in read_annotations(tree, images, _read, title="CASME II", example=_EXAMPLE):
        if annotation.revised:
            for row in annotation.table.rows:
                classes[row["subject"].lower().removeprefix("sub").zfill(2), row["name"]] = integer(
                    row["objective_class"]
                )
    return classes


def _expression(row: Row, subject: str, place: str, extra: dict[tuple[str, str], int | None]) -> Expression:
    name = row["name"]
    code, notes = action_units(row.raw("action_units"))
    emotion, unknown = look_up_emotion(row["emotion"], _EMOTIONS)
    label = Label(
        raw_emotion=row["emotion"],
        emotion=emotion,
        objective_class=integer(row["objective_class"]) or extra.get((subject[3:], name)),
        action_units=code,
    )
    return Expression(
        subject, name, name, place, Phases(row["onset"], row["apex"], row["offset"]), label, (*unknown, *notes)
    )


CASME2 = Adapter(
    name="casme2",
    title="CASME II",
    looks_for="folders such as sub01/EP02_01f with images such as img46.jpg, or videos sub01/EP02_01f.avi",
    find=_find,
    scan=_scan,
)
