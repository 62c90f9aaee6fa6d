"""MADV-Net's stem and pyramid on motion, with frame-wise outputs in place of Eq. 14's head.

The encoder is ``MADVNet.forward_features`` as it stands, with the texture path alone, which reads optical flow (two
directions and strain) as it does in recognition. Of each of its moments the CLS tokens of the three stages and the
means of their patches are read by two convolutions in time, as anchor-free detectors of actions do
(ActionFormer, Zhang et al., ECCV 2022): is there an expression, is it macro, and how far are its onset and its offset.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.data.motion import motion_stream
from training.models.madv_net import MADVNet, MADVNetConfig

FRAMES = 64  # of a window
STRIDE = 2  # frames from one answer to the next: the stem's pool halves time
_WIDTH = 64  # of the convolutions in time
_REACH = 8.0  # frames, the unit of the distances
_OUTPUTS = 4

ENCODER = MADVNetConfig(
    classes=2,  # of a head that is not there
    frames=FRAMES,
    size=32,
    depth=False,
    au=False,
    discard=False,  # a window has no single place that matters, expressions differ in theirs
    stage_heads=False,
    stem_width=8,
    stem_kernel=(3, 3, 3),
    dims=(32, 48, 64),
    depths=(1, 1, 1),
    head_dim=16,
    mlp_ratio=2,
)


class FrameAnswers(NamedTuple):
    """What is said of N moments, ``(B, N)`` each.

    Attributes:
        expression: logit of an expression.
        macro: logit of its being a macro-expression.
        before: frames since its onset.
        after: frames until its offset ends.
    """

    expression: Tensor
    macro: Tensor
    before: Tensor
    after: Tensor


class SpottingNetwork(nn.Module):
    """``(B, T, 2, H, W)`` px that a face is off from its mean place in the window -> answers for ``T / 2`` moments."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MADVNet(ENCODER)
        self.encoder.head = nn.Identity()  # type: ignore[assignment]
        self.encoder.fusion = nn.Identity()  # type: ignore[assignment]
        width = 2 * sum(ENCODER.dims)
        self.norm = nn.LayerNorm(width)
        self.time = nn.Sequential(
            nn.Conv1d(width, _WIDTH, 3, padding=1), nn.GELU(), nn.Dropout(0.2),
            nn.Conv1d(_WIDTH, _WIDTH, 5, padding=2), nn.GELU(), nn.Conv1d(_WIDTH, _OUTPUTS, 1),
        )  # fmt: skip
        self.register_buffer("scale", torch.ones(3, 1, 1))  # of flow and strain in the training recordings

    def forward(self, places: Tensor) -> FrameAnswers:
        """Answers; moment n is in the middle of frame ``2 n``."""
        video = self.motion(places) / self.scale
        nothing = video[:, :, :0]
        batch = ClipBatch(texture=video, depth=nothing, au=nothing[:, 0, :, 0, 0])
        stages = self.encoder.forward_features(batch, None)
        parts = [part for stage in stages for part in (stage.cls, stage.maps.mean((2, 4, 5)))]
        expression, macro, before, after = self.time(self.norm(torch.cat(parts, 2)).transpose(1, 2)).unbind(1)
        return FrameAnswers(expression, macro, _REACH * F.softplus(before), _REACH * F.softplus(after))

    @staticmethod
    def motion(places: Tensor) -> Tensor:
        """``(B, T, 3, H, W)``: right, down, and strain, against the mean of the window."""
        return motion_stream(places - places.mean(1, keepdim=True), "flow")


def spotting_loss(answers: FrameAnswers, truth: FrameAnswers) -> Tensor:
    """Cross entropy of expression and of type, and one minus the overlap (IoU) of the interval.

    Args:
        answers: of a batch.
        truth: 0 or 1 for expression and macro, and true distances; the last three count within expressions alone.
    """
    inside = truth.expression > 0
    found = F.binary_cross_entropy_with_logits(answers.expression, truth.expression)
    if not inside.any():
        return found
    kind = F.binary_cross_entropy_with_logits(answers.macro[inside], truth.macro[inside])
    pairs = ((answers.before, truth.before), (answers.after, truth.after))
    common = sum(torch.minimum(a[inside], b[inside]) for a, b in pairs)
    union = sum(torch.maximum(a[inside], b[inside]) for a, b in pairs)
    return found + 0.5 * kind + 0.5 * (1 - torch.as_tensor(common / union).mean())
