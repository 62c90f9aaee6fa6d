"""4DME: 267 micro-expressions at 60 fps by several cameras (Li et al., IEEE TAC 14(4), 2023).

Known from one group's loader alone: the sheet of the release, and folders of grey frames.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.image_trees import (
    ClipFiles,
    ImageTree,
    PlacedClip,
    find_clip_files,
    group_trees,
    place_clip,
    subject_folder,
)
from pipeline.datasets.row_labels import Notes
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.tables import Row
from pipeline.datasets.tree import Tree
from schemas.datasets import FACTS
from schemas.labels import Label

_COLUMNS = {
    "subject": ("sub_ID",),
    "name": ("fold_name",),
    "onset": ("Onset",),
    "apex": ("Apex",),
    "offset": ("Offset",),
    "action_units": ("AUs",),
    "emotion": ("Emotion",),
}
_SESSION = r"(?:_(?P<session>1st|2nd|\d))?"
_HELD = re.compile(r"\+?[^+]*\(k\)")


class FourDme(SheetAdapter):
    """``S13_1st`` and ``S13_2nd`` are two sessions of one person: the session is part of a clip's name.

    A unit such as ``4(k)`` is held from before the onset to behind the offset, and no part of the expression.
    """

    facts = FACTS["4dme"]
    looks_for = "folders such as S13_1st/001_01_1 with images such as Frame_000000001.jpg"
    clip = re.compile(rf"(?:(?P<subject>S\d+){_SESSION}_)?(?P<name>\d{{3}}_\d+_\d+)-?", re.IGNORECASE)
    subject = re.compile(rf"(S\d+){_SESSION}", re.IGNORECASE)
    columns = _COLUMNS
    optional = frozenset({"action_units"})
    example = "subject such as S13_1st and clip name such as 001_01_1"

    def subject_id(self, digits: str) -> str:
        """``S13``."""
        return f"S{int(digits[1:]):02d}"

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees by camera."""
        return group_trees(map(self._place, find_clip_files(tree, self.clip)), self.layout, self.layouts)

    def _place(self, files: ClipFiles) -> tuple[Path, PlacedClip] | None:
        placed = place_clip(files, self.subject, self.subject_id)
        if placed is None:
            return None
        path, clip = placed
        above = subject_folder(files.holder, self.subject)
        session = files.match["session"] or (above[0]["session"] if above and not files.match["subject"] else None)
        return path, replace(clip, name=_named(session, clip.name))

    def identify(self, row: Row) -> tuple[str, str] | None:
        """The columns together say what a folder's name does; the second may say all of it."""
        match = self.clip.fullmatch(row["name"])
        if match and not match["subject"]:
            match = self.clip.fullmatch(f"{row['subject']}_{row['name']}")
        return (self.subject_id(match["subject"]), _named(match["session"], match["name"])) if match else None

    def label(self, row: Row) -> tuple[Label, Notes]:
        """Without units that are held; the cell stays as written."""
        written = row.raw("action_units")
        moved = _HELD.sub("", written).strip("+ ")
        label, notes = super().label(replace(row, cells={**row.cells, "action_units": moved}))
        code = label.action_units and label.action_units.model_copy(update={"raw": written})
        return label.model_copy(update={"action_units": code}), notes


def _named(session: str | None, name: str) -> str:
    return f"{session.lower()}_{name}" if session else name


DATASETS.register("4dme")(FourDme())
