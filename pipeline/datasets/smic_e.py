"""SMIC-E: SMIC's clips inside longer recordings, with onset and offset in a spreadsheet."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.frame_files import frame_number
from pipeline.datasets.image_trees import ImageTree, PlacedClip, group_trees, place_clip
from pipeline.datasets.row_labels import integer, look_up_emotion
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.smic import CAMERA, CAMERAS, CLIP, LAYOUTS, SUBJECT, TOKENS, clips_of, layout, subject_id
from pipeline.datasets.spreadsheet import Workbook
from pipeline.datasets.tables import Row, Table
from pipeline.datasets.tree import Tree
from schemas.datasets import FACTS, Counts
from schemas.errors import AnnotationError
from schemas.labels import Label

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


class SmicE(SheetAdapter):
    """One camera. Sheets of all three may stand in one workbook."""

    clip, subject = CLIP, SUBJECT
    columns, optional = _COLUMNS, _OPTIONAL
    layouts, whole = LAYOUTS, frozenset(LAYOUTS)
    example = "clip name such as s1_ne_01"

    def __init__(self, camera: str) -> None:
        self.camera, self.facts = camera, FACTS[f"smic-{camera.lower()}-e"]
        image = "image559700.jpg" if camera == "HS" else "07750.jpg"
        self.looks_for = f"{camera}_long/SMIC-{camera}-E/s01/s1_ne_01 with images such as {image}"

    def subject_id(self, digits: str) -> str:
        """``s1``."""
        return subject_id(digits)

    def layout(self, path: Path, clips: tuple[PlacedClip, ...]) -> str:
        """Full frames or face crops."""
        return layout(path, clips)

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees of long clips."""
        placed = (place_clip(files, SUBJECT, subject_id) for files in clips_of(tree, self.camera, long=True))
        return group_trees(placed, layout, LAYOUTS)

    def read(self, book: Workbook) -> Iterable[Table]:
        """Tables of this camera: by the name of the sheet, else of the file, where one names a camera."""
        tables = [table for table in super().read(book) if _camera(table) in (None, self.camera)]
        if not tables:
            raise AnnotationError(f"{book.path}: for another camera by its name, expected {self.camera}")
        return tables

    def choose(self, tables: list[Table], tree: ImageTree) -> list[Table]:
        """The sheets of the cameras look alike: the one that knows most of the clips' onsets is theirs."""
        numbers = {clip.name: {frame_number(name) for name in clip.files.images} for clip in tree.clips}

        def agreement(table: Table) -> int:
            return sum(integer(row["onset"]) in numbers.get(row["name"], ()) for row in table.rows)

        return sorted(tables, key=agreement, reverse=True)

    def counts(self, table: Table) -> Counts:
        """Two editions are in circulation, told by their number of rows."""
        revised = self.facts.revised
        rows = sum(self.identify(row) is not None for row in table.rows)
        return revised if revised and rows >= 160 else self.facts.counts

    def expressions(self, row: Row, place: str, *, whole: bool) -> Iterator[Expression]:
        """One for each pair of onset and offset; the second and third are called ``s1_ne_01_2``, ``s1_ne_01_3``."""
        match = CLIP.fullmatch(row["name"])
        if match is None:
            return
        name, token = match["name"], match["token"].lower()
        emotion, notes = look_up_emotion(row["emotion"], TOKENS.values())
        if emotion is not None and emotion != TOKENS[token]:
            notes.append(("label_conflict", f"{place}: says {emotion}, the name {token}; the name is taken"))
        for field in ("first", "last"):
            if row[field] and integer(row[field]) is None:
                notes.append(("missing_frames", f"{place}: {field} frame {row[field]!r} is no frame number"))
        label = Label(raw_emotion=row["emotion"], emotion=TOKENS[token])
        for ordinal in ("", "2", "3"):
            onset, offset = row[f"onset{ordinal}"], row[f"offset{ordinal}"]
            if ordinal and not onset and not offset:
                continue
            clip = f"{name}_{ordinal}" if ordinal else name
            phases = Phases(onset, None, offset)
            yield Expression(subject_id(match["subject"]), clip, name, place, phases, label, tuple(notes))


def _camera(table: Table) -> str | None:
    for name in (table.sheet, table.path.name):
        named = CAMERA.findall(name)
        if named:
            return str(named[-1]).upper()
    return None


for _name in CAMERAS:
    _adapter = SmicE(_name)
    DATASETS.register(_adapter.facts.name)(_adapter)
