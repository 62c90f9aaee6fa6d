"""Courses of facial regions: the head's motion is taken off, skin that moves by itself stays."""

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.mesh.regions import region_masks
from pipeline.clip.region_motion import GRID, REGIONS, SIDE, RegionMotion, motion_of_crops
from tests.pipeline.clip.real_clip import real_clip


@cache
def face() -> NDArray[np.uint8]:
    return np.asarray(real_clip(1).texture[0], np.uint8)


def moved(dx: NDArray[np.float64] | float, dy: NDArray[np.float64] | float) -> NDArray[np.uint8]:
    """The face with its pixels moved by ``(dx, dy)`` px; small smooth motions, so that the inverse is the negative."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return np.asarray(
        cv2.remap(face(), (x - dx).astype(np.float32), (y - dy).astype(np.float32), cv2.INTER_CUBIC,
                  borderMode=cv2.BORDER_REPLICATE), np.uint8)  # fmt: skip


def skin(unit: str, side: int) -> NDArray[np.float64]:
    """1 in the middle of a region's half, falling off smoothly."""
    mask = region_masks(SIDE)[unit] & ((np.arange(SIDE)[None] < SIDE / 2) == (side == 0))
    rows, columns = np.nonzero(mask)
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.exp(-0.5 * (((x - columns.mean()) / 9) ** 2 + ((y - rows.mean()) / 9) ** 2))


@pytest.mark.parametrize("move", [(2.0, 0.0), (0.0, -1.5), (1.0, 1.0)])
def test_a_head_that_moves_as_a_whole_moves_no_region(move: tuple[float, float]) -> None:
    motion = RegionMotion(fps=30)
    assert not motion.next(face()).regions.any()
    assert np.abs(motion.next(moved(*move)).regions).max() < 0.25 * np.hypot(*move)


def test_a_head_that_comes_closer_moves_no_region() -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    motion = RegionMotion(fps=30)
    motion.next(face())
    assert np.abs(motion.next(moved(0.02 * (x - 56), 0.02 * (y - 56))).regions).max() < 0.25


@pytest.mark.parametrize(("unit", "side"), [("AU12", 0), ("AU12", 1), ("AU02", 0)])
def test_skin_that_moves_by_itself_moves_its_region_most(unit: str, side: int) -> None:
    motion = RegionMotion(fps=30)
    motion.next(face())
    found = motion.next(moved(0, -2.0 * skin(unit, side))).regions
    own = REGIONS.index(f"{unit}{('right', 'left')[side]}")
    assert found[own, 1] < -0.4  # upwards, by much of the 2 px
    other = REGIONS.index(f"{unit}{('left', 'right')[side]}")
    assert abs(found[other, 1]) < 0.3 * abs(found[own, 1])


def test_a_new_reference_carries_on_from_the_old_one() -> None:
    """At 2 frames per second the reference is renewed every two frames; a face that stays moved stays moved."""
    up = moved(0, -2.0 * skin("AU12", 0))
    own = REGIONS.index("AU12right")
    course = list(motion_of_crops(((crop, 0) for crop in [face(), up, up, up, up, face()]), fps=2))
    held = [float(motion.regions[own, 1]) for motion in course[1:5]]
    assert max(held) - min(held) < 0.1
    assert abs(course[5].regions[own, 1]) < 0.15


def test_a_new_segment_begins_at_zero_and_no_face_is_nan() -> None:
    course = list(motion_of_crops([(face(), 0), (face(), None), (moved(3, 3), 1)], fps=30))
    assert np.isnan(course[1].regions).all()
    assert not course[1].field.any()
    assert not course[2].regions.any()
    assert not course[2].field.any()


def test_fields_add_up_to_where_the_skin_is_also_across_a_new_reference() -> None:
    """Up over two frames, held, and down again; the head's own motion is in none of it."""
    shape = skin("AU12", 0)
    crops = [moved(0.5 * step, -height * shape) for step, height in enumerate([0.0, 1.0, 2.0, 2.0, 2.0, 0.0])]
    fields = np.stack([motion.field for motion in motion_of_crops(((crop, 0) for crop in crops), fps=2)])
    assert fields.shape == (6, 2, GRID, GRID)
    places = np.cumsum(fields.astype(np.float64), 0)
    row, column = (int(axis) * GRID // SIDE for axis in np.unravel_index(shape.argmax(), shape.shape))
    assert places[2, 1, row, column] < -0.4  # upwards, by much of the 2 px
    np.testing.assert_allclose(places[3:5, 1, row, column], places[2, 1, row, column], atol=0.25)
    assert abs(places[5, 1, row, column]) < 0.3
    assert np.abs(places[:, 0, row, column]).max() < 0.4, "2.5 px of the head"
