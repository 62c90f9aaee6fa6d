"""CASME II: 255 labelled clips of 26 people at 200 fps (Yan et al., PLoS ONE 9(1), 2014)."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.frame_files import frame_number
from pipeline.datasets.image_trees import ImageTree, PlacedClip, mostly
from pipeline.datasets.row_labels import integer
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.spreadsheet import Workbook
from pipeline.datasets.tables import Row, Table, find_tables
from schemas.datasets import FACTS, Counts
from schemas.errors import AnnotationError

_JOINED = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "objective_class": ("Objective Classes", "Objective Class"),
}
_COLUMNS = {
    **_JOINED,
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}


class Casme2(SheetAdapter):
    """Clip names such as ``EP02_01f`` repeat from subject to subject."""

    facts = FACTS["casme2"]
    looks_for = "folders such as sub01/EP02_01f with images such as img46.jpg, or videos sub01/EP02_01f.avi"
    clip = re.compile(r"(?:(?:sub)?(?P<subject>\d{1,2})_)?(?P<name>EP\d+(?:_\d+)*[a-z]?)", re.IGNORECASE)
    subject = re.compile(r"sub(\d{1,2})", re.IGNORECASE)
    layouts = ("selected", "whole", "cropped", "video")  # full frames before crops, images before compressed video
    whole = frozenset({"whole"})
    columns = _COLUMNS
    optional = frozenset({"objective_class"})
    example = "subject such as 01 and clip name such as EP02_01f"

    def subject_id(self, digits: str) -> str:
        """``sub01``."""
        return f"sub{int(digits):02d}"

    def identify(self, row: Row) -> tuple[str, str] | None:
        """The column ``Subject`` says ``01``, or ``sub01``."""
        number = row["subject"].lower().removeprefix("sub")
        known = integer(number) is not None and self.clip.fullmatch(row["name"])
        return (self.subject_id(number), row["name"]) if known else None

    def layout(self, path: Path, clips: tuple[PlacedClip, ...]) -> str:
        """Recordings are whole where most are numbered from 1."""
        found = super().layout(path, clips)
        return "whole" if found == "selected" and mostly(clips, _from_one) else found

    def choose(self, tables: list[Table], tree: ImageTree) -> list[Table]:
        """The edition of 2019 first, the one that has objective classes; else they are joined to it."""
        mains = [table for table in tables if "onset" in table.fields]
        if not mains:
            raise AnnotationError(f"{tables[0].path}: has objective classes only, no onsets and no emotions")
        mains.sort(key=lambda table: "objective_class" not in table.fields)
        if "objective_class" in mains[0].fields:
            return mains
        classes = {self.identify(row): row["objective_class"] for t in tables if t not in mains for row in t.rows}
        rows = tuple(
            replace(row, cells={**row.cells, "objective_class": classes.get(self.identify(row), "")})
            for row in mains[0].rows
        )
        return [replace(mains[0], rows=rows), *mains[1:]]

    def counts(self, table: Table) -> Counts:
        """Three clips of sub24 moved in 2019."""
        revised = self.facts.revised if "objective_class" in table.fields else None
        return revised or self.facts.counts

    def read(self, book: Workbook) -> Iterable[Table]:
        """The main spreadsheet, and the one with nothing but objective classes that accompanies that of 2014."""
        try:
            return super().read(book)
        except AnnotationError as error:
            try:
                tables = find_tables(book, self.columns, optional=set(self.columns) - set(_JOINED))
            except AnnotationError:
                raise error from None  # the main spreadsheet is what the user has to mend
            joined = [table for table in tables if table.fields == set(_JOINED)]
            if not joined:
                raise
            return joined


def _from_one(clip: PlacedClip) -> bool:
    return any(frame_number(name) == 1 for name in clip.files.images)


DATASETS.register("casme2")(Casme2())
