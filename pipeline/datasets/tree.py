"""A snapshot of the folders below a root: one walk, then everything is looked up in memory."""

import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.clip.video_stream import printable
from pipeline.datasets.frame_files import is_image, is_video

_LITTER = ("__MACOSX", "@eaDir")
_COPY = re.compile(r"(.+?)(?: ?\(\d+\)| - ?(?:Copy|Kopie|Copie|副本)(?: ?\(\d+\))?| copy(?: \d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Folder:
    """One folder; names in sorted order, hidden ones left out, files told apart by their suffixes.

    ``copies`` are images such as ``image3 (1).jpg``, which a file manager made of others, and no frames. ``misnamed``
    are names that are not UTF-8, which no manifest can hold.
    """

    path: Path
    folders: tuple[str, ...]
    images: tuple[str, ...]
    videos: tuple[str, ...]
    others: tuple[str, ...]
    copies: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All files."""
        return (*self.images, *self.videos, *self.others, *self.misnamed)


@dataclass(frozen=True)
class Tree:
    """All folders at and below ``root``, which is absolute.

    Attributes:
        root: where the walk began.
        folders: absolute path -> folder, parents before children.
        unreadable: folders that could not be listed.
        copies: folders and spreadsheets that lie beside what a file manager copied them from; left out.
    """

    root: Path
    folders: dict[Path, Folder]
    unreadable: tuple[Path, ...]
    copies: tuple[Path, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing but folders."""
        return not any(folder.files for folder in self.folders.values())


def survey(root: Path) -> Tree:
    """Walk ``root``, following links to folders; each real folder is entered once, so that loops end."""
    start = Path(os.path.abspath(root))  # noqa: PTH100 - unlike resolve(), keeps the names that the user sees
    folders: dict[Path, Folder] = {}
    unreadable: list[Path] = []
    copies: list[Path] = []
    entered: set[tuple[int, int]] = set()
    todo, links = deque([start]), deque[Path]()
    while todo or links:
        # Real folders first: a link must not take the place of what it points to.
        path = todo.popleft() if todo else links.popleft()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            folder, linked = _list(path)
        except OSError:
            unreadable.append(path)
            continue
        twins = set(_copies(folder.folders)) | set(_copies(folder.others))
        copies += (path / name for name in sorted(twins))
        folder = replace(folder, folders=_without(folder.folders, twins), others=_without(folder.others, twins))
        folders[path] = folder
        for name in folder.folders:
            (links if name in linked else todo).append(path / name)
    return Tree(start, folders, tuple(unreadable), tuple(copies))


def common_folder(folders: Sequence[Path]) -> Path:
    """The deepest folder that holds all the given ones."""
    return Path(os.path.commonpath(folders))


def _copies(names: Iterable[str]) -> list[str]:
    """Names such as ``X (1).xlsx`` and ``EP02_01f - Copy`` beside ``X.xlsx`` and ``EP02_01f``."""
    known = set(names)
    return [name for name in known if (original := _original(name)) and "".join(original) in known]


def _copied_images(names: Iterable[str]) -> list[str]:
    """Copies among images; those of ``img (1).jpg``, ``img (2).jpg`` are none, but numbered so by a file manager."""
    known = set(names)
    found = ((name, _original(name)) for name in names)
    return [name for name, parts in found if parts and (parts[0][-1].isdecimal() or "".join(parts) in known)]


def _original(name: str) -> tuple[str, str] | None:
    """Stem and suffix of what a name says that it is a copy of."""
    if "(" not in name and " " not in name:  # of 100,000 names of frames, next to all
        return None
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a path object for each name takes seconds
    match = _COPY.fullmatch(stem)
    return (match[1], suffix) if match else None


def _without(names: Iterable[str], left_out: Iterable[str]) -> tuple[str, ...]:
    gone = set(left_out)
    return tuple(name for name in names if name not in gone)


def _list(path: Path) -> tuple[Folder, set[str]]:
    folders: list[str] = []
    images: list[str] = []
    videos: list[str] = []
    others: list[str] = []
    linked: set[str] = set()
    misnamed: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _LITTER:
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()  # neither for a broken link
            except OSError:  # a link that leads to itself
                continue
            if printable(entry.name) != entry.name:
                misnamed.append(entry.name)
            elif is_folder:
                folders.append(entry.name)
                if entry.is_symlink():
                    linked.add(entry.name)
            elif is_file:
                (images if is_image(entry.name) else videos if is_video(entry.name) else others).append(entry.name)
    copies = _copied_images(images)
    kinds = (folders, _without(images, copies), videos, others, copies, misnamed)
    return Folder(path, *(tuple(sorted(kind)) for kind in kinds)), linked
