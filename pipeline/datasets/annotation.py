"""Find a dataset's spreadsheet by its content, below the root or beside it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.datasets.spreadsheet import SPREADSHEET_SUFFIXES, Workbook, read_workbook
from pipeline.datasets.tree import Tree
from schemas.clip import Finding
from schemas.errors import AnnotationError

_LEVELS_ABOVE = 2
_SHOWN_PROBLEMS = 5


class Annotation(Protocol):
    """What a dataset reads out of its workbook."""

    @property
    def path(self) -> Path:
        """The spreadsheet."""
        ...


A = TypeVar("A", bound=Annotation)


def read_annotations(tree: Tree, images: Path, read: Callable[[Workbook], A], *, title: str, example: str) -> list[A]:
    """Every workbook that the dataset's reader understands; those above the root only where none lies below.

    The nearest to the images comes first, so that two copies of a dataset under one root are not mixed up.

    Args:
        tree: the dataset's folders.
        images: the image tree that is to be annotated.
        read: raises ``AnnotationError`` for a workbook of something else.
        title: of the dataset, for messages.
        example: the usual file name, for messages.

    Raises:
        AnnotationError: there is none, with the reason for each spreadsheet that was looked at.
    """
    problems: list[str] = []
    for paths in (_below(tree), _above(tree.root)):
        found = []
        for path in paths:
            try:
                found.append(read(read_workbook(path)))
            except AnnotationError as error:
                problems.append(str(error))
        if found:
            return sorted(found, key=lambda annotation: -_shared_depth(annotation.path, images))
    if not problems:
        raise AnnotationError(
            f"{tree.root}: {title} needs its annotation, usually {example}; no spreadsheet (.xlsx, .xls) below this "
            f"folder or in the {_LEVELS_ABOVE} folders above it. Put the spreadsheet beside the image folders"
        )
    more = len(problems) - _SHOWN_PROBLEMS
    listed = "\n  ".join(problems[:_SHOWN_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))
    if len(problems) == 1:
        raise AnnotationError(f"{listed} ({title}'s annotation, usually {example})")
    raise AnnotationError(
        f"{tree.root}: none of the spreadsheets is {title}'s annotation, usually {example}:\n  {listed}"
    )


def _shared_depth(path: Path, other: Path) -> int:
    return len(Path(os.path.commonpath((path, other))).parts)


def choice_finding(found: Sequence[Annotation]) -> list[Finding]:
    """A finding that names the spreadsheet taken, the first, and the others."""
    if len(found) == 1:
        return []
    above = os.path.commonpath([annotation.path.parent for annotation in found])
    taken, *others = (annotation.path.relative_to(above).as_posix() for annotation in found)
    message = f"several annotations; taken: {taken}; left out: {', '.join(others)}"
    return [Finding(kind="annotation_chosen", clip=taken, message=message)]


def _below(tree: Tree) -> Iterator[Path]:
    for folder in tree.folders.values():
        yield from _spreadsheets(folder.path, folder.others)


def _above(root: Path) -> Iterator[Path]:
    for folder in root.parents[:_LEVELS_ABOVE]:
        try:
            names = sorted(path.name for path in folder.iterdir() if path.is_file())
        except OSError:  # a folder above that may not be listed holds nothing for us
            continue
        yield from _spreadsheets(folder, names)


def _spreadsheets(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        if Path(name).suffix.lower() in SPREADSHEET_SUFFIXES and not name.startswith(("~$", ".")):
            yield folder / name
