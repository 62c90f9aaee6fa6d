"""Snippets of a clip, as CEFLNet and EST cut and sum them up; both are of the same authors and share this part."""

import torch
from torch import Tensor, nn


def windows(frames: int, *, count: int, length: int) -> Tensor:
    """``(count, length)`` int64 frame indices: evenly spread windows of consecutive frames.

    They lie side by side where there are ``count * length`` frames, and overlap where there are fewer; a clip shorter
    than a window repeats its last frame.
    """
    starts = torch.arange(count) * max(frames - length, 0) / max(count - 1, 1)
    return (starts.round().long()[:, None] + torch.arange(length)).clamp_max(frames - 1)


class SnippetContext(nn.Module):
    """What the frames of a snippet have in common: self-attention, and the maximum over the frames.

    Args:
        dim: D.
        heads: of the attention.
        dropout: of the attention's weights and of what it adds.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, frames: Tensor) -> Tensor:
        """``(S, D)`` of ``(S, L, D)``."""
        mixed = self.attention(frames, frames, frames, need_weights=False)[0]
        common: Tensor = self.norm(frames + self.dropout(mixed)).amax(1)
        return common
