"""STSTNet: shallow three-stream network on the optical flow from onset to apex (Liong et al., FG 2019)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.data.optical_flow import strain, tv_l1
from training.models.base import Prediction
from training.models.baselines.texture import NO_CLIPPING, TextureClassifier
from training.models.config import ModelConfig
from training.models.registry import model

_SIDE = 28  # px, of the flow fields that the network reads
_STILL = 1e-3  # px; less flow than this, or strain, is noise and stays small


class STSTNetConfig(ModelConfig):
    """Liong et al., section III.

    Attributes:
        streams: filters of each stream.
        dropout: after each stream.
        flow_size: px; flow is measured at this side, or at that of smaller frames. Ours: twice what the network reads.
        flow_warps: of TV-L1.
        flow_iterations: of TV-L1, a warp.
    """

    streams: tuple[int, ...] = Field(default=(3, 5, 8), min_length=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    flow_size: int = Field(default=56, ge=28)
    flow_warps: int = Field(default=5, ge=1)
    flow_iterations: int = Field(default=10, ge=1)


@model(
    "ststnet",
    title="STSTNet",
    motion="none",  # it finds the flow itself, at its own size
    paper="Liong et al., FG 2019",
    place=80,
    config=STSTNetConfig,
    fast={"flow_warps": 2, "flow_iterations": 5},
    # Of the authors' PyTorch code, which sets no weight decay.
    native={
        "optimisation": {
            "optimiser": "adam",
            "lr": 5e-5,
            "schedule": "step",
            "step_factor": 1.0,  # constant
            "weight_decay": 0.0,
            "clip_norm": NO_CLIPPING,
            "batch_size": 256,
            "epochs": 800,
            "warmup_epochs": 0,
        }
    },
)
class STSTNet(TextureClassifier[STSTNetConfig]):
    """Flow and strain of one pair of frames, one convolution, one fully connected layer.

    The first frame is the onset; where a batch does not say which one is the apex, it is the frame that differs most
    from the onset. ``Prediction.auxiliary`` holds ``apex`` ``(B,)`` int64 and ``flow`` ``(B, 3, 28, 28)``: to the
    right, down, and strain, each over its largest magnitude in the clip.
    """

    reads_apex: ClassVar[bool] = True

    def __init__(self, config: STSTNetConfig) -> None:
        super().__init__(config)
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, width, kernel_size=3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(width),
                nn.MaxPool2d(kernel_size=3, stride=3, padding=1),
                nn.Dropout(config.dropout),
            )
            for width in config.streams
        )
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(sum(config.streams) * 5 * 5, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, the frame taken for the apex, and the flow up to it."""
        flow, apex = self.motion(batch)
        features = torch.cat([stream(flow) for stream in self.streams], 1)  # (B, 16, 10, 10)
        return Prediction(self.head(self.pool(features).flatten(1)), {"flow": flow, "apex": apex})

    def motion(self, batch: ClipBatch) -> tuple[Tensor, Tensor]:
        """What the network reads, ``(B, 3, 28, 28)``, and the apex, ``(B,)``."""
        config = self.config
        grey = batch.held().texture.mean(2)  # (B, T, H, W)
        grey = F.adaptive_avg_pool2d(grey, min(config.flow_size, *grey.shape[-2:]))
        onset = grey[:, :1]
        low, high = onset.amin((1, 2, 3), keepdim=True), onset.amax((1, 2, 3), keepdim=True)
        grey = (grey - low) / (high - low).clamp_min(1e-6)  # TV-L1 is set for [0, 1]
        apex = (grey - grey[:, :1]).abs().mean((2, 3)).argmax(1) if batch.apex is None else batch.apex
        at_apex = grey.gather(1, apex[:, None, None, None].expand(-1, 1, *grey.shape[2:]))
        flow = tv_l1(grey[:, :1], at_apex, warps=config.flow_warps, iterations=config.flow_iterations)
        fields = F.adaptive_avg_pool2d(torch.cat((flow, strain(flow)), 1), _SIDE)
        fields = fields / fields.abs().amax((2, 3), keepdim=True).clamp_min(_STILL)
        return fields * (apex > 0)[:, None, None, None], apex  # of a clip that stands still only rounding is left
