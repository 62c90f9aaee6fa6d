"""Whether clips are recordings of people, or were made by `mer synth`."""

import os
from collections.abc import Iterable
from pathlib import Path

from schemas.clip import Clip
from schemas.datasets import SYNTHETIC_MARKER


def is_synthetic(root: Path, clips: Iterable[Clip]) -> bool:
    """Whether the marker of `mer synth` lies in a folder above the root or above any of the clips.

    Args:
        root: absolute; what the sources of the clips are relative to.
        clips: of a scan.
    """
    sources = [clip.source for clip in clips if clip.source is not None]
    places = {root / "clip"} | {root / (s.folder if s.kind == "images" else s.path) for s in sources}
    folders = {folder for place in places for folder in place.parents}
    # Unlike Path.is_file, False where a folder above may not be looked into.
    return any(os.path.isfile(folder / SYNTHETIC_MARKER) for folder in folders)  # noqa: PTH113
