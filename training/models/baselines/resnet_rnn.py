"""ResNet-18 on each frame, a recurrent network over them: Zhao and Liu's baselines (Former-DFER, ACM MM 2021)."""

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import Layers, frame_features, residual_stages, sequential_resnet18
from training.models.baselines.texture import NO_CLIPPING, TextureClassifier, sgd
from training.models.config import ModelConfig
from training.models.published import PublishedCost
from training.models.registry import model


class ResNetRNNConfig(ModelConfig):
    """ResNet-18 (He et al., CVPR 2016) as published; of the recurrent part the paper says the kind alone.

    Attributes:
        width: channels of the first stage; each of the next has twice as many.
        layers: residual blocks, of two convolutions, in each of the four stages.
        recurrent_layers: of the recurrent network.
        hidden: its width.
    """

    width: int = Field(default=64, ge=1)
    layers: Layers = (2, 2, 2, 2)
    recurrent_layers: int = Field(default=2, ge=1)
    hidden: int = Field(default=512, ge=1)


class ResNetRNN(TextureClassifier[ResNetRNNConfig]):
    """Frames one by one to 512 features each, those through time, the mean over time to the head."""

    cell: ClassVar[type[nn.LSTM | nn.GRU]]

    def __init__(self, config: ResNetRNNConfig) -> None:
        super().__init__(config)
        self.backbone = residual_stages(config.layers, width=config.width)
        self.feature_width = config.width * 8
        self.recurrent = self.cell(self.feature_width, config.hidden, config.recurrent_layers, batch_first=True)
        self.head = nn.Linear(config.hidden, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        frames = self.feature_maps(batch).mean((3, 4)).transpose(1, 2)  # (B, T, 512)
        states, _ = self.recurrent(frames)  # (B, T, hidden)
        return Prediction(self.head(states.mean(1)))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T, h, w)``: of each frame by itself."""
        return frame_features(self.backbone, batch.held().texture).transpose(1, 2)


_SHARED: dict[str, Any] = {
    "paper": "Zhao and Liu, ACM MM 2021",
    "config": ResNetRNNConfig,
    "fast": {"width": 16, "layers": (1, 1, 1, 1), "hidden": 128},  # a quarter of the width, one block a stage
    "native": sgd(schedule="step", step_epochs=40, clip_norm=NO_CLIPPING),  # that of their Former-DFER
    "weights": (sequential_resnet18("backbone"),),
    "cost": PublishedCost(16, 112, macs=8e9),
}


@model(
    "resnet18-lstm",
    title="ResNet-18 + LSTM",
    **_SHARED,
    place=5,
    printed={
        "smic-hs": ((68.03, 52.13, 51.24), 57.13, 0.53),
        "casme2": ((74.00, 71.50, 70.50, 74.20, 75.20), 73.08, 0.69),
        "casme-sq": ((81.90, 60.95, 62.60, 66.97, 53.25, 60.20, 60.82), 63.81, 0.60),
        "samm": ((74.50, 74.00, 70.00, 72.00, 74.00, 68.50, 68.00, 71.56), 71.57, 0.65),
    },
)
class ResNetLSTM(ResNetRNN):
    """With an LSTM."""

    cell = nn.LSTM


@model(
    "resnet18-gru",
    title="ResNet-18 + GRU",
    **_SHARED,
    place=6,
    printed={
        "smic-hs": ((66.54, 54.21, 52.00), 57.58, 0.55),
        "casme2": ((74.50, 76.00, 74.50, 74.00, 70.20), 73.84, 0.68),
        "casme-sq": ((80.65, 61.50, 61.45, 68.51, 52.02, 70.89, 71.54), 66.65, 0.62),
        "samm": ((78.00, 75.00, 67.50, 68.00, 65.00, 74.00, 70.00, 71.06), 71.07, 0.66),
    },
)
class ResNetGRU(ResNetRNN):
    """With a GRU."""

    cell = nn.GRU
