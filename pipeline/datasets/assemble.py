"""From rows and trees to a scan: nothing that is on one side only is lost."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.clip.video_stream import printable
from pipeline.datasets.agreement import disagreement
from pipeline.datasets.annotated_clip import Expression, Recording, build_clip, numbering
from pipeline.datasets.annotation import LEVELS_ABOVE
from pipeline.datasets.frame_files import index_frames
from pipeline.datasets.image_trees import ImageTree, PlacedClip
from pipeline.datasets.tree import Tree, common_folder
from pipeline.datasets.video_findings import examine_all
from schemas.clip import Clip, DatasetScan, Finding
from schemas.datasets import Counts, DatasetFacts
from schemas.words import count

Key = tuple[str, str]


@dataclass(frozen=True)
class Source:
    """What a scan is put together from.

    Attributes:
        facts: of the dataset.
        trees: its image trees; the first is read.
        annotation: the spreadsheet, where there is one.
        whole: the first tree holds whole recordings.
        counts: published ones of this edition of the annotation; those of the facts by default.
        zero_is_missing: a frame number of 0 stands for none.
    """

    facts: DatasetFacts
    trees: Sequence[ImageTree]
    annotation: Path | None
    whole: bool
    counts: Counts | None = None
    zero_is_missing: bool = False


def assemble(
    tree: Tree, source: Source, expressions: Iterable[Expression], findings: Iterable[Finding]
) -> tuple[Path, DatasetScan]:
    """Look up each expression's files and check them against its row."""
    taken, facts = source.trees[0], source.facts
    base = _base(tree, source)
    notes = [*findings, *_left_out(tree, base), *_layout_choice(source.trees, base)]
    placed = _by_name(taken, base, notes)
    rows = list(_without_duplicates(facts.name, list(expressions), notes))
    wanted = {_lookup(row.subject, row.recording) for row in rows}
    pairs = [(row, placed.get(_lookup(row.subject, row.recording))) for row in rows]
    used = {clip.files.path: clip.files for _, clip in pairs if clip is not None}
    frames = {path: index_frames(files.images) for path, files in used.items() if not files.video}
    frames |= {files.depth.path: index_frames(files.depth.images) for files in used.values() if files.depth}
    recording = Recording(
        fps=facts.fps,
        whole=source.whole,
        zero_is_missing=source.zero_is_missing,
        numbering=numbering(pairs, frames),
        frames=frames,
        videos=examine_all(sorted(path for path, files in used.items() if files.video)),
    )
    clips = [build_clip(facts.name, row, clip, recording, base) for row, clip in pairs]
    unread = [finding.message for finding in notes if finding.kind == "unreadable_row"]
    notes += _without_row(placed, wanted, base)
    return base, DatasetScan(
        dataset=facts.name,
        layout=taken.layout,
        annotation=_relative(source.annotation, base) if source.annotation else None,
        clips=sort_clips(clips),
        findings=tuple(notes),
        expected=(source.counts or facts.counts).expected,
        licences=facts.licences,
        recordings=_recordings(placed.values(), base) if source.whole else {},
        disagreement=disagreement(pairs, placed, unread, whole=source.whole),
    )


def _recordings(placed: Iterable[PlacedClip], base: Path) -> dict[str, str]:
    """Path -> subject and name; of several rows of a table that name one video, those of the last."""
    return {clip.files.path.relative_to(base).as_posix(): f"{clip.subject}/{clip.name}" for clip in placed}


def _base(tree: Tree, source: Source) -> Path:
    """The deepest folder that holds images, depth and annotation; an annotation from elsewhere does not count."""
    folders = [t.path for t in source.trees]
    folders += [clip.files.depth.path for clip in source.trees[0].clips if clip.files.depth]
    if source.annotation is not None:
        beside = source.annotation.parent
        if beside.is_relative_to(tree.root) or beside in tree.root.parents[:LEVELS_ABOVE]:
            folders.append(beside)
    return common_folder(folders)


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.name


def _lookup(subject: str, name: str) -> Key:
    """Names compare without case, and as composed characters, which macOS takes apart."""
    return unicodedata.normalize("NFC", subject).casefold(), unicodedata.normalize("NFC", name).casefold()


def _by_name(tree: ImageTree, base: Path, notes: list[Finding]) -> dict[Key, PlacedClip]:
    placed: dict[Key, PlacedClip] = {}
    for clip in tree.clips:
        other = placed.setdefault(_lookup(clip.subject, clip.name), clip)
        if other is not clip:
            where, first = (c.files.path.relative_to(base).as_posix() for c in (clip, other))
            message = f"{where}: the same clip as {first}, left out"
            notes.append(Finding(kind="duplicate_folder", clip=where, message=message))
    return placed


def sort_clips(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """By key."""
    return tuple(sorted(clips, key=lambda clip: clip.key))


def _without_duplicates(dataset: str, expressions: Sequence[Expression], notes: list[Finding]) -> Iterator[Expression]:
    times = Counter((expression.subject, expression.name) for expression in expressions)
    first: dict[Key, Expression] = {}
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


def _without_row(placed: dict[Key, PlacedClip], wanted: set[Key], base: Path) -> Iterator[Finding]:
    for key, clip in placed.items():
        if key in wanted:
            continue
        where = clip.files.path.relative_to(base).as_posix()
        if clip.misplaced_in is not None:
            message = f"{where}: of {clip.subject} by its name, lies in the folder of {clip.misplaced_in}; no row"
            yield Finding(kind="misplaced_folder", clip=where, message=message)
        yield Finding(kind="folder_without_row", clip=where, message=f"{where}: the annotation has no row for it")


def _left_out(tree: Tree, base: Path) -> Iterator[Finding]:
    for path in tree.unreadable:
        where = os.path.relpath(path, base)
        yield Finding(kind="unreadable_folder", clip=where, message=f"{where}: this folder cannot be listed")
    for folder in tree.folders.values():
        if folder.misnamed:
            where, names = os.path.relpath(folder.path, base), ", ".join(map(printable, folder.misnamed))
            message = f"{where}: names that are not UTF-8, left out; rename them: {names}"
            yield Finding(kind="misnamed", clip=where, message=message)
    for path in tree.copies:
        where = os.path.relpath(path, base)
        yield Finding(kind="copy", clip=where, message=f"{where}: a copy of what lies beside it, left out")


def _layout_choice(trees: Sequence[ImageTree], base: Path) -> Iterator[Finding]:
    if len(trees) == 1:
        return
    taken, *others = (
        f"{t.path.relative_to(base).as_posix()} ({t.layout}, {count(len(t.clips), 'clip')})" for t in trees
    )
    message = (
        f"several image trees; taken: {taken}; left out: {'; '.join(others)}; pass a tree's own folder to choose it"
    )
    yield Finding(kind="layout_chosen", clip=trees[0].path.relative_to(base).as_posix(), message=message)
