"""Motion in place of raw frames: differences, optical flow, and what a mirror or a crop does to them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from tests.training.small_stores import small_store
from training.config import Augmentation, Motion
from training.data.batch import ClipBatch
from training.data.clips import ClipReader, ClipSource, StoredClip
from training.data.dataset import ClipDraw, StoreDataset, join
from training.data.motion import flow_from_onset, motion_stream, stored_inputs
from training.data.preparation import Augmenter, Normalisation, measure_normalisation
from training.models.registry import create_model

OFF = Augmentation(flip=0, crop=0, brightness=0, contrast=0, saturation=0, frame_jitter=False)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with structure everywhere, in [0, 1]."""
    picture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2)
    return (picture - picture.min()) / np.ptp(picture)


def moved(picture: np.ndarray, right: float, down: float) -> Tensor:
    """``(3, H, W) uint8``: the picture shifted by so many px."""
    shifted = ndimage.shift(picture, (down, right), order=3, mode="nearest").clip(0, 1)
    return torch.from_numpy((shifted * 255).astype(np.uint8)).expand(3, -1, -1)


def test_differences() -> None:
    """Each frame minus the first, or minus the one before; the onset has no motion."""
    video = noise(2, 5, 3, 4, 4)
    frames = video.numpy()
    onset, adjacent = motion_stream(video, "onset").numpy(), motion_stream(video, "adjacent").numpy()
    assert (onset[:, 0] == 0).all()
    assert (adjacent[:, 0] == 0).all()
    for t in range(1, 5):
        np.testing.assert_allclose(onset[:, t], frames[:, t] - frames[:, 0], atol=1e-7)
        np.testing.assert_allclose(adjacent[:, t], frames[:, t] - frames[:, t - 1], atol=1e-7)
    assert motion_stream(video, "none") is video


@pytest.mark.parametrize(("right", "down"), [(1.5, 0.0), (0.0, -1.0), (-0.7, 0.7)])
def test_flow_is_where_pixels_went(right: float, down: float) -> None:
    """A picture that SciPy shifts by so many px, against the onset in the middle of the clip; no flow at the onset."""
    picture = smooth(48, 48)
    clip = torch.stack([moved(picture, right, down), moved(picture, 0, 0), moved(picture, right / 2, down / 2)])
    flow = flow_from_onset(clip, 1).float()
    assert flow.shape == (3, 2, 48, 48)
    assert (flow[1] == 0).all()
    inner = flow[..., 8:-8, 8:-8].mean((2, 3))
    np.testing.assert_allclose(inner[0], [right, down], atol=0.15)
    np.testing.assert_allclose(inner[2], [right / 2, down / 2], atol=0.15)


def test_strain_of_flow() -> None:
    """The third channel: a face that is stretched by a tenth to the right has a strain of a tenth."""
    x = torch.arange(16.0).expand(16, 16)
    flow = torch.stack([0.1 * x, 0 * x])[None, None]
    stream = motion_stream(flow, "flow")
    assert torch.equal(stream[:, :, :2], flow)
    torch.testing.assert_close(stream[0, 0, 2], torch.full((16, 16), 0.1), atol=1e-5, rtol=0)


def test_flow_turns_in_a_mirror_and_grows_in_a_crop() -> None:
    """Flow of mirrored pixels is the mirrored flow, to the other side; of enlarged ones it is enlarged."""
    picture = smooth(48, 48, seed=3)
    clip = torch.stack([moved(picture, 0, 0), moved(picture, 1.0, 0.5)])
    flow = flow_from_onset(clip, 0).float()
    batch = ClipBatch(texture=clip[None, :, :0], depth=clip[None, :, :0], au=torch.zeros(1, 2), flow=flow[None])
    flipped = Augmenter(OFF.model_copy(update={"flip": 1}), ("a", "b")).apply(batch, torch.Generator().manual_seed(0))
    expected = flow_from_onset(clip.flip(-1), 0).float()
    difference = (flipped.flow[0] - expected)[..., 8:-8, 8:-8].abs().mean()
    assert difference < 0.05
    constant = replace(batch, flow=torch.tensor([2.0, -3.0]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 48, 48))
    augmenter, draws = Augmenter(OFF.model_copy(update={"crop": 0.4}), ("a", "b")), torch.Generator().manual_seed(1)
    enlarged = augmenter.apply(constant, draws).flow
    factor = enlarged[0, 0, 0, 0, 0] / 2
    assert 1.05 < factor < 1 / 0.6
    torch.testing.assert_close(enlarged, constant.flow * factor)


