"""Videos through FFmpeg's own libraries (PyAV): frames at their times, and never one that was not decoded."""

import logging
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from heapq import heappop, heappush
from itertools import count, pairwise
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.video_pixels import RgbConverter, deep_format, deinterlaced
from schemas.errors import FrameError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Every error that the decoder notices ends a frame, instead of being concealed with pixels of its neighbours.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
_LENGTH_GUESSED = {"mpegts", "mpeg"}  # FFmpeg takes their length from what is there
_TICK = 0.001  # s; Matroska's resolution, to which all times are rounded, so that the container does not matter
_SHOWN_RUNS = 6
_GAP = 1.5  # spacings of frames
_ERROR = 16  # of FFmpeg's log
_LISTENING = Lock()  # the level of FFmpeg's log is the process's
_LOG, _SILENT = logging.getLogger("libav"), logging.NullHandler()


@dataclass(frozen=True)
class VideoFacts:
    """What is in a video, known by decoding all of it. Positions count from 0.

    Attributes:
        times: of every frame that the video should have, s from the first.
        fps: frames per second, the median where they vary; 0 if unknown.
        varies: the frames are not equally spaced.
        damaged: positions of frames that cannot be decoded, or only from such frames.
        reason: why the first of them cannot.
        key_frames: position and time stamp of the frames that decoding can start at.
        interlaced: some frames are woven of two fields.
        deep: pixel format of more than 8 bits a channel, else empty.
        stamps: of every frame, in the container's unit; empty if frames do not come in the order of their stamps.
    """

    times: tuple[float, ...]
    fps: float
    varies: bool
    damaged: tuple[int, ...]
    reason: str
    key_frames: tuple[tuple[int, int], ...]
    interlaced: bool
    deep: str
    stamps: tuple[int, ...]


def examine_video(path: Path) -> VideoFacts:
    """Decode all of a video, without converting it.

    Raises:
        FrameError: no such file, not a video that can be read, or a GIF.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise FrameError(f"{printable(path)}: no such video file") from error
    return _examined(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _examined(path: Path, size: int, changed: int) -> VideoFacts:
    import av

    look = _look(path)
    if look.gaps:  # H.264 numbers its frames, so that a lost one can be told from one that was never there
        with _LISTENING:
            av.logging.set_level(av.logging.DEBUG)
            try:
                look = _look(path)
            finally:
                av.logging.set_level(av.logging.ERROR)
    return look.facts()


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
    with _opened(path, "AUTO") as video:
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


def damage(path: Path, facts: VideoFacts, positions: Sequence[int]) -> str:
    """What to say of damaged frames, which are counted from 1."""
    runs = [[p, p] for p in positions[:1]]
    for before, position in pairwise(positions):
        if position == before + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    texts = [f"{a + 1}" if a == b else f"{a + 1}-{b + 1}" for a, b in runs[:_SHOWN_RUNS]]
    more = f" and {len(runs) - _SHOWN_RUNS} more runs" if len(runs) > _SHOWN_RUNS else ""
    return f"{path}: frames {', '.join(texts)}{more} of {len(facts.times)} cannot be decoded: {facts.reason}"


def printable(path: Path | str) -> str:
    """A path as text, with bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


# Reading


class _Irregular(Exception):
    """A packet did not give its frame; only a closer look tells which frames that affects."""


@dataclass(frozen=True)
class _Video:
    path: Path
    container: "InputContainer"
    stream: "VideoStream"


def _decoded(video: _Video, wanted: Sequence[int], seek: tuple[int, int] | None) -> Iterator[tuple[int, "VideoFrame"]]:
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


