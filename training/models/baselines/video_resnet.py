"""Residual networks of 18 layers whose convolutions span time: 3D (Hara et al.) and factorised, (2+1)D (Tran et al.).

Hara, Kataoka, Satoh: Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet? CVPR 2018.
Tran et al.: A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig

# For the `fast` recipe: a quarter of the width, one block a stage.
FAST_OPTIONS = {"width": 16, "layers": (1, 1, 1, 1)}

# As the authors of DFEW trained on faces (Jiang et al., ACM MM 2020); the batch and the number of epochs are ours.
NATIVE_RECIPE = {
    "optimisation": {
        "optimiser": "sgd",
        "momentum": 0.9,
        "lr": 0.01,
        "weight_decay": 1e-4,
        "clip_norm": 1e6,  # in effect none
        "schedule": "step",
        "step_epochs": 50,
        "step_factor": 0.1,
        "batch_size": 32,
        "epochs": 150,
        "warmup_epochs": 0,
    }
}

Blocks = Annotated[int, Field(ge=1)]


class VideoResNetConfig(ModelConfig):
    """Both papers' network of 18 layers.

    Attributes:
        width: channels of the first stage; each of the next has twice as many.
        layers: residual blocks, of two convolutions, in each of the four stages.
    """

    width: int = Field(default=64, ge=8)
    layers: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)


class VideoResNet(ClipClassifier):
    """A stem, four stages of torchvision's residual blocks, average pool, fully connected layer.

    ``Prediction.auxiliary`` holds ``features`` ``(B, 512)``, what the head reads.

    Args:
        config: of the model.
        factorised: each 3D convolution a spatial and a temporal one (Tran et al.); else whole (Hara et al.).
    """

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, config: VideoResNetConfig, *, factorised: bool) -> None:
        from torchvision.models.video import resnet  # takes seconds

        super().__init__()
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


def r3d_18(**fields: object) -> VideoResNet:
    """3D ResNet-18; ``fields`` are those of ``VideoResNetConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return VideoResNet(VideoResNetConfig.model_validate(fields), factorised=False)


def r2plus1d_18(**fields: object) -> VideoResNet:
    """R(2+1)D-18; ``fields`` are those of ``VideoResNetConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return VideoResNet(VideoResNetConfig.model_validate(fields), factorised=True)
