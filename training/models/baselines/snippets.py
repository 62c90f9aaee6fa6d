"""Snippets of a clip, as CEFLNet and EST cut and sum them up; both are of the same authors and share this part."""

from abc import abstractmethod
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from training.models.baselines.residual import Layers, frame_features
from training.models.baselines.texture import TextureClassifier
from training.models.config import ModelConfig

WIDTH = 512  # of the ResNet's features


class SnippetConfig(ModelConfig):
    """How a clip is cut.

    Attributes:
        layers: residual blocks of the four stages of the ResNet-18.
        snippets: short clips that a clip is cut into.
        length: frames of one.
        heads: of the attention within one.
    """

    layers: Layers = (2, 2, 2, 2)
    snippets: int = Field(default=7, ge=1)
    length: int = Field(default=5, ge=1)
    heads: int = Field(default=4, ge=1)


C = TypeVar("C", bound=SnippetConfig)


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


class SnippetClassifier(TextureClassifier[C]):
    """ResNet-18 on each frame, and one feature of the frames of each snippet.

    Args:
        config: of the model.
        dropout: of the attention within a snippet.
    """

    frames_of: Tensor

    def __init__(self, config: C, *, dropout: float) -> None:
        from torchvision.models.resnet import BasicBlock, ResNet  # takes seconds

        super().__init__(config)
        self.resnet = ResNet(BasicBlock, list(config.layers))
        self.resnet.fc = nn.Identity()
        indices = windows(config.frames, count=config.snippets, length=config.length)
        self.register_buffer("frames_of", indices, persistent=False)
        self.context = SnippetContext(WIDTH, config.heads, dropout)

    def forward_snippets(self, video: Tensor) -> Tensor:
        """``(B, S, 512)``: a feature of each snippet."""
        frames = frame_features(self.resnet, video)[:, self.frames_of].flatten(0, 1)  # (BS, L, 512)
        snippets = self.summed_up(frames, self.context(frames)[:, None])
        return torch.unflatten(snippets, 0, (video.shape[0], -1))

    @abstractmethod
    def summed_up(self, frames: Tensor, common: Tensor) -> Tensor:
        """``(BS, 512)`` of ``(BS, L, 512)`` frames and ``(BS, 1, 512)``, what they have in common."""
