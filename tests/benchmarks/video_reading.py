"""Reading a 200 fps video with PyAV against OpenCV's reader, which mer used before, in turns."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from pipeline.clip.video import read_video
from tests.benchmarks.profiles import shares
from tests.benchmarks.table import Beside, Goal, Row

REPEATS = 5


def write(path: Path, frames: int, codec: str, width: int, height: int) -> None:
    """A textured picture that drifts, with a little noise, as a camera gives it."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (height + 64, width + 64, 3)).astype(np.uint8), (0, 0), 4)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=200)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for i in range(frames):
            part = texture[i % 64 : i % 64 + height, :width].astype(np.int16) + rng.integers(-3, 4, (height, width, 1))
            frame = av.VideoFrame.from_ndarray(part.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())


def with_opencv(path: Path, frames: int) -> int:
    """Frames as RGB, by the reader that was used before."""
    video, count = cv2.VideoCapture(str(path)), 0
    while count < frames and (read := video.read())[0]:
        count += np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)).ndim == 3
    video.release()
    return count


def with_pyav(path: Path, frames: int) -> int:
    """Frames as RGB, by the reader that is used."""
    return sum(frame.ndim == 3 for frame in read_video(path, 0, frames))


def seconds(read: Callable[[Path, int], int], path: Path, frames: int) -> float:
    """How long reading the whole video takes."""
    started = time.perf_counter()
    assert read(path, frames) == frames
    return time.perf_counter() - started


def rows(*, short: bool) -> Iterator[Row]:
    """Frames per second of 640x480 px, by codec."""
    frames, repeats = (10, 1) if short else (300, REPEATS)
    for codec, name in (("libx264", "video.mp4"), ("mjpeg", "video.avi")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            write(path, frames, codec, 640, 480)
            turns = [[seconds(read, path, frames) for read in (with_pyav, with_opencv)] for _ in range(repeats)]
            why = shares(lambda p=path: with_pyav(p, frames))  # type: ignore[misc]
        ours, other = (frames / median(column) for column in zip(*turns, strict=True))
        taken = median(turn[1] / turn[0] for turn in turns)
        yield Row(
            what=f"frames of a video, {codec}, 640x480 px", unit="frames/s", ours=ours, peer=Beside(other, "OpenCV"),
            taken=taken, goal=Goal("≥", 1, "peer"), why=why,
        )  # fmt: skip
