"""Logistic regression on the AU vector: what the action units alone are worth, at next to no cost."""

from torch import nn

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig
from training.models.registry import model


@model(
    "au-logistic",
    title="AU logistic regression",
    place=90,
    # Adam adds its decay to the gradient, so this is an L2 penalty of weight_decay / 2 |w|^2 on the mean cross entropy:
    # scikit-learn's C = 1 for 200 clips. The bias is free.
    native={
        "optimisation": {
            "optimiser": "adam",
            "lr": 0.01,
            "weight_decay": 0.005,
            "batch_size": 64,
            "epochs": 300,
            "warmup_epochs": 0,
        }
    },
)
class AULogistic(ClipClassifier):
    """One linear layer on the change of each action unit from onset to apex, standardised by the trainer.

    Args:
        config: of the model, which has no options.
    """

    inputs: frozenset[Input] = frozenset({"au"})

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head = nn.Linear(config.action_units, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else; frames are not looked at."""
        return Prediction(self.head(batch.au))
