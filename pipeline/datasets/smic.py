"""SMIC: short clips sorted into folders by emotion, without a spreadsheet (Li et al., FG 2013).

One adapter a camera: HS (100 fps, 164 clips of 16 people), VIS and NIR (25 fps, 71 clips of 8 people each).
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipeline.datasets.adapter import Adapter, Source, assemble, emotion_counts
from pipeline.datasets.annotated_clip import Expression, Phases
from pipeline.datasets.frame_files import frame_number, index_frames
from pipeline.datasets.image_trees import (
    ClipFiles,
    ImageTree,
    PlacedClip,
    find_clip_files,
    group_trees,
    is_cropped,
    mostly,
    subject_folder,
)
from pipeline.datasets.tree import Tree
from schemas.clip import DatasetScan, FindingKind
from schemas.labels import Emotion, Label

SPECTRA = ("HS", "VIS", "NIR")
FPS = {"HS": 100.0, "VIS": 25.0, "NIR": 25.0}
SUBJECTS = {"HS": 16, "VIS": 8, "NIR": 8}
CLIP = re.compile(r"s(\d{1,2})_(ne|po|sur)_\d+", re.IGNORECASE)
SPECTRUM = re.compile(r"(?<![a-z])(HS|VIS|NIR)(?![a-z])", re.IGNORECASE)
SUBJECT = re.compile(r"s(\d{1,2})", re.IGNORECASE)
TOKENS: dict[str, Emotion] = {"ne": "negative", "po": "positive", "sur": "surprise"}

_LAYOUTS = ("raw", "cropped")
_LEVELS = 8  # above a clip, searched for the folder that names the camera, or says non_micro
_HS_DIGITS = 6  # at least; VIS and NIR number with five
_EXPECTED = {
    "HS": {"clips": 164} | emotion_counts({"negative": 70, "positive": 51, "surprise": 43}),
    "VIS": {"clips": 71},
    "NIR": {"clips": 71},
}


def emotion_folder(files: ClipFiles) -> Emotion | None:
    """The folder that sorts a short clip by emotion; long clips have none."""
    return next((emotion for emotion in TOKENS.values() if files.holder.name.lower() == emotion), None)


def may_be(spectrum: str, files: ClipFiles) -> bool:
    """Whether a clip may be of a camera: by the nearest folder that names one, else by the digits of its numbers."""
    for folder in (files.path, *files.path.parents[:_LEVELS]):
        named = SPECTRUM.findall(folder.name)
        if named:
            return str(named[-1]).upper() == spectrum
    numbers = [number for name in files.images if (number := frame_number(name)) is not None]
    return not numbers or (max(numbers) >= 10 ** (_HS_DIGITS - 1)) == (spectrum == "HS")


def place(files: ClipFiles) -> tuple[Path, PlacedClip]:
    """The folder that holds the subjects, and the clip under the subject that its name begins with."""
    subject = f"s{int(files.match[1])}"
    found = subject_folder(files.holder, SUBJECT)
    folder, path = (f"s{int(found[0][1])}", found[1]) if found else (subject, files.holder)
    return path, PlacedClip(subject, files.name, files, None if folder == subject else folder)


def layout(path: Path, clips: tuple[PlacedClip, ...]) -> str:
    """Full frames or face crops."""
    registered = mostly(clips, lambda clip: any(name.startswith("reg_") for name in clip.files.images))
    return "cropped" if registered or is_cropped(path) else "raw"


def _find(spectrum: str, tree: Tree) -> Sequence[ImageTree]:
    return group_trees(_placed(spectrum, tree), layout, _LAYOUTS)


def _placed(spectrum: str, tree: Tree) -> Iterator[tuple[Path, PlacedClip]]:
    for files in find_clip_files(tree, CLIP):
        excluded = any(
            folder.name.lower().startswith(("non_micro", "nonmicro")) for folder in files.path.parents[:_LEVELS]
        )
        if emotion_folder(files) is not None and not excluded and not files.video and may_be(spectrum, files):
            yield place(files)


def _scan(spectrum: str, tree: Tree, trees: Sequence[ImageTree]) -> tuple[Path, DatasetScan]:
    expected = {"subjects": SUBJECTS[spectrum]} | _EXPECTED[spectrum]
    dataset = f"smic-{spectrum.lower()}"
    source = Source(dataset, trees, None, FPS[spectrum], whole=False, expected=expected)
    return assemble(tree, source, _expressions(trees[0]), ())


def _expressions(tree: ImageTree) -> Iterator[Expression]:
    """One a folder: it begins and ends where the clip does, and the folder above says the emotion."""
    seen = set()
    for clip in tree.clips:
        if (clip.subject, clip.name) in seen:
            continue
        seen.add((clip.subject, clip.name))
        emotion = emotion_folder(clip.files)
        assert emotion is not None
        notes: list[tuple[FindingKind, str]] = []
        token = clip.files.match[2].lower()
        if TOKENS[token] != emotion:
            notes.append(("label_conflict", f"the name says {token}, the folder {emotion}; the folder is taken"))
        numbers = index_frames(clip.files.images).numbers
        onset, offset = (str(numbers[0]), str(numbers[-1])) if numbers else ("", "")
        label = Label(raw_emotion=clip.files.holder.name, emotion=emotion)
        yield Expression(
            clip.subject, clip.name, clip.name, clip.name, Phases(onset, None, offset), label, tuple(notes)
        )


SMIC = tuple(
    Adapter(
        name=f"smic-{spectrum.lower()}",
        title=f"SMIC {spectrum}",
        looks_for=f"{spectrum}/s1/micro/negative/s1_ne_01 with images such as "
        + {"HS": "image559740.bmp", "VIS": "07750.bmp", "NIR": "06387.bmp"}[spectrum],
        find=partial(_find, spectrum),
        scan=partial(_scan, spectrum),
    )
    for spectrum in SPECTRA
)
