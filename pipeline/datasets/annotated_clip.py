"""One row of an annotation and the files that answer to it, checked against each other, as a ``Clip``."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pipeline.clip.video_facts import VideoFacts
from pipeline.datasets.frame_files import FrameFiles
from pipeline.datasets.image_trees import PlacedClip
from pipeline.datasets.video_findings import oddities, same_rate
from schemas.clip import Clip, Finding, FindingKind, FrameSource, ImageSequence, VideoSegment
from schemas.labels import Label
from schemas.words import count

_INTEGER = re.compile(r"(\d{1,12})(?:\.0*)?")
_FEWEST_INTERPOLATED = 3  # clips of one length, before that says anything

Numbering = Literal["source", "renumbered", "interpolated"]
_SHOWN_GAPS = 6


@dataclass
class ClipFindings:
    """Findings of one clip, in the order in which they are made."""

    clip: str
    found: list[Finding] = field(default_factory=list)

    def add(self, kind: FindingKind, message: str, *, unusable: bool = False) -> None:
        """Record one."""
        self.found.append(Finding(kind=kind, clip=self.clip, message=message, unusable=unusable))


@dataclass(frozen=True)
class Phases:
    """Onset, apex and offset as text, as the annotation has them; an apex of ``None`` is not annotated at all."""

    onset: str
    apex: str | None
    offset: str


@dataclass(frozen=True)
class Expression:
    """One annotated expression.

    Attributes:
        subject: id as in keys.
        name: of the clip, unique in the subject.
        recording: name under which its files are looked up; one recording may hold several expressions.
        place: sheet and row, for messages.
        phases: frame numbers as written.
        label: what the annotation says.
        notes: findings about the row itself.
        fps: frames per second, where the row says them.
        metadata: whatever else the row says.
    """

    subject: str
    name: str
    recording: str
    place: str
    phases: Phases
    label: Label
    notes: tuple[tuple[FindingKind, str], ...] = ()
    fps: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """How a dataset's tree is to be read.

    Attributes:
        fps: frames per second.
        whole: folders and videos hold whole recordings, not just onset to offset.
        zero_is_missing: a frame number of 0 stands for none.
        numbering: of its images: as the annotation's, or anew from 1 in each clip.
        frames: of each folder, those of depth too.
        videos: what is in each video, ``None`` if it is none.
    """

    fps: float
    whole: bool
    zero_is_missing: bool
    numbering: Numbering
    frames: Mapping[Path, FrameFiles]
    videos: Mapping[Path, VideoFacts | None]


def numbering(rows: Iterable[tuple[Expression, PlacedClip | None]], frames: Mapping[Path, FrameFiles]) -> Numbering:
    """How most folders of clips are numbered against their rows.

    Users number the frames of a clip anew from 1 (``reg_img1..41`` where the sheet says 46 to 86), or interpolate
    every clip to the same length (TIM, usually 10 frames).
    """
    lengths: list[int] = []  # of folders that begin at 1 and end before the offset
    total = exact = 0
    for row, placed in rows:
        onset, offset = _integer(row.phases.onset), _integer(row.phases.offset)
        numbers = frames[placed.files.path].numbers if placed is not None and placed.files.path in frames else ()
        if not numbers or onset is None or offset is None:
            continue
        total += 1
        if numbers[0] <= 1 and offset > numbers[-1]:
            lengths.append(len(numbers))
            exact += len(numbers) == offset - onset + 1
    if 2 * exact > total:
        return "renumbered"
    same = max(Counter(lengths).values(), default=0)
    return "interpolated" if same >= _FEWEST_INTERPOLATED and same >= 0.8 * total else "source"


def build_clip(
    dataset: str, expression: Expression, placed: PlacedClip | None, recording: Recording, base: Path
) -> Clip:
    """The clip, with a finding for every disagreement between its row and its files.

    Args:
        dataset: name, the first part of the key.
        expression: the row.
        placed: its files; ``None`` if there are none.
        recording: how to read them.
        base: dataset root that the source's path is relative to.
    """
    findings = ClipFindings(f"{dataset}/{expression.subject}/{expression.name}")
    for kind, message in expression.notes:
        findings.add(kind, message)
    span = _span(expression, recording, findings)
    source: FrameSource | None = None
    if placed is None:
        wanted = f"{expression.subject}/{expression.recording}"
        findings.add("no_frames", f"{expression.place}: nothing on disk answers to {wanted}", unusable=True)
    else:
        if placed.misplaced_in is not None:
            findings.add("misplaced_folder", f"{_relative(placed, base)}: lies in the folder of {placed.misplaced_in}")
        source, span = _select(placed, span, recording, base, findings)
    apex = _checked_apex(span, source, findings)
    fps = (expression.fps or recording.fps) * span.rate
    times: tuple[float, ...] = ()
    if isinstance(source, VideoSegment) and placed and (facts := recording.videos[placed.files.path]):
        used = range(source.start, source.start + source.count)
        for kind, message in oddities(source.path, facts, fps, used):
            findings.add(kind, message)
        if facts.varies and same_rate(facts, fps):
            times = tuple(facts.times[position] - facts.times[source.start] for position in used)
    depth = (
        _depth(placed.files.depth.path, source, recording, base, findings) if placed and placed.files.depth else None
    )
    return Clip(
        dataset=dataset, subject=expression.subject, name=expression.name, source=source, onset=span.onset, apex=apex,
        offset=span.offset, fps=fps, label=expression.label, metadata=expression.metadata, times=times,
        depth=depth, findings=tuple(findings.found),
    )  # fmt: skip


def _depth(
    folder: Path, source: FrameSource | None, recording: Recording, base: Path, findings: ClipFindings
) -> ImageSequence | None:
    """The images of measured depth that have the numbers of the clip's frames."""
    if source is None:
        return None
    path, frames = folder.relative_to(base).as_posix(), recording.frames[folder]
    names = dict(zip(frames.numbers, frames.names, strict=True))
    kept = [number for number in source.numbers if number in names]
    if missing := len(source.numbers) - len(kept):
        findings.add("depth_incomplete", f"{path}: no depth for {missing} of {count(len(source.numbers), 'frame')}")
    return ImageSequence(folder=path, names=tuple(names[n] for n in kept), numbers=tuple(kept)) if kept else None


