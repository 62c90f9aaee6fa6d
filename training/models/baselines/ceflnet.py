"""CEFLNet (Liu et al., Information Sciences 598, 2022).

Clip-aware expressive feature learning for video-based facial expression recognition.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import RESNET18
from training.models.baselines.snippets import WIDTH, SnippetClassifier, SnippetConfig
from training.models.published import PublishedCost
from training.models.registry import model


class CEFLNetConfig(SnippetConfig):
    """Liu et al., section 3; the sizes are those of the authors' code.

    Attributes:
        attention_dropout: of the attention within a snippet.
        weight_dropout: of what a frame's weight is computed from.
        dropout: before the last layer.
    """

    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    weight_dropout: float = Field(default=0.5, ge=0, lt=1)
    dropout: float = Field(default=0.4, ge=0, lt=1)


@model(
    "ceflnet",
    title="CEFLNet",
    paper="Liu et al., Information Sciences 598, 2022",
    place=8,
    config=CEFLNetConfig,
    fast={"layers": (1, 1, 1, 1), "weight_dropout": 0.1, "dropout": 0.1},
    fast_lr=3e-4,
    native={  # section 4, for DFEW
        "optimisation": {"optimiser": "adam", "lr": 1e-4, "batch_size": 8, "epochs": 120, "warmup_epochs": 10}
    },
    weights=(RESNET18,),
    cost=PublishedCost(35, 112, parameters=13e6),
    printed={
        "smic-hs": ((67.67, 51.67, 52.08), 57.14, 0.56),
        "casme2": ((79.50, 81.20, 80.00, 81.50, 84.00), 81.24, 0.76),
        "casme-sq": ((84.24, 64.56, 67.01, 70.03, 52.00, 80.00, 81.00), 71.26, 0.66),
        "samm": ((80.00, 78.00, 72.00, 78.00, 70.00, 71.00, 73.50, 74.62), 74.64, 0.69),
    },
)
class CEFLNet(SnippetClassifier[CEFLNetConfig]):
    """A feature of each snippet, those of strong emotion raised over the others, and their maximum.

    ``Prediction.auxiliary`` holds ``activation`` ``(B, S)``: the emotional activation map, a softmax over snippets.
    """

    def __init__(self, config: CEFLNetConfig) -> None:
        super().__init__(config, dropout=config.attention_dropout)
        self.frame_weight = nn.Sequential(nn.Dropout(config.weight_dropout), nn.Linear(2 * WIDTH, 1), nn.Sigmoid())
        self.fuse = nn.Linear(2 * WIDTH, WIDTH)
        self.activation = nn.Linear(WIDTH, 1, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.head = nn.Linear(128, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, and the activation of each snippet."""
        snippets = self.forward_snippets(self.video(batch))
        activation = self.activation(snippets).softmax(1)  # (B, S, 1)
        clip = (snippets * activation).amax(1)
        return Prediction(self.head(self.mlp(clip)), {"activation": activation.squeeze(-1)})

    def summed_up(self, frames: Tensor, common: Tensor) -> Tensor:
        """The mean of the frames and of what they have in common, by the frames' weights."""
        frames = torch.cat((frames, common.expand_as(frames)), -1)
        weights = self.frame_weight(frames)
        mean: Tensor = self.fuse((weights * frames).sum(1) / weights.sum(1))
        return mean
