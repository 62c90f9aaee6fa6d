"""A snapshot of the folders below a root: one walk, then everything is looked up in memory."""

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.frame_files import is_image, is_video

_LITTER = ("__MACOSX", "@eaDir")


@dataclass(frozen=True)
class Folder:
    """One folder; names in sorted order, hidden ones left out, files told apart by their suffixes."""

    path: Path
    folders: tuple[str, ...]
    images: tuple[str, ...]
    videos: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All files."""
        return (*self.images, *self.videos, *self.others)


@dataclass(frozen=True)
class Tree:
    """All folders at and below ``root``, which is absolute.

    Attributes:
        root: where the walk began.
        folders: absolute path -> folder, parents before children.
        unreadable: folders that could not be listed.
    """

    root: Path
    folders: dict[Path, Folder]
    unreadable: tuple[Path, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing but folders."""
        return not any(folder.files for folder in self.folders.values())


def survey(root: Path) -> Tree:
    """Walk ``root``, following links to folders; each real folder is entered once, so that loops end."""
    start = Path(os.path.abspath(root))  # noqa: PTH100 - unlike resolve(), keeps the names that the user sees
    folders: dict[Path, Folder] = {}
    unreadable: list[Path] = []
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
        folders[path] = folder
        for name in folder.folders:
            (links if name in linked else todo).append(path / name)
    return Tree(start, folders, tuple(unreadable))


def _list(path: Path) -> tuple[Folder, set[str]]:
    folders: list[str] = []
    images: list[str] = []
    videos: list[str] = []
    others: list[str] = []
    linked: set[str] = set()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _LITTER:
                continue
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()  # neither for a broken link
            except OSError:  # a link that leads to itself
                continue
            if is_folder:
                folders.append(entry.name)
                if entry.is_symlink():
                    linked.add(entry.name)
            elif is_file:
                (images if is_image(entry.name) else videos if is_video(entry.name) else others).append(entry.name)
    names = (tuple(sorted(kind)) for kind in (folders, images, videos, others))
    return Folder(path, *names), linked
