"""SAMM: 159 grey clips of 29 people at 200 fps, FACS-coded (Davison et al., IEEE TAC 9(1), 2018)."""

import re

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.sheet_adapter import SheetAdapter
from schemas.datasets import FACTS

_COLUMNS = {
    "subject": ("Subject",),
    "name": ("Filename",),
    "onset": ("Onset Frame",),
    "apex": ("Apex Frame",),
    "offset": ("Offset Frame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
    "objective_class": ("Objective Classes", "Objective Class"),
    "expression_type": ("Micro",),
}


class Samm(SheetAdapter):
    """Clips and rows such as ``006_1_2`` begin with their subject."""

    facts = FACTS["samm"]
    looks_for = "folders such as 006/006_1_2 with images such as 006_05562.jpg, or videos 006/006_1_2.avi"
    clip = re.compile(r"(?P<name>(?P<subject>\d{3})_\d+_\d+)")
    subject = re.compile(r"(\d{3})")
    columns = _COLUMNS
    optional = frozenset({"objective_class", "expression_type"})
    example = "clip name such as 006_1_2"


DATASETS.register("samm")(Samm())
