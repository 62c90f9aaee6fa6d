"""What is in a video: its frames and their times, and which of them cannot be decoded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np

from pipeline.clip.video_pixels import deep_format
from pipeline.clip.video_stream import OpenVideo, decode, holds_frame, open_video, packets_of, printable, stamp_of
from schemas.errors import FrameError

GAP = 1.5  # spacings of frames, beyond which some may be missing
_LENGTH_GUESSED = {"mpegts", "mpeg"}  # FFmpeg takes their length from what is there
_TICK = 0.001  # s; Matroska's resolution, to which all times are rounded, so that the container does not matter
_SHOWN_RUNS = 6
_ERROR = 16  # of FFmpeg's log
_LISTENING = Lock()  # the level of FFmpeg's log is the process's


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
        return self.codec == "h264" and len(spacings) > 0 and bool(spacings.max() > GAP * np.median(spacings))

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

    with open_video(path, "NONE") as video, av.logging.Capture() as log:
        stream = video.stream
        stated = (stream.guessed_rate, stream.average_rate, stream.base_rate)
        look = _Look(float(stream.time_base or 1), tuple(float(rate) for rate in stated if rate))
        look.codec, look.counted = stream.codec_context.name, video.container.format.name == "avi"
        log.clear()
        for packet in packets_of(video):
            broken, at = _message(log), len(look.packets)
            if broken and at:
                look.bad.setdefault(at - 1, broken)  # reading went wrong somewhere from the packet before to this one
            stamp = stamp_of(packet)
            if packet.size and stamp is not None:
                look.packets.append((stamp, packet.is_keyframe, holds_frame(packet)))
                if broken or packet.is_corrupt:
                    look.bad[at] = broken or "parts of the file are missing"
            frames, error = decode(packet)
            if (error := _message(log) or error) and look.packets:
                look.bad.setdefault(len(look.packets) - 1, error)
            for frame in frames:
                stamp = stamp_of(frame)
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


def _cut_off(video: OpenVideo, look: _Look) -> int:
    """Frames that the container promises beyond the last that is there."""
    stamps, found = look.stamps, len(look.packets)
    if look.counted:
        found = max(found, stamps[-1] - stamps[0] + 1)  # frames that repeat the one before are empty
    if video.stream.frames:
        return max(0, video.stream.frames - found)
    if found < 2 or video.container.format.name in _LENGTH_GUESSED:
        return 0
    spacings = np.diff(stamps) * look.unit
    spacing = float(np.median(spacings))
    if (length := _length(video)) is None or not spacing:
        return 0
    missing = length - (stamps[-1] * look.unit + spacing)
    longest = float(spacings.max())  # where the frame rate varies, the last frame may be shown as long as any
    return round(missing / spacing) if missing > max(1.5 * spacing, longest) else 0


def _length(video: OpenVideo) -> float | None:
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