def _relative(placed: PlacedClip, base: Path) -> str:
    return placed.files.path.relative_to(base).as_posix()


@dataclass(frozen=True)
class _Span:
    onset: int | None
    apex: int | None
    offset: int | None
    offset_text: str
    rate: float = 1  # frames on disk per frame of the annotation


def _integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text)
    return int(match[1]) if match else None


def _span(expression: Expression, recording: Recording, findings: ClipFindings) -> _Span:
    phases = expression.phases

    def number(text: str) -> int | None:
        value = _integer(text)
        return None if value == 0 and recording.zero_is_missing else value

    onset, offset = number(phases.onset), number(phases.offset)
    apex = number(phases.apex) if phases.apex is not None else None
    if onset is None:
        findings.add("onset_missing", f"{expression.place}: onset {phases.onset!r} is no frame number", unusable=True)
    if phases.apex is not None and apex is None:
        findings.add("apex_missing", f"{expression.place}: apex {phases.apex!r} is no frame number")
    if onset is not None and offset is not None and offset < onset:
        findings.add("offset_out_of_range", f"{expression.place}: offset {offset} before onset {onset}", unusable=True)
    return _Span(onset, apex, offset, phases.offset)


def _select(
    placed: PlacedClip, span: _Span, recording: Recording, base: Path, findings: ClipFindings
) -> tuple[FrameSource | None, _Span]:
    """The frames from onset to offset, and the span, whose offset is found here where the annotation has none."""
    path = _relative(placed, base)
    if span.onset is None or (span.offset is not None and span.offset < span.onset):
        return None, span
    if placed.files.video:
        numbers, names = _video_numbers(placed, span.onset, span.offset, recording, path, findings), None
    else:
        numbers, names, span = _image_numbers(placed, span, recording, path, findings)
    if not numbers:
        if not any(f.unusable for f in findings.found):
            findings.add("no_frames", f"{path}: holds no numbered frame", unusable=True)
        return None, span
    if span.offset is None:
        whole = recording.whole or placed.files.video
        span = replace(span, offset=_open_offset(span, numbers, whole, path, findings))
    onset, offset = span.onset, span.offset
    if onset is None or offset is None:
        return None, span
    kept = [i for i, number in enumerate(numbers) if onset <= number <= offset]
    _check_selection([numbers[i] for i in kept], onset, offset, numbers, path, findings)
    if not kept:
        return None, span
    if names is None:
        start = kept[0]
        return VideoSegment(path=path, start=start, count=len(kept), first_number=numbers[start]), span
    selected = tuple(names[i] for i in kept)
    return ImageSequence(folder=path, names=selected, numbers=tuple(numbers[i] for i in kept)), span


def _image_numbers(
    placed: PlacedClip, span: _Span, recording: Recording, path: str, findings: ClipFindings
) -> tuple[Sequence[int], Sequence[str], _Span]:
    """Numbers and names of the images, and the span in these numbers."""
    frames = recording.frames[placed.files.path]
    if frames.problem:
        findings.add("no_frames", f"{path}: {frames.problem}", unusable=True)
    if placed.files.copies:
        message = f"{path}: copies made by a file manager, left out: {', '.join(placed.files.copies)}"
        findings.add("copy", message)
    if frames.duplicates:
        message = f"{path}: another file has the same number, left out: {', '.join(frames.duplicates)}"
        findings.add("duplicate_frame", message)
    numbers, onset, offset = frames.numbers, span.onset, span.offset
    if not numbers or onset is None or numbers[0] > 1 or (offset is not None and offset <= numbers[-1]):
        return numbers, frames.names, span
    count, length = len(numbers), None if offset is None else offset - onset + 1
    anew = recording.numbering == "renumbered"
    if (count == length and (anew or not recording.whole)) or (length is None and anew):
        findings.add("renumbered", f"{path}: numbered anew from {numbers[0]}; the first frame is taken as {onset}")
        return [number - numbers[0] + onset for number in numbers], frames.names, span
    if anew:
        message = f"{path}: numbered anew from {numbers[0]}, {count} frames; expected {length}: {onset} to {offset}"
        findings.add("frame_count_mismatch", message, unusable=True)
        return (), (), span
    if recording.numbering == "interpolated":
        findings.add("interpolated", f"{path}: {count} frames made of {onset} to {span.offset_text}; phases are scaled")
        return numbers, frames.names, _scaled(span, numbers)
    return numbers, frames.names, span


