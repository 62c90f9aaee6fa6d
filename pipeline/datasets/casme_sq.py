"""CAS(ME)^2: 300 macro- and 57 micro-expressions of 22 people at 30 fps (Qu et al., IEEE TAC 9(4), 2018).

The workbook has no headers: sheets are known by their positions, and columns by these or by what they hold.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.annotation import choice_finding, read_annotations
from pipeline.datasets.assemble import Source, assemble
from pipeline.datasets.image_trees import ImageTree, PlacedClip, find_clip_files, group_trees, is_cropped, place_clip
from pipeline.datasets.row_labels import action_units, expression_type, integer, look_up_emotion
from pipeline.datasets.spreadsheet import Cells, Workbook
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding
from schemas.datasets import FACTS
from schemas.errors import AnnotationError
from schemas.labels import Label

_SUBJECT = re.compile(r"s?(\d{1,2})", re.IGNORECASE)
_CLIP = re.compile(r"(?:s?(?P<subject>\d{1,2})_)?(?P<name>(?:anger|disgust|happy)\d_\d+)", re.IGNORECASE)
_RECORDING = re.compile(r"(?P<subject>\d{1,2})_(?P<name>0[1-9]0[1-9])(?!\d).*")  # what follows the code is misspelt
_LAYOUTS = ("selectedpic", "rawpic", "cropped", "rawvideo")  # full frames before crops, images before video
_WHOLE = ("rawpic", "rawvideo")
_FIELDS = "subject, clip, onset, apex, offset, action units, emotion class, type, self-reported emotion"
_FOLDERS = dict(enumerate((15, 16, *range(19, 28), *range(29, 37), 37, 38, 40), 1))  # subject -> number of its folder
_VIDEO_CODES = {
    "disgust1": "0101", "disgust2": "0102", "anger1": "0401", "anger2": "0402",
    "happy1": "0502", "happy2": "0503", "happy3": "0505", "happy4": "0507", "happy5": "0508",
}  # fmt: skip


@dataclass(frozen=True)
class _Annotation:
    path: Path
    rows: tuple[tuple[int, Cells], ...]
    folders: dict[int, int]
    video_codes: dict[str, str]
    complete: bool


class CasmeSq(Adapter):
    """Folders of clips in ``selectedpic`` and ``cropped``, recordings in ``rawpic`` and ``rawvideo``."""

    facts = FACTS["casme-sq"]
    looks_for = "folders such as s15/anger1_1 or s15/15_0101disgustingteeth with images such as img557.jpg, or videos"

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees of clips, and of recordings."""
        clips = (files for files in find_clip_files(tree, _CLIP) if not files.video)
        recordings = find_clip_files(tree, _RECORDING)
        placed = (place_clip(files, _SUBJECT, _folder) for found in (clips, recordings) for files in found)
        return [_by_folder_number(found) for found in group_trees(placed, _layout, _LAYOUTS)]

    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """Every row of the first sheet; the other two give the folders of subjects and the codes of videos."""
        found = read_annotations(tree, trees[0].path, _read, self.facts, annotation)
        taken, findings = found[0], choice_finding(found)
        if not taken.complete:
            message = "no second and third sheet with folder names and video codes; those of the publication are used"
            findings.append(Finding(kind="annotation_incomplete", clip=taken.path.name, message=message))
        whole = trees[0].layout in _WHOLE
        expressions = []
        for number, cells in taken.rows:
            place = f"{taken.path.name} row {number}"
            if _is_expression(cells) and _stem(cells[1]) in taken.video_codes:
                expressions.append(self._expression(cells, place, taken, whole))
            else:
                words = " | ".join(cell.strip() for cell in cells if cell.strip())
                message = f"{place}: no subject and clip name such as 1 | anger1_1: {words}"
                findings.append(Finding(kind="unreadable_row", clip=place, message=message))
        source = Source(self.facts, trees, taken.path, whole, zero_is_missing=True)
        return assemble(tree, source, expressions, findings)

    def _expression(self, cells: Cells, place: str, annotation: _Annotation, whole: bool) -> Expression:
        padded = (*cells, "", "")
        subject, name, onset, apex, offset, _, emotion_text, kind, report_text = (cell.strip() for cell in padded[:9])
        code, notes = action_units(padded[5])
        emotion, unknown = look_up_emotion(emotion_text, self.facts.counts.emotions)
        report, unknown_report = look_up_emotion(report_text, self.facts.counts.self_reports, what="self-report")
        macro_or_micro, unknown_type = expression_type(kind or "?")
        label = Label(
            raw_emotion=emotion_text,
            emotion=emotion,
            expression_type=macro_or_micro,
            raw_self_report=report_text,
            self_report=report,
            action_units=code,
        )
        return Expression(
            subject=f"s{annotation.folders[int(subject)]}",
            name=name,
            recording=annotation.video_codes[_stem(name)] if whole else name,
            place=place,
            phases=Phases(onset, apex, offset),
            label=label,
            notes=(*unknown, *unknown_report, *unknown_type, *notes),
        )


