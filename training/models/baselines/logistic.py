"""Logistic regressions, solved to convergence: what action units, or the flow of one pair of frames, are worth alone.

They are the bar that a network has to clear. Trained by a network's recipe they would be a low one: a few hundred small
steps leave them far from their optimum.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig
from training.models.registry import model

_NEVER = -30.0  # logit of a class without a training clip
_SIDE = 14  # cells that the flow is averaged in


class SolvedRegression(ClipClassifier):
    """One linear layer, fitted by scikit-learn to all training clips of a fold at once, with an L2 penalty of C = 1.

    Args:
        config: of the model, which has no options.
        features: F.
    """

    solved: ClassVar[bool] = True
    mixes: ClassVar[bool] = False  # scikit-learn's takes one class a clip

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, config.classes)

    @abstractmethod
    def features(self, batch: ClipBatch) -> Tensor:
        """``(B, F)``."""

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        return Prediction(self.head(self.features(batch)))

    @torch.no_grad()
    def solve(self, batch: ClipBatch) -> None:
        """Fit the layer to these clips; a class that has none of them gets the least of all logits."""
        solver = LogisticRegression(max_iter=10_000)
        solver.fit(self.features(batch).double().cpu().numpy(), batch.classes().cpu().numpy())
        weights, bias = solver.coef_, solver.intercept_
        if len(weights) == 1:  # of two classes scikit-learn keeps the second's alone
            weights, bias = np.concatenate([0 * weights, weights]), np.append(0.0, bias)
        seen = torch.from_numpy(solver.classes_)
        self.head.weight.zero_()
        self.head.bias.fill_(_NEVER)
        self.head.weight[seen] = self.head.weight.new_tensor(weights)
        self.head.bias[seen] = self.head.bias.new_tensor(bias)


@model("au-logistic", title="AU logistic regression", place=90)
class AULogistic(SolvedRegression):
    """On the change of each action unit from onset to apex, standardised by the trainer."""

    inputs: frozenset[Input] = frozenset({"au"})

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.action_units)

    def features(self, batch: ClipBatch) -> Tensor:
        """The action units themselves."""
        return batch.au


@model("flow-logistic", title="flow logistic regression", place=91, motion="flow")
class FlowLogistic(SolvedRegression):
    """On the optical flow from onset to apex, averaged in 14 x 14 cells: motion alone, without a network."""

    inputs: frozenset[Input] = frozenset({"texture"})
    reads_apex: ClassVar[bool] = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, 2 * _SIDE**2)

    def features(self, batch: ClipBatch) -> Tensor:
        """``(B, 2 x 14 x 14)``: to the right, and down; of the last frame where nobody knows the apex."""
        batch = batch.held()
        at_apex = batch.texture[:, -1]
        if batch.apex is not None:
            place = batch.apex.view(-1, 1, 1, 1, 1).expand(-1, 1, *batch.texture.shape[2:])
            at_apex = batch.texture.gather(1, place)[:, 0]
        return F.adaptive_avg_pool2d(at_apex[:, :2], _SIDE).flatten(1)
