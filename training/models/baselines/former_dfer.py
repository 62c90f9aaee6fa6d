"""Former-DFER (Zhao and Liu, Former-DFER: Dynamic Facial Expression Recognition Transformer, ACM MM 2021)."""

import torch
from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import Layers, residual_stages
from training.models.baselines.texture import TextureClassifier, sgd
from training.models.baselines.transformer import Block
from training.models.config import ModelConfig
from training.models.published import PublishedCost, resnet18
from training.models.registry import model


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

    layers: Layers = (2, 2, 2, 2)
    spatial_depth: int = Field(default=1, ge=1)
    spatial_heads: int = Field(default=8, ge=1)
    spatial_head_dim: int = Field(default=32, ge=1)
    spatial_hidden: int = Field(default=512, ge=1)
    temporal_depth: int = Field(default=3, ge=1)
    temporal_heads: int = Field(default=8, ge=1)
    temporal_head_dim: int = Field(default=64, ge=1)
    temporal_hidden: int = Field(default=1024, ge=1)


@model(
    "former-dfer",
    title="Former-DFER",
    paper="Zhao and Liu, ACM MM 2021",
    place=7,
    config=FormerDFERConfig,
    fast={"layers": (1, 1, 1, 1), "temporal_depth": 1, "temporal_head_dim": 16, "temporal_hidden": 256},
    # The authors' code; the number of epochs and the step are those of DFEW.
    native=sgd(schedule="step", step_epochs=40),
    weights=(resnet18("stem.0", "stem.1", "stages.0", "stages.1", "stages.2", "last_stage"),),
    cost=PublishedCost(16, 112, parameters=18e6, macs=9e9),
    printed={
        "smic-hs": ((67.68, 54.79, 56.43), 59.63, 0.56),
        "casme2": ((78.00, 78.00, 77.60, 75.50, 77.50), 77.32, 0.71),
        "casme-sq": ((83.58, 67.58, 67.00, 70.00, 56.25, 73.54, 71.57), 69.93, 0.64),
        "samm": ((80.00, 82.00, 70.00, 72.00, 74.00, 72.00, 73.00, 74.68), 74.71, 0.68),
    },
)
class FormerDFER(TextureClassifier[FormerDFERConfig]):
    """A spatial transformer inside a ResNet-18, then a temporal one over the frames' features."""

    def __init__(self, config: FormerDFERConfig) -> None:
        super().__init__(config)
        resnet = residual_stages(config.layers)
        self.stem, self.stages, self.last_stage = resnet[:4], nn.Sequential(*resnet[4:7]), resnet[7]

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
        frames = self.forward_spatial(self.video(batch))
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
