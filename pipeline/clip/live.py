"""Frames of a camera, a stream, or a file that is played, as they come; who is too slow loses frames, not time."""

import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Thread
from typing import TYPE_CHECKING

from pipeline.clip.frames import Frame
from pipeline.clip.video_pixels import RgbConverter, deinterlaced
from pipeline.clip.video_stream import open_video, quieten
from schemas.errors import ConfigError, FrameError, MerError, hide_credentials
from schemas.output import write_error

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_DEVICES = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}  # FFmpeg's formats of cameras
_CAMERA = re.compile(r"\d+|/dev/video\d+|video=.+")
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
_PLAYED = {"http", "https", "file"}  # give frames as fast as one takes them, also those to come
_PATIENCE = 10.0  # s without a packet, after which a stream is lost
_JUMP = 2.0  # s between neighbouring frames, from which on a stream's clock was set anew
_MOST_HELD = 64  # source frames in memory: 0.4 GB of 1920x1080


@dataclass(frozen=True)
class LiveFrame:
    """One frame.

    Attributes:
        number: its place at the source's rate, from 0; numbers of frames that never came are left out.
        captured: when it was decoded, s of ``time.monotonic``; of what is played, when it was due.
        image: ``(H, W, 3) uint8`` RGB.
    """

    number: int
    captured: float
    image: Frame


class FrameRing:
    """The newest frames between two threads, never more than ``capacity``.

    When it is full every second frame goes, so that what is lost is spread over time, and motion in between can still
    be measured from one frame that stayed to the next.

    Attributes:
        came: frames that were put in.
        dropped: those of them that nobody got.
        waited: s that the taker waited.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity, self._frames, self._changed = capacity, deque[LiveFrame](), Condition()
        self._closed = False
        self.came, self.dropped, self.waited = 0, 0, 0.0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: LiveFrame) -> None:
        """Add a frame; never waits."""
        with self._changed:
            self.came += 1
            if len(self._frames) >= self._capacity:
                kept = list(self._frames)[1::2]
                self.dropped += len(self._frames) - len(kept)
                self._frames = deque(kept)
            self._frames.append(frame)
            self._changed.notify()

    def take(self) -> LiveFrame | None:
        """The oldest frame, waiting for one to come; ``None`` at the end."""
        started = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed)
            self.waited += time.monotonic() - started
            return self._frames.popleft() if self._frames else None

    def close(self) -> None:
        """No frame comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class LiveVideo:
    """A source that is read by a thread of its own at the rate at which it comes.

    Attributes:
        name: of the source, without credentials.
        fps: frames per second.
        ring: between the threads; holds about a second.
        lost: why the source ended, where that is not its own or the user's end.
        undecoded: packets of which no frame could be made.
    """

    def __init__(
        self,
        name: str,
        container: "InputContainer",
        stream: "VideoStream",
        fps: float,
        record: "Recorder | None" = None,
        *,
        camera: bool = False,
    ) -> None:
        self.name, self._container, self._stream, self._record = name, container, stream, record
        scheme = _URL.match(name)
        self._camera = camera
        self._paced = not camera and (scheme is None or scheme[1].lower() in _PLAYED)
        self._stop, self._thread = Event(), Thread(target=self._read, name="capture", daemon=True)
        self.fps, self.lost, self.undecoded = fps, "", 0
        self.ring = FrameRing(max(2, min(round(fps), _MOST_HELD)))

    def frames(self) -> Iterator[LiveFrame]:
        """The frames in order, those that were dropped left out, until the source ends or ``stop`` is called."""
        self._thread.start()
        while (frame := self.ring.take()) is not None:
            yield frame

    def stop(self) -> None:
        """End the source; frames that came are still given."""
        self._stop.set()

    def close(self) -> None:
        """End the source, and wait until its thread reads no more."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(2 * _PATIENCE)

    def _read(self) -> None:
        import av

        convert = RgbConverter(self.name, float(self._stream.sample_aspect_ratio or 1))
        try:
            self._began = time.monotonic()
            for number, frame in deinterlaced(self._numbered()):
                due = self._began + number / self.fps if self._paced else time.monotonic()
                self.ring.put(LiveFrame(number, due, convert(frame)))
            if self._camera and not self._stop.is_set():
                self.lost = "the camera gives no more frames"
        except (av.error.FFmpegError, MerError) as error:
            self.lost = str(error) if isinstance(error, MerError) else error.strerror or str(error)
        finally:
            self.ring.close()

    def _numbered(self) -> Iterator[tuple[int, "VideoFrame"]]:
        """Frames as they are due, each with its place at the source's rate."""
        last, origin = -1, None
        for frame in self._decoded():
            passed, following = time.monotonic() - self._began, (last + 1) / self.fps
            shown = frame.time if frame.time is not None else (origin or 0.0) + following
            origin = shown if origin is None else origin
            if abs(shown - origin - following) > _JUMP:  # its clock was set anew, or it paused
                origin = shown - (following if self._paced else passed)
            if self._paced and self._stop.wait(max(0.0, shown - origin - passed)):
                return
            number = round((shown - origin) * self.fps)
            if number > last:  # else one more than the rate has room for
                last = number
                yield number, frame

    def _decoded(self) -> Iterator["VideoFrame"]:
        import av

        for packet in self._container.demux(self._stream):
            if self._stop.is_set():
                return
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:  # streams lose bytes; the next key frame mends it
                self.undecoded += 1
            if self._record is not None and packet.size:
                self._record.write(packet)


