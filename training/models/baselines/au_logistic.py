"""Logistic regression on the AU vector: what the action units alone are worth, at next to no cost."""

from typing import ClassVar

from torch import nn

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig

# Adam adds its decay to the gradient, so this is an L2 penalty of weight_decay / 2 |w|^2 on the mean cross entropy:
# scikit-learn's C = 1 for 200 clips. The bias is free.
NATIVE_RECIPE = {
    "optimisation": {
        "optimiser": "adam",
        "lr": 0.01,
        "weight_decay": 0.005,
        "batch_size": 64,
        "epochs": 300,
        "warmup_epochs": 0,
    }
}


class AULogistic(ClipClassifier):
    """One linear layer on the change of each action unit from onset to apex, standardised by the trainer.

    Args:
        config: of the model, which has no options.
    """

    inputs: frozenset[Input] = frozenset({"au"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head = nn.Linear(config.action_units, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else; frames are not looked at."""
        return Prediction(self.head(batch.au))


def au_logistic(**fields: object) -> AULogistic:
    """Logistic regression on AUs; ``fields`` are those of ``ModelConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return AULogistic(ModelConfig.model_validate(fields))