def _in_threads(video: _Video, seek: tuple[int, int] | None) -> Iterator[tuple[int, "VideoFrame"]]:
    first, begin = (0, None) if seek is None else seek
    positions, due = count(first), list[int]()
    errors, gaps = _errors_so_far(), _Gaps(video)
    if begin is not None:
        video.container.seek(begin, stream=video.stream)
    started = False
    for packet in _packets(video):
        started = started or packet.is_keyframe
        if _holds_frame(packet):
            stamp = _stamp(packet)
            if packet.is_corrupt or stamp is None or not started:
                raise _Irregular
            if begin is None or stamp >= begin:
                heappush(due, stamp)
        frames, error = _frames(packet)
        if _errors_so_far() != errors:  # any that FFmpeg logs: most it conceals, without another sign
            raise _Irregular
        for frame in frames:
            stamp = _stamp(frame)
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

    def __init__(self, video: _Video) -> None:
        self._applies = video.stream.codec_context.name == "h264"
        self._last: int | None = None
        self._spacing: int | None = None

    def widened(self, stamp: int) -> bool:
        last, self._last = self._last, stamp
        if last is None or not self._applies:
            return False
        self._spacing = self._spacing or stamp - last
        return stamp - last > _GAP * self._spacing


def _packet_by_packet(path: Path, facts: VideoFacts) -> Iterator[tuple[int, "VideoFrame"]]:
    """The sound frames of a video that has others."""
    damaged, positions = set(facts.damaged), count()
    with _opened(path, "NONE") as video:
        for packet in _packets(video):
            for frame in _frames(packet)[0]:
                position, stamp = next(positions), _stamp(frame)
                if facts.stamps and stamp is not None:
                    position = bisect_left(facts.stamps, stamp)
                if position not in damaged:
                    yield position, frame


@contextmanager
def _opened(path: Path, threads: str) -> Iterator[_Video]:
    import av

    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    _LOG.propagate = False
    _LOG.addHandler(_SILENT)  # what FFmpeg says is in our own messages
    if not path.is_file():
        raise FrameError(f"{printable(path)}: no such video file")
    if printable(path) != str(path):
        raise FrameError(f"{printable(path)}: its name is not UTF-8; rename the file")
    try:
        container = av.open(path, metadata_errors="replace", options=_STRICT)
    except av.error.FFmpegError as error:
        raise FrameError(f"{path}: not a video that can be read; check the file, or convert it to mp4") from error
    with container:
        if container.format.name == "gif":
            raise FrameError(f"{path}: a GIF, whose few colours hide small motion; take the video it was made from")
        streams = [s for s in container.streams.video if not s.disposition.value & s.disposition.attached_pic.value]
        if not streams or container.format.name.endswith(("_pipe", "image2")):
            raise FrameError(f"{path}: not a video that can be read: it has no stream of pictures")
        stream = streams[0]
        stream.thread_type = threads
        stream.codec_context.options = _STRICT
        try:
            yield _Video(path, container, stream)
        finally:
            stream.codec_context.flush_buffers()  # waits for its threads: a log line of theirs would wait for us


def _errors_so_far() -> int:
    import av

    return av.logging.get_last_error()[0]


def _packets(video: _Video) -> Iterator["Packet[VideoStream]"]:
    """In decoding order, at last an empty one that flushes the decoder; what cannot be read is the end."""
    import av

    with suppress(av.error.FFmpegError):
        yield from video.container.demux(video.stream)


def _holds_frame(packet: "Packet[VideoStream]") -> bool:
    """Whether a frame is to come of it: not of the last, empty one, nor of what an edit list or VP8 hides."""
    hidden = packet.stream.codec_context.name in ("vp8", "libvpx") and packet.size and not bytes(packet)[0] & 16
    return packet.size > 0 and not packet.is_discard and not hidden


def _frames(packet: "Packet[VideoStream]") -> tuple[list["VideoFrame"], str]:
    """The frames that are ready after a packet, and the error that the decoder met."""
    import av

    try:
        return packet.decode(), ""
    except av.error.EOFError:
        return [], ""
    except av.error.FFmpegError as error:
        return [], error.strerror or str(error)


def _stamp(item: "Packet[VideoStream] | VideoFrame") -> int | None:
    return item.pts if item.pts is not None else item.dts


# Examining


