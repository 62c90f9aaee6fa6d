"""Open videos with FFmpeg's own libraries (PyAV), strictly, and take packets and frames from them."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import FrameError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Every error that the decoder notices ends a frame, instead of being concealed with pixels of its neighbours.
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
_LOG, _SILENT = logging.getLogger("libav"), logging.NullHandler()


@dataclass(frozen=True)
class OpenVideo:
    """A container that is open, and the stream of pictures in it."""

    path: Path
    container: "InputContainer"
    stream: "VideoStream"


@contextmanager
def open_video(path: Path, threads: str) -> Iterator[OpenVideo]:
    """Open a video so that errors stop frames.

    Args:
        path: of the video.
        threads: ``AUTO``, or ``NONE`` for errors that belong to the packet at hand.

    Raises:
        FrameError: no such file, no video, a GIF, or a name that is not UTF-8.
    """
    import av

    quieten()
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
            yield OpenVideo(path, container, stream)
        finally:
            stream.codec_context.flush_buffers()  # waits for its threads: a log line of theirs would wait for us


def quieten() -> None:
    """Keep FFmpeg's log off the terminal: what it says is in our own messages."""
    import av

    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    _LOG.propagate = False
    _LOG.addHandler(_SILENT)


def errors_so_far() -> int:
    """Errors that FFmpeg has logged in this process; other videos that are read at the time count too."""
    import av

    return av.logging.get_last_error()[0]


def packets_of(video: OpenVideo) -> Iterator["Packet[VideoStream]"]:
    """In decoding order, at last an empty one that flushes the decoder; what cannot be read is the end."""
    import av

    with suppress(av.error.FFmpegError):
        yield from video.container.demux(video.stream)


def holds_frame(packet: "Packet[VideoStream]") -> bool:
    """Whether a frame is to come of it: not of the last, empty one, nor of what an edit list or VP8 hides."""
    hidden = packet.stream.codec_context.name in ("vp8", "libvpx") and packet.size and not bytes(packet)[0] & 16
    return packet.size > 0 and not packet.is_discard and not hidden


def decode(packet: "Packet[VideoStream]") -> tuple[list["VideoFrame"], str]:
    """The frames that are ready after a packet, and the error that the decoder met."""
    import av

    try:
        return packet.decode(), ""
    except av.error.EOFError:
        return [], ""
    except av.error.FFmpegError as error:
        return [], error.strerror or str(error)


def stamp_of(item: "Packet[VideoStream] | VideoFrame") -> int | None:
    """Time of display, in the stream's unit; AVI has the time of decoding alone."""
    return item.pts if item.pts is not None else item.dts


def printable(path: Path | str) -> str:
    """A path as text, with bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
