"""ResNet-18 on each frame, a recurrent network over them: Zhao and Liu's baselines (Former-DFER, ACM MM 2021)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from training.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig

# For the `fast` recipe: one block a stage, half the width above them.
FAST_OPTIONS = {"layers": (1, 1, 1, 1), "hidden": 256}

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

Blocks = Annotated[int, Field(ge=1)]


class ResNetRNNConfig(ModelConfig):
    """ResNet-18 (He et al., CVPR 2016) as published; of the recurrent part the paper says the kind alone.

    Attributes:
        cell: of the recurrent network.
        layers: residual blocks, of two convolutions, in each of the four stages.
        recurrent_layers: of the recurrent network.
        hidden: its width.
    """

    cell: Literal["lstm", "gru"]
    layers: tuple[Blocks, Blocks, Blocks, Blocks] = (2, 2, 2, 2)
    recurrent_layers: int = Field(default=2, ge=1)
    hidden: int = Field(default=512, ge=1)


class ResNetRNN(ClipClassifier):
    """Frames one by one to 512 features each, those through time, the mean over time to the head."""

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)
    feature_width = 512

    def __init__(self, config: ResNetRNNConfig) -> None:
        from torchvision.models import resnet  # takes seconds

        super().__init__()
        self.backbone = resnet.ResNet(resnet.BasicBlock, list(config.layers))
        self.backbone.fc = nn.Identity()
        recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.recurrent = recurrent(512, config.hidden, config.recurrent_layers, batch_first=True)
        self.head = nn.Linear(config.hidden, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        texture = batch.held().texture
        frames = self.backbone(texture.flatten(0, 1))  # (B T, 512)
        states, _ = self.recurrent(frames.unflatten(0, texture.shape[:2]))  # (B, T, hidden)
        return Prediction(self.head(states.mean(1)))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 512, T, h, w)``: of each frame by itself."""
        texture = batch.held().texture
        x: Tensor = texture.flatten(0, 1)
        for part in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            x = self.backbone.get_submodule(part)(x)
        return x.unflatten(0, texture.shape[:2]).transpose(1, 2)


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