@dataclass
class _Look:
    """What came out of a video, packet by packet and frame by frame."""

    unit: float  # s of a stamp
    rates: tuple[float, ...]  # frames per second that the container states
    packets: list[tuple[int, bool, bool]] = field(default_factory=list)  # stamp, is it a key frame, is it shown
    frames: list[int] = field(default_factory=list)  # stamps in the order of display
    bad: dict[int, str] = field(default_factory=dict)  # index of a packet -> why
    cut_off: int = 0  # frames that the container promises beyond the last packet
    interlaced: bool = False
    deep: str = ""
    codec: str = ""
    counted: bool = False  # AVI: stamps are but a count of packets, and shift when one is lost

    @property
    def stamps(self) -> list[int]:
        """Of the packets whose frames are shown, in the order of display."""
        return sorted(stamp for stamp, _, shown in self.packets if shown)

    @property
    def gaps(self) -> bool:
        """Whether frames of H.264 may be missing."""
        spacings = np.diff(self.stamps)
        return self.codec == "h264" and len(spacings) > 0 and bool(spacings.max() > _GAP * np.median(spacings))

    def facts(self) -> VideoFacts:
        stamps = self.stamps
        in_order = self.frames == sorted(self.frames)
        damaged, reason = self._damaged()
        if damaged and not in_order:
            damaged = set(stamps)  # which frame is which cannot be told
        if damaged and self.cut_off and self.counted:
            damaged |= {stamp for stamp in stamps if stamp >= min(damaged)}
        if damaged:
            lost = self._lost(stamps)
            damaged |= lost
            stamps = sorted({*stamps, *lost})
        positions = [i for i, stamp in enumerate(stamps) if stamp in damaged]
        positions += range(len(stamps), len(stamps) + self.cut_off)
        times = [round((stamp - stamps[0]) * self.unit / _TICK) * _TICK for stamp in stamps]
        fps, varies = frame_rate(times, self.rates)
        times += [times[-1] + i / fps for i in range(1, self.cut_off + 1)]
        if self.cut_off:
            reason = reason or "the file ends before them"
        rank = {stamp: i for i, stamp in enumerate(stamps)}
        return VideoFacts(
            times=tuple(times), fps=fps, varies=varies, damaged=tuple(positions), reason=reason,
            key_frames=tuple((rank[stamp], stamp) for stamp, is_key, shown in self.packets if is_key and shown)
            if in_order else (),
            interlaced=self.interlaced, deep=self.deep, stamps=tuple(stamps) if in_order else (),
        )  # fmt: skip

    def _damaged(self) -> tuple[set[int], str]:
        """Stamps of bad frames and of those that were decoded from them, up to the next key frame."""
        given = set(self.frames)
        damaged: set[int] = set()
        reason, spoiled, spoiled_before, key = "", True, True, None
        for index, (stamp, is_key, shown) in enumerate(self.packets):
            if is_key:
                spoiled, spoiled_before, key = False, spoiled, stamp
            if why := self.bad.get(index) or ("the decoder gave no frame" if shown and stamp not in given else ""):
                spoiled, reason = True, reason or why
            leading = key is not None and stamp < key  # decoded after a key frame, shown before it: may use the past
            if shown and (spoiled or (leading and spoiled_before)):
                damaged.add(stamp)
                reason = reason or "there is no key frame before them"
        return damaged, reason

    def _lost(self, stamps: list[int]) -> set[int]:
        """Stamps of frames whose packets are gone, where bad packets lie beside a gap in time."""
        bad = {self.packets[index][0] for index in self.bad}
        spacing = round(float(np.median(np.diff(stamps)))) if len(stamps) > 1 else 0
        lost: set[int] = set()
        for before, after in pairwise(stamps):
            if spacing and not bad.isdisjoint((before, after)):
                gone = round((after - before) / spacing) - 1
                lost |= {before + (after - before) * i // (gone + 1) for i in range(1, gone + 1)}
        return lost


def _look(path: Path) -> _Look:
    """Without threads, so that an error, in FFmpeg's log or raised, is of the packet at hand."""
    import av

    with _opened(path, "NONE") as video, av.logging.Capture() as log:
        stream = video.stream
        stated = (stream.guessed_rate, stream.average_rate, stream.base_rate)
        look = _Look(float(stream.time_base or 1), tuple(float(rate) for rate in stated if rate))
        look.codec, look.counted = stream.codec_context.name, video.container.format.name == "avi"
        log.clear()
        for packet in _packets(video):
            broken, at = _message(log), len(look.packets)
            if broken and at:
                look.bad.setdefault(at - 1, broken)  # reading went wrong somewhere from the packet before to this one
            stamp = _stamp(packet)
            if packet.size and stamp is not None:
                look.packets.append((stamp, packet.is_keyframe, _holds_frame(packet)))
                if broken or packet.is_corrupt:
                    look.bad[at] = broken or "parts of the file are missing"
            frames, error = _frames(packet)
            if (error := _message(log) or error) and look.packets:
                look.bad.setdefault(len(look.packets) - 1, error)
            for frame in frames:
                stamp = _stamp(frame)
                if stamp is None:
                    raise FrameError(f"{path}: frames without a time; convert it to mp4 or avi")
                look.frames.append(stamp)
                if frame.is_corrupt and look.packets:
                    look.bad.setdefault(len(look.packets) - 1, "the decoder says that the frame is corrupt")
                look.interlaced |= frame.interlaced_frame
                look.deep = look.deep or deep_format(frame)
        if not look.stamps or not look.frames:
            raise FrameError(f"{path}: not a video that can be read: none of its frames can be decoded")
        if broken := _message(log):
            look.bad.setdefault(len(look.packets) - 1, broken)
        look.cut_off = _cut_off(video, look)
        return look


def _message(log: list[tuple[int, str, str]]) -> str:
    """The first line that FFmpeg logged; takes all away."""
    texts = [text.strip() for level, _, text in log if level <= _ERROR or text.startswith("Frame num gap")]
    log.clear()
    return texts[0] if texts else ""


def _cut_off(video: _Video, look: _Look) -> int:
    """Frames that the container promises beyond the last that is there."""
    stamps, found = look.stamps, len(look.packets)
    if look.counted:
        found = max(found, stamps[-1] - stamps[0] + 1)  # frames that repeat the one before are empty
    if video.stream.frames:
        return max(0, video.stream.frames - found)
    if found < 2 or video.container.format.name in _LENGTH_GUESSED:
        return 0
    spacing = float(np.median(np.diff(stamps))) * look.unit
    if (length := _length(video)) is None or not spacing:
        return 0
    missing = length - (stamps[-1] * look.unit + spacing)
    return round(missing / spacing) if missing > 1.5 * spacing else 0


def _length(video: _Video) -> float | None:
    """Time at which the container says that the stream ends, s."""
    container, stream = video.container, video.stream
    if stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    if text := stream.metadata.get("DURATION"):  # Matroska
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    only = len(container.streams) == 1 and container.duration
    return (container.duration + container.start_time) / 1e6 if only and container.duration else None


def frame_rate(times: Sequence[float], stated: Sequence[float] = ()) -> tuple[float, bool]:
    """Frames per second, and whether they vary.

    A rate that the container states, or the mean, counts if every frame lies where it says, to a tick. Otherwise the
    median counts, taken over the spacings about it since times are rounded; 0 where there is but one frame.

    Args:
        times: s, rounded to ms.
        stated: frames per second, the likeliest first.
    """
    if len(times) < 2:
        return (stated[0] if stated else 0.0), False
    seen = np.asarray(times)
    if not seen[-1] > seen[0]:
        return 0.0, False
    for rate in (*stated, (len(times) - 1) / (seen[-1] - seen[0])):
        if np.abs(seen - np.arange(len(times)) / rate).max() <= 1.5 * _TICK:
            return float(rate), False
    spacings = np.diff(seen)
    near = spacings[np.abs(spacings - np.median(spacings)) <= 1.5 * _TICK]
    return round(1 / float(near.mean()), 3), True
