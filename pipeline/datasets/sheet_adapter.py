"""A dataset whose clips stand in a spreadsheet with a header: what such adapters share."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.datasets.adapter import Adapter
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.annotation import choice_finding, read_annotations
from pipeline.datasets.assemble import Source, assemble
from pipeline.datasets.image_trees import ImageTree, PlacedClip, find_clip_files, group_trees, is_cropped, place_clip
from pipeline.datasets.row_labels import (
    EMOTIONS,
    Notes,
    action_units,
    expression_type,
    look_up_emotion,
    objective_class,
)
from pipeline.datasets.spreadsheet import Workbook
from pipeline.datasets.tables import Row, Table, find_tables
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, Finding
from schemas.datasets import Counts
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label


class SheetAdapter(Adapter):
    """Give the patterns of names and the columns; override what the dataset does in its own way.

    Attributes:
        clip: full name of a clip's folder or video, with the groups ``name`` and ``subject``; the latter is empty
            where the name does not say whose clip it is.
        subject: name of a subject's folder, with its digits as the first group.
        columns: field -> accepted headers. Fields are ``subject``, ``name``, ``onset``, ``apex``, ``offset``,
            ``action_units``, ``emotion``, ``objective_class``, ``expression_type``, ``fps``, and the adapter's own.
        optional: fields whose column may be absent.
        layouts: of trees on disk, the preferred first.
        whole: those layouts whose folders hold whole recordings, not onset to offset.
        example: of subject and name in a row, for messages.
    """

    clip: re.Pattern[str]
    subject: re.Pattern[str]
    columns: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()
    layouts: tuple[str, ...] = ("raw", "cropped", "video")
    whole: frozenset[str] = frozenset()
    example: str

    def identify(self, row: Row) -> tuple[str, str] | None:
        """Subject as in keys, and the clip's name, which tells it; ``None`` if the row is none of an expression."""
        match = self.clip.fullmatch(row["name"])
        return (self.subject_id(match["subject"]), match["name"]) if match else None

    def subject_id(self, digits: str) -> str:
        """A subject as in keys, from the digits of a folder's or a clip's name."""
        return digits

    def layout(self, path: Path, clips: tuple[PlacedClip, ...]) -> str:
        """Name the layout of the clips below ``path``."""
        if clips[0].files.video:
            return "video"
        return "cropped" if is_cropped(path, clips) else self.layouts[0]

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees of the clips that the pattern knows."""
        placed = (place_clip(files, self.subject, self.subject_id) for files in find_clip_files(tree, self.clip))
        return group_trees(placed, self.layout, self.layouts)

    def read(self, book: Workbook) -> Iterable[Table]:
        """Tables of this dataset in a workbook.

        Raises:
            AnnotationError: there is none.
        """
        tables = find_tables(book, self.columns, self.optional)
        known = [table for table in tables if any(self.identify(row) for row in table.rows)]
        if not known:
            raise AnnotationError(f"{book.path}: no {self.example} in the column {self.columns['name'][0]}")
        return known

    def choose(self, tables: list[Table], tree: ImageTree) -> list[Table]:
        """The tables with the one to be read first; by default the nearest to the images."""
        return tables

    def together(self, tables: Sequence[Table]) -> Sequence[Table]:
        """Those of the chosen tables that only together know all expressions of a recording; the first by default."""
        return tables[:1]

    def counts(self, table: Table) -> Counts:
        """Published figures of this edition of the annotation."""
        return self.facts.counts

    def expressions(self, row: Row, place: str, *, whole: bool) -> Iterator[Expression]:
        """Of a row, one as a rule; none if it is none of an expression.

        Args:
            row: of the table.
            place: file and row, for messages.
            whole: the tree holds whole recordings.
        """
        identity = self.identify(row)
        if identity is not None:
            subject, name = identity
            label, notes = self.label(row)
            fps = float(row["fps"]) if row["fps"].replace(".", "", 1).isdecimal() else None
            phases = Phases(row["onset"], row["apex"] if "apex" in self.columns else None, row["offset"])
            recording = self.recording(row, name) if whole else name
            yield Expression(subject, name, recording, place, phases, label, tuple(notes), fps or None)

    def told_apart(self, expressions: Sequence[Expression]) -> Sequence[Expression]:
        """Those of whole recordings, with a name each; as they are by default."""
        return expressions

    def recording(self, row: Row, name: str) -> str:
        """The name under which a whole recording with this clip lies."""
        return name

    def label(self, row: Row) -> tuple[Label, Notes]:
        """Everything that the row's columns say, and what is odd about it."""
        emotion: Emotion | None = None
        notes: Notes = []
        if "emotion" in self.columns:
            emotion, notes = look_up_emotion(row["emotion"], self.facts.counts.emotions or EMOTIONS)
        kind, unknown_kind = expression_type(row["expression_type"])
        code, unparsed = action_units(row.raw("action_units"))
        label = Label(
            raw_emotion=row["emotion"] if "emotion" in self.columns else None,
            emotion=emotion,
            objective_class=objective_class(row["objective_class"]),
            expression_type=kind,
            action_units=code if "action_units" in self.columns else None,
        )
        return label, [*notes, *unknown_kind, *unparsed]

    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """Every row of the annotation with its files."""
        return self._scan(tree, trees, annotation, lambda tables: tables[:1])

    def scan_recordings(
        self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None
    ) -> tuple[Path, DatasetScan]:
        """Every row of the annotations that belong together."""
        return self._scan(tree, trees, annotation, self.together)

    def _scan(
        self,
        tree: Tree,
        trees: Sequence[ImageTree],
        annotation: Path | None,
        taking: Callable[[Sequence[Table]], Sequence[Table]],
    ) -> tuple[Path, DatasetScan]:
        found = read_annotations(tree, trees[0].path, self.read, self.facts, annotation)
        found = self.choose(found, trees[0])
        taken = taking(found)
        findings = choice_finding([taken[0], *(table for table in found if table not in taken)])
        findings += [_uncomputed(table) for table in taken if table.uncomputed]
        whole = trees[0].layout in self.whole
        expressions: list[Expression] = []
        for sheet, row in ((table, row) for table in taken for row in table.rows):
            place = f"{sheet.path.name} row {row.number}"
            of_row = list(self.expressions(row, place, whole=whole))
            expressions += of_row
            if not of_row:
                message = f"{place}: no {self.example}: {row.words}"
                findings.append(Finding(kind="unreadable_row", clip=place, message=message))
        source = Source(self.facts, trees, taken[0].path, whole, self.counts(taken[0]))
        return assemble(tree, source, self.told_apart(expressions) if whole else expressions, findings)


def _uncomputed(table: Table) -> Finding:
    """A program library saves formulas without the values that a spreadsheet program computes."""
    message = (
        f"{table.path.name}: {table.uncomputed} formulas hold no value, so that their cells are blank; open the file "
        "in a spreadsheet program and save it again"
    )
    return Finding(kind="annotation_incomplete", clip=table.path.name, message=message)
