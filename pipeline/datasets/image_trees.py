"""Find trees of clips (subject folders holding clip folders or videos) by the names of the clips alone.

The names above the clips are left out of account, since users rename, double and nest those folders.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.tree import Folder, Tree

_REACH = 4  # folders between a clip and its subject, at most: SMIC's micro/negative, and a nested one


@dataclass(frozen=True)
class ClipFiles:
    """Where one clip, or one recording, lies.

    Attributes:
        path: folder of images, or video file.
        images: their names; none for a video.
        match: of the clip's name with the dataset's pattern.
        holder: the folder that the clip lies in.
        video: whether the path is a video file.
    """

    path: Path
    images: tuple[str, ...]
    match: re.Match[str]
    holder: Path
    video: bool

    @property
    def name(self) -> str:
        """Folder name or stem of the video."""
        return self.match.string


@dataclass(frozen=True)
class PlacedClip:
    """A clip's files with the subject that they belong to.

    ``misplaced_in`` names the subject's folder that they lie in, where that is another one.
    """

    subject: str
    name: str
    files: ClipFiles
    misplaced_in: str | None = None


@dataclass(frozen=True)
class ImageTree:
    """Clips of one layout below one folder."""

    path: Path
    layout: str
    clips: tuple[PlacedClip, ...]


def find_clip_files(tree: Tree, pattern: re.Pattern[str]) -> Iterator[ClipFiles]:
    """Folders and videos whose name matches; a folder that only wraps another (``a/a``, ``a/frames``) counts once."""
    for folder in tree.folders.values():
        yield from _videos(folder, pattern)
        if folder.images or not (folder.folders or folder.videos):
            named = _named_folder(tree, folder, pattern)
            if named is not None:
                match = pattern.fullmatch(named.name)
                assert match is not None
                yield ClipFiles(folder.path, folder.images, match, _outermost(named).parent, video=False)


def _videos(folder: Folder, pattern: re.Pattern[str]) -> Iterator[ClipFiles]:
    for name in folder.videos:
        path = folder.path / name
        match = pattern.fullmatch(path.stem)
        if match:
            wrapped = folder.path.name == path.stem
            yield ClipFiles(path, (), match, _outermost(folder.path).parent if wrapped else folder.path, video=True)


def _named_folder(tree: Tree, folder: Folder, pattern: re.Pattern[str]) -> Path | None:
    if pattern.fullmatch(folder.path.name):
        return folder.path
    parent = tree.folders.get(folder.path.parent)
    if parent and pattern.fullmatch(parent.path.name) and folder.images and len(parent.folders) == 1:
        return None if parent.images else parent.path
    return None


def _outermost(path: Path) -> Path:
    while path.parent.name == path.name != "":
        path = path.parent
    return path


def subject_folder(holder: Path, pattern: re.Pattern[str]) -> tuple[re.Match[str], Path] | None:
    """The nearest folder at or above ``holder`` with a subject's name, and the folder that holds the subjects."""
    for folder in (holder, *holder.parents[: _REACH - 1]):
        match = pattern.fullmatch(folder.name)
        if match:
            while pattern.fullmatch(folder.parent.name):
                folder = folder.parent
            return match, folder.parent
    return None


def group_trees(
    placed: Iterable[tuple[Path, PlacedClip]],
    layout: Callable[[Path, tuple[PlacedClip, ...]], str],
    order: tuple[str, ...],
) -> list[ImageTree]:
    """Trees of the clips, the preferred first: by the order of layouts, then the larger, then by path.

    Args:
        placed: the folder that holds the subjects, and the clip.
        layout: names the layout of a tree.
        order: of preference.
    """
    groups: dict[tuple[Path, bool], list[PlacedClip]] = defaultdict(list)
    for path, clip in placed:
        groups[path, clip.files.video].append(clip)
    trees = [
        ImageTree(path, layout(path, tuple(clips)), tuple(sorted(clips, key=_rightly_placed_first)))
        for (path, _), clips in groups.items()
        if any(clip.files.video or clip.files.images for clip in clips)
    ]
    return sorted(trees, key=lambda tree: (order.index(tree.layout), -len(tree.clips), tree.path))


def _rightly_placed_first(clip: PlacedClip) -> tuple[bool, Path]:
    return clip.misplaced_in is not None, clip.files.path


def is_cropped(path: Path) -> bool:
    """Whether the folder that holds the subjects, or the one above it, is named after face crops."""
    return any("crop" in folder.name.lower() for folder in (path, *path.parents[:1]))


def mostly(clips: tuple[PlacedClip, ...], condition: Callable[[PlacedClip], bool]) -> bool:
    """Whether more than half of the clips that have files meet the condition."""
    filled = [clip for clip in clips if clip.files.images]
    return 2 * sum(map(condition, filled)) > len(filled)
