"""Mixed clips and softened labels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import TrainConfig
from training.data.batch import ClipBatch
from training.data.mixing import Mixer, cut_box

CLASSES, SIDE = 3, 16


def clips(count: int = 5, *, frames: int = 4) -> ClipBatch:
    """Depth is texture's red in another unit; no two pixels are equal."""
    random = torch.Generator().manual_seed(0)
    texture = torch.rand(count, frames, 3, SIDE, SIDE, generator=random)
    return ClipBatch(
        texture=texture,
        depth=texture[:, :, :1] / 4,
        au=torch.randn(count, 6, generator=random),
        label=torch.arange(count) % CLASSES,
    )


def mixed(batch: ClipBatch, seed: int = 0, *, smoothing: float = 0, **augmentation: Any) -> ClipBatch:
    config = TrainConfig.model_validate({"augmentation": augmentation, "optimisation": {"label_smoothing": smoothing}})
    return Mixer(config, CLASSES).apply(batch, torch.Generator().manual_seed(seed))


def own_share(mixture: ClipBatch, batch: ClipBatch) -> float:
    """Of each clip in its mixture, as the action units tell."""
    au, partner = batch.au[0], batch.au.flip(0)[0]
    return float((mixture.au[0] - partner).norm() / (au - partner).norm())


def blend(one: Tensor, share: float) -> Tensor:
    return share * one + (1 - share) * one.flip(0)


def test_off_changes_nothing_and_draws_nothing() -> None:
    """The very batch comes back, and the generator is where it was."""
    batch, random = clips(), torch.Generator().manual_seed(3)
    before = random.get_state()
    assert Mixer(TrainConfig(), CLASSES).apply(batch, random) is batch
    assert torch.equal(random.get_state(), before)


def test_smoothing_is_that_of_pytorch() -> None:
    """A share of each label goes to all classes alike: cross entropy with these shares is PyTorch's smoothed one."""
    batch = clips()
    smoothed = mixed(batch, smoothing=0.3)
    torch.testing.assert_close(smoothed.targets()[0], torch.tensor([0.8, 0.1, 0.1]))
    logits = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(1))
    expected = F.cross_entropy(logits, batch.targets(), label_smoothing=0.3)
    torch.testing.assert_close(F.cross_entropy(logits, smoothed.targets()), expected)
    assert torch.equal(smoothed.classes(), batch.targets())
    assert smoothed.texture is batch.texture


def test_mixup_blends_all_of_a_clip_in_one_proportion() -> None:
    """Texture, depth, action units and label with those of the clip at the other end of the batch."""
    batch = clips()
    for seed in range(4):
        mixture = mixed(batch, seed, mixup=0.8, smoothing=0.3)
        share = own_share(mixture, batch)
        for name in ("texture", "depth", "au"):
            torch.testing.assert_close(getattr(mixture, name), blend(getattr(batch, name), share))
        certain = F.one_hot(batch.targets(), CLASSES) * 0.7 + 0.1
        torch.testing.assert_close(mixture.targets(), blend(certain, share))
        torch.testing.assert_close(mixture.texture[2], batch.texture[2])  # its own partner


def test_cutmix_takes_one_box_through_all_frames() -> None:
    """Inside are the partner's pixels, outside the clip's own; its area is the partner's share of label and AUs."""
    batch, shares = clips(), []
    for seed in range(6):
        mixture = mixed(batch, seed, cutmix=1.0)
        own = mixture.texture == batch.texture
        box = ~own[0, 0, 0]
        assert torch.equal(own, (~box).expand_as(own) | (torch.arange(5) == 2)[:, None, None, None, None])
        assert torch.equal(mixture.texture, torch.where(box, batch.texture.flip(0), batch.texture))
        assert torch.equal(mixture.depth, torch.where(box, batch.depth.flip(0), batch.depth))
        rows, columns = box.any(1).nonzero(), box.any(0).nonzero()
        assert len(rows) * len(columns) == box.sum(), "a box"
        share = 1 - box.float().mean().item()
        torch.testing.assert_close(mixture.au, blend(batch.au, share))
        torch.testing.assert_close(mixture.targets(), blend(F.one_hot(batch.targets(), CLASSES).float(), share))
        shares.append(share)
    assert len(set(shares)) > 3


def test_boxes_have_the_size_that_was_drawn_and_lie_anywhere() -> None:
    """Where nothing juts out the square is of the share; every place of the frame is in some box, none is outside."""
    draw = np.random.default_rng(0)
    hits, largest = np.zeros((SIDE, SIDE)), 0
    for _ in range(300):
        rows, columns = cut_box(draw, SIDE, kept=0.75)
        assert 0 <= rows.start <= rows.stop <= SIDE
        hits[rows, columns] += 1
        largest = max(largest, (rows.stop - rows.start) * (columns.stop - columns.start))
    assert largest == SIDE**2 / 4
    assert hits.min() > 0


def test_one_of_both_a_batch() -> None:
    """With both on a coin decides; the shares of a blend come from the beta distribution that was asked for."""
    batch = clips()
    kinds, shares = [], []
    for seed in range(60):
        mixture = mixed(batch, seed, mixup=0.2, cutmix=1.0)
        cut = bool(((mixture.texture == batch.texture) | (mixture.texture == batch.texture.flip(0))).all())
        kinds.append(cut)
        shares += [] if cut else [own_share(mixture, batch)]
    assert 15 < sum(kinds) < 45
    assert np.mean([min(share, 1 - share) < 0.1 for share in shares]) > 0.4  # of beta(0.2, 0.2) 0.63, of a uniform 0.2
    assert np.mean(shares) == pytest.approx(0.5, abs=0.2)


def test_draws_depend_on_the_generator_alone() -> None:
    """Equal seeds equal mixtures, and the generator ends in the same state whatever was drawn."""
    one, again, other = (mixed(clips(), seed, mixup=1.0, cutmix=1.0) for seed in (1, 1, 2))
    assert torch.equal(one.texture, again.texture)
    assert not torch.equal(one.texture, other.texture)
    config = TrainConfig.model_validate({"augmentation": {"mixup": 1.0, "cutmix": 1.0}})
    states = []
    for batch in (clips(), clips(2, frames=1)):
        random = torch.Generator().manual_seed(5)
        Mixer(config, CLASSES).apply(batch, random)
        states.append(random.get_state())
    assert torch.equal(*states)


def test_padding_is_not_mixed_in() -> None:
    """A short clip is mixed as if it stood still at its end; what lies in its padding is not seen."""
    batch = clips()
    short = replace(batch, n_frames=torch.tensor([4, 2, 4, 1, 3]))
    padding = (torch.arange(4) >= short.n_frames[:, None])[..., None, None, None]
    filled = replace(short, texture=short.texture.masked_fill(padding, torch.nan))
    mixture = mixed(filled, mixup=0.8)
    assert torch.equal(mixture.texture, mixed(short.held(), mixup=0.8).texture)
    assert mixture.n_frames is None


def test_without_texture() -> None:
    """A model that reads depth alone gets it cut and blended all the same."""
    batch = replace(clips(), texture=clips().texture[:, :, :0])
    for kind in ({"mixup": 1.0}, {"cutmix": 1.0}):
        whole, part = mixed(clips(), 4, **kind), mixed(batch, 4, **kind)
        assert torch.equal(part.depth, whole.depth)
        assert part.texture.shape == batch.texture.shape
