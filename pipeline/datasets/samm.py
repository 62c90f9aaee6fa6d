"""SAMM: 159 grey clips of 29 people at 200 fps, FACS-coded (Davison et al., IEEE TAC 9(1), 2018)."""

import re
from collections.abc import Sequence

from pipeline.datasets.adapter import DATASETS
from pipeline.datasets.image_trees import ImageTree, PlacedClip, mostly
from pipeline.datasets.sheet_adapter import SheetAdapter
from pipeline.datasets.tree import Tree
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

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Without the folders of 4DME, of which some are called ``001_01_1`` too; their frames are ``Frame_...``."""
        return [found for found in super().find(tree) if not mostly(found.clips, _of_4dme)]


def _of_4dme(clip: PlacedClip) -> bool:
    return clip.files.images[0].startswith("Frame_")


DATASETS.register("samm")(Samm())
