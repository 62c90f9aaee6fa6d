"""Live sources: a file plays at its own rate, who is too slow loses frames evenly, and what ends a source is said."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import av
import numpy as np
import pytest

from pipeline.clip import live
from pipeline.clip.live import FrameRing, LiveFrame, open_live
from schemas.errors import ConfigError, FrameError
from tests.pipeline.clip.videos import RATE, index_of, write_video

FRAMES = 40  # of ``write_video``, 1.6 s


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("live") / "film.mkv")


def test_a_file_is_played_at_its_own_rate(film: Path) -> None:
    """All of it, in order, and no frame before it is due."""
    with open_live(str(film)) as source:
        assert source.fps == RATE
        started = time.monotonic()
        seen = [(frame, time.monotonic() - started) for frame in source.frames()]
    assert [index_of(frame.image) for frame, _ in seen] == [frame.number for frame, _ in seen] == list(range(FRAMES))
    assert all(at > frame.number / RATE - 0.1 for frame, at in seen)
    assert source.lost == ""
    assert source.ring.dropped == 0


def test_who_is_too_slow_gets_frames_that_are_new_and_nothing_piles_up(film: Path) -> None:
    """At a quarter of the rate: most of the film is dropped, single frames after each other, and the lag stays."""
    with open_live(str(film)) as source:
        seen = []
        for frame in source.frames():
            assert len(source.ring) <= round(RATE)
            seen.append((frame.number, time.monotonic() - frame.captured))
            time.sleep(4 / RATE)
    numbers = [number for number, _ in seen]
    assert numbers == sorted(set(numbers))
    assert source.ring.came == FRAMES
    assert source.ring.dropped == FRAMES - len(numbers) > 5
    assert numbers[-1] == FRAMES - 1


def test_a_full_ring_loses_every_second_frame() -> None:
    ring, image = FrameRing(8), np.zeros((2, 2, 3), np.uint8)
    for number in range(9):
        ring.put(LiveFrame(number, 0.0, image))
    ring.close()
    left = []
    while (frame := ring.take()) is not None:
        left.append(frame.number)
    assert left == [1, 3, 5, 7, 8]
    assert (ring.came, ring.dropped) == (9, 4)


def test_what_is_recorded_is_what_came(film: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mkv"
    with open_live(str(film), record=copy) as source:
        for _ in source.frames():
            pass
    with av.open(copy) as again:
        assert [index_of(frame.to_ndarray(format="rgb24")) for frame in again.decode(video=0)] == list(range(FRAMES))
    with pytest.raises(ConfigError, match="is there already"), open_live(str(film), record=copy):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["copy.mkv"]


def test_stopping_ends_a_source_early(film: Path) -> None:
    with open_live(str(film)) as source:
        numbers = []
        for frame in source.frames():
            numbers.append(frame.number)
            if frame.number == 5:
                source.stop()
    assert 5 <= numbers[-1] < 15
    assert source.lost == ""


def test_a_device_is_read_through_ffmpegs_formats_and_its_end_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's virtual device in the place of a camera, of which there is none here."""
    monkeypatch.setattr(live, "_DEVICES", {sys.platform: "lavfi"})
    monkeypatch.setattr(live, "_device", lambda source: "testsrc=size=64x48:rate=20:duration=0.5,realtime")
    with open_live("0") as source:
        assert source.fps == 20
        seen = [frame.image.shape for frame in source.frames()]
    assert seen == [(48, 64, 3)] * 10
    assert source.lost == "the camera gives no more frames"


def test_a_stream_that_breaks_off_keeps_what_came(film: Path) -> None:
    content = film.read_bytes()
    with served(content[: len(content) // 2], promised=len(content)) as address, open_live(address) as source:
        seen = [index_of(frame.image) for frame in source.frames()]
    assert 2 < len(seen) < FRAMES
    assert seen == list(range(len(seen)))
    assert source.lost
    assert source.name == address.replace("me:secret", "***")


@contextmanager
def served(content: bytes, *, promised: int) -> Iterator[str]:
    """The address of a file of ``promised`` bytes whose server hangs up before its end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_address[1]}/film.mkv"
        server.shutdown()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.mkv", "no such video file"),
        ("/dev/video99", "/dev/video99: cannot be opened"),
        ("http://user:secret@127.0.0.1:9/live", r"http://\*\*\*@127.0.0.1:9/live: cannot be opened"),
    ],
)
def test_what_cannot_be_opened_is_said(source: str, message: str) -> None:
    with pytest.raises(FrameError, match=message), open_live(source):
        pass
