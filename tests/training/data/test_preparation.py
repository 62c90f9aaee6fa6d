"""Normalisation and augmentation of raw batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config import Augmentation
from training.data.batch import ClipBatch
from training.data.preparation import Augmenter, Normalisation, measure_normalisation, mirrored_columns

UNITS = ("AU04", "AU12L", "AU12R", "AU25", "AU14L")
SIDE = 24
OFF: dict[str, Any] = {"flip": 0, "crop": 0, "brightness": 0, "contrast": 0, "saturation": 0, "frame_jitter": False}


def raw(count: int = 3, *, frames: int = 4, seed: int = 0) -> ClipBatch:
    """Depth is texture's red in another unit, so that whatever moves one must move the other."""
    random = torch.Generator().manual_seed(seed)
    texture = torch.randint(0, 256, (count, frames, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    return ClipBatch(
        texture=texture,
        depth=(texture[:, :, :1].float() / 256).half(),
        au=torch.randn(count, len(UNITS), generator=random),
        label=torch.arange(count),
    )


def augmented(batch: ClipBatch, seed: int = 0, **options: Any) -> ClipBatch:
    augmenter = Augmenter(Augmentation(**(OFF | options)), UNITS)
    return augmenter.apply(batch, torch.Generator().manual_seed(seed))


def close(one: Tensor, other: Tensor, *, atol: float = 2e-3) -> None:
    torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=atol)


def test_all_off_changes_nothing() -> None:
    """To float tolerance: the grid of the identity is sampled, too."""
    batch = raw()
    same = augmented(batch)
    close(same.texture, batch.texture)
    close(same.depth, batch.depth, atol=1e-5)
    assert torch.equal(same.au, batch.au)
    assert same.label is batch.label


def test_columns_of_a_mirror_image() -> None:
    """Left and right change places; without a side, or without the other side's column, a column stays."""
    assert mirrored_columns(UNITS) == [0, 2, 1, 3, 4]
    assert mirrored_columns(("L", "R", "AU1L", "AU1R", "")) == [1, 0, 3, 2, 4]
    assert mirrored_columns(("AU01", "AU02")) == [0, 1]


def test_flip_mirrors_texture_depth_and_sides() -> None:
    """All frames of all clips left to right, AU12L's column from AU12R's and the reverse."""
    batch = raw()
    flipped = augmented(batch, flip=1)
    close(flipped.texture, batch.texture.flip(-1))
    close(flipped.depth, batch.depth.flip(-1), atol=1e-5)
    assert torch.equal(flipped.au, batch.au[:, [0, 2, 1, 3, 4]])


def test_flip_is_drawn_once_a_clip() -> None:
    """Half of the clips, every one whole, its action units with its pixels."""
    batch = raw(64, frames=2)
    flipped = augmented(batch, flip=0.5)
    there = [(clip - plain).abs().max() < 1 for clip, plain in zip(flipped.texture, batch.texture.float(), strict=True)]
    assert 16 < sum(there) < 48
    for index, stayed in enumerate(there):
        dims = () if stayed else (-1,)
        close(flipped.texture[index], batch.texture[index].flip(dims))
        close(flipped.depth[index], batch.depth[index].flip(dims), atol=1e-5)
        assert torch.equal(flipped.au[index], batch.au[index] if stayed else batch.au[index, [0, 2, 1, 3, 4]])


def test_depth_moves_as_texture_does() -> None:
    """Flips and crops keep depth what it was made of, up to the rounding of half precision."""
    moved = augmented(raw(16), flip=0.5, crop=0.3)
    assert (moved.texture - raw(16).texture).abs().mean() > 10
    close(moved.depth, moved.texture[:, :, :1] / 256, atol=1e-4)


def test_all_frames_of_a_clip_are_changed_alike() -> None:
    """A still clip stays still under every change at its largest."""
    batch = raw(8, frames=1)
    still = replace(batch, texture=batch.texture.expand(-1, 5, -1, -1, -1), depth=batch.depth.expand(-1, 5, -1, -1, -1))
    changed = augmented(still, flip=0.5, crop=0.4, brightness=0.5, contrast=0.5, saturation=0.5)
    close(changed.texture, changed.texture[:, :1].expand_as(changed.texture), atol=1e-3)
    close(changed.depth, changed.depth[:, :1].expand_as(changed.depth), atol=1e-6)
    assert (changed.texture - still.texture).abs().mean((1, 2, 3, 4)).min() > 1


def test_crop_leaves_out_no_more_than_it_may() -> None:
    """A ramp over the frame shows which part is seen: at least the given share, never beyond the edge, other parts."""
    ramp = torch.linspace(-1 + 1 / SIDE, 1 - 1 / SIDE, SIDE).expand(64, 1, 1, SIDE, SIDE)
    batch = replace(raw(64, frames=1), depth=ramp.half())
    seen = augmented(batch, crop=0.2).depth[:, 0, 0, SIDE // 2]
    assert (seen.diff(dim=-1) > 0).all()
    share = (seen[:, -2] - seen[:, 1]) / (ramp[0, 0, 0, 0, -2] - ramp[0, 0, 0, 0, 1])
    assert share.min() > 0.79
    assert share.max() < 1.005
    assert seen.abs().max() <= 1
    assert share.std() > 0.03
    assert seen.mean(-1).std() > 0.03


def test_colours_at_known_points() -> None:
    """Brightness scales, contrast is about the clip's grey mean, saturation about each pixel's grey; depth stays."""
    batch = raw(32)
    texture = batch.texture.float()
    grey = (texture * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2, keepdim=True)
    mean = grey.mean((1, 3, 4), keepdim=True)
    for name, centre in (("brightness", torch.zeros(())), ("contrast", mean), ("saturation", grey)):
        changed = augmented(batch, **{name: 0.3})
        inside = (changed.texture > 1) & (changed.texture < 254) & ((texture - centre).abs() > 20)
        factor = torch.where(inside, (changed.texture - centre) / (texture - centre), torch.nan).flatten(1)
        lowest, highest = (factor.nan_to_num(fill).sort(1).values for fill in (9, -9))
        close(lowest[:, 0], highest[:, -1], atol=1e-2)
        assert 0.69 < lowest[:, 0].min() < 0.8
        assert 1.2 < lowest[:, 0].max() < 1.31
        assert torch.equal(changed.depth, augmented(batch).depth)
        assert torch.equal(changed.au, batch.au)
        assert changed.texture.min() >= 0
        assert changed.texture.max() <= 255


def test_draws_depend_on_the_generator_alone() -> None:
    """Equal seeds equal changes, whatever the clips hold; the generator ends in the same state, its device the CPU."""
    full = {"flip": 0.5, "crop": 0.3, "brightness": 0.2}
    one, again, other = (augmented(raw(), seed=seed, **full) for seed in (1, 1, 2))
    assert torch.equal(one.texture, again.texture)
    assert not torch.equal(one.texture, other.texture)
    states = []
    for batch, options in ((raw(), full), (raw(seed=5, frames=1), full), (replace(raw(), depth=raw().depth * 0), OFF)):
        generator = torch.Generator().manual_seed(1)
        Augmenter(Augmentation(**(OFF | options)), UNITS).apply(batch, generator)
        states.append(generator.get_state())
    assert all(torch.equal(state, states[0]) for state in states)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_draws_are_the_same_on_a_gpu() -> None:
    """A clip is flipped, cropped and coloured there as here."""
    full = {"flip": 0.5, "crop": 0.3, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    here, there = augmented(raw(16), **full), augmented(raw(16).to("cuda"), **full)
    close(there.texture.cpu(), here.texture, atol=0.1)
    close(there.depth.cpu(), here.depth, atol=1e-3)
    assert torch.equal(there.au.cpu(), here.au)


@pytest.mark.parametrize("absent", ["texture", "depth"])
def test_without_an_input(absent: str) -> None:
    """What no model reads has no channels, no statistics, and is passed through."""
    batch = raw()
    batch = replace(batch, **{absent: getattr(batch, absent)[:, :, :0]})
    normalisation = measure_normalisation([batch])
    assert getattr(normalisation, absent) == ()
    prepared = normalisation.apply(augmented(batch, flip=1, crop=0.1))
    assert getattr(prepared, absent).shape == getattr(batch, absent).shape
    assert prepared.au.shape == batch.au.shape


def test_statistics_are_numpys() -> None:
    """Of all pixels of all batches together, of unequal sizes, to double precision."""
    batches = [raw(5, seed=1), raw(2, seed=2), raw(1, seed=3)]
    found = measure_normalisation(batches)
    texture = np.concatenate([b.texture.numpy() for b in batches]).astype(np.float64) / 255
    depth = np.concatenate([b.depth.numpy() for b in batches]).astype(np.float64)
    au = np.concatenate([b.au.numpy() for b in batches]).astype(np.float64)
    for pairs, values, axes in ((found.texture, texture, (0, 1, 3, 4)), (found.depth, depth, (0, 1, 3, 4)),
                                (found.au, au, (0,))):  # fmt: skip
        np.testing.assert_allclose(np.array(pairs), np.stack([values.mean(axes), values.std(axes)], 1), rtol=1e-9)


def test_normalised_clips_have_mean_0_and_sd_1() -> None:
    """Of the clips that were measured; others are mapped by the same line. All comes out as float32."""
    batch = raw(6)
    normalisation = measure_normalisation([batch])
    prepared = normalisation.apply(batch)
    for values, axes in ((prepared.texture, (0, 1, 3, 4)), (prepared.depth, (0, 1, 3, 4)), (prepared.au, (0,))):
        assert values.dtype == torch.float32
        close(values.mean(axes), torch.zeros(values.mean(axes).shape), atol=1e-4)
        close(values.std(axes, correction=0), torch.ones(values.mean(axes).shape), atol=1e-4)
    alone = normalisation.apply(batch.select(torch.tensor([4])))
    assert torch.equal(alone.texture[0], prepared.texture[4])
    assert Normalisation.model_validate_json(normalisation.model_dump_json()) == normalisation


def test_an_action_unit_that_never_moves_is_not_blown_up() -> None:
    """Constant in training up to noise, it keeps its scale where a test clip moves it."""
    batch = raw(32)
    batch.au[:, 1] = 0.5
    batch.au[:, 2] = 0.5 + 1e-5 * batch.au[:, 2]
    normalisation = measure_normalisation([batch])
    assert normalisation.apply(batch).au[:, 1:3].abs().max() < 1e-3
    moved = replace(batch, au=torch.ones_like(batch.au))
    close(normalisation.apply(moved).au[:, 1:3], torch.full((32, 2), 0.5), atol=1e-3)