def _scaled(span: _Span, numbers: Sequence[int]) -> _Span:
    first, last = numbers[0], numbers[-1]
    if span.onset is None or span.offset is None or span.offset == span.onset:
        return replace(span, onset=first, apex=None, offset=last)
    rate = (last - first) / (span.offset - span.onset)
    inside = span.apex is not None and span.onset <= span.apex <= span.offset
    apex = first + round((span.apex - span.onset) * rate) if span.apex is not None and inside else span.apex
    return replace(span, onset=first, apex=apex, offset=last, rate=rate)


def _video_numbers(
    placed: PlacedClip, onset: int, offset: int | None, recording: Recording, path: str, findings: ClipFindings
) -> Sequence[int]:
    """Frame numbers of a video, which has none itself: its length tells whether it is the recording or the clip."""
    facts = recording.videos[placed.files.path]
    if facts is None:
        findings.add("no_frames", f"{path}: not a video that can be decoded", unusable=True)
        return ()
    count, length = len(facts.times), None if offset is None else offset - onset + 1
    if recording.whole or offset is None or count >= offset:
        return range(1, count + 1)  # long enough to reach the offset, counted from the recording's first frame
    if length is not None and abs(count - length) <= 1:
        return range(onset, onset + count)  # as long as the clip; encoders drop or repeat one frame at times
    findings.add(
        "frame_count_mismatch",
        f"{path}: {count} frames; expected {length} (the clip) or at least {offset} (the whole recording)",
        unusable=True,
    )
    return ()


def _open_offset(span: _Span, numbers: Sequence[int], whole: bool, path: str, findings: ClipFindings) -> int | None:
    problem = f"{path}: offset {span.offset_text!r} is no frame number"
    if not whole:
        findings.add("offset_missing", f"{problem}; the clip ends at its last file, {numbers[-1]}")
        return numbers[-1]
    if span.apex is not None:
        findings.add("offset_missing", f"{problem}; the clip is cut at its apex, {span.apex}")
        return span.apex
    message = f"{problem}, nor is there an apex to end at, and the recording goes on to {numbers[-1]}"
    findings.add("offset_missing", message, unusable=True)
    return None


def _check_selection(
    kept: Sequence[int], onset: int, offset: int, available: Sequence[int], path: str, findings: ClipFindings
) -> None:
    if not kept:
        message = f"{path}: holds frames {available[0]} to {available[-1]}, none of {onset} to {offset}"
        findings.add("no_frames", message, unusable=True)
        return
    missing = offset - onset + 1 - len(kept)
    if len(kept) == 1:
        findings.add("single_frame", f"{path}: one frame only, {kept[0]}, of {onset} to {offset}", unusable=True)
    elif missing:
        # Everything downstream is measured against the onset frame: without it there is nothing to compare with.
        without_onset = kept[0] != onset
        message = f"{path}: {missing} of {count(offset - onset + 1, 'frame')} missing: {_gaps(kept, onset, offset)}"
        if without_onset:
            message += ", the onset among them"
        findings.add("missing_frames", message, unusable=without_onset)


def _gaps(kept: Sequence[int], onset: int, offset: int) -> str:
    """``3, 5-9``: the numbers from onset to offset that a sorted sequence lacks, the first few runs."""
    bounds = [onset - 1, *kept, offset + 1]
    gaps = [(a + 1, b - 1) for a, b in pairwise(bounds) if b > a + 1]
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in gaps[:_SHOWN_GAPS]]
    return ", ".join(texts) + (f" and {len(gaps) - _SHOWN_GAPS} more gaps" if len(gaps) > _SHOWN_GAPS else "")


def _checked_apex(span: _Span, source: FrameSource | None, findings: ClipFindings) -> int | None:
    onset, apex, offset = span.onset, span.apex, span.offset
    if apex is None or onset is None or offset is None or offset < onset:
        return None
    if not onset <= apex <= offset:
        findings.add("apex_out_of_range", f"apex {apex} outside {onset} to {offset}; it is left open")
        return None
    if source is not None and apex not in source.numbers:
        findings.add("apex_missing", f"apex {apex}: no such frame on disk; it is left open")
        return None
    return apex
