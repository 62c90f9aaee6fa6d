"""Apex spotting: the frame of the largest facial motion, not of the largest motion."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.mesh.facial_motion import FacialMotion, largest_motion
from tests.pipeline.clip.mesh_warps import closed_lids, moved_face, noisy, personal_moves
from tests.pipeline.clip.real_clip import real_clip

SIZE, LENGTH, APEX, BLINK, BAD = 224, 25, 10, 18, 5


@cache
def course() -> NDArray[np.uint8]:
    """A weak smile with its apex at 10, a drifting head, a blink about 18, a blurred and brighter frame at 5."""
    neutral = real_clip(72, SIZE).texture[0]
    smile, drift = personal_moves({"AU12": 0.35}, seed=1), np.array([2.0, -1.5])
    frames = []
    for t in range(LENGTH):
        strength = np.interp(t, [0, APEX, LENGTH - 1], [0, 1, 0])
        closure = np.interp(abs(t - BLINK), [0, 2], [0.9, 0])
        moves = (0.5 - 0.5 * np.cos(np.pi * strength)) * smile + t / LENGTH * drift + closed_lids(float(closure))
        frames.append(noisy(neutral, 0) if t == 0 else moved_face(neutral, moves, seed=t))
    frames[BAD] = np.roll(frames[BAD], (4, 4), (0, 1))
    return np.stack(frames)


def test_apex_in_spite_of_blink_head_and_bad_frame() -> None:
    """The smile's apex is found, although the plain motion is largest elsewhere."""
    motion = FacialMotion(course()[0])
    plain = [np.linalg.norm(motion.to(frame), axis=1).mean() for frame in course()]
    assert abs(int(np.argmax(plain)) - APEX) > 2
    assert abs(largest_motion(course(), 0) - APEX) <= 2


def test_only_frames_after_the_onset_count() -> None:
    """With a later onset the frames before it are no candidates; positions count from the clip's start."""
    longer = np.concatenate([np.repeat(course()[[APEX]], 3, 0), course()])
    assert abs(largest_motion(longer, 3) - (APEX + 3)) <= 2


def test_long_clip_is_sampled_and_refined(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at every fourth frame first finds the same apex as looking at all, with fewer flows."""
    monkeypatch.setattr("pipeline.clip.mesh.facial_motion._COARSE_FRAMES", 8)
    assert abs(largest_motion(course(), 0) - APEX) <= 2


@pytest.mark.parametrize(("length", "onset", "expected"), [(1, 0, 0), (2, 0, 1), (5, 4, 4)])
def test_clips_with_nothing_to_choose_from(length: int, onset: int, expected: int) -> None:
    """Without a later frame the onset itself, with one that one."""
    assert largest_motion(course()[:length], onset) == expected


def test_repeatable() -> None:
    """Equal clips give the same frame."""
    assert largest_motion(course(), 0) == largest_motion(course().copy(), 0)
