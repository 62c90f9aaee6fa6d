"""SMIC: short clips sorted into folders by emotion, without a spreadsheet (Li et al., FG 2013).

One adapter a camera: HS (100 fps, 164 clips of 16 people), VIS and NIR (25 fps, 71 clips of 8 people each).
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipeline.datasets.adapter import DATASETS, Adapter
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.annotation import read_annotations
from pipeline.datasets.assemble import Source, assemble
from pipeline.datasets.frame_files import index_frames
from pipeline.datasets.image_trees import (
    ClipFiles,
    ImageTree,
    PlacedClip,
    find_clip_files,
    group_trees,
    is_cropped,
    place_clip,
)
from pipeline.datasets.row_labels import Notes
from pipeline.datasets.tables import find_tables
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan
from schemas.datasets import FACTS
from schemas.errors import AnnotationError
from schemas.labels import Emotion, Label

CAMERAS = ("HS", "VIS", "NIR")
CAMERA = re.compile(r"(?<![a-z])(HS|VIS|NIR)(?![a-z])", re.IGNORECASE)
CLIP = re.compile(r"(?P<name>s(?P<subject>\d{1,2})_(?P<token>ne|po|sur)_\d+)", re.IGNORECASE)
SUBJECT = re.compile(r"s(\d{1,2})", re.IGNORECASE)
TOKENS: dict[str, Emotion] = {"ne": "negative", "po": "positive", "sur": "surprise"}
LAYOUTS = ("raw", "cropped")

_LONG = re.compile(r"smic.*[-_ ]e(?![a-z])|(?<![a-z])long(?![a-z])", re.IGNORECASE)
_SHEET = {"name": ("Filename",), "onset": ("OnsetF",), "offset": ("OffsetF",)}
_LEVELS = 5  # above a clip, searched for what names the camera: HS/s1/micro/negative/s1_ne_01
_DIGITS = re.compile(r"(\d+)\D*$")


def subject_id(digits: str) -> str:
    """``s1`` from ``1`` or ``01``."""
    return f"s{int(digits)}"


def clips_of(tree: Tree, camera: str, *, long: bool) -> Iterator[ClipFiles]:
    """Clips that may be of a camera: the long ones of SMIC-E, or SMIC's own.

    Short clips are sorted by emotion, long ones lie in a tree named after SMIC-E. Where a tree is neither, a
    spreadsheet of SMIC-E decides. What shows no expression, under ``non_micro``, is no clip.
    """
    found = [
        files
        for files in find_clip_files(tree, CLIP)
        if not files.video and not _without_expression(files) and may_be(camera, files)
    ]
    undecided = any(_is_long(files) is None for files in found) and _has_sheet(tree)
    for files in found:
        said = _is_long(files)
        if (undecided if said is None else said) == long:
            yield files


def _is_long(files: ClipFiles) -> bool | None:
    if emotion_folder(files) is not None:
        return False
    return True if any(_LONG.search(f.name) for f in files.path.parents[:_LEVELS]) else None


def _has_sheet(tree: Tree) -> bool:
    try:
        read_annotations(tree, tree.root, partial(find_tables, columns=_SHEET), FACTS["smic-hs-e"])
    except AnnotationError:
        return False
    return True


def _without_expression(files: ClipFiles) -> bool:
    return any(folder.name.lower().startswith(("non_micro", "nonmicro")) for folder in files.path.parents[:_LEVELS])


def emotion_folder(files: ClipFiles) -> Path | None:
    """The folder that sorts a short clip by emotion, above or below its subject."""
    return next((f for f in files.path.parents[:_LEVELS] if f.name.lower() in TOKENS.values()), None)


def may_be(camera: str, files: ClipFiles) -> bool:
    """Whether a clip may be of a camera.

    Only HS writes ``image061206.bmp``, with six digits or more as written; VIS and NIR write five. Where neither
    says it, the nearest folder that names a camera does.
    """
    stems = [Path(name).stem for name in files.images[:1]]
    digits = [len(match[1]) for stem in stems if (match := _DIGITS.search(stem))]
    if any("image" in stem.lower() for stem in stems) or any(count > 5 for count in digits):
        return camera == "HS"
    for folder in (files.path, *files.path.parents[:_LEVELS]):
        named = CAMERA.findall(folder.name)
        if named:
            return str(named[-1]).upper() == camera
    return camera != "HS" if 5 in digits else True


def layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    """Full frames or face crops."""
    return "cropped" if is_cropped(path, clips) else "raw"


class Smic(Adapter):
    """One camera. A clip begins and ends where its folder does, and the folder above says the emotion."""

    def __init__(self, camera: str) -> None:
        self.camera, self.facts = camera, FACTS[f"smic-{camera.lower()}"]
        image = {"HS": "image559740.bmp", "VIS": "07750.bmp", "NIR": "06387.bmp"}[camera]
        self.looks_for = f"{camera}/s1/micro/negative/s1_ne_01 with images such as {image}"

    def find(self, tree: Tree) -> Sequence[ImageTree]:
        """Trees of short clips."""
        placed = (place_clip(files, SUBJECT, subject_id) for files in clips_of(tree, self.camera, long=False))
        return group_trees(placed, layout, LAYOUTS)

    def scan(self, tree: Tree, trees: Sequence[ImageTree], annotation: Path | None) -> tuple[Path, DatasetScan]:
        """Every folder; there is no annotation to read."""
        return assemble(tree, Source(self.facts, trees, None, whole=False), _expressions(trees[0]), ())


def _expressions(tree: ImageTree) -> Iterator[Expression]:
    """One a clip."""
    for clip in {clip.key: clip for clip in reversed(tree.clips)}.values():
        token = clip.files.match["token"].lower()
        folder = emotion_folder(clip.files)
        emotion = TOKENS[token]
        notes: Notes = []
        if folder is not None and folder.name.lower() != emotion:
            emotion = next(e for e in TOKENS.values() if e == folder.name.lower())
            notes.append(("label_conflict", f"the name says {token}, the folder {emotion}; the folder is taken"))
        numbers = index_frames(clip.files.images).numbers
        onset, offset = (str(numbers[0]), str(numbers[-1])) if numbers else ("", "")
        label = Label(raw_emotion=folder.name if folder else token, emotion=emotion)
        yield Expression(
            clip.subject, clip.name, clip.name, clip.name, Phases(onset, None, offset), label, tuple(notes)
        )


for _camera in CAMERAS:
    _adapter = Smic(_camera)
    DATASETS.register(_adapter.facts.name)(_adapter)
