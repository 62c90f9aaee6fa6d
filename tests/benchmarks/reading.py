"""Reading a 200 fps video with PyAV against OpenCV's reader, which mer used before, in turns.

uv run python -m tests.benchmarks.reading [--frames 600] [--codec libx264] [--size 640x480]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from pipeline.clip.video import read_video

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


def main() -> None:
    """Print frames per second of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--size", default="640x480")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("video.avi" if options.codec == "mjpeg" else "video.mp4")
        write(path, options.frames, options.codec, width, height)
        pairs = [[seconds(read, path, options.frames) for read in (with_opencv, with_pyav)] for _ in range(REPEATS)]
    for name, times in zip(("OpenCV", "PyAV"), zip(*pairs, strict=True), strict=True):
        print(f"{name}: {options.frames / median(times):.0f} frames per second")
    ratio = median(before / now for before, now in pairs)
    print(f"PyAV is {ratio:.2f} times as fast ({options.codec}, {options.size}, median of {REPEATS} turns)")


if __name__ == "__main__":
    main()
