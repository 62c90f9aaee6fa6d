"""From video to tokens: the 3D stem (Eq. 2), inter-frame difference, and CLS with positions (Eq. 13)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Grid(NamedTuple):
    """How the P = S h w patch tokens of a frame lie: S streams of h x w."""

    streams: int
    height: int
    width: int

    @property
    def patches(self) -> int:
        """P."""
        return self.streams * self.height * self.width


class VideoToTokens(nn.Sequential):
    """Eq. 2: ``MaxPool3d(BN(Conv3d(z)))``, one per stream.

    ``(B, C, T, H, W)`` -> ``(B, D, ceil(T / 2), ceil(H / 4), ceil(W / 4))``. The paper names no kernels;
    time is halved once, by the pool, and never again.
    """

    def __init__(self, channels: int, width: int, kernel: tuple[int, int, int]) -> None:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__(
            nn.Conv3d(channels, width, kernel, stride=(1, 2, 2), padding=padding, bias=False),
            nn.BatchNorm3d(width),
            nn.MaxPool3d(3, stride=2, padding=1),
        )


class PatchEmbedding(nn.Module):
    """A strided 3 x 3 convolution per frame that starts a stage, then LayerNorm, as in CvT (Wu et al., ICCV 2021)."""

    def __init__(self, width: int, dim: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, dim, 3, stride=stride, padding=1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, T, S, D, h, w)`` -> ``(B, T, S, h', w', D')``."""
        x: Tensor = self.norm(self.conv(maps.flatten(0, 2)).movedim(1, -1))
        return torch.unflatten(x, 0, maps.shape[:3])


class FrameDifference(nn.Module):
    """Inter-frame difference with the dynamic adaptive factor, undefined in the paper.

    Read as a branch of its own, ``f_t + alpha_t (f_{t+1} - f_t)``, ``alpha_t = 1 + MLP(mean over the frame of f)`` per
    channel, unbounded: with alpha between 0 and 1 it would be a mean of two frames, which smooths motion away. The
    MLP's last layer starts at zero: alpha = 1 everywhere. The last frame has no difference.
    """

    def __init__(self, dim: int, reduction: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, max(1, dim // reduction))
        self.out = nn.Linear(self.hidden.out_features, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, S, h, w, D)``, same out."""
        factor: Tensor = 1 + self.out(F.gelu(self.hidden(x.mean((3, 4), keepdim=True))))
        return x + factor * x.diff(dim=1, append=x[:, -1:])


class ClassTokenAndPositions(nn.Module):
    """Eq. 13: ``[f_c, f_1, .., f_p] + f_pos``, (p + 1) tokens for each frame.

    The paper prints (l + 1). CLS is one token per frame, position 0 of every frame, so that all three
    attentions treat it as they treat a patch; a clip's CLS is the mean over its frames. f_pos is the sum
    of a learned ``(p + 1, q)`` and, to tell frames apart, a learned ``(T', q)`` that is interpolated for
    another number of frames, first and last frame staying first and last.
    """

    def __init__(self, grid: Grid, frames: int, dim: int) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(dim))
        self.space = nn.Parameter(torch.zeros(grid.patches + 1, dim))
        self.time = nn.Parameter(torch.zeros(frames, dim))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, S, h, w, D)`` -> ``(B, T, 1 + S h w, D)``."""
        patches = x.flatten(2, 4)
        cls = self.cls.expand(*patches.shape[:2], 1, -1).to(patches.dtype)
        return torch.cat([cls, patches], 2) + self.space + self.time_positions(x.shape[1])[:, None]

    def time_positions(self, frames: int) -> Tensor:
        """``(frames, D)``."""
        if frames == len(self.time):
            return self.time
        resized = F.interpolate(self.time.T[None], size=frames, mode="linear", align_corners=True)
        return resized[0].T


def patch_maps(tokens: Tensor, grid: Grid) -> Tensor:
    """The patch tokens of ``(.., 1 + P, D)`` as maps ``(.., S, D, h, w)``, without CLS."""
    return torch.unflatten(tokens[..., 1:, :], -2, grid).movedim(-1, -3)