@pytest.mark.parametrize("motion", ["onset", "adjacent"])
def test_motion_is_divided_by_its_own_deviation(motion: Motion) -> None:
    """A thousandth of the picture's range comes out with rms 1, and stillness stays exactly 0."""
    still = noise(4, 1, 3, 8, 8).expand(-1, 6, -1, -1, -1)
    texture = (200 * still + 1.0 * torch.randn(4, 6, 3, 8, 8, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    batch = ClipBatch(texture=texture, depth=1e-4 * texture[:, :, :1], au=torch.zeros(4, 2))
    normalisation = measure_normalisation([batch], motion=motion, depth_motion=motion)
    seen = normalisation.apply(batch)
    for video in (seen.texture, seen.depth):
        assert (video[:, 0] == 0).all()
        torch.testing.assert_close(video.square().mean((0, 1, 3, 4)), torch.ones(video.shape[2]), atol=1e-3, rtol=0)
    frozen = normalisation.apply(replace(batch, texture=texture[:, :1].expand_as(texture)))
    assert (frozen.texture == 0).all()


def test_padding_does_not_move() -> None:
    """What lies behind the last real frame is neither motion nor the end of one."""
    batch = ClipBatch(
        texture=255 * noise(1, 6, 3, 8, 8), depth=noise(1, 6, 1, 8, 8), au=torch.zeros(1, 2), n_frames=torch.tensor([4])
    )
    pairs = ((0.0, 1.0),)
    normalisation = Normalisation(
        motion="adjacent", depth_motion="adjacent", texture=pairs * 3, depth=pairs, au=pairs * 2
    )
    seen = normalisation.apply(batch)
    assert (seen.texture[:, 4:] == 0).all()
    assert (seen.depth[:, 4:] == 0).all()
    assert (seen.texture[:, 3] != 0).any()


class _Planted(ClipSource):
    """Clips of 40 frames in which frame 23, the apex, alone is different: a class that is shown there and nowhere else.

    The last frame is brighter by more than that, as by a lamp: the frame of the largest grey change is not the apex.
    """

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> StoredClip:
        texture = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
        texture[23, :, 8:24, 4 : 14 + 10 * index] = 140
        texture[-1] = 220
        return StoredClip(texture, texture[:, :0].half(), torch.zeros(2), onset=0, apex=23)


@pytest.mark.parametrize("frames", [3, 4, 8, 16, 33])
def test_models_that_read_the_apex_find_it(frames: int) -> None:
    """However many frames are drawn, jittered or not, ``apex`` points to the planted one; STSTNet takes that."""
    dataset = StoreDataset(_Planted(), [0, 1], frames=frames)
    drawn = join([dataset[ClipDraw(clip, seed)] for clip in range(2) for seed in (None, 1, 2)])
    clip = torch.arange(6)
    assert torch.equal(drawn.texture[clip, drawn.apex][:, 0, 8, 4], torch.full((6,), 140, dtype=torch.uint8))
    network = create_model("ststnet", classes=2, frames=frames, size=32, action_units=2).eval()
    pairs = ((0.5, 0.2),)
    prepared = Normalisation(texture=pairs * 3, depth=(), au=((0.0, 1.0),) * 2).apply(drawn)
    assert torch.equal(network(prepared).auxiliary["apex"], drawn.apex)
    unknown = network(replace(prepared, apex=None)).auxiliary["apex"]
    assert (unknown == frames - 1).all()  # the lamp


def test_flow_is_read_in_place_of_texture(tmp_path: Path) -> None:
    """A store's clip as the flow of its own frames, at the model's size, and no picture beside it."""
    store = small_store(tmp_path / "casme2.zarr", subjects=1, clips=1)
    key = store.manifest.clips[0].key
    assert stored_inputs(frozenset({"texture", "au"}), "flow") == {"flow", "au"}
    assert stored_inputs(frozenset({"au"}), "flow") == {"au"}
    clip = ClipReader([store.path], [key], size=32, inputs=frozenset({"flow"}))[0]
    whole = ClipReader([store.path], [key], size=32, inputs=frozenset({"texture"}))[0]
    assert clip.texture.shape == (len(whole.texture), 0, 32, 32)
    assert torch.equal(clip.flow, flow_from_onset(whole.texture, whole.onset))
