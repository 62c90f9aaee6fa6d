"""CAS(ME)^3, part A: colour at 30 fps with measured depth beside it (Li et al., IEEE TPAMI 45(3), 2023)."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.annotated_clip import Expression
from pipeline.datasets.image_trees import ImageTree, PlacedClip, depth_beside, find_clip_files, group_trees, place_clip
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.tables import Row, Table
from pipeline.datasets.tree import Tree
from schemas.datasets import FACTS

_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "action_units": ("AU",),
    "objective_class": ("Objective class",),
    "emotion": ("emotion",),
    "expression_type": ("Type",),
}


class Casme3(SheetAdapter):
    """One recording ``a`` of a subject holds several expressions: the onset is part of a clip's name, ``a_355``."""

    facts = FACTS["casme3"]
    looks_for = "folders such as frame/spNO.1/a with images such as 355.jpg, or spNO.1_a_355"
    clip = re.compile(r"(?:spno\.?(?P<subject>\d+)_)?(?P<name>[a-z](?:_\d+)?)(?:_\d+)?", re.IGNORECASE)
    subject = re.compile(r"spno\.?(\d+)", re.IGNORECASE)
    columns = _COLUMNS
    optional = frozenset({"action_units", "objective_class", "expression_type"})
    layouts = ("frame", "clips")
    whole = frozenset({"frame"})
    example = "subject such as spNO.1, recording such as a, and onset"

    def subject_id(self, digits: str) -> str:
        """``spNO.1``, in whatever case it is written."""
        return f"spNO.{int(digits)}"

    def layout(self, path: Path, clips: tuple[PlacedClip, ...]) -> str:
        """Recordings are called by one letter."""
        return "frame" if len(clips[0].name) == 1 else "clips"

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees of colour frames; those of depth have the same names, and go with them."""
        colour = (
            replace(files, depth=depth_beside(tree, files.path))
            for files in find_clip_files(tree, self.clip)
            if not files.video and not any("depth" in part.lower() for part in files.path.relative_to(tree.root).parts)
        )
        placed = (place_clip(files, self.subject, self.subject_id) for files in colour)
        return group_trees(placed, self.layout, self.layouts)

    def identify(self, row: Row) -> tuple[str, str] | None:
        """Subject, and the recording with the onset."""
        match = self.subject.fullmatch(row["subject"])
        known = match and re.fullmatch("[a-z]", row["name"], re.IGNORECASE) and row["onset"].isdecimal()
        return (self.subject_id(match[1]), f"{row['name']}_{row['onset']}") if match and known else None

    def told_apart(self, expressions: Sequence[Expression]) -> Sequence[Expression]:
        """Of two that begin at one frame the later row's has its offset in its name too: ``a_355_370``."""
        first: dict[tuple[str, str], Expression] = {}
        return [
            one
            if one.phases.offset in ("", first.setdefault((one.subject, one.name), one).phases.offset)
            else replace(one, name=f"{one.name}_{one.phases.offset}")
            for one in expressions
        ]

    def recording(self, row: Row, name: str) -> str:
        """The letter."""
        return row["name"]

    def choose(self, tables: list[Table], tree: ImageTree) -> list[Table]:
        """Micro-expressions first; macro-expressions have a file of their own, ``..._MaE_label_...``."""
        ordered = sorted(tables, key=_of_macro)
        return [_as_macro(table) if _of_macro(table) else table for table in ordered]

    def together(self, tables: Sequence[Table]) -> Sequence[Table]:
        """A file of each kind: an expression that no sheet names would count as nothing."""
        other = (table for table in tables if _of_macro(table) != _of_macro(tables[0]))
        return [tables[0], *islice(other, 1)]


def _of_macro(table: Table) -> bool:
    return "_mae_" in table.path.name.lower()


def _as_macro(table: Table) -> Table:
    return replace(table, rows=tuple(replace(r, cells={**r.cells, "expression_type": "macro"}) for r in table.rows))


DATASETS.register("casme3")(Casme3())
