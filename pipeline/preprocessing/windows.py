"""Sliding windows over new videos: each becomes a clip, and goes the way of every training clip into a store.

A window is a stretch of time. It is decoded from the last key frame before it, so that neither memory nor the disk has
to hold a video; the reader checks that it lands on that frame, and otherwise decodes from the start.
"""

import logging
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, field_validator
from rich.console import Console

from pipeline.clip.backends import DETECTORS
from pipeline.clip.frames import IMAGE_SUFFIXES, USUAL_VIDEOS
from pipeline.clip.video_facts import examine_video
from pipeline.datasets.frame_files import index_frames
from pipeline.datasets.synthetic import is_synthetic
from pipeline.datasets.tree import Tree, survey
from pipeline.datasets.video import scan_video_file, scan_video_folder
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from pipeline.preprocessing.window_checks import doubts
from schemas.clip import Clip, DatasetScan, Finding, FindingKind, FrameSource, ImageSequence, VideoSegment
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError, DatasetNotFoundError, StoreExistsError
from schemas.labels import Label
from schemas.model import Model
from schemas.output import output_errors
from schemas.store.reader import Store

DATASET = "windows"
_ROUNDING = 0.25  # frames, by which the time of a frame may be off
LEAST_FRAMES = 8  # of a window; in fewer there is no course of an expression to see

_LENGTH = re.compile(r"(\d+\.?\d*|\.\d+)\s*(s|f)")


class Windowing(Model):
    """How a video is cut. Lengths are text: ``0.5s`` is seconds, ``16f`` frames.

    A micro-expression lasts at most half a second (Yan et al., Journal of Nonverbal Behavior 2013), hence the default
    length. With half of it as the stride, some window holds at least three quarters of every expression.
    """

    window: str = Field("0.5s", description=f"length of a window; at least {LEAST_FRAMES} frames are taken")
    stride: str | None = Field(None, description="from one window's first frame to the next's; by default half of it")

    @field_validator("window", "stride")
    @classmethod
    def _is_length(cls, text: str | None) -> str | None:
        if text is not None and ((match := _LENGTH.fullmatch(text.strip())) is None or float(match[1]) == 0):
            raise ValueError("expected seconds as in 0.5s, or frames as in 16f")
        return text

    def frames(self, fps: float) -> tuple[int, int]:
        """Length and stride at a frame rate, both in frames."""
        length = max(LEAST_FRAMES, _in_frames(self.window, fps))
        return length, length // 2 if self.stride is None else max(1, _in_frames(self.stride, fps))


@dataclass(frozen=True)
class Intervals:
    """Windows that are known: those in which something was spotted.

    Attributes:
        frames: video, as its path from the root -> position of the first and the last frame of each.
    """

    frames: Mapping[str, Sequence[tuple[int, int]]]


class Span(NamedTuple):
    """Where a window lies: the video, and in s when its first frame begins and its last one ends."""

    video: str
    start: float
    end: float


@dataclass(frozen=True)
class Windows:
    """Videos cut into windows.

    Attributes:
        root: what the sources' paths are relative to.
        scan: the windows as clips.
        spans: clip key -> where the window lies.
        seconds: of all videos together.
        doubts: clip key -> why the window should get no class, although there is a face on its first frame.
    """

    root: Path
    scan: DatasetScan
    spans: dict[str, Span]
    seconds: float
    doubts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Video:
    """Frames in order, or the ``problem`` that leaves none.

    Attributes:
        title: name for people.
        source: the frames.
        fps: frames per second.
        slots: when each frame was taken, in frames of a constant rate since the first.
        key_frames: position and time stamp of the frames of a video that decoding can start at.
        problem: why there are no frames.
    """

    title: str
    source: FrameSource | None
    fps: float
    slots: tuple[float, ...] = ()
    key_frames: tuple[tuple[int, int], ...] = ()
    problem: str = ""

    def part(self, first: int, last: int) -> FrameSource:
        """Frames from one position to before another."""
        if isinstance(self.source, ImageSequence):
            names, numbers = self.source.names[first:last], self.source.numbers[first:last]
            return ImageSequence(folder=self.source.folder, names=names, numbers=numbers)
        assert self.source is not None
        # A deinterlaced frame is made with the one before it, hence a key frame that leaves room for that.
        seek = max((key for key in self.key_frames if key[0] < first - 1), default=None)
        return VideoSegment(path=self.source.path, start=first, count=last - first, first_number=first + 1, seek=seek)


