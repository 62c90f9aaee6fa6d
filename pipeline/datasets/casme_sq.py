"""CAS(ME)^2: 300 macro- and 57 micro-expressions of 22 people at 30 fps (Qu et al., IEEE TAC 9(4), 2018).

The workbook has no headers: sheets and columns are known by their positions alone.
"""

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
from pipeline.datasets.spreadsheet import Cells, Workbook
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding, FindingKind
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label

_FPS = 30.0
_SUBJECT = re.compile(r"s?(\d{1,2})", re.IGNORECASE)
_CLIP = re.compile(r"(?:anger|disgust|happy)\d_\d+", re.IGNORECASE)
_RECORDING = re.compile(r"(\d{1,2})_(0[1-9]0[1-9])(?!\d).*")
_LAYOUTS = ("selectedpic", "rawpic", "cropped", "rawvideo")  # full frames before crops, images before video
_WHOLE = ("rawpic", "rawvideo")
_FIELDS = "subject, clip, onset, apex, offset, action units, emotion class, type, self-reported emotion"
_FOLDER_NUMBERS = dict(enumerate((15, 16, *range(19, 28), *range(29, 37), 37, 38, 40), 1))  # of subjects
_VIDEO_CODES = {
    "disgust1": "0101", "disgust2": "0102", "anger1": "0401", "anger2": "0402",
    "happy1": "0502", "happy2": "0503", "happy3": "0505", "happy4": "0507", "happy5": "0508",
}  # fmt: skip
_EMOTIONS: dict[str, Emotion] = {e: e for e in ("negative", "positive", "surprise", "others")} | {"other": "others"}
_SELF_REPORTS: dict[str, Emotion] = {
    "happiness": "happiness", "happyiness": "happiness", "disgust": "disgust", "anger": "anger",
    "surprise": "surprise", "fear": "fear", "sadness": "sadness", "helpless": "helpless", "pain": "pain",
    "confused": "confused", "sympathy": "sympathy",
}  # fmt: skip
_EXPECTED = {"clips": 357, "subjects": 22, "type:macro": 300, "type:micro": 57} | emotion_counts(
    {"negative": 126, "positive": 124, "others": 82, "surprise": 25}
)


@dataclass(frozen=True)
class _Annotation:
    path: Path
    sheet: str
    rows: tuple[tuple[int, Cells], ...]
    folder_numbers: dict[int, int]
    video_codes: dict[str, str]
    complete: bool


def _find(tree: Tree) -> Sequence[ImageTree]:
    return group_trees(_placed(tree), _layout, _LAYOUTS)


def _placed(tree: Tree) -> Iterator[tuple[Path, PlacedClip]]:
    for files in find_clip_files(tree, _CLIP):
        found = subject_folder(files.holder, _SUBJECT)
        if found and not files.video:
            yield found[1], PlacedClip(f"s{int(found[0][1])}", files.name, files)
    for files in find_clip_files(tree, _RECORDING):
        # The name begins with the subject: one recording lies in another subject's folder. What follows the code
        # is misspelt here and there.
        subject, code = f"s{int(files.match[1])}", files.match[2]
        found = subject_folder(files.holder, _SUBJECT)
        folder, path = (f"s{int(found[0][1])}", found[1]) if found else (subject, files.holder)
        yield path, PlacedClip(subject, code, files, None if folder == subject else folder)


def _layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    if clips[0].files.video:
        return "rawvideo"
    if _RECORDING.fullmatch(clips[0].files.name):
        return "rawpic"
    without_s = all(clip.files.holder.name.isdecimal() for clip in clips)
    return "cropped" if without_s or is_cropped(path) else "selectedpic"


def _read(book: Workbook) -> _Annotation:
    sheets = list(book.sheets.items())
    if not sheets or not any(any(map(str.strip, cells)) for cells in sheets[0][1]):
        raise AnnotationError(f"{book.path}: the first sheet is empty; expected the columns {_FIELDS}")
    title, rows = sheets[0]
    numbered = tuple((number, cells) for number, cells in enumerate(rows, 1) if any(map(str.strip, cells)))
    if not any(_is_expression(cells) for _, cells in numbered):
        raise AnnotationError(
            f"{book.path}, sheet {title}: no row is an expression; expected these columns, without a header: {_FIELDS}"
        )
    folder_numbers = _folder_numbers(sheets[1][1]) if len(sheets) > 1 else {}
    video_codes = _video_codes(sheets[2][1]) if len(sheets) > 2 else {}
    complete = bool(folder_numbers and video_codes)
    return _Annotation(
        book.path, title, numbered, folder_numbers or _FOLDER_NUMBERS, video_codes or _VIDEO_CODES, complete
    )


