"""EC-STFL: expression-clustered features (Jiang et al., DFEW, ACM MM 2020), on 3D ResNet-18."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.video_resnet import FAST, NATIVE, VideoResNet, VideoResNetConfig
from training.models.published import PublishedCost
from training.models.registry import model

_LEAST_DISTANCE = 1e-6


class ECSTFLConfig(VideoResNetConfig):
    """Jiang et al., section 4.

    Attributes:
        clustering_weight: the paper's lambda, beside a cross entropy of weight 1.
    """

    clustering_weight: float = Field(default=10.0, ge=0)


@model(
    "ec-stfl",
    title="EC-STFL",
    paper="Jiang et al., DFEW, ACM MM 2020",
    place=4,
    config=ECSTFLConfig,
    fast=FAST,
    native=NATIVE,
    ablations={"clustering loss": {"clustering_weight": 0.0}},
    cost=PublishedCost(16, 112, macs=8e9),
    printed={
        "smic-hs": ((61.06, 44.68, 46.15), 50.63, 0.50),
        "casme2": ((66.25, 68.68, 74.00, 72.50, 74.00), 71.08, 0.68),
        "casme-sq": ((78.25, 50.05, 54.25, 60.25, 65.25, 62.83, 60.57), 61.63, 0.59),
        "samm": ((72.00, 70.00, 68.00, 68.00, 64.00, 65.00, 65.00, 67.36), 67.42, 0.63),
    },
)
class ECSTFL(VideoResNet[ECSTFLConfig]):
    """3D ResNet-18 whose features also gather by expression, and part from other expressions."""

    mixes: ClassVar[bool] = False  # a mixed clip gathers with no class

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """``cross_entropy`` and ``clustering``."""
        target = batch.targets()
        clustering = clustering_loss(prediction.auxiliary["features"], target)
        return {
            "cross_entropy": F.cross_entropy(prediction.logits.float(), target),
            "clustering": self.config.clustering_weight * clustering,
        }


def clustering_loss(features: Tensor, target: Tensor) -> Tensor:
    """How far clips are from their own class, times how near to the others: ``mean_i(A_i R_i) / N``.

    A_i is the mean L1 distance to the clips of i's class in the batch, itself included; R_i is the sum of the inverse
    distances to those of other classes over one more than their number, 0 where there are none.

    Args:
        features: ``(N, D)``; distances are taken in float32.
        target: ``(N,)`` int64.
    """
    distance = torch.cdist(features.float(), features.float(), p=1)
    same = (target[:, None] == target).float()
    attraction = (same * distance).sum(1) / same.sum(1)
    inverse = torch.where(same > 0, 0.0, 1 / (distance + _LEAST_DISTANCE))
    repulsion = inverse.sum(1) / ((1 - same).sum(1) + 1)
    return (attraction * repulsion).mean() / len(target)
