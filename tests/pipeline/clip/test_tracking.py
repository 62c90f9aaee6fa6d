"""A face followed through a long video: it stays put, is followed when it moves, and cuts and losses end segments."""

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.mtcnn import Mtcnn
from pipeline.clip.recording import segments_of
from pipeline.clip.tracking import FollowedFrame, follow
from pipeline.synthesis.identities import identities, load_still
from pipeline.synthesis.recording import Camera, take_portrait
from schemas.manifest import Segment

CAMERA = Camera(320, 240, 30, 110, grey=False, noise=1.0)
FPS = 10.0


@cache
def still(person: int) -> NDArray[np.uint8]:
    portrait = take_portrait(load_still(identities(2)[person]), CAMERA, np.random.default_rng(person))
    return portrait.image.astype(np.uint8)


def shifted(x: float, person: int = 0) -> NDArray[np.uint8]:
    """The still moved to the right by so many px."""
    matrix = np.array([[1, 0, x], [0, 1, 0]], np.float64)
    return np.asarray(
        cv2.warpAffine(still(person), matrix, (CAMERA.width, CAMERA.height), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def followed(frames: Iterator[NDArray[np.uint8]] | list[NDArray[np.uint8]]) -> list[FollowedFrame]:
    return list(follow(frames, Mtcnn(), size=112, fps=FPS))


def test_a_face_that_keeps_still_is_cut_with_one_transform() -> None:
    noise = np.random.default_rng(0)
    frames = [
        np.clip(still(0) + noise.normal(0, 2, still(0).shape), 0, 255).astype(np.uint8) for _ in range(25)
    ]  # fmt: skip
    found = followed(frames)
    assert {one.segment for one in found} == {0}
    assert len({one.transform.tobytes() for one in found if one.transform is not None}) == 1
    assert [one.face is not None for one in found] == [position % 10 == 0 for position in range(25)]


def test_a_face_that_moves_is_followed_smoothly() -> None:
    """It moves 30 px within a second; a second later it is where it was in the crop, and no step was a jump."""
    frames = [shifted(30 * float(np.clip((position - 10) / 10, 0, 1))) for position in range(40)]
    found = followed(frames)
    places = np.array([one.transform @ [160, 120, 1] for one in found if one.transform is not None])  # the middle
    scale = float(np.hypot(*found[0].transform[0, :2])) if found[0].transform is not None else 0
    assert places[-1, 0] - places[0, 0] == pytest.approx(-30 * scale, abs=0.06 * 40)
    assert np.abs(np.diff(places[:, 0])).max() < 0.25 * 30 * scale
    assert {one.segment for one in found} == {0}


def test_a_cut_and_a_lost_face_end_segments() -> None:
    blank = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    frames = [still(0)] * 14 + [still(1)] * 16 + [blank] * 10 + [still(0)] * 5
    segments = segments_of([one.segment for one in followed(frames)])
    assert segments[0] == Segment(start=0, stop=14)
    assert segments[1] == Segment(start=14, stop=30)
    assert segments[2:] == (Segment(start=40, stop=45),)


def test_no_face_at_all_has_no_segment_and_black_crops() -> None:
    found = followed([np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)] * 3)
    assert segments_of([one.segment for one in found]) == ()
    assert not any(one.crop.any() for one in found)


def test_frames_are_taken_one_after_the_other_and_few_are_held() -> None:
    """A reader of the crops is never more than two looks behind what was decoded."""
    taken = 0

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        for _ in range(35):
            taken += 1
            yield still(0)

    for position, _ in enumerate(follow(frames(), Mtcnn(), size=112, fps=FPS)):
        assert taken <= position + 2 * FPS
    assert taken == 35
