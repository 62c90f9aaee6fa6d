"""CEFLNet (Liu et al., Information Sciences 598, 2022).

Clip-aware expressive feature learning for video-based facial expression recognition.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.baselines.snippets import SnippetContext, windows
from training.models.baselines.transformer import video_of
from training.models.config import ModelConfig
from training.models.published import RESNET18_PARTS, resnet18

# For the `fast` recipe: one residual block a stage.
FAST_OPTIONS = {"layers": (1, 1, 1, 1)}

# The paper's section 4, for DFEW.
NATIVE_RECIPE = {"optimisation": {"optimiser": "adam", "lr": 1e-4, "batch_size": 8, "epochs": 120, "warmup_epochs": 10}}

PUBLISHED_WEIGHTS = (resnet18(*(f"resnet.{part}" for part in RESNET18_PARTS)),)


class CEFLNetConfig(ModelConfig):
    """Liu et al., section 3; the sizes are those of the authors' code.

    Attributes:
        layers: residual blocks of the four stages of the ResNet-18.
        snippets: short clips that a clip is cut into.
        length: frames of one.
        heads: of the attention within one.
        attention_dropout: of that attention.
        weight_dropout: of what a frame's weight is computed from.
        dropout: before the last layer.
    """

    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    snippets: int = Field(default=7, ge=1)
    length: int = Field(default=5, ge=1)
    heads: int = Field(default=4, ge=1)
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    weight_dropout: float = Field(default=0.5, ge=0, lt=1)
    dropout: float = Field(default=0.4, ge=0, lt=1)


class CEFLNet(ClipClassifier):
    """A feature of each snippet, those of strong emotion raised over the others, and their maximum.

    ``Prediction.auxiliary`` holds ``activation`` ``(B, S)``: the emotional activation map, a softmax over snippets.
    """

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    frames_of: Tensor

    def __init__(self, config: CEFLNetConfig) -> None:
        super().__init__()
        self.config = config
        self.resnet = ResNet(BasicBlock, list(config.layers))
        self.resnet.fc = nn.Identity()
        indices = windows(config.frames, count=config.snippets, length=config.length)
        self.register_buffer("frames_of", indices, persistent=False)
        self.context = SnippetContext(512, config.heads, config.attention_dropout)
        self.frame_weight = nn.Sequential(nn.Dropout(config.weight_dropout), nn.Linear(1024, 1), nn.Sigmoid())
        self.fuse = nn.Linear(1024, 512)
        self.activation = nn.Linear(512, 1, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.head = nn.Linear(128, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, and the activation of each snippet."""
        snippets = self.forward_snippets(video_of(batch, self.config))
        activation = self.activation(snippets).softmax(1)  # (B, S, 1)
        clip = (snippets * activation).amax(1)
        return Prediction(self.head(self.mlp(clip)), {"activation": activation.squeeze(-1)})

    def forward_snippets(self, video: Tensor) -> Tensor:
        """``(B, S, 512)``: the mean of a snippet's frames and of what they have in common, by the frames' weights."""
        features = self.resnet(video.flatten(0, 1)).unflatten(0, video.shape[:2])  # (B, T, 512); each frame once
        frames = features[:, self.frames_of].flatten(0, 1)  # (BS, L, 512)
        common = self.context(frames)[:, None].expand_as(frames)
        frames = torch.cat((frames, common), -1)
        weights = self.frame_weight(frames)
        mean = (weights * frames).sum(1) / weights.sum(1)
        snippets: Tensor = self.fuse(mean).unflatten(0, (video.shape[0], -1))
        return snippets


def ceflnet(**fields: object) -> CEFLNet:
    """CEFLNet; ``fields`` are those of ``CEFLNetConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return CEFLNet(CEFLNetConfig.model_validate(fields))
