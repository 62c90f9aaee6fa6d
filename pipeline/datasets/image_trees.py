"""Find trees of clips (subject folders holding clip folders or videos) by the names of the clips alone.

The names above the clips are left out of account, since users rename, double and nest those folders.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.tree import Folder, Tree, common_folder

_REACH = 4  # folders between a clip and its subject, at most: SMIC's micro/negative, and a nested one
_COLOUR = ("frame", "frames", "color", "colour", "rgb")  # folders that one called depth may lie beside
_COPY = 0.2  # share of clips in common from which two trees are copies, not branches, of one


@dataclass(frozen=True)
class ClipFiles:
    """Where one clip, or one recording, lies.

    Attributes:
        path: folder of images, or video file.
        images: their names; none for a video.
        copies: images that a file manager copied, left out.
        match: of the clip's name with the dataset's pattern.
        holder: the folder that the clip lies in.
        video: whether the path is a video file.
        depth: folder of measured depth for its frames, under the same numbers.
    """

    path: Path
    images: tuple[str, ...]
    copies: tuple[str, ...]
    match: re.Match[str]
    holder: Path
    video: bool
    depth: Folder | None = None


@dataclass(frozen=True)
class PlacedClip:
    """A clip's files with the subject that they belong to.

    ``misplaced_in`` names the subject's folder that they lie in, where that is another one.
    """

    subject: str
    name: str
    files: ClipFiles
    misplaced_in: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Subject and name without case, since sheets and folders differ in case here and there."""
        return self.subject.casefold(), self.name.casefold()


@dataclass(frozen=True)
class ImageTree:
    """Clips of one layout below one folder."""

    path: Path
    layout: str
    clips: tuple[PlacedClip, ...]


def find_clip_files(tree: Tree, pattern: re.Pattern[str]) -> Iterator[ClipFiles]:
    """Folders and videos whose name matches; a folder that only wraps another counts once (``a/a``, ``a/color``)."""
    for folder in tree.folders.values():
        yield from _videos(folder, pattern)
        if folder.images or not (folder.folders or folder.videos):
            named = _named_folder(tree, folder, pattern)
            if named is not None:
                match = pattern.fullmatch(named.name)
                assert match is not None
                holder = _outermost(named).parent
                yield ClipFiles(folder.path, folder.images, folder.copies, match, holder, video=False)


def _videos(folder: Folder, pattern: re.Pattern[str]) -> Iterator[ClipFiles]:
    for name in folder.videos:
        path = folder.path / name
        match = pattern.fullmatch(path.stem)
        if match:
            wrapped = folder.path.name == path.stem
            holder = _outermost(folder.path).parent if wrapped else folder.path
            yield ClipFiles(path, (), (), match, holder, video=True)


def _named_folder(tree: Tree, folder: Folder, pattern: re.Pattern[str]) -> Path | None:
    if pattern.fullmatch(folder.path.name):
        return folder.path
    parent = tree.folders.get(folder.path.parent)
    alone = parent and (len(parent.folders) == 1 or folder.path.name.lower() in _COLOUR)
    if parent and pattern.fullmatch(parent.path.name) and folder.images and alone:
        return None if parent.images else parent.path
    return None


def depth_beside(tree: Tree, path: Path) -> Folder | None:
    """The folder of depth for a folder of frames: ``depth/spNO.1/a`` for ``frame/spNO.1/a``."""
    parts = path.relative_to(tree.root).parts
    for place, part in enumerate(parts):
        if part.lower() in _COLOUR:
            above = tree.root.joinpath(*parts[:place])
            for name in tree.folders[above].folders:
                if name.lower() == "depth":
                    return tree.folders.get(above.joinpath(name, *parts[place + 1 :]))
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


def place_clip(
    files: ClipFiles, subjects: re.Pattern[str], subject_id: Callable[[str], str]
) -> tuple[Path, PlacedClip] | None:
    """The folder that holds the subjects, and the clip under its subject; ``None`` where nothing says whose it is.

    Args:
        files: of the clip; its match has the groups ``name`` and ``subject``. A subject in the name (SAMM, or
            flat folders such as ``sub01_EP02_01f``) wins over the folder above.
        subjects: matches names of subject folders, with the digits in its first group.
        subject_id: digits -> id as in keys.
    """
    own = subject_id(files.match["subject"]) if files.match["subject"] else None
    found = subject_folder(files.holder, subjects)
    folder, path = (subject_id(found[0][1]), found[1]) if found else (None, files.holder)
    subject = own or folder
    if subject is None:
        return None
    return path, PlacedClip(subject, files.match["name"], files, None if folder in (None, subject) else folder)


def group_trees(
    placed: Iterable[tuple[Path, PlacedClip] | None],
    layout: Callable[[Path, tuple[PlacedClip, ...]], str],
    order: tuple[str, ...],
) -> list[ImageTree]:
    """Trees of the clips, the preferred first: by the order of layouts, then the larger, then by path.

    Folders of one layout with different clips (a level for the class or for a split above the subjects) are
    branches of one tree; folders with the same clips are copies, hence trees of their own.

    Args:
        placed: the folder that holds the subjects, and the clip; ``None`` is passed over.
        layout: names the layout of a tree.
        order: of preference.
    """
    groups: dict[tuple[Path, bool], list[PlacedClip]] = defaultdict(list)
    for path, clip in filter(None, placed):
        groups[path, clip.files.video].append(clip)
    branches = [
        ImageTree(path, layout(path, tuple(clips)), tuple(clips))
        for (path, _), clips in groups.items()
        if any(clip.files.video or clip.files.images for clip in clips)
    ]
    trees: list[ImageTree] = []
    for branch in sorted(branches, key=lambda tree: (-len(tree.clips), tree.path)):
        position = next((i for i, tree in enumerate(trees) if _are_branches(tree, branch)), None)
        if position is None:
            trees.append(branch)
        else:
            stem = trees[position]
            path = common_folder((stem.path, branch.path))
            trees[position] = ImageTree(path, stem.layout, stem.clips + branch.clips)
    ordered = (
        ImageTree(tree.path, tree.layout, tuple(sorted(tree.clips, key=_rightly_placed_first))) for tree in trees
    )
    return sorted(ordered, key=lambda tree: (order.index(tree.layout), -len(tree.clips), tree.path))


def _are_branches(tree: ImageTree, other: ImageTree) -> bool:
    common = {clip.key for clip in tree.clips} & {clip.key for clip in other.clips}
    return tree.layout == other.layout and len(common) < _COPY * min(len(tree.clips), len(other.clips))


def _rightly_placed_first(clip: PlacedClip) -> tuple[bool, Path]:
    return clip.misplaced_in is not None, clip.files.path


def is_cropped(path: Path, clips: tuple[PlacedClip, ...]) -> bool:
    """Whether images are face crops, by the prefix ``reg_`` or the name of a folder above the subjects."""
    named = any("crop" in folder.name.lower() for folder in (path, *path.parents[:1]))
    return named or mostly(clips, lambda clip: any(name.startswith("reg_") for name in clip.files.images))


def mostly(clips: tuple[PlacedClip, ...], condition: Callable[[PlacedClip], bool]) -> bool:
    """Whether more than half of the clips that have files meet the condition."""
    filled = [clip for clip in clips if clip.files.images]
    return 2 * sum(map(condition, filled)) > len(filled)
