"""Read the frames of a video: in threads, and never one that was not decoded."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.video_facts import GAP, VideoFacts, damage, examine_video
from pipeline.clip.video_pixels import RgbConverter, deinterlaced
from pipeline.clip.video_stream import OpenVideo, decode, errors_so_far, holds_frame, open_video, packets_of, stamp_of
from schemas.errors import FrameError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


def read_video(
    path: Path, start: int, stop: int, *, left_out: Iterable[int] = (), seek: tuple[int, int] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Frames ``start`` to ``stop - 1``, each ``(H, W, 3) uint8`` RGB, all of one size.

    Args:
        path: of the video.
        start: position of the first frame.
        stop: position after the last.
        left_out: positions that are not wanted, although they lie between.
        seek: position and time stamp of a key frame before ``start``, to begin decoding at.

    Raises:
        FrameError: a wanted frame cannot be decoded, does not exist, or has another size than the first.
    """
    skipped = set(left_out)
    wanted = [position for position in range(start, stop) if position not in skipped]
    if not wanted:
        return
    given = 0
    with open_video(path, "AUTO") as video:
        convert = RgbConverter(path, float(video.stream.sample_aspect_ratio or 1))
        for position, frame in deinterlaced(_decoded(video, wanted, seek)):
            if position == wanted[given]:
                given += 1
                yield convert(frame)
            if given == len(wanted):
                return
    facts = examine_video(path)
    _check(path, facts, wanted)
    raise FrameError(
        f"{path}: ends after {len(facts.times)} frames, expected {stop}; "
        "the file is truncated or is not the one that was annotated"
    )


class _Irregular(Exception):
    """A packet did not give its frame; only a closer look tells which frames that affects."""


def _decoded(
    video: OpenVideo, wanted: Sequence[int], seek: tuple[int, int] | None
) -> Iterator[tuple[int, "VideoFrame"]]:
    """Positions and frames: in threads as long as every packet gives its frame, else packet by packet."""
    done = -1
    try:
        for done, frame in _in_threads(video, seek):
            yield done, frame
        return
    except _Irregular:
        pass
    facts = examine_video(video.path)
    _check(video.path, facts, wanted)
    for position, frame in _packet_by_packet(video.path, facts):
        if position > done:
            yield position, frame


def _check(path: Path, facts: VideoFacts, wanted: Sequence[int]) -> None:
    if damaged := sorted(set(facts.damaged).intersection(wanted)):
        raise FrameError(
            f"{damage(path, facts, damaged)}; copy the file again from the original, or leave these frames out "
            "with --tolerate"
        )


def _in_threads(video: OpenVideo, seek: tuple[int, int] | None) -> Iterator[tuple[int, "VideoFrame"]]:
    first, begin = (0, None) if seek is None else seek
    positions, due = count(first), list[int]()
    errors, gaps = errors_so_far(), _Gaps(video)
    if begin is not None:
        video.container.seek(begin, stream=video.stream)
    started = False
    for packet in packets_of(video):
        started = started or packet.is_keyframe
        if holds_frame(packet):
            stamp = stamp_of(packet)
            if packet.is_corrupt or stamp is None or not started:
                raise _Irregular
            if begin is None or stamp >= begin:
                heappush(due, stamp)
        frames, error = decode(packet)
        if errors_so_far() != errors:  # any that FFmpeg logs: most it conceals, without another sign
            raise _Irregular
        for frame in frames:
            stamp = stamp_of(frame)
            if begin is not None and stamp is not None and stamp < begin:
                continue  # shown before the key frame, and made from frames that were passed over
            position = next(positions)
            if frame.is_corrupt or not due or stamp != heappop(due):
                raise _Irregular
            if position == first and begin not in (None, stamp):
                raise _Irregular
            if gaps.widened(stamp):
                raise _Irregular
            yield position, frame
        if error:
            raise _Irregular
    if due:
        raise _Irregular


class _Gaps:
    """Whether frames of H.264 in the order of display are further apart than the first ones."""

    def __init__(self, video: OpenVideo) -> None:
        self._applies = video.stream.codec_context.name == "h264"
        self._last: int | None = None
        self._spacing: int | None = None

    def widened(self, stamp: int) -> bool:
        last, self._last = self._last, stamp
        if last is None or not self._applies:
            return False
        self._spacing = self._spacing or stamp - last
        return stamp - last > GAP * self._spacing


def _packet_by_packet(path: Path, facts: VideoFacts) -> Iterator[tuple[int, "VideoFrame"]]:
    """The sound frames of a video that has others."""
    damaged, positions = set(facts.damaged), count()
    with open_video(path, "NONE") as video:
        for packet in packets_of(video):
            for frame in decode(packet)[0]:
                position, stamp = next(positions), stamp_of(frame)
                if facts.stamps and stamp is not None:
                    position = bisect_left(facts.stamps, stamp)
                if position not in damaged:
                    yield position, frame
