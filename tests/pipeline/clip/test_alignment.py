"""One similarity a clip: recovered exactly, kept through a change of size, sampled without aliasing."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.clip.alignment import rescale, similarity, warp

coordinates = st.floats(-500, 500, width=32)
point_sets = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9).map(np.array)


def make_similarity(angle: float, scale: float, x: float, y: float) -> NDArray[np.float64]:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def apply(transform: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(points @ transform[:, :2].T + transform[:, 2], np.float64)


@given(point_sets, st.floats(-np.pi, np.pi), st.floats(0.05, 20), coordinates, coordinates)
def test_any_similarity_is_recovered(
    points: NDArray[np.float64], angle: float, scale: float, x: float, y: float
) -> None:
    """From points and where it takes them, up to rounding; also where they lie on one line."""
    assume(np.ptp(points, axis=0).max() > 1)
    transform = make_similarity(angle, scale, x, y)
    found = similarity(points, apply(transform, points))
    np.testing.assert_allclose(apply(found, points), apply(transform, points), atol=1e-6)
    np.testing.assert_allclose(found[:, :2], transform[:, :2], atol=1e-6 * scale)


@given(point_sets, st.integers(0, 2**32 - 1))
def test_the_fit_is_a_similarity_and_no_other_is_closer(points: NDArray[np.float64], seed: int) -> None:
    """Between any two sets of points: no reflection, no shear, and the least squares."""
    random = np.random.default_rng(seed)
    target = random.uniform(-100, 100, points.shape)
    assume(np.ptp(points, axis=0).min() > 1)
    found = similarity(points, target)
    (a, b), (c, d) = found[:, :2]
    assert (a, c) == pytest.approx((d, -b))
    assert a * d - b * c >= 0
    error = np.sum((apply(found, points) - target) ** 2)
    scale, angle = np.hypot(a, c), np.arctan2(c, a)
    for _ in range(5):
        turn, factor, x, y = random.normal(0, [0.1, 0.1, 1, 1])
        other = make_similarity(angle + turn, scale * (1 + factor), found[0, 2] + x, found[1, 2] + y)
        assert np.sum((apply(other, points) - target) ** 2) >= error - 1e-6


def test_mirrored_points_are_not_mirrored_back() -> None:
    """A face does not turn inside out, however well that would fit."""
    points = np.array([[30.0, 40], [70, 40], [50, 60], [35, 80], [65, 80]])
    found = similarity(points, points * [-1, 1])
    assert np.linalg.det(found[:, :2]) > 0


@given(st.floats(0.1, 10), st.floats(-1, 1), st.floats(0.2, 5), coordinates, coordinates)
def test_rescaling_keeps_the_centres_of_pixels(factor: float, angle: float, scale: float, x: float, y: float) -> None:
    """The crop's edge, at -0.5 px, stays its edge; the matrix that came in is not changed."""
    transform = make_similarity(angle, scale, x, y)
    before = transform.copy()
    points = np.array([[0.0, 0], [10, 20], [300, 200]])
    np.testing.assert_allclose(
        apply(rescale(transform, factor), points) + 0.5, (apply(transform, points) + 0.5) * factor, rtol=1e-9, atol=1e-6
    )
    np.testing.assert_array_equal(transform, before)


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Red is the column, green the row."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width)
    frame[..., 1] = np.arange(height)[:, None]
    return frame


@pytest.mark.parametrize("factor", [2, 4])
def test_a_larger_crop_brought_down_is_the_smaller_crop(factor: int) -> None:
    """Depth is estimated on larger crops and brought to the texture's size: the two must lie on each other."""
    frame, transform = ramp(200, 250), make_similarity(0.2, 0.8, 10, -5)
    small = warp(frame, transform, 64).astype(float)
    large = warp(frame, rescale(transform, factor), 64 * factor)
    brought_down = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    inside = slice(14, -14)  # what lies in the frame
    assert np.abs(brought_down - small)[inside, inside].max() <= 1


@pytest.mark.parametrize("scale", [1.0, 0.7, 0.5, 0.34, 0.26, 0.19, 1.6])
@pytest.mark.parametrize("shape", [(255, 256), (243, 251)])
def test_every_pixel_comes_from_where_the_transform_says(scale: float, shape: tuple[int, int]) -> None:
    """Also through the area-averaged frame, and where its sides do not divide."""
    transform = make_similarity(0.1, scale, 0, 0)
    size = 32
    transform[:, 2] += [size / 2, size / 2] - apply(transform, np.array([[128.0, 120]]))[0]
    crop = warp(ramp(*shape), transform, size).astype(float)
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    linear = np.linalg.inv(transform[:, :2])
    source = (grid - transform[:, 2]) @ linear.T
    inside = ((source > 8) & (source < np.array(shape[::-1]) - 9)).all(1)
    assert inside.sum() > 300
    offset = (crop.reshape(-1, 3)[:, :2] - source)[inside]
    assert np.abs(offset.mean(0)).max() < 0.25, "a shift by a part of a pixel"
    assert np.abs(offset).max() < 1.1


@pytest.mark.parametrize("scale", [0.5, 0.33, 0.25, 0.11])
def test_fine_patterns_do_not_alias(scale: float) -> None:
    """Stripes finer than the crop's pixels become grey, not moiré."""
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[:, ::2] = 255
    crop = warp(frame, make_similarity(0, scale, 0, 0), int(256 * scale) - 1).astype(float)
    assert crop.std() < 40
    assert crop.mean() == pytest.approx(127.5, abs=4)


def test_outside_the_frame_the_border_goes_on() -> None:
    """No black wedge that a model would take for a feature."""
    frame = np.full((20, 20, 3), 80, np.uint8)
    frame[:, :10] = 60
    crop = warp(frame, make_similarity(0, 1, 10, 10), 40)
    assert np.unique(crop).tolist() == [60, 80]
    assert (crop[:, 0] == 60).all()
    assert (crop[:, -1] == 80).all()


def test_the_identity_leaves_a_frame_as_it_is() -> None:
    """No resampling where there is none to do."""
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    np.testing.assert_array_equal(warp(frame, np.eye(2, 3), 32), frame)
