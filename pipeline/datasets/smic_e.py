"""SMIC-E: SMIC's clips inside longer recordings, with onset and offset in a spreadsheet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.datasets.adapter import Adapter, Source, assemble
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.annotation import choice_finding, read_annotations
from pipeline.datasets.frame_files import frame_number
from pipeline.datasets.image_trees import ImageTree, PlacedClip, find_clip_files, group_trees
from pipeline.datasets.row_labels import integer, look_up_emotion
from pipeline.datasets.smic import (
    CLIP,
    FPS,
    SPECTRA,
    SPECTRUM,
    SUBJECTS,
    TOKENS,
    emotion_folder,
    layout,
    may_be,
    place,
)
from pipeline.datasets.spreadsheet import Row, Table, Workbook, find_table
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label

_LAYOUTS = ("raw", "cropped")
_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("OnsetF",),
    "offset": ("OffsetF",),
    "onset2": ("Onset2F",),
    "offset2": ("Offset2F",),
    "onset3": ("Onset3F",),
    "offset3": ("Offset3F",),
    "first": ("FirstF",),
    "last": ("LastF",),
    "emotion": ("Emotion",),
}
_OPTIONAL = frozenset({"onset2", "offset2", "onset3", "offset3", "first", "last"})
_EMOTIONS: dict[str, Emotion] = {"negative": "negative", "positive": "positive", "surprise": "surprise"}
_EXAMPLES = {
    "HS": "SMIC-HS-E_annotation_2019.xlsx",
    "VIS": "SMIC_VIS_E_annotation.xlsx",
    "NIR": "SMIC_NIR_E_annotation.xlsx",
}


@dataclass(frozen=True)
class _Annotation:
    path: Path
    table: Table


def _find(spectrum: str, tree: Tree) -> Sequence[ImageTree]:
    return group_trees(_placed(spectrum, tree), layout, _LAYOUTS)


def _placed(spectrum: str, tree: Tree) -> Iterator[tuple[Path, PlacedClip]]:
    for files in find_clip_files(tree, CLIP):
        if emotion_folder(files) is None and not files.video and may_be(spectrum, files):
            yield place(files)


def _read(spectrum: str, book: Workbook) -> _Annotation:
    named = SPECTRUM.findall(book.path.name)
    if named and named[-1].upper() != spectrum:
        raise AnnotationError(f"{book.path}: by its name for the camera {named[-1].upper()}, expected {spectrum}")
    table = find_table(book, _COLUMNS, _OPTIONAL)
    if not any(CLIP.fullmatch(row["name"]) for row in table.rows):
        raise AnnotationError(f"{book.path}: no clip name such as s1_ne_01 in the column Filename")
    return _Annotation(book.path, table)


def _scan(spectrum: str, tree: Tree, trees: Sequence[ImageTree]) -> tuple[Path, DatasetScan]:
    found = read_annotations(
        tree, trees[0].path, partial(_read, spectrum), title=f"SMIC-E {spectrum}", example=_EXAMPLES[spectrum]
    )
    # The sheets of the three cameras look alike: the one that knows most of the clips' first frames is theirs.
    found.sort(key=lambda annotation: -_agreement(annotation, trees[0]))
    annotation = found[0]
    findings = choice_finding(found)
    expressions: list[Expression] = []
    for row in annotation.table.rows:
        where = f"{annotation.path.name} row {row.number}"
        if CLIP.fullmatch(row["name"]):
            expressions += _expressions(row, where)
        else:
            message = f"{where}: no clip name such as s1_ne_01: {row.words}"
            findings.append(Finding(kind="unreadable_row", clip=where, message=message))
    dataset = f"smic-{spectrum.lower()}-e"
    expected = {"subjects": SUBJECTS[spectrum]}  # the number of rows differs between the sheets in circulation
    source = Source(dataset, trees, annotation.path, FPS[spectrum], whole=True, expected=expected)
    return assemble(tree, source, expressions, findings)


def _agreement(annotation: _Annotation, tree: ImageTree) -> int:
    """Rows whose onset is a frame of the folder that they name."""
    numbers = {clip.name: {frame_number(name) for name in clip.files.images} for clip in tree.clips}
    return sum(integer(row["onset"]) in numbers.get(row["name"], ()) for row in annotation.table.rows)


def _expressions(row: Row, where: str) -> Iterator[Expression]:
    """One for each pair of onset and offset; the second and third are called ``s1_ne_01_2``, ``s1_ne_01_3``."""
    name = row["name"]
    match = CLIP.fullmatch(name)
    assert match is not None
    token = match[2].lower()
    emotion, notes = look_up_emotion(row["emotion"], _EMOTIONS)
    if emotion is not None and emotion != TOKENS[token]:
        notes.append(("label_conflict", f"{where}: says {emotion}, the name {token}; the name is taken"))
    for field in ("first", "last"):
        if row[field] and integer(row[field]) is None:
            notes.append(("missing_frames", f"{where}: {field} frame {row[field]!r} is no frame number"))
    label = Label(raw_emotion=row["emotion"], emotion=TOKENS[token])
    for ordinal in ("", "2", "3"):
        onset, offset = row[f"onset{ordinal}"], row[f"offset{ordinal}"]
        if ordinal and not onset and not offset:
            continue
        clip = f"{name}_{ordinal}" if ordinal else name
        phases = Phases(onset, None, offset)
        yield Expression(f"s{int(match[1])}", clip, name, where, phases, label, tuple(notes))


SMIC_E = tuple(
    Adapter(
        name=f"smic-{spectrum.lower()}-e",
        title=f"SMIC-E {spectrum}",
        looks_for=f"{spectrum}_long/SMIC-{spectrum}-E/s01/s1_ne_01 with images such as "
        + ("image559700.jpg" if spectrum == "HS" else "07750.jpg"),
        find=partial(_find, spectrum),
        scan=partial(_scan, spectrum),
    )
    for spectrum in SPECTRA
)
