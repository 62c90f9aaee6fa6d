"""SAMM Long Videos: 343 macro- and 159 micro-movements in 147 recordings at 200 fps (Yap et al., FG 2020)."""

import re

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.tables import Row
from schemas.datasets import FACTS

_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("Onset", "Onset Frame"),
    "apex": ("Apex", "Apex Frame"),
    "offset": ("Offset", "Offset Frame"),
    "expression_type": ("Type (Micro - 1/2, Macro)", "Type"),
    "action_units": ("Action Units",),
}


class SammLong(SheetAdapter):
    """The third movement in the recording ``006_1`` is called ``006_1_3``. Emotions are not annotated."""

    facts = FACTS["samm-long"]
    looks_for = "folders such as SAMM_longvideos/006_1 with images such as 006_1_0001.jpg"
    clip = re.compile(r"(?P<name>(?P<subject>\d{3})_\d+)")
    subject = re.compile(r"(\d{3})")
    columns = _COLUMNS
    whole = frozenset(SheetAdapter.layouts)
    example = "movement such as 006_1_3"

    def identify(self, row: Row) -> tuple[str, str] | None:
        """The subject is in the name."""
        match = re.fullmatch(r"(\d{3})_\d+_\d+", row["name"])
        return (match[1], row["name"]) if match else None

    def recording(self, row: Row, name: str) -> str:
        """Without the number of the movement."""
        return name.rpartition("_")[0]


DATASETS.register("samm-long")(SammLong())
