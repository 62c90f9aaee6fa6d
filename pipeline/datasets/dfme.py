"""DFME: 7,526 micro-expressions of 671 people at 200, 300 and 500 fps (Zhao et al., IEEE TAC 2024).

The training part, 1,856 clips, is what is handed out with labels.
"""

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
    "emotion": ("Emotion",),
    "fps": ("Fps",),
    "action_units": ("AU",),
}


class Dfme(SheetAdapter):
    """Clips such as ``sub0003_01`` begin with their subject; each row has its own frame rate."""

    facts = FACTS["dfme"]
    looks_for = "folders such as sub0003/sub0003_01 with images"
    clip = re.compile(r"(?P<name>sub(?P<subject>\d{3,})_\d+)", re.IGNORECASE)
    subject = re.compile(r"sub(\d{3,})", re.IGNORECASE)
    columns = _COLUMNS
    optional = frozenset({"action_units", "fps"})
    example = "clip name such as sub0003_01"

    def subject_id(self, digits: str) -> str:
        """``sub0003``."""
        return f"sub{int(digits):04d}"


DATASETS.register("dfme")(Dfme())
