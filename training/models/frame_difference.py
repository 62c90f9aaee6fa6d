"""Self-supervised pre-training by frame-difference masking: hide the blocks that move, and ask how they moved.

MADV-Net's section 3 speaks of self-supervised learning without saying how. This is our reading, after masked video
autoencoders: blocks with much motion are hidden more often, a hidden block shows its onset throughout, and a light
decoder on the model's last feature maps says what each hidden block's difference from onset was.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from schemas.errors import ConfigError
from training.data.batch import ClipBatch
from training.models.base import ClipClassifier, Prediction, Pretraining

_BLOCKS = 8  # a side; a block is hidden in all frames, or the others would give it away
_HIDDEN = 0.5  # share of the blocks
_CELLS = 2  # of a block's side: the resolution at which the difference is asked for
_LEAST_VARIANCE = 1e-4  # of a clip that does not move; its differences are noise


class FrameDifferencePretraining(Pretraining):
    """A model with a decoder of hidden frame differences in place of its heads.

    Args:
        network: to pre-train.

    Raises:
        ConfigError: the model has no feature maps.
    """

    def __init__(self, network: ClipClassifier) -> None:
        super().__init__()
        if network.feature_width is None:
            raise ConfigError(f"{type(network).__name__} has no feature maps, and cannot be pre-trained in this way")
        self.network = network
        self.inputs = network.inputs
        channels = 3 * ("texture" in self.inputs) + ("depth" in self.inputs)
        self.decoder = nn.Conv3d(network.feature_width, channels, kernel_size=1)

    def forward(self, batch: ClipBatch) -> Prediction:
        """``reconstruction``, ``target`` and ``hidden``, ``(B, C, T, cells, cells)``; the logits say nothing."""
        batch = batch.held()
        videos = [video for name, video in self._videos(batch).items() if name in self.inputs]
        cells = _BLOCKS * _CELLS
        video = torch.cat(videos, 2)
        frames = video.shape[1]
        motion = (video - video[:, :1]).transpose(1, 2)  # (B, C, T, H, W)
        target = F.adaptive_avg_pool3d(motion, (frames, cells, cells))
        hidden = hidden_blocks(target)
        features = self.network.feature_maps(self._masked(batch, hidden))
        decoded = F.interpolate(self.decoder(features).float(), (frames, cells, cells), mode="trilinear")
        mask = _enlarged(hidden, cells)[:, None, None].expand_as(target)
        auxiliary = {"reconstruction": decoded, "target": target, "hidden": mask}
        return Prediction(torch.zeros(len(batch), 2, device=target.device), auxiliary)

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """``reconstruction``: squared error in the hidden blocks over the variance there; 1 is to know nothing."""
        target, hidden = prediction.auxiliary["target"].float(), prediction.auxiliary["hidden"].float()
        error = (prediction.auxiliary["reconstruction"] - target).square()
        variance = (target.square() * hidden).sum((1, 2, 3, 4)) / hidden.sum((1, 2, 3, 4))
        per_clip = (error * hidden).sum((1, 2, 3, 4)) / hidden.sum((1, 2, 3, 4))
        return {"reconstruction": (per_clip / variance.clamp_min(_LEAST_VARIANCE)).mean()}

    @staticmethod
    def _videos(batch: ClipBatch) -> dict[str, Tensor]:
        return {"texture": batch.texture, "depth": batch.depth}

    def _masked(self, batch: ClipBatch, hidden: Tensor) -> ClipBatch:
        """The batch with its onset in every frame of the hidden blocks, and without AUs, which would tell."""
        shown = {
            name: torch.where(_enlarged(hidden, video.shape[-1])[:, None, None], video[:, :1], video)
            for name, video in self._videos(batch).items()
        }
        return replace(batch, **shown, au=torch.zeros_like(batch.au))


def hidden_blocks(motion: Tensor) -> Tensor:
    """``(B, blocks, blocks)`` bool: half of the blocks, drawn in proportion to how much moves in them.

    Args:
        motion: ``(B, C, T, cells, cells)`` differences from onset.
    """
    energy = F.adaptive_avg_pool2d(motion.float().square().mean((1, 2)), (_BLOCKS, _BLOCKS)).flatten(1)
    # Gumbel top-k: drawing without replacement with these weights.
    gumbel = -torch.log(-torch.log(torch.rand_like(energy).clamp(1e-9, 1 - 1e-6)))
    first = (energy.clamp_min(1e-9).log() + gumbel).topk(int(_BLOCKS**2 * _HIDDEN), dim=1).indices
    hidden = torch.zeros_like(energy, dtype=torch.bool).scatter_(1, first, True)
    return hidden.view(-1, _BLOCKS, _BLOCKS)


def _enlarged(hidden: Tensor, side: int) -> Tensor:
    """``(B, side, side)`` bool."""
    return F.interpolate(hidden[:, None].float(), (side, side), mode="nearest")[:, 0] > 0