def _is_expression(cells: Cells) -> bool:
    return len(cells) >= 7 and integer(cells[0].strip()) is not None and bool(_CLIP.fullmatch(cells[1].strip()))


def _folder_numbers(rows: Sequence[Cells]) -> dict[int, int]:
    """Subject -> number of its folder, from rows such as ``1 | s15``, some of them repeated."""
    numbers = {}
    for cells in rows:
        texts = [cell.strip().lower() for cell in cells if cell.strip()]
        folders = [text[1:] for text in texts if text.startswith("s") and text[1:].isdecimal()]
        subjects = [text for text in texts if text.isdecimal()]
        if folders and subjects:
            numbers[int(subjects[0])] = int(folders[0])
    return numbers


def _video_codes(rows: Sequence[Cells]) -> dict[str, str]:
    """``disgust1`` -> ``0101``, from rows with both in either order; a number has lost its leading zero."""
    codes = {}
    for cells in rows:
        texts = [cell.strip().lower() for cell in cells if cell.strip()]
        stems = [text for text in texts if re.fullmatch(r"[a-z]+\d", text)]
        numbers = [text.zfill(4) for text in texts if re.fullmatch(r"\d{3,4}", text)]
        if stems and numbers:
            codes[stems[0]] = numbers[0]
    return codes


def _scan(tree: Tree, trees: Sequence[ImageTree]) -> tuple[Path, DatasetScan]:
    found = read_annotations(tree, trees[0].path, _read, title="CAS(ME)^2", example="CAS(ME)^2code_final.xlsx")
    annotation = found[0]
    findings = choice_finding(found)
    if not annotation.complete:
        message = "no second and third sheet with folder names and video codes; those of the publication are used"
        findings.append(Finding(kind="annotation_incomplete", clip=annotation.path.name, message=message))
    whole = trees[0].layout in _WHOLE
    expressions = []
    for number, cells in annotation.rows:
        place = f"{annotation.path.name} row {number}"
        problem = _row_problem(cells, annotation)
        if problem is None:
            expressions.append(_expression(cells, place, annotation, whole))
        else:
            message = f"{place}: {problem}: {' | '.join(cell.strip() for cell in cells if cell.strip())}"
            findings.append(Finding(kind="unreadable_row", clip=place, message=message))
    source = Source("casme-sq", trees, annotation.path, _FPS, whole, expected=_EXPECTED, zero_is_missing=True)
    return assemble(tree, source, expressions, findings)


def _row_problem(cells: Cells, annotation: _Annotation) -> str | None:
    if not _is_expression(cells):
        return "no subject and clip name such as 1 | anger1_1"
    subject, stem = int(cells[0].strip()), cells[1].strip().lower().split("_")[0]
    if subject not in annotation.folder_numbers:
        return f"no folder is known for subject {subject}"
    return None if stem in annotation.video_codes else f"no video is known for {stem}"


def _expression(cells: Cells, place: str, annotation: _Annotation, whole: bool) -> Expression:
    padded = (*cells, "", "")
    subject, name, onset, apex, offset, _, emotion_text, kind, report_text = (cell.strip() for cell in padded[:9])
    code, notes = action_units(padded[5])
    emotion, unknown = look_up_emotion(emotion_text, _EMOTIONS)
    report, unknown_report = look_up_emotion(report_text, _SELF_REPORTS, what="self-report")
    type_notes: list[tuple[FindingKind, str]] = []
    if not kind.lower().startswith(("macro", "micro")):
        type_notes.append(("label_unknown", f"expression type {kind!r} is neither macro nor micro; taken as micro"))
    label = Label(
        raw_emotion=emotion_text,
        emotion=emotion,
        expression_type="macro" if kind.lower().startswith("macro") else "micro",
        raw_self_report=report_text,
        self_report=report,
        action_units=code,
    )
    return Expression(
        subject=f"s{annotation.folder_numbers[int(subject)]}",
        name=name,
        recording=annotation.video_codes[name.lower().split("_")[0]] if whole else name,
        place=place,
        phases=Phases(onset, apex, offset),
        label=label,
        notes=(*unknown, *unknown_report, *type_notes, *notes),
    )


CASME_SQ = Adapter(
    name="casme-sq",
    title="CAS(ME)^2",
    looks_for="folders such as s15/anger1_1 or s15/15_0101disgustingteeth with images such as img557.jpg, or videos",
    find=_find,
    scan=_scan,
)
