"""Residual networks of 18 layers whose convolutions span time: 3D (Hara et al.) and factorised, (2+1)D (Tran et al.).

Hara, Kataoka, Satoh: Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet? CVPR 2018.
Tran et al.: A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018.
"""

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from training.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig

# For the `fast` recipe: one block a stage.
FAST_OPTIONS = {"layers": (1, 1, 1, 1)}

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
        layers: residual blocks, of two convolutions, in each of the four stages.
    """

    layers: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)


class VideoResNet(ClipClassifier):
    """A torchvision video network below a head of ours.

    ``Prediction.auxiliary`` holds ``features`` ``(B, 512)``, what the head reads.

    Args:
        config: of the model.
        backbone: torchvision's; its fully connected layer is taken away.
    """

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)
    feature_width = 512

    def __init__(self, config: VideoResNetConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.fc = nn.Identity()
        self.head = nn.Linear(512, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, and the features below them."""
        features = self.feature_maps(batch).mean((2, 3, 4))
        return Prediction(self.head(features), {"features": features})

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T', h, w)``."""
        x: Tensor = batch.held().texture.transpose(1, 2)
        for part in ("stem", "layer1", "layer2", "layer3", "layer4"):
            x = self.backbone.get_submodule(part)(x)
        return x


def hara_backbone(config: VideoResNetConfig) -> nn.Module:
    """3D convolutions; the stem halves the clip in time too, with a pool, which torchvision's ``r3d_18`` lacks."""
    from torchvision.models.video import resnet  # takes seconds

    def stem() -> nn.Sequential:
        return nn.Sequential(
            nn.Conv3d(3, 64, kernel_size=7, stride=(1, 2, 2), padding=3, bias=False),
            nn.BatchNorm3d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(kernel_size=3, stride=2, padding=1),
        )

    convolutions = [resnet.Conv3DSimple] * 4
    network: nn.Module = resnet.VideoResNet(resnet.BasicBlock, convolutions, list(config.layers), stem)
    return network


def tran_backbone(config: VideoResNetConfig) -> nn.Module:
    """Each 3D convolution a spatial and a temporal one, as wide as makes their weights as many; ``r2plus1d_18``."""
    from torchvision.models.video import resnet  # takes seconds

    convolutions = [resnet.Conv2Plus1D] * 4
    network: nn.Module = resnet.VideoResNet(resnet.BasicBlock, convolutions, list(config.layers), resnet.R2Plus1dStem)
    return network


def r3d_18(**fields: object) -> VideoResNet:
    """3D ResNet-18; ``fields`` are those of ``VideoResNetConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    config = VideoResNetConfig.model_validate(fields)
    return VideoResNet(config, hara_backbone(config))


def r2plus1d_18(**fields: object) -> VideoResNet:
    """R(2+1)D-18; ``fields`` are those of ``VideoResNetConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    config = VideoResNetConfig.model_validate(fields)
    return VideoResNet(config, tran_backbone(config))
