"""Find a dataset's spreadsheet by its content, below the root or beside it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.clip.video_stream import printable
from pipeline.datasets.spreadsheet import SPREADSHEET_SUFFIXES, Workbook, read_workbook
from pipeline.datasets.tree import Tree
from schemas.clip import Finding
from schemas.datasets import DatasetFacts
from schemas.errors import AnnotationError

LEVELS_ABOVE = 3  # a root, searched for its spreadsheet
_SHOWN_PROBLEMS = 5


class Annotation(Protocol):
    """What a dataset reads out of its workbook."""

    @property
    def path(self) -> Path:
        """The spreadsheet."""
        ...


A = TypeVar("A", bound=Annotation)


def read_annotations(
    tree: Tree,
    images: Path,
    read: Callable[[Workbook], Iterable[A]],
    facts: DatasetFacts,
    chosen: Path | None = None,
) -> list[A]:
    """What a dataset's reader understands of every spreadsheet; above the root only where nothing lies below.

    The nearest to the images comes first, so that two copies of a dataset under one root are not mixed up.

    Args:
        tree: the dataset's folders.
        images: the image tree that is to be annotated.
        read: raises ``AnnotationError`` for a workbook of something else.
        facts: of the dataset, for messages.
        chosen: this spreadsheet and no other.

    Raises:
        AnnotationError: there is none, with the reason for each spreadsheet that was looked at.
    """
    if chosen is not None:
        return list(read(read_workbook(chosen.absolute())))
    title, example = facts.title, facts.sheets[0]
    problems: list[str] = []
    for paths in (_below(tree), _above(tree.root)):
        found: list[A] = []
        for path in sorted(paths, key=_is_text):
            if found and _is_text(path):
                break  # a table of something else that lies about would only be one more to explain
            try:
                found += read(read_workbook(path))
            except AnnotationError as error:
                problems.append(str(error))
        if found:
            return sorted(found, key=lambda annotation: -_shared_depth(annotation.path, images))
    if not problems:
        raise AnnotationError(
            f"{tree.root}: {title} needs its annotation, usually {example}; no spreadsheet (.xlsx, .xls, .ods, .csv) "
            f"below this folder or in the {LEVELS_ABOVE} folders above it. Put it beside the image folders, or "
            "name it with --annotation"
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
    message = f"several annotations; taken: {taken}; left out: {', '.join(others)}; --annotation FILE takes another"
    return [Finding(kind="annotation_chosen", clip=taken, message=message)]


def _is_text(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv")


def _below(tree: Tree) -> Iterator[Path]:
    for folder in tree.folders.values():
        if not folder.images:  # beside frames lie measurements, by the thousand
            yield from _spreadsheets(folder.path, folder.others)


def _above(root: Path) -> Iterator[Path]:
    for folder in root.parents[:LEVELS_ABOVE]:
        try:
            names = sorted(path.name for path in folder.iterdir() if path.is_file() and printable(path) == str(path))
        except OSError:  # a folder above that may not be listed holds nothing for us
            continue
        yield from _spreadsheets(folder, names)


def _spreadsheets(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        if Path(name).suffix.lower() in SPREADSHEET_SUFFIXES and not name.startswith(("~$", ".")):
            yield folder / name