def _folder(digits: str) -> str:
    return f"s{int(digits)}"


def _by_folder_number(tree: ImageTree) -> ImageTree:
    """The tree with subjects named after their folders, where ``cropped/1`` to ``cropped/22`` are named after them."""
    numbers = {int(clip.subject[1:]) for clip in tree.clips}
    if tree.layout in _WHOLE or not numbers <= set(_FOLDERS) or numbers <= set(_FOLDERS.values()):
        return tree
    clips = (replace(clip, subject=f"s{_FOLDERS[int(clip.subject[1:])]}") for clip in tree.clips)
    return replace(tree, clips=tuple(clips))


def _layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    if clips[0].files.video:
        return "rawvideo"
    if clips[0].files.match.re is _RECORDING:
        return "rawpic"
    without_s = all(clip.files.holder.name.isdecimal() for clip in clips)
    return "cropped" if without_s or is_cropped(path, clips) else "selectedpic"


def _stem(name: str) -> str:
    return name.strip().lower().split("_")[0]


def _is_expression(cells: Cells) -> bool:
    return len(cells) >= 7 and integer(cells[0].strip()) is not None and bool(_CLIP.fullmatch(cells[1].strip()))


def _read(book: Workbook) -> list[_Annotation]:
    sheets = list(book.sheets.values())
    if not sheets or not any(any(map(str.strip, cells)) for cells in sheets[0]):
        raise AnnotationError(f"{book.path}: the first sheet is empty; expected the columns {_FIELDS}")
    title = next(iter(book.sheets))
    rows = tuple((number, cells) for number, cells in enumerate(sheets[0], 1) if any(map(str.strip, cells)))
    subjects = {int(cells[0]) for _, cells in rows if _is_expression(cells)}
    if not subjects:
        raise AnnotationError(
            f"{book.path}, sheet {title}: no row is an expression; expected these columns, without a header: {_FIELDS}"
        )
    folders = _folders(sheets[1], book.path) if len(sheets) > 1 else {}
    codes = _video_codes(sheets[2]) if len(sheets) > 2 else {}
    complete = bool(folders and codes)
    folders = folders or _FOLDERS
    if lost := sorted(subjects - set(folders)):
        raise AnnotationError(
            f"{book.path}: no folder is known for subject {', '.join(map(str, lost))}; expected rows such as "
            "15 | s15 | 1 in the second sheet: number and name of the folder, and the subject"
        )
    return [_Annotation(book.path, rows, folders, codes or _VIDEO_CODES, complete)]


def _folders(rows: Sequence[Cells], path: Path) -> dict[int, int]:
    """Subject -> number of its folder, from rows such as ``15 | s15 | 1``, each of them many times.

    Columns are told by what they hold: the name of the folder, its number, and what is neither.
    """
    folders: dict[int, int] = {}
    for cells in rows:
        texts = [cell.strip().lower() for cell in cells if cell.strip()]
        names = [int(text[1:]) for text in texts if re.fullmatch(r"s\d+", text)]
        others = [int(text) for text in texts if text.isdecimal() and [int(text)] != names]
        if len(names) == len(others) == 1 and folders.setdefault(others[0], names[0]) != names[0]:
            raise AnnotationError(
                f"{path}: the second sheet gives subject {others[0]} two folders, s{folders[others[0]]} and s{names[0]}"
            )
    return folders


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


DATASETS.register("casme-sq")(CasmeSq())
