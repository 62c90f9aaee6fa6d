"""Heads: Eqs. 14, 15 and 17 on the whole pyramid, and the three of the multi-frequency loss (Eqs. 20-23)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLPHead(nn.Sequential):
    """One head of the "multi-level head perceptron": ``(B, D)`` -> ``(B, C)``."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, classes))


class ConvolutionalFeature(nn.Module):
    """Eq. 17, f_Conv: depthwise Conv3d, pointwise, BN, mean over the clip.

    It reads the last stage. The paper's "created by the 3D embedded model" may mean the stems, but their maps have no
    position, and the mean over them forgets where it moved: UF1 0.286 against 0.501 (texture alone, adjacent
    differences, 220 synthetic clips, 8 epochs, one seed).
    Our GELU before the mean: without it the whole would be one linear map of the mean token. Streams are channels.
    """

    def __init__(self, streams: int, dim: int) -> None:
        super().__init__()
        width = streams * dim
        self.depthwise = nn.Conv3d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv3d(width, dim, 1, bias=False)
        self.norm = nn.BatchNorm3d(dim)
        self.act = nn.GELU()

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, T, S, D, h, w)`` -> ``(B, D)``."""
        x: Tensor = maps.flatten(2, 3).transpose(1, 2)  # (B, S D, T, h, w)
        x = self.act(self.norm(self.pointwise(self.depthwise(x))))
        return x.mean((2, 3, 4))


class FusionFeature(nn.Module):
    """What Eq. 14's linear map reads: ``[f_Att ; f_Conv ; pooled earlier stages]``.

    f_Att (Eq. 15) is an MLP of the last stage's CLS. The earlier stages' mean patch tokens, normalised, are
    our reading of the pyramid's fusion.

    Attributes:
        width: of the result.
    """

    def __init__(self, streams: int, dims: Sequence[int]) -> None:
        super().__init__()
        *earlier, last = dims
        self.attention = nn.Sequential(nn.LayerNorm(last), nn.Linear(last, last), nn.GELU(), nn.Linear(last, last))
        self.convolution = ConvolutionalFeature(streams, last)
        self.earlier = nn.ModuleList(nn.LayerNorm(dim) for dim in earlier)
        self.width = last + last + sum(earlier)

    def forward(self, cls: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Last CLS ``(B, D)`` and every stage's maps ``(B, T, S, D, h, w)`` -> ``(B, width)``."""
        *earlier, last = maps
        pooled = [norm(x.mean((1, 2, 4, 5))) for norm, x in zip(self.earlier, earlier, strict=True)]
        return torch.cat([self.attention(cls), self.convolution(last), *pooled], -1)


def dct_matrix(length: int, *, device: torch.device | None = None) -> Tensor:
    """The orthonormal DCT-II, ``(frequency, time)``."""
    k = torch.arange(length, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / length * (k[None] + 0.5) * k[:, None]) * math.sqrt(2 / length)
    matrix[0] /= math.sqrt(2)
    return matrix


def temporal_bands(sequence: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Low, middle and high temporal frequency content of ``(B, T, D)``: three ``(B, D)``.

    The root mean square of each third of the DCT coefficients; low frequencies come first and take the surplus.
    """
    matrix = dct_matrix(sequence.shape[1], device=sequence.device).to(sequence.dtype)
    coefficients = matrix @ sequence
    low, mid, high = ((band.square().mean(1) + 1e-8).sqrt() for band in coefficients.tensor_split(3, dim=1))
    return low, mid, high
