"""Former-DFER (Zhao and Liu, Former-DFER: Dynamic Facial Expression Recognition Transformer, ACM MM 2021)."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.baselines.transformer import Block, video_of
from training.models.config import ModelConfig
from training.models.published import resnet18

# For the `fast` recipe: one residual block a stage, one temporal block of a quarter of the width.
FAST_OPTIONS = {"layers": (1, 1, 1, 1), "temporal_depth": 1, "temporal_head_dim": 16, "temporal_hidden": 256}

# The authors' code; the number of epochs and the step are those of DFEW.
NATIVE_RECIPE = {
    "optimisation": {
        "optimiser": "sgd",
        "momentum": 0.9,
        "lr": 0.01,
        "weight_decay": 1e-4,
        "schedule": "step",
        "step_epochs": 40,
        "step_factor": 0.1,
        "batch_size": 32,
        "epochs": 100,
        "warmup_epochs": 0,
    }
}

PUBLISHED_WEIGHTS = (resnet18("stem.0", "stem.1", "stages.0", "stages.1", "stages.2", "last_stage"),)


class FormerDFERConfig(ModelConfig):
    """Zhao and Liu, section 3; the sizes are those of the authors' code.

    Attributes:
        layers: residual blocks of the four stages of the ResNet-18.
        spatial_depth: blocks of the spatial transformer, between the third stage and the fourth.
        spatial_heads: of its attention.
        spatial_head_dim: width of one.
        spatial_hidden: of its MLP.
        temporal_depth: blocks of the temporal transformer.
        temporal_heads: of its attention.
        temporal_head_dim: width of one.
        temporal_hidden: of its MLP.
    """

    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    spatial_depth: int = Field(default=1, ge=1)
    spatial_heads: int = Field(default=8, ge=1)
    spatial_head_dim: int = Field(default=32, ge=1)
    spatial_hidden: int = Field(default=512, ge=1)
    temporal_depth: int = Field(default=3, ge=1)
    temporal_heads: int = Field(default=8, ge=1)
    temporal_head_dim: int = Field(default=64, ge=1)
    temporal_hidden: int = Field(default=1024, ge=1)


class FormerDFER(ClipClassifier):
    """A spatial transformer inside a ResNet-18, then a temporal one over the frames' features."""

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, config: FormerDFERConfig) -> None:
        super().__init__()
        self.config = config
        resnet = ResNet(BasicBlock, list(config.layers))
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.stages = nn.Sequential(resnet.layer1, resnet.layer2, resnet.layer3)
        self.last_stage = resnet.layer4

        side = -(-config.size // 16)  # four strides of 2, each rounded up: 7 of 112 px
        self.spatial_positions = nn.Parameter(torch.randn(side * side, 256))
        self.spatial = nn.Sequential(
            *(
                Block(256, config.spatial_heads, config.spatial_head_dim, config.spatial_hidden)
                for _ in range(config.spatial_depth)
            )
        )
        self.class_token = nn.Parameter(torch.randn(1, 512))
        self.temporal_positions = nn.Parameter(torch.randn(1 + config.frames, 512))
        self.temporal = nn.Sequential(
            *(
                Block(512, config.temporal_heads, config.temporal_head_dim, config.temporal_hidden)
                for _ in range(config.temporal_depth)
            )
        )
        self.head = nn.Linear(512, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        frames = self.forward_spatial(video_of(batch, self.config))
        return Prediction(self.head(self.forward_temporal(frames)))

    def forward_spatial(self, video: Tensor) -> Tensor:
        """``(B, T, 512)``, each frame for itself."""
        maps = self.stages(self.stem(video.flatten(0, 1)))  # (BT, 256, h, w)
        tokens = maps.flatten(2).transpose(1, 2) + self.spatial_positions
        maps = self.spatial(tokens).transpose(1, 2).unflatten(-1, maps.shape[-2:])
        frames: Tensor = self.last_stage(maps).mean((-2, -1)).unflatten(0, video.shape[:2])
        return frames

    def forward_temporal(self, frames: Tensor) -> Tensor:
        """``(B, 512)``: the class token."""
        tokens = torch.cat((self.class_token.expand(frames.shape[0], -1, -1), frames), 1)
        clip: Tensor = self.temporal(tokens + self.temporal_positions)[:, 0]
        return clip


def former_dfer(**fields: object) -> FormerDFER:
    """Former-DFER; ``fields`` are those of ``FormerDFERConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return FormerDFER(FormerDFERConfig.model_validate(fields))
