"""Residual networks of 18 layers whose convolutions span time: 3D (Hara et al.) and factorised, (2+1)D (Tran et al.).

Hara, Kataoka, Satoh: Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet? CVPR 2018.
Tran et al.: A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018.
"""

from typing import ClassVar, TypeVar

from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import Layers
from training.models.baselines.texture import NO_CLIPPING, TextureClassifier, sgd
from training.models.config import ModelConfig
from training.models.published import PublishedCost
from training.models.registry import model

# For the `fast` recipe: a quarter of the width, one block a stage.
FAST = {"width": 16, "layers": (1, 1, 1, 1)}
# As the authors of DFEW trained on faces (Jiang et al., ACM MM 2020); the batch and the number of epochs are ours.
NATIVE = sgd(schedule="step", step_epochs=50, clip_norm=NO_CLIPPING, epochs=150)


class VideoResNetConfig(ModelConfig):
    """Both papers' network of 18 layers.

    Attributes:
        width: channels of the first stage; each of the next has twice as many.
        layers: residual blocks, of two convolutions, in each of the four stages.
    """

    width: int = Field(default=64, ge=8)
    layers: Layers = (2, 2, 2, 2)


C = TypeVar("C", bound=VideoResNetConfig)


class VideoResNet(TextureClassifier[C]):
    """A stem, four stages of torchvision's residual blocks, average pool, fully connected layer.

    ``Prediction.auxiliary`` holds ``features`` ``(B, 512)``, what the head reads.

    Attributes:
        factorised: each 3D convolution a spatial and a temporal one (Tran et al.); else whole (Hara et al.).
    """

    factorised: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        from torchvision.models.video import resnet  # takes seconds

        super().__init__(config)
        factorised = self.factorised
        convolution = resnet.Conv2Plus1D if factorised else resnet.Conv3DSimple
        self.stem = _tran_stem(config.width) if factorised else _hara_stem(config.width)
        self.stages = nn.ModuleList()
        width = config.width
        for level, blocks in enumerate(config.layers):
            out, stride = config.width << level, 1 if level == 0 else 2
            shortcut = _shortcut(width, out, stride) if level else None
            first = resnet.BasicBlock(width, out, convolution, stride, shortcut)
            others = (resnet.BasicBlock(out, out, convolution) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(first, *others))
            width = out
        self.feature_width = width
        self.head = nn.Linear(width, config.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, and the features below them."""
        features = self.feature_maps(batch).mean((2, 3, 4))
        return Prediction(self.head(features), {"features": features})

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T', h, w)``; T' is T / 16 for Hara's, T / 8 for Tran's."""
        x: Tensor = self.stem(batch.held().texture.transpose(1, 2))
        for stage in self.stages:
            x = stage(x)
        return x


def _hara_stem(width: int) -> nn.Sequential:
    """Its pool halves the clip in time too; torchvision's ``r3d_18`` has none, and four times the arithmetic."""
    return nn.Sequential(
        nn.Conv3d(3, width, kernel_size=7, stride=(1, 2, 2), padding=3, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
    )


def _tran_stem(width: int) -> nn.Sequential:
    """Between its two convolutions are 45 channels where it makes 64."""
    between = 45 * width // 64
    return nn.Sequential(
        nn.Conv3d(3, between, kernel_size=(1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, width, kernel_size=(3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _shortcut(width: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(width, out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm3d(out))


@model(
    "r2plus1d-18",
    title="R(2+1)D-18",
    paper="Tran et al., CVPR 2018",
    place=2,
    config=VideoResNetConfig,
    fast=FAST,
    native=NATIVE,
    cost=PublishedCost(16, 112, parameters=33e6, macs=42e9),
    printed={
        "smic-hs": ((61.86, 49.04, 48.26), 53.05, 0.50),
        "casme2": ((62.30, 66.70, 58.60, 67.20, 68.60), 64.68, 0.59),
        "casme-sq": ((79.65, 39.02, 56.65, 51.02, 67.25, 63.25, 62.08), 59.84, 0.55),
        "samm": ((67.50, 60.00, 63.20, 67.00, 61.00, 64.00, 68.50, 64.40), 64.45, 0.59),
    },
)
class R2Plus1D18(VideoResNet[VideoResNetConfig]):
    """R(2+1)D-18."""

    factorised = True


@model(
    "r3d-18",
    title="3D ResNet-18",
    paper="Hara et al., CVPR 2018",
    place=3,
    config=VideoResNetConfig,
    fast=FAST,
    native=NATIVE,
    cost=PublishedCost(16, 112, parameters=33e6, macs=8e9),
    printed={
        "smic-hs": ((62.67, 45.87, 47.35), 51.96, 0.49),
        "casme2": ((65.00, 68.00, 72.00, 71.50, 71.50), 69.60, 0.61),
        "casme-sq": ((76.32, 50.20, 64.15, 61.95, 46.53, 61.02, 62.65), 60.40, 0.58),
        "samm": ((68.00, 69.00, 72.00, 70.00, 61.00, 63.20, 64.00, 66.72), 66.74, 0.61),
    },
)
class R3D18(VideoResNet[VideoResNetConfig]):
    """3D ResNet-18."""
