"""MADV-Net's action unit path alone, as a model of its own: what the rest of the network has to add to."""

from typing import ClassVar

from torch import Tensor

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig
from training.models.losses import one_hot_binary_cross_entropy
from training.models.madv_net.au_encoder import ActionUnitEncoder
from training.models.madv_net.config import MADVNetConfig
from training.models.registry import model


@model("au-encoder", title="MADV-Net's AU encoder", paper="Kong, You, Lv, Sensors 2025, 25(10), 3175", place=89)
class AUEncoderModel(ClipClassifier):
    """Eqs. 3-12 with their own classifier, at the sizes that MADV-Net has by default."""

    inputs: frozenset[Input] = frozenset({"au"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("encoder.classifier",)
    mixes: ClassVar[bool] = False  # Eq. 11 is of one class

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        sizes = MADVNetConfig(classes=config.classes, action_units=config.action_units)
        self.encoder = ActionUnitEncoder.of(sizes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits of Eq. 11's classifier, and the bottleneck terms ``(B, n)``."""
        code = self.encoder(batch.au)
        return Prediction(code.logits, {"bottleneck": code.bottleneck})

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """Eq. 12: ``au_bottleneck`` and ``au_class``."""
        return {
            "au_bottleneck": prediction.auxiliary["bottleneck"].sum(1).mean(),
            "au_class": one_hot_binary_cross_entropy(prediction.logits.float(), batch.targets()),
        }
