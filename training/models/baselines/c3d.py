"""C3D (Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, ICCV 2015)."""

from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.texture import TextureClassifier
from training.models.config import ModelConfig
from training.models.published import PublishedCost
from training.models.registry import model


class C3DConfig(ModelConfig):
    """Tran et al., section 3.3, with batch norm after each convolution, without which it hardly starts from scratch.

    Attributes:
        width: channels of the first convolution; the others are multiples.
        hidden: of the two fully connected layers.
        dropout: after each of them.
    """

    width: int = Field(default=64, ge=1)
    hidden: int = Field(default=4096, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)


@model(
    "c3d",
    title="C3D",
    paper="Tran et al., ICCV 2015",
    place=1,
    config=C3DConfig,
    fast={"width": 16, "hidden": 128, "dropout": 0.1},  # twice a half leaves too little of so few
    fast_lr=3e-4,
    # As it is trained on faces; epochs and schedule are ours, no source gives them.
    native={
        "optimisation": {
            "optimiser": "adam",
            "lr": 1e-3,
            "weight_decay": 0.0,
            "batch_size": 32,
            "epochs": 100,
            "warmup_epochs": 0,
        }
    },
    cost=PublishedCost(16, 112, parameters=78e6, macs=39e9),
    printed={
        "smic-hs": ((58.15, 40.83, 45.00), 47.99, 0.44),
        "casme2": ((54.00, 62.25, 49.25, 66.00, 68.50), 60.00, 0.56),
        "casme-sq": ((48.20, 45.53, 52.71, 53.72, 63.45, 54.93, 60.23), 54.11, 0.52),
        "samm": ((65.00, 57.00, 58.60, 60.00, 62.00, 61.20, 68.00, 61.64), 61.68, 0.58),
    },
)
class C3D(TextureClassifier[C3DConfig]):
    """Eight 3x3x3 convolutions, five pools, three fully connected layers; any number of frames and pixels.

    Clips of 16 frames of 112 px leave one step of 4x4, as published; others are averaged to that grid. Pools round
    up, so that a clip of less than 16 frames keeps its last step.
    """

    def __init__(self, config: C3DConfig) -> None:
        super().__init__(config)
        one, two, four, eight = (config.width * times for times in (1, 2, 4, 8))
        self.feature_width = eight
        self.features = nn.Sequential(
            _convolution(3, one),
            nn.MaxPool3d((1, 2, 2), ceil_mode=True),
            _convolution(one, two),
            nn.MaxPool3d(2, ceil_mode=True),
            _convolution(two, four),
            _convolution(four, four),
            nn.MaxPool3d(2, ceil_mode=True),
            _convolution(four, eight),
            _convolution(eight, eight),
            nn.MaxPool3d(2, ceil_mode=True),
            _convolution(eight, eight),
            _convolution(eight, eight),
            nn.MaxPool3d(2, padding=(0, 1, 1), ceil_mode=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.hidden = nn.Sequential(
            nn.Linear(eight * 4 * 4, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.head = nn.Linear(config.hidden, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        features = self.pool(self.feature_maps(batch).mean(2)).flatten(1)  # (B, 8192)
        return Prediction(self.head(self.hidden(features)))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T/16, h, w)``."""
        maps: Tensor = self.features(batch.held().texture.transpose(1, 2))
        return maps


def _convolution(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(width, out, kernel_size=3, padding=1, bias=False), nn.BatchNorm3d(out), nn.ReLU(inplace=True)
    )
