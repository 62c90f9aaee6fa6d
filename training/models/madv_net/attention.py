"""Convolutional projection (Eq. 1), the three attentions (3.2.3) and the block that they make (Eq. 16).

The paper never lists its three attentions; section 5 names mixed, factorised, and dot-product attention
with AU coding. Tokens are ``(B, T, 1 + P, D)``, CLS first in each frame; ``kept`` is ``(B, T, 1 + P)`` bool or
``None``. A discarded token reads what it likes, but nothing reads it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.madv_net.discard import zero_discarded
from training.models.madv_net.tokens import Grid


class ConvolutionalProjection(nn.Module):
    """Eq. 1: ``Flatten(Conv2d(Reshape2d(z), s))``, depthwise s x s, then BN, then pointwise.

    In every layer and per frame: only space is folded and flattened. CLS has no place on the grid and goes
    straight to the pointwise map, as in CvT. BN has no scale and shift of its own: the pointwise map follows.

    Args:
        dim: D.
        kernel: s.
        stride: on the grid.
        bias: of the pointwise map; useless for keys, since softmax ignores a shift.
    """

    def __init__(self, dim: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, kernel, stride=stride, padding=kernel // 2, groups=dim, bias=False)
        self.norm = nn.BatchNorm2d(dim, affine=False)
        self.pointwise = nn.Linear(dim, dim, bias=bias)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """``(B, T, 1 + P, D)`` -> ``(B, T, 1 + P', D)``."""
        cls, patches = tokens[..., :1, :], tokens[..., 1:, :]
        maps = torch.unflatten(patches, 2, grid).flatten(0, 2).movedim(-1, 1)  # (B T S, D, h, w)
        maps = self.norm(self.depthwise(maps))
        patches = maps.flatten(2).transpose(1, 2).reshape(*tokens.shape[:2], -1, tokens.shape[-1])
        projected: Tensor = self.pointwise(torch.cat([cls, patches.to(cls.dtype)], 2))
        return projected


class MixedAttention(nn.Module):
    """(a) Texture and depth tokens of a frame attend to each other.

    Args:
        dim: D.
        head_dim: width of a head.
        kernel: s of Eq. 1.
        kv_stride: of the key and value projections.
    """

    def __init__(self, dim: int, head_dim: int, kernel: int, kv_stride: int) -> None:
        super().__init__()
        self.head_dim, self.kv_stride = head_dim, kv_stride
        self.query = ConvolutionalProjection(dim, kernel)
        self.key = ConvolutionalProjection(dim, kernel, stride=kv_stride, bias=False)
        self.value = ConvolutionalProjection(dim, kernel, stride=kv_stride)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, grid: Grid, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens, and the head-mean weight of each patch for CLS, ``(B, T, P)``, without gradient."""
        frames = tokens.shape[:2]
        q, k, v = (
            _split_heads(project(tokens, grid).flatten(0, 1), self.head_dim)
            for project in (self.query, self.key, self.value)
        )  # (B T, heads, 1 + P, head_dim)
        mask = None if kept is None else self._key_mask(kept, grid)
        out = self.out(_join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))
        return torch.unflatten(out, 0, frames), torch.unflatten(self._cls_weights(q, k, mask, grid), 0, frames)

    def _key_mask(self, kept: Tensor, grid: Grid) -> Tensor:
        """``(B T, 1, 1, 1 + P')``: a strided key stays if any of the patches it stands for does."""
        kept = kept.flatten(0, 1)
        if self.kv_stride > 1:
            maps = torch.unflatten(kept[:, 1:], 1, grid).float()
            maps = F.max_pool2d(maps, self.kv_stride, stride=self.kv_stride, ceil_mode=True)
            kept = torch.cat([kept[:, :1], maps.flatten(1) > 0], 1)
        return kept[:, None, None]

    @torch.no_grad()
    def _cls_weights(self, q: Tensor, k: Tensor, mask: Tensor | None, grid: Grid) -> Tensor:
        """``(B T, P)``; the one row that the fused kernel does not return."""
        logits = (q[:, :, :1] @ k.transpose(-1, -2)).float() * self.head_dim**-0.5
        if mask is not None:
            logits = logits.masked_fill(~mask, -torch.inf)
        weights: Tensor = logits.softmax(-1).mean(1)[:, 0, 1:]
        if self.kv_stride > 1:
            coarse = Grid(grid.streams, -(-grid.height // self.kv_stride), -(-grid.width // self.kv_stride))
            maps = torch.unflatten(weights, 1, coarse)
            maps = maps.repeat_interleave(self.kv_stride, -2).repeat_interleave(self.kv_stride, -1)
            weights = maps[..., : grid.height, : grid.width].flatten(1)
        return weights


class FactorisedAttention(nn.Module):
    """(b) Each position attends over time alone; Eq. 1's projection stays within a frame."""

    def __init__(self, dim: int, head_dim: int, kernel: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = ConvolutionalProjection(dim, kernel)
        self.key = ConvolutionalProjection(dim, kernel, bias=False)
        self.value = ConvolutionalProjection(dim, kernel)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, grid: Grid, kept: Tensor | None) -> Tensor:
        """``(B, T, 1 + P, D)``, same out."""
        batch, frames, positions, _ = tokens.shape
        q, k, v = (
            _split_heads(project(tokens, grid).transpose(1, 2).flatten(0, 1), self.head_dim)
            for project in (self.query, self.key, self.value)
        )  # (B (1 + P), heads, T, head_dim)
        mask = None
        if kept is not None:  # a position that is discarded in all frames must still have a key: itself
            itself = torch.eye(frames, dtype=torch.bool, device=tokens.device)
            mask = kept.transpose(1, 2).reshape(batch * positions, 1, 1, frames) | itself
        out = _join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        projected: Tensor = self.out(torch.unflatten(out, 0, (batch, positions)).transpose(1, 2))
        return projected


class ActionUnitAttention(nn.Module):
    """(c) Every token queries the clip's AU tokens."""

    def __init__(self, dim: int, head_dim: int, kernel: int, au_width: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = ConvolutionalProjection(dim, kernel)
        self.key = nn.Linear(au_width, dim, bias=False)
        self.value = nn.Linear(au_width, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, grid: Grid, au_tokens: Tensor) -> Tensor:
        """``(B, T, 1 + P, D)`` and ``(B, n, au_width)`` -> ``(B, T, 1 + P, D)``."""
        q = _split_heads(self.query(tokens, grid).flatten(1, 2), self.head_dim)
        k, v = (_split_heads(project(au_tokens), self.head_dim) for project in (self.key, self.value))
        out: Tensor = self.out(_join_heads(F.scaled_dot_product_attention(q, k, v)))
        return torch.unflatten(out, 1, tokens.shape[1:3])


class Block(nn.Module):
    """Eq. 16: attentions (a), (b), (c), then an MLP, each pre-norm and residual.

    Args:
        dim: D.
        head_dim: width of a head.
        kernel: s of Eq. 1.
        kv_stride: of mixed attention.
        mlp_ratio: hidden width over D.
        au_width: of the AU tokens; ``None`` leaves (c) out.
    """

    def __init__(
        self, dim: int, head_dim: int, *, kernel: int, kv_stride: int, mlp_ratio: int, au_width: int | None
    ) -> None:
        super().__init__()
        self.norm_mixed = nn.LayerNorm(dim)
        self.mixed = MixedAttention(dim, head_dim, kernel, kv_stride)
        self.norm_factorised = nn.LayerNorm(dim)
        self.factorised = FactorisedAttention(dim, head_dim, kernel)
        self.norm_au = None if au_width is None else nn.LayerNorm(dim)
        self.au = None if au_width is None else ActionUnitAttention(dim, head_dim, kernel, au_width)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp_ratio * dim), nn.GELU(), nn.Linear(mlp_ratio * dim, dim))

    def forward(
        self, tokens: Tensor, grid: Grid, au_tokens: Tensor | None, kept: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``(B, T, 1 + P, D)``, the discarded ones zero, and CLS's weights ``(B, T, P)``."""
        mixed, weights = self.mixed(zero_discarded(self.norm_mixed(tokens), kept), grid, kept)
        x = tokens + mixed
        x = x + self.factorised(zero_discarded(self.norm_factorised(x), kept), grid, kept)
        if self.au is not None and self.norm_au is not None and au_tokens is not None:
            x = x + self.au(zero_discarded(self.norm_au(x), kept), grid, au_tokens)
        x = x + self.mlp(self.norm_mlp(x))
        return zero_discarded(x, kept), weights


def _split_heads(x: Tensor, head_dim: int) -> Tensor:
    """``(N, L, D)`` -> ``(N, heads, L, head_dim)``."""
    return torch.unflatten(x, -1, (-1, head_dim)).transpose(1, 2)


def _join_heads(x: Tensor) -> Tensor:
    """``(N, heads, L, head_dim)`` -> ``(N, L, D)``."""
    return x.transpose(1, 2).flatten(2)