def preprocess_windows(
    source: Path,
    out: Path,
    *,
    like: PreprocessConfig,
    windowing: Windowing | Intervals,
    execution: Execution,
    console: Console,
    fps: float | None = None,
) -> Windows:
    """Make a store of the windows of one or more videos, as another store was made.

    Args:
        source: a video, or a folder of videos or of image frames.
        out: store to write.
        like: config of the store that the model was trained on; its backends, sizes and apex method are taken.
        windowing: how to cut.
        execution: where to run.
        console: where progress is shown.
        fps: frames per second; needed for images, and taken instead of what a video says.

    Returns:
        The windows. One without a face, or of a video that cannot be decoded, is a failed clip of the store.

    Raises:
        StoreExistsError: there is something at ``out``.
        MerError: as ``cut_windows`` and ``pipeline.preprocessing.run.execute``.
    """
    if out.exists():
        raise StoreExistsError(f"{out}: exists already; choose another place for the windows, or remove it")
    config = like.model_copy(
        update={"dataset": DATASET, "au_frames": "apex", "subjects": (), "clips": (), "limit": None}
    )
    with output_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    with _failures_are_rows():
        windows = cut_windows(source, windowing=windowing, fps=fps)
        plan = plan_run(windows.root, out, windows.scan, config, execution)
        execute(plan, execution, console)
    detector = DETECTORS[config.detector].load(plan.backends.setup())
    return replace(windows, doubts=doubts(Store.open(out), detector))


def cut_windows(source: Path, *, windowing: Windowing | Intervals, fps: float | None = None) -> Windows:
    """Cut videos into windows of equal length; the last one ends with the video, whatever the stride.

    A video shorter than one window is one window.

    Args:
        source: a video, or a folder of videos; of a folder without any, each folder of images in it is a video.
        windowing: how to cut; known intervals that are too short grow on both sides.
        fps: frames per second; needed for images, and taken instead of what a video says.

    Raises:
        DatasetNotFoundError: neither videos nor images there.
        ConfigError: images without ``fps``.
    """
    if not source.is_dir():
        root, found = scan_video_file(source.absolute())
        videos = _videos(root, found.clips, fps)
    else:
        tree = survey(source)
        if any(folder.videos for folder in tree.folders.values()):
            root, found = scan_video_folder(tree)
            videos = _videos(root, found.clips, fps)
        else:
            root, videos = tree.root, _image_videos(tree, fps)
    clips: list[Clip] = []
    spans: dict[str, Span] = {}
    seconds = 0.0
    for number, video in enumerate(videos, 1):
        name = f"{number}-{Path(video.title).stem}"
        for clip, start, end in _windows(video, name, windowing):
            clips.append(clip)
            spans[clip.key] = Span(video.title, start / video.fps, end / video.fps)
        seconds += _length(video) / video.fps
    scan = DatasetScan(
        dataset=DATASET,
        layout="windows",
        annotation=None,
        clips=tuple(clips),
        synthetic=is_synthetic(root, clips),
    )
    return Windows(root, scan, spans, seconds)


def _length(video: _Video) -> int:
    return round(video.slots[-1]) + 1 if video.slots else 0


def _windows(video: _Video, name: str, windowing: Windowing | Intervals) -> Iterator[tuple[Clip, int, int]]:
    """The windows of one video, and where they begin and end, in frames of a constant rate.

    A video that cannot be used is one unusable clip, so that it is not forgotten.
    """
    if video.source is None:
        yield _clip(name, "none", None, video.fps, ("no_frames", video.problem)), 0, 0
        return
    for start, end in _known(video, windowing) if isinstance(windowing, Intervals) else _sliding(video, windowing):
        first, last = (bisect_left(video.slots, edge - _ROUNDING) for edge in (start, end))
        problem: tuple[FindingKind, str] | None = None
        if last - first == 1:
            problem = "single_frame", f"{video.title}: one frame only, which shows no motion"
        elif last == first:
            problem = "no_frames", f"{video.title}: no frame in this time"
        part = video.part(first, last) if last > first else None
        yield _clip(name, f"{start + 1:06d}-{end:06d}", part, video.fps, problem), start, end


