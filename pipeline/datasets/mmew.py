"""MMEW: 300 micro-expressions of 36 people, 1920x1080 at 90 fps (Ben et al., IEEE TPAMI 44(9), 2022)."""

import re

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.sheet_adapter import SheetAdapter
from schemas.datasets import FACTS

_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("OnsetFrame",),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
}


class Mmew(SheetAdapter):
    """Clips such as ``S01-01-001`` begin with their subject; they lie by emotion, by subject, or both."""

    facts = FACTS["mmew"]
    looks_for = "folders such as Micro_Expression/anger/S01-01-001 with images such as 1.jpg"
    clip = re.compile(r"(?P<name>S(?P<subject>\d+)-\d+-\d+)", re.IGNORECASE)
    subject = re.compile(r"S(\d{1,2})", re.IGNORECASE)
    columns = _COLUMNS
    example = "clip name such as S01-01-001"

    def subject_id(self, digits: str) -> str:
        """``S01``."""
        return f"S{int(digits):02d}"


DATASETS.register("mmew")(Mmew())
