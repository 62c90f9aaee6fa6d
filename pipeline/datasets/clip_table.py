"""Anybody's clips: a table with one row a clip, which names a folder of frames or a video."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.clip.video_facts import examine_video
from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.assemble import Source, assemble
from pipeline.datasets.frame_files import index_frames, is_video
from pipeline.datasets.image_trees import ClipFiles, ImageTree, PlacedClip
from pipeline.datasets.row_labels import EMOTIONS, action_units, expression_type, look_up_emotion
from pipeline.datasets.spreadsheet import SPREADSHEET_SUFFIXES, read_workbook
from pipeline.datasets.tables import Row, Table, find_table
from pipeline.datasets.tree import Folder, Tree, common_folder, survey
from schemas.clip import DatasetScan, Finding
from schemas.datasets import FACTS
from schemas.errors import DatasetNotFoundError, FrameError
from schemas.labels import Label
from schemas.output import replacing
from schemas.words import count

TABLE_SUFFIXES = SPREADSHEET_SUFFIXES | {".parquet"}
_REQUIRED = ("subject", "clip", "path")
_READ = (*_REQUIRED, "onset", "apex", "offset", "emotion", "action_units", "expression_type", "fps", "depth_path")
_KNOWN = (*_READ, "split")  # metadata, but the trainer looks for it under that name
_ANYTHING = re.compile(r"(?P<subject>)(?P<name>.*)", re.DOTALL)

TEMPLATE = """\
subject,clip,path,onset,apex,offset,emotion,action_units,fps,camera
ann,smile1,videos/ann_smile1.mp4,12,20,31,happiness,6+12,,left
ann,frown1,frames/ann/frown1,101,110,125,disgust,4+9,200,left
bob,start1,frames/bob/start1,,,,surprise,,200,right
"""


def write_template(path: Path) -> None:
    """Write an example: only ``subject``, ``clip`` and ``path`` must be there; other columns are kept as they are.

    Raises:
        DatasetNotFoundError: something is there already, or the name is none of a ``.csv``.
    """
    if path.suffix.lower() != ".csv":
        raise DatasetNotFoundError(f"{path}: the example is text; name it clips.csv")
    if path.exists():
        raise DatasetNotFoundError(f"{path}: is there already; name another file for the example")
    with replacing(path) as file:
        file.write(TEMPLATE.encode())


def scan_clip_table(path: Path) -> tuple[Path, DatasetScan]:
    """Check every row against its files; frame numbers are those in the files' names, of a video from 1.

    Without onset and offset a clip begins with its first frame and ends with its last.

    Raises:
        AnnotationError: the table cannot be read, or has no columns ``subject``, ``clip`` and ``path``.
    """
    columns = {field: (field,) for field in _KNOWN}
    table = find_table(read_workbook(path), columns, optional=set(_KNOWN) - set(_REQUIRED))
    expressions: list[Expression] = []
    placed: list[PlacedClip] = []
    folders: dict[Path, Folder] = {}
    findings: list[Finding] = []
    for row in table.rows:
        place = f"{path.name} row {row.number}"
        if any(not row[field] or "/" in row[field] for field in ("subject", "clip")) or not row["path"]:
            message = f"{place}: subject, clip and path must be given, the first two without a slash: {row.words}"
            findings.append(Finding(kind="unreadable_row", clip=place, message=message))
            continue
        clip = _files(row, path, folders)
        placed += [clip] if clip else []
        expressions.append(_expression(row, table, place, clip))
    if not placed:
        raise DatasetNotFoundError(
            f"{path}: no path of {count(len(table.rows), 'row')} leads to a video or a folder with images; paths are "
            f"relative to {path.parent}"
        )
    files = ImageTree(common_folder([clip.files.path.parent for clip in placed]), "table", tuple(placed))
    source = Source(FACTS["clips"], [files], path, whole=True)
    return assemble(Tree(path.parent, folders, ()), source, expressions, findings)


def _files(row: Row, table: Path, folders: dict[Path, Folder]) -> PlacedClip | None:
    """The files of a row; a folder is added to those that are known."""
    path = _absolute(table, row["path"])
    depth = _absolute(table, row["depth_path"]) if row["depth_path"] else None
    of_depth = survey(depth).folders[depth] if depth and depth.is_dir() else None
    match = _ANYTHING.fullmatch(row["clip"])
    assert match is not None
    if path.is_file() and is_video(path.name):
        files = ClipFiles(path, (), (), match, path.parent, video=True, depth=of_depth)
    elif path.is_dir():
        folder = folders[path] = survey(path).folders[path]
        files = ClipFiles(path, folder.images, folder.copies, match, path.parent, video=False, depth=of_depth)
    else:
        return None
    return PlacedClip(row["subject"], row["clip"], files)


def _absolute(table: Path, path: str) -> Path:
    return Path(os.path.abspath(table.parent / path))  # noqa: PTH100 - keeps the names that the user sees


def _expression(row: Row, table: Table, place: str, clip: PlacedClip | None) -> Expression:
    raw = row["emotion"] or None
    emotion, _ = look_up_emotion(row["emotion"], EMOTIONS)  # any word is a class; those of the field are known as such
    code, notes = action_units(row.raw("action_units"))
    kind, unknown = expression_type(row["expression_type"])
    phases, fps = _timing(row, clip)
    if row["depth_path"] and not (clip and clip.files.depth):
        notes.append(("depth_incomplete", f"{place}: depth_path {row['depth_path']} is no folder"))
    label = Label(
        raw_emotion=raw,
        emotion=emotion,
        expression_type=kind,
        action_units=code if "action_units" in table.fields else None,
    )
    return Expression(
        subject=row["subject"],
        name=row["clip"],
        recording=row["clip"],
        place=place,
        phases=phases,
        label=label,
        notes=(*unknown, *notes),
        fps=fps or None,
        metadata={name: cell.strip() for name, cell in row.cells.items() if name not in _READ and cell.strip()},
    )


def _timing(row: Row, clip: PlacedClip | None) -> tuple[Phases, float | None]:
    """Phases, where blank those of the files, and frames per second."""
    first, last, fps = "1", "", None
    if clip is not None and clip.files.video and not (row["offset"] and row["fps"]):
        try:
            video = examine_video(clip.files.path)
        except FrameError:  # which the check of the files says
            return Phases(row["onset"] or first, row["apex"] or None, row["offset"] or first), _positive(row["fps"])
        last, fps = str(len(video.times)), video.fps
    elif clip is not None and (numbers := index_frames(clip.files.images).numbers):
        first, last = str(numbers[0]), str(numbers[-1])
    return Phases(row["onset"] or first, row["apex"] or None, row["offset"] or last), _positive(row["fps"]) or fps


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


class _ClipTable(Adapter):
    """Never found in a folder: the table itself is passed."""

    facts, looks_for = FACTS["clips"], ""

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Nothing by itself."""
        return ()

    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """The table that was named."""
        raise DatasetNotFoundError(f"{tree.root}: pass the table itself, such as {tree.root / 'clips.csv'}")


DATASETS.register("clips")(_ClipTable())
