"""STT, approximately (Ma, Sun, Li, arXiv 2205.04749, 2022): no code is public, and the paper leaves sizes open.

Spatio-Temporal Transformer for Dynamic Facial Expression Recognition in the Wild.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import Layers, frame_features, residual_stages, sequential_resnet18
from training.models.baselines.texture import TextureClassifier, sgd
from training.models.baselines.transformer import MLP, Attention
from training.models.config import ModelConfig
from training.models.registry import model

WIDTH = 512  # of the ResNet's features, the tokens' too


class STTConfig(ModelConfig):
    """Ma et al., section 3; what they leave open is our reading.

    Attributes:
        layers: residual blocks of the four stages of the ResNet-18.
        depth: blocks.
        heads: of every attention.
        head_dim: width of one; ours.
        hidden: of the MLP; ours.
        compact_weight: of the compact term of the loss.
    """

    layers: Layers = (2, 2, 2, 2)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=8, ge=1)
    head_dim: int = Field(default=64, ge=1)
    hidden: int = Field(default=1024, ge=1)
    compact_weight: float = Field(default=0.1, ge=0)


class FactorisedBlock(nn.Module):
    """Attention in time, attention in space, MLP: pre-norm, each added to what comes in.

    Args:
        heads: of both attentions.
        head_dim: width of one.
        hidden: of the MLP.
    """

    def __init__(self, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(WIDTH)
        self.time = Attention(WIDTH, heads, head_dim)
        self.space_norm = nn.LayerNorm(WIDTH)
        self.space = Attention(WIDTH, heads, head_dim)
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp = MLP(WIDTH, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, P, D)`` to the same."""
        frames, places = x.shape[1:3]
        tracks = self.time_norm(x).transpose(1, 2).flatten(0, 1)  # (BP, T, D)
        x = x + self.time(tracks).unflatten(0, (-1, places)).transpose(1, 2)
        x = x + self.space(self.space_norm(x).flatten(0, 1)).unflatten(0, (-1, frames))
        mixed: Tensor = x + self.mlp(self.mlp_norm(x))
        return mixed


@model(
    "stt",
    title="STT",
    paper="Ma et al., arXiv 2205.04749, 2022",
    place=10,
    config=STTConfig,
    approximate=True,
    fast={"layers": (1, 1, 1, 1), "depth": 1, "head_dim": 16, "hidden": 256},
    native=sgd(),  # ours: the authors' settings are not known here
    weights=(sequential_resnet18("features"),),
    printed={
        "smic-hs": ((62.14, 60.09, 53.20), 58.47, 0.56),
        "casme2": ((86.50, 81.25, 82.45, 80.60, 82.00), 82.56, 0.79),
        "casme-sq": ((87.12, 64.25, 62.65, 71.56, 63.21, 73.48, 75.68), 71.13, 0.69),
        "samm": ((84.00, 82.50, 86.00, 84.00, 80.00, 76.00, 78.00, 81.50), 81.50, 0.79),
    },
)
class STT(TextureClassifier[STTConfig]):
    """A ResNet-18's last maps as tokens, attention in time and space in turn, their mean."""

    mixes: ClassVar[bool] = False  # the compact loss needs to know which classes are wrong
    feature_width = WIDTH

    def __init__(self, config: STTConfig) -> None:
        super().__init__(config)
        self.features = residual_stages(config.layers)
        side = -(-config.size // 32)  # five strides of 2, each rounded up: 4 of 112 px
        self.places = nn.Parameter(torch.randn(side * side, WIDTH) * 0.02)
        self.times = nn.Parameter(torch.randn(config.frames, 1, WIDTH) * 0.02)
        self.blocks = nn.Sequential(
            *(FactorisedBlock(config.heads, config.head_dim, config.hidden) for _ in range(config.depth))
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        return Prediction(self.head(self.feature_maps(batch).mean((2, 3, 4))))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T, h, w)``: the tokens after the last block."""
        maps = frame_features(self.features, self.video(batch))  # (B, T, 512, h, w)
        tokens = maps.flatten(3).transpose(2, 3)  # (B, T, P, 512)
        tokens = self.norm(self.blocks(tokens + self.places + self.times))
        grid: Tensor = tokens.movedim(-1, 1).unflatten(-1, maps.shape[-2:])
        return grid

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``compact``."""
        compact = compact_loss(prediction.logits, batch.targets())
        return {**super().loss(prediction, batch), "compact": self.config.compact_weight * compact}


def compact_loss(logits: Tensor, target: Tensor) -> Tensor:
    """``mean[KL(u, q)]``, q the softmax over the C - 1 wrong classes, u uniform: none of them is to stand out.

    Ma et al., the regularising part of the compact softmax cross entropy; 0 where there are two classes.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)`` int64.
    """
    others = torch.arange(logits.shape[-1] - 1, device=logits.device)
    wrong = logits.float().gather(1, others + (others >= target[:, None]))  # (B, C - 1)
    uniform = torch.full_like(wrong, 1 / wrong.shape[-1])
    return F.kl_div(wrong.log_softmax(-1), uniform, reduction="batchmean")
