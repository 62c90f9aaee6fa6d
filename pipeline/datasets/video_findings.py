"""What is odd about a video as a recording: said of every one, with an annotation or without."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from pipeline.clip.video_facts import VideoFacts, damage, examine_video
from schemas.clip import FindingKind
from schemas.errors import FrameError

_SAME_RATE = 0.01  # relative; 29.97 is 30


def examine_all(paths: Iterable[Path]) -> dict[Path, VideoFacts | None]:
    """What is in each video, ``None`` if it is none; in threads, since FFmpeg decodes outside Python's lock."""
    paths = tuple(paths)
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(_examine, paths), strict=True))


def _examine(path: Path) -> VideoFacts | None:
    try:
        return examine_video(path)
    except FrameError:
        return None


def oddities(path: str, facts: VideoFacts, fps: float, used: range) -> Iterator[tuple[FindingKind, str]]:
    """Findings of a video.

    Args:
        path: as messages show it.
        facts: what is in it.
        fps: frames per second that are taken, whatever the video says.
        used: positions of the frames that a clip takes; damage elsewhere is not its own.
    """
    if facts.varies:
        spacings = [later - earlier for earlier, later in pairwise(facts.times)]
        yield (
            "frame_rate_varies",
            f"{path}: frames are {1000 * min(spacings):.0f} to {1000 * max(spacings):.0f} ms apart; the frame rate, "
            f"{facts.fps:g}, is that of the median",
        )
    if facts.fps and not same_rate(facts, fps):
        message = f"{path}: its frames come at {facts.fps:g} a second, the annotation's at {fps:g}, which is taken"
        yield "frame_rate_differs", message
    if damaged := [position for position in facts.damaged if position in used]:
        yield "damaged_frames", damage(Path(path), facts, damaged)
    if facts.interlaced:
        yield "deinterlaced", f"{path}: interlaced; every frame is made whole by bwdif"
    if facts.deep:
        message = f"{path}: pixel format {facts.deep}, reduced to 8 bits a channel without mapping its tones"
        yield "bit_depth_reduced", message


def same_rate(facts: VideoFacts, fps: float) -> bool:
    """Whether a video says the frame rate that is taken, so that its times are those of the camera."""
    return abs(facts.fps - fps) <= _SAME_RATE * fps
