"""ResNet-18 on each frame, a recurrent network over them: Zhao and Liu's baselines (Former-DFER, ACM MM 2021)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig
from training.models.published import resnet18

# For the `fast` recipe: a quarter of the width, one block a stage.
FAST_OPTIONS = {"width": 16, "layers": (1, 1, 1, 1), "hidden": 128}

# That of their Former-DFER.
NATIVE_RECIPE = {
    "optimisation": {
        "optimiser": "sgd",
        "momentum": 0.9,
        "lr": 0.01,
        "weight_decay": 1e-4,
        "clip_norm": 1e6,  # in effect none
        "schedule": "step",
        "step_epochs": 40,
        "step_factor": 0.1,
        "batch_size": 32,
        "epochs": 100,
        "warmup_epochs": 0,
    }
}

PUBLISHED_WEIGHTS = (resnet18(*(f"backbone.{part}" for part in (0, 1, 4, 5, 6, 7))),)

Blocks = Annotated[int, Field(ge=1)]


class ResNetRNNConfig(ModelConfig):
    """ResNet-18 (He et al., CVPR 2016) as published; of the recurrent part the paper says the kind alone.

    Attributes:
        cell: of the recurrent network.
        width: channels of the first stage; each of the next has twice as many.
        layers: residual blocks, of two convolutions, in each of the four stages.
        recurrent_layers: of the recurrent network.
        hidden: its width.
    """

    cell: Literal["lstm", "gru"]
    width: int = Field(default=64, ge=1)
    layers: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)
    recurrent_layers: int = Field(default=2, ge=1)
    hidden: int = Field(default=512, ge=1)


class ResNetRNN(ClipClassifier):
    """Frames one by one to 512 features each, those through time, the mean over time to the head."""

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, config: ResNetRNNConfig) -> None:
        super().__init__()
        self.backbone = _resnet(config)
        self.feature_width = config.width * 8
        recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.recurrent = recurrent(self.feature_width, config.hidden, config.recurrent_layers, batch_first=True)
        self.head = nn.Linear(config.hidden, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        frames = self.feature_maps(batch).mean((3, 4)).transpose(1, 2)  # (B, T, 512)
        states, _ = self.recurrent(frames)  # (B, T, hidden)
        return Prediction(self.head(states.mean(1)))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T, h, w)``: of each frame by itself."""
        texture = batch.held().texture
        maps: Tensor = self.backbone(texture.flatten(0, 1))  # (B T, 512, h, w)
        return maps.reshape(*texture.shape[:2], *maps.shape[1:]).transpose(1, 2)


def _resnet(config: ResNetRNNConfig) -> nn.Sequential:
    """ResNet up to its pool, of torchvision's blocks."""
    from torchvision.models.resnet import BasicBlock  # takes seconds

    width = config.width
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    ]
    for level, blocks in enumerate(config.layers):
        out, stride, shortcut = config.width << level, 1, None
        if level:
            stride = 2
            convolution = nn.Conv2d(width, out, kernel_size=1, stride=stride, bias=False)
            shortcut = nn.Sequential(convolution, nn.BatchNorm2d(out))
        others = (BasicBlock(out, out) for _ in range(blocks - 1))
        layers.append(nn.Sequential(BasicBlock(width, out, stride, shortcut), *others))
        width = out
    network = nn.Sequential(*layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def resnet18_lstm(**fields: object) -> ResNetRNN:
    """ResNet-18 and an LSTM; ``fields`` are those of ``ResNetRNNConfig`` but for ``cell``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return ResNetRNN(ResNetRNNConfig.model_validate({**fields, "cell": "lstm"}))


def resnet18_gru(**fields: object) -> ResNetRNN:
    """ResNet-18 and a GRU; ``fields`` are those of ``ResNetRNNConfig`` but for ``cell``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return ResNetRNN(ResNetRNNConfig.model_validate({**fields, "cell": "gru"}))