def _sliding(video: _Video, windowing: Windowing) -> Iterator[tuple[int, int]]:
    total = _length(video)
    length, stride = windowing.frames(video.fps)
    starts = list(range(0, max(1, total - length + 1), stride))
    if starts[-1] + length < total:
        starts.append(total - length)
    for start in starts:
        yield start, min(start + length, total)


def _known(video: _Video, intervals: Intervals) -> list[tuple[int, int]]:
    """Each once: short ones that end a video may grow into each other."""
    total, found = _length(video), []
    for first, last in intervals.frames.get(video.title, ()):
        start, end = floor(video.slots[first]), ceil(video.slots[last]) + 1
        lacking = max(0, LEAST_FRAMES - (end - start))
        start = max(0, min(start - lacking // 2, total - max(end - start, LEAST_FRAMES)))
        found.append((start, min(max(end, start + LEAST_FRAMES), total)))
    return list(dict.fromkeys(found))


def _clip(
    video: str, name: str, source: FrameSource | None, fps: float, problem: tuple[FindingKind, str] | None
) -> Clip:
    findings: tuple[Finding, ...] = ()
    if problem is not None:
        kind, message = problem
        findings = (Finding(kind=kind, clip=f"{DATASET}/{video}/{name}", message=message, unusable=True),)
    return Clip(
        dataset=DATASET,
        subject=video,
        name=name,
        source=source,
        onset=source.numbers[0] if source else None,
        apex=None,
        offset=source.numbers[-1] if source else None,
        fps=fps,
        label=Label(),
        findings=findings,
    )


def _videos(root: Path, clips: Sequence[Clip], fps: float | None) -> Iterator[_Video]:
    for clip in clips:
        if not isinstance(clip.source, VideoSegment):
            yield _Video(clip.name, None, clip.fps, problem="; ".join(finding.message for finding in clip.findings))
            continue
        facts = examine_video(root / clip.source.path)
        slots = tuple(float(position) for position in range(clip.source.count))
        if facts.varies and fps is None:
            slots = tuple(time * clip.fps for time in facts.times)
        yield _Video(clip.source.path, clip.source, fps or clip.fps, slots, facts.key_frames)


def _image_videos(tree: Tree, fps: float | None) -> Iterator[_Video]:
    """Every folder of numbered images as a video; frames count from 1, whatever their names begin with."""
    found = {path: index_frames(folder.images) for path, folder in tree.folders.items()}
    found = {path: files for path, files in found.items() if files.names or files.problem}
    if not found:
        raise DatasetNotFoundError(
            f"{tree.root}: neither videos ({USUAL_VIDEOS}) nor numbered images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) at or below this folder"
        )
    if fps is None:
        raise ConfigError(f"{tree.root}: images do not say their frames per second; add --fps")
    for path in sorted(found):
        folder, files = path.relative_to(tree.root).as_posix(), found[path]
        title = path.name if path == tree.root else folder
        if files.problem:
            yield _Video(title, None, fps, problem=f"{title}: {files.problem}")
            continue
        numbers = tuple(number - files.numbers[0] + 1 for number in files.numbers)  # a gap in them is one in time
        source = ImageSequence(folder=folder, names=files.names, numbers=numbers)
        yield _Video(title, source, fps, tuple(float(number - 1) for number in numbers))


def _in_frames(text: str, fps: float) -> int:
    match = _LENGTH.fullmatch(text.strip())
    assert match is not None, "validated"
    return round(float(match[1]) * (fps if match[2] == "s" else 1))


@contextmanager
def _failures_are_rows() -> Iterator[None]:
    """Windows without a face are rows of the result, not news: nothing of them goes to the terminal."""
    log, handler = logging.getLogger("mer"), logging.NullHandler()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
