"""What every dataset adapter is, and the way from rows and trees to a scan that they share."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.datasets.annotated_clip import Expression, Recording, build_clip
from pipeline.datasets.frame_files import count_all_frames
from pipeline.datasets.image_trees import ImageTree, PlacedClip
from pipeline.datasets.tree import Tree
from schemas.clip import Clip, DatasetScan, Finding


@dataclass(frozen=True)
class Adapter:
    """One dataset.

    Attributes:
        name: as in keys and on the command line.
        title: as in print.
        looks_for: its tree in words, for messages.
        find: its image trees below a root, the preferred first.
        scan: reads the annotation and checks the first of the trees against it; gives the effective root,
            which all relative paths refer to, and the scan.
    """

    name: str
    title: str
    looks_for: str
    find: Callable[[Tree], Sequence[ImageTree]]
    scan: Callable[[Tree, Sequence[ImageTree]], tuple[Path, DatasetScan]]


@dataclass(frozen=True)
class Source:
    """What a scan is put together from.

    Attributes:
        dataset: name of the dataset.
        trees: its image trees; the first is read.
        annotation: the spreadsheet, where there is one.
        fps: frames per second.
        whole: the first tree holds whole recordings.
        zero_is_missing: a frame number of 0 stands for none.
        expected: published counts.
    """

    dataset: str
    trees: Sequence[ImageTree]
    annotation: Path | None
    fps: float
    whole: bool
    expected: dict[str, int]
    zero_is_missing: bool = False


def assemble(
    tree: Tree, source: Source, expressions: Iterable[Expression], findings: Iterable[Finding]
) -> tuple[Path, DatasetScan]:
    """Look up each expression's files and check them against its row; nothing that is on one side only is lost."""
    taken = source.trees[0]
    base = common_folder([t.path for t in source.trees] + ([source.annotation.parent] if source.annotation else []))
    notes = [*findings, *_unreadable(tree, base), *_layout_choice(source.trees, base)]
    placed = _by_name(taken, base, notes)
    expressions = list(expressions)
    wanted = {_lookup(row.subject, row.recording) for row in expressions}
    videos = {clip.files.path for key, clip in placed.items() if clip.files.video and key in wanted}
    recording = Recording(source.fps, source.whole, source.zero_is_missing, count_all_frames(sorted(videos)))
    clips = [
        build_clip(
            source.dataset, expression, placed.get(_lookup(expression.subject, expression.recording)), recording, base
        )
        for expression in _without_duplicates(source.dataset, expressions, notes)
    ]
    notes += _without_row(placed, wanted, base)
    return base, DatasetScan(
        dataset=source.dataset,
        layout=taken.layout,
        annotation=source.annotation.relative_to(base).as_posix() if source.annotation else None,
        clips=sort_clips(clips),
        findings=tuple(notes),
        expected=source.expected,
    )


def _lookup(subject: str, name: str) -> tuple[str, str]:
    return subject, name.lower()  # sheets and folders differ in case here and there


def _by_name(tree: ImageTree, base: Path, notes: list[Finding]) -> dict[tuple[str, str], PlacedClip]:
    placed: dict[tuple[str, str], PlacedClip] = {}
    for clip in tree.clips:
        other = placed.setdefault(_lookup(clip.subject, clip.name), clip)
        if other is not clip:
            where, first = (c.files.path.relative_to(base).as_posix() for c in (clip, other))
            message = f"{where}: the same clip as {first}, left out"
            notes.append(Finding(kind="duplicate_folder", clip=where, message=message))
    return placed


def common_folder(folders: Sequence[Path]) -> Path:
    """The deepest folder that holds all the given ones."""
    return Path(os.path.commonpath(folders))


def sort_clips(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """By key."""
    return tuple(sorted(clips, key=lambda clip: clip.key))


def emotion_counts(counts: dict[str, int]) -> dict[str, int]:
    """Expected counts of emotions under the names that scans use."""
    return {f"emotion:{emotion}": count for emotion, count in counts.items()}


def _without_duplicates(dataset: str, expressions: Sequence[Expression], notes: list[Finding]) -> Iterable[Expression]:
    times = Counter((expression.subject, expression.name) for expression in expressions)
    first: dict[tuple[str, str], Expression] = {}
    for expression in expressions:
        key = (expression.subject, expression.name)
        if key not in first:
            first[key] = expression
            yield expression
            continue
        same = (expression.phases, expression.label) == (first[key].phases, first[key].label)
        what = "repeats" if same else "contradicts"
        message = f"{expression.place}: {what} {first[key].place}, which is taken ({times[key]} rows for this clip)"
        notes.append(Finding(kind="duplicate_row", clip=f"{dataset}/{key[0]}/{key[1]}", message=message))


def _without_row(
    placed: dict[tuple[str, str], PlacedClip], wanted: set[tuple[str, str]], base: Path
) -> Iterable[Finding]:
    for key, clip in placed.items():
        if key in wanted:
            continue
        where = clip.files.path.relative_to(base).as_posix()
        if clip.misplaced_in is not None:
            message = f"{where}: of {clip.subject} by its name, lies in the folder of {clip.misplaced_in}; no row"
            yield Finding(kind="misplaced_folder", clip=where, message=message)
        yield Finding(kind="folder_without_row", clip=where, message=f"{where}: the annotation has no row for it")


def _unreadable(tree: Tree, base: Path) -> Iterable[Finding]:
    for path in tree.unreadable:
        where = os.path.relpath(path, base)
        yield Finding(kind="unreadable_folder", clip=where, message=f"{where}: this folder cannot be listed")


def _layout_choice(trees: Sequence[ImageTree], base: Path) -> Iterable[Finding]:
    if len(trees) == 1:
        return
    taken, *others = (f"{t.path.relative_to(base).as_posix()} ({t.layout}, {len(t.clips)} clips)" for t in trees)
    message = (
        f"several image trees; taken: {taken}; left out: {'; '.join(others)}; pass a tree's own folder to choose it"
    )
    yield Finding(kind="layout_chosen", clip=trees[0].path.relative_to(base).as_posix(), message=message)
