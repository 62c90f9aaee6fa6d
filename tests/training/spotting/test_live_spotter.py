"""Spotting while frames come: what is said is what a whole recording gives, once, in order and in time."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from schemas.labels import ExpressionType
from tests.training.spotting.test_flow_peaks import FPS, Bump, course
from training.spotting.course import Course
from training.spotting.intervals import Spotted
from training.spotting.live import SETTLED, LiveSpotter
from training.spotting.methods.flow_peaks import FlowPeaks, PeakRule
from training.spotting.methods.madv_spot.method import read
from training.spotting.methods.madv_spot.network import SpottingNetwork
from training.spotting.methods.madv_spot.reading import FieldObserver

RULES = FlowPeaks(
    micro=PeakRule(lag=0.2, height=4, beyond=0.25), macro=PeakRule(lag=0.75, height=8, beyond=0.25)
)  # fmt: skip
BUMPS: list[Bump] = [(second * 30, second * 30 + 13, "micro") for second in (3, 9, 58, 61, 100)] + [
    (second * 30, second * 30 + 45, "macro") for second in (20, 39, 59 + 20, 130)
]


class Moved(NamedTuple):
    """The motion of a frame."""

    regions: NDArray[np.float32]
    field: NDArray[np.float16]


def pushed(live: LiveSpotter, whole: Course, numbers: Iterable[int]) -> list[tuple[int, Spotted]]:
    """The frame with which each interval was said, and the interval."""
    field = np.zeros((2, 32, 32), np.float16)
    said = [
        (number, one) for number in numbers for one in live.push(number, Moved(whole.positions[number], field))
    ]  # fmt: skip
    return said + [(len(whole.positions), one) for one in live.finish()]


def right(said: list[tuple[int, Spotted]], bumps: list[Bump]) -> list[tuple[int, int, ExpressionType]]:
    """The bumps that intervals of their kind are near to, in the order in which they were said."""
    return [
        bump
        for _, one in said
        for bump in bumps
        if one.type == bump[2] and abs(one.onset - bump[0]) < 10 and abs(one.offset - bump[1]) < 10
    ]


@pytest.fixture(scope="module")
def whole() -> Course:
    return course(BUMPS, frames=140 * 30)


def test_each_expression_is_said_once_and_some_seconds_after_it(whole: Course) -> None:
    """Over three stretches of a minute; what was kept of the video never exceeds one."""
    live, held = LiveSpotter(RULES, FPS), 0
    said = []
    for number in range(len(whole.positions)):
        said += [(number, one) for one in live.push(number, Moved(whole.positions[number], np.zeros((2, 2, 2), "f2")))]
        held = max(held, len(live._positions))
    assert right(said, BUMPS) == sorted(BUMPS)
    assert len(said) == len(BUMPS)
    assert held <= 60 * FPS + 1
    for number, one in said:
        assert SETTLED * FPS <= number - one.offset <= (SETTLED + 0.6) * FPS


@pytest.mark.slow
def test_dropped_frames_change_neither_times_nor_what_is_found(whole: Course) -> None:
    """Every second frame for a while, then a random quarter of the rest."""
    random = np.random.default_rng(0)
    numbers = [n for n in range(len(whole.positions)) if (n % 2 if n < 1500 else random.random() < 0.75)]
    said = pushed(LiveSpotter(RULES, FPS), whole, numbers)
    assert right(said, BUMPS) == sorted(BUMPS)
    assert len(said) == len(BUMPS)


@pytest.mark.slow
def test_after_a_long_gap_the_video_goes_on_at_its_own_time(whole: Course) -> None:
    """Seconds 15 to 30 never came: the expression there is not found, all others are, none at the seam."""
    numbers = [n for n in range(len(whole.positions)) if not 15 * 30 <= n < 30 * 30]
    said = pushed(LiveSpotter(RULES, FPS), whole, numbers)
    assert right(said, BUMPS) == sorted(bump for bump in BUMPS if not 15 * 30 <= bump[0] < 30 * 30)
    assert len(said) == len(BUMPS) - 1


def test_the_end_says_what_had_not_settled() -> None:
    short = course([(60, 73, "micro")], frames=100)
    said = pushed(LiveSpotter(RULES, FPS), short, range(100))
    assert [number for number, _ in said] == [100]
    assert right(said, [(60, 73, "micro")])


@pytest.mark.parametrize("fps", [25.0, 200.0])
def test_evidence_so_far_is_never_taken_back(fps: float) -> None:
    """Its rows are the first rows of the evidence of the whole, and lag by at most 1.7 s."""
    torch.manual_seed(0)
    network, frames = SpottingNetwork().eval(), round(6 * fps)
    fields = np.random.default_rng(0).normal(0, 0.1, (frames, 2, 32, 32)).astype(np.float16)
    faces = np.arange(frames) % round(fps) > 5
    positions = np.where(faces[:, None, None], 0.0, np.nan) * np.zeros((frames, 18, 2))
    final = read(network, Course("d/s/v", fps, np.arange(frames), positions.astype(np.float32), fields))
    observer = FieldObserver(network, fps)
    for number, (field, face) in enumerate(zip(fields, faces, strict=True)):
        observer.push(field, face=bool(face))
        if number % 10 == 0:
            found = observer.so_far()
            np.testing.assert_array_equal(found, final[: len(found)])
            assert len(found) >= 15 * (number / fps - 1.7)
