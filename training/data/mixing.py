"""Mixtures of two clips, and labels that are not sure: what some recipes train with instead of clips and labels."""

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import TrainConfig
from training.data.batch import ClipBatch


class Mixer:
    """Mixup (Zhang et al., ICLR 2018), cutmix (Yun et al., ICCV 2019) and label smoothing, as the config has them.

    As timm has it, and the authors of VideoMAE and MAE-DFER after it: one draw a batch, the clips in reverse order for
    partners, and a coin where both kinds are on. timm's own takes images alone and draws from NumPy's global state.

    Args:
        config: of the run.
        classes: C.
    """

    def __init__(self, config: TrainConfig, classes: int) -> None:
        self._smoothing, self._classes = config.optimisation.label_smoothing, classes
        self._mixup, self._cutmix = config.augmentation.mixup, config.augmentation.cutmix

    def apply(self, batch: ClipBatch, random: torch.Generator) -> ClipBatch:
        """The batch with shares of the classes for labels; with all of it off the batch itself, and nothing drawn.

        Texture, depth and action units of a clip are mixed with those of one partner in one proportion. A part that is
        cut out is the same in all frames of both videos; action units have no place, and are mixed by its area.
        """
        if self._mixup or self._cutmix:
            return self._mixed(batch.held(), random)
        return replace(batch, label=self._shares(batch)) if self._smoothing else batch

    def _mixed(self, batch: ClipBatch, random: torch.Generator) -> ClipBatch:
        # PyTorch's beta distribution takes no generator.
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=random)))
        shares, side = self._shares(batch), batch.texture.shape[-1]
        if self._cutmix and not (self._mixup and draw.random() < 0.5):
            rows, columns = cut_box(draw, side, kept=draw.beta(self._cutmix, self._cutmix))
            kept = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / side**2
            texture, depth = (_cut(video, rows, columns) for video in (batch.texture, batch.depth))
        else:
            kept = draw.beta(self._mixup, self._mixup)
            texture, depth = _blended(batch.texture, kept), _blended(batch.depth, kept)
        return replace(batch, texture=texture, depth=depth, au=_blended(batch.au, kept), label=_blended(shares, kept))

    def _shares(self, batch: ClipBatch) -> Tensor:
        """``(B, C)``: one of the class, but for what smoothing spreads over all."""
        certain = F.one_hot(batch.targets(), self._classes).float()
        return certain * (1 - self._smoothing) + self._smoothing / self._classes


def cut_box(draw: np.random.Generator, side: int, *, kept: float) -> tuple[slice, slice]:
    """Rows and columns of a square of ``1 - kept`` of a frame, about a random place; what juts out is cut off.

    Args:
        draw: where from.
        side: of the frame, px.
        kept: share of the frame.
    """
    half = int(side * math.sqrt(1 - kept)) // 2
    y, x = draw.integers(side, size=2).tolist()
    return slice(max(y - half, 0), min(y + half, side)), slice(max(x - half, 0), min(x + half, side))


def _blended(values: Tensor, kept: float) -> Tensor:
    return values * kept + values.flip(0) * (1 - kept)


def _cut(video: Tensor, rows: slice, columns: slice) -> Tensor:
    """``(B, T, C, H, W)`` with the partner's pixels in the box."""
    video = video.clone()
    video[..., rows, columns] = video.flip(0)[..., rows, columns]
    return video