class Recorder:
    """Takes packets as they came; nothing is encoded again.

    Args:
        path: of a file that is not there yet; its suffix tells the container, and Matroska takes all.
        source: what is recorded.

    Raises:
        ConfigError: the file is there already, or its container does not take such a stream.
        StoreWriteError: it cannot be written.
    """

    def __init__(self, path: Path, source: "VideoStream") -> None:
        import av

        if path.exists():
            raise ConfigError(f"--record {path}: is there already; choose another file")
        self._path = path
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = av.open(path, "w")
            self._stream = self._container.add_stream_from_template(source)
            self._container.start_encoding()

    def write(self, packet: "Packet[VideoStream]") -> None:
        """Add a packet."""
        packet.stream = self._stream
        with self._errors():
            self._container.mux(packet)

    def close(self) -> None:
        """End the file."""
        with self._errors():
            self._container.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except OSError as error:
            raise write_error(self._path, error) from error
        except (av.error.FFmpegError, ValueError) as error:
            raise ConfigError(f"--record {self._path}: does not take this source ({error}); name it .mkv") from error


@contextmanager
def open_live(source: str, *, fps: float | None = None, record: Path | None = None) -> Iterator[LiveVideo]:
    """A camera (``0``, ``/dev/video0``), the URL of a stream, or a video that is played at its own rate.

    Args:
        source: which.
        fps: frames per second, where the source does not say.
        record: a file that keeps what comes, as ``Recorder`` does.

    Raises:
        FrameError: it cannot be opened, or holds no video.
        ConfigError: nobody says how many frames a second there are, or as ``Recorder``.
        StoreWriteError: ``record`` cannot be written.
    """
    quieten()
    shown = hide_credentials(source)
    with ExitStack() as stack:
        if camera := bool(_CAMERA.fullmatch(source)):
            container = stack.enter_context(_opened(_device(source), shown, format=_DEVICES.get(sys.platform)))
        elif _URL.match(source):
            container = stack.enter_context(_opened(source, shown, format=None))
        else:
            container = stack.enter_context(open_video(Path(source), "AUTO")).container
        if not container.streams.video:
            raise FrameError(f"{shown}: holds no video")
        stream = container.streams.video[0]
        rate = fps or float(stream.average_rate or stream.guessed_rate or 0)
        if not rate:
            raise ConfigError(f"{shown}: does not say how many frames a second it has; add --fps")
        copy = None
        if record is not None:
            copy = stack.enter_context(closing(Recorder(record, stream)))
        yield stack.enter_context(closing(LiveVideo(shown, container, stream, rate, copy, camera=camera)))


def _device(source: str) -> str:
    if not source.isdigit():
        return source
    if sys.platform == "win32":
        raise ConfigError(f"{source}: Windows knows cameras by name; give it as 'video=NAME'")
    return f"/dev/video{source}" if sys.platform == "linux" else f"{source}:none"


@contextmanager
def _opened(address: str, shown: str, *, format: str | None) -> Iterator["InputContainer"]:
    import av

    try:
        container = av.open(address, format=format, timeout=_PATIENCE, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FrameError(f"{shown}: cannot be opened ({reason}); check that it is there and not in use") from error
    with container:
        for stream in container.streams.video:
            stream.thread_type = "SLICE"  # threads that take whole frames would hold some of them back
        yield container
