"""NR-DFERNet (Li et al., Noise-Robust Network for Dynamic Facial Expression Recognition, arXiv 2206.04975, 2022)."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import frame_features, residual_block
from training.models.baselines.texture import TextureClassifier, sgd
from training.models.baselines.transformer import Block
from training.models.config import ModelConfig
from training.models.published import PublishedCost
from training.models.registry import model


class NRDFERNetConfig(ModelConfig):
    """Li et al., section 3.

    Attributes:
        width: channels of the first stage; the second has twice as many, the third four times.
        depth: blocks of the transformer over places, and of the one over time.
        heads: of both.
        head_dim: width of one.
        spatial_hidden: of the MLP over places.
        temporal_hidden: of the MLP over time.
        neutral: index of the neutral class, for the snippet-based filter; none, and there is no filter.
        filter_steps: of a snippet of the filter; the paper does not say.
    """

    width: int = Field(default=64, ge=1)
    depth: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    head_dim: int = Field(default=32, ge=1)
    spatial_hidden: int = Field(default=256, ge=1)
    temporal_hidden: int = Field(default=512, ge=1)
    neutral: int | None = Field(default=None, ge=0)
    filter_steps: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _neutral_is_a_class(self) -> Self:
        if self.neutral is not None and self.neutral >= self.classes:
            raise ValueError(f"neutral {self.neutral} is none of the {self.classes} classes")
        return self


@model(
    "nr-dfernet",
    title="NR-DFERNet",
    paper="Li et al., arXiv 2206.04975, 2022",
    place=11,
    config=NRDFERNetConfig,
    fast={"width": 16, "spatial_hidden": 64, "temporal_hidden": 128},
    # Section 4; momentum, batch size and number of epochs are ours.
    native=sgd(lr=1e-3, weight_decay=0.1, schedule="step", step_epochs=7, step_factor=0.5),
    cost=PublishedCost(16, 112, macs=6e9),
    printed={
        "smic-hs": ((73.49, 58.31, 62.60), 64.80, 0.60),
        "casme2": ((86.50, 85.00, 86.00, 84.50, 82.50), 84.90, 0.80),
        "casme-sq": ((88.15, 64.25, 68.95, 69.58, 60.51, 81.56, 82.15), 73.59, 0.70),
        "samm": ((86.00, 86.00, 85.00, 86.00, 85.00, 86.00, 84.00, 85.36), 85.42, 0.81),
    },
)
class NRDFERNet(TextureClassifier[NRDFERNetConfig]):
    """Static features and those of adjacent differences, added; a class token made of the frames themselves."""

    def __init__(self, config: NRDFERNetConfig) -> None:
        super().__init__(config)
        one, two, four = config.width, 2 * config.width, 4 * config.width
        self.features = nn.Sequential(
            *_convolution(3, one, stride=2),
            *_convolution(one, one),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            residual_block(one, one),
            residual_block(one, two, stride=2),
            residual_block(two, four, stride=2),
        )
        self.dynamic = nn.Sequential(*(residual_block(four, four, stride=stride) for stride in (2, 1, 1)))
        self.static = nn.Sequential(*_convolution(four, four, stride=2))
        places = (-(-config.size // 32)) ** 2  # five strides of 2, each rounded up: 16 of 112 px
        self.places = nn.Parameter(torch.randn(places, four) * 0.02)
        self.spatial = nn.Sequential(
            *(Block(four, config.heads, config.head_dim, config.spatial_hidden) for _ in range(config.depth))
        )
        dim = places * four
        self.times = nn.Parameter(torch.randn(config.frames, dim) * 0.02)  # the class token, and T - 1 steps
        self.temporal = nn.Sequential(
            *(Block(dim, config.heads, config.head_dim, config.temporal_hidden) for _ in range(config.depth))
        )
        self.head = nn.Linear(dim, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits; in eval mode, with a neutral class, through the snippet-based filter."""
        steps = self.forward_steps(self.video(batch))
        logits = self.forward_head(steps, first=0)
        if self.config.neutral is not None and not self.training:
            logits = self._filtered(logits, steps, self.config.neutral)
        return Prediction(logits)

    def forward_steps(self, video: Tensor) -> Tensor:
        """``(B, T - 1, D)``: of every frame but the first, what it is and how it differs from the one before."""
        maps = frame_features(self.features, video)  # (B, T, C, h, w)
        dynamic = self.dynamic((maps[:, 1:] - maps[:, :-1]).flatten(0, 1))
        static = self.static(maps[:, 1:].flatten(0, 1))
        tokens = self.spatial(static.flatten(2).transpose(1, 2) + self.places)  # (B(T - 1), P, C)
        fused: Tensor = tokens + dynamic.flatten(2).transpose(1, 2)
        return torch.unflatten(fused.flatten(1), 0, (video.shape[0], -1))

    def forward_head(self, steps: Tensor, *, first: int) -> Tensor:
        """``(B, C)`` logits of ``(B, n, D)`` steps, of which the first is step ``first`` of the clip."""
        times = torch.cat((self.times[:1], self.times[1 + first : 1 + first + steps.shape[1]]))
        tokens = torch.cat((steps.mean(1, keepdim=True), steps), 1)  # the dynamic class token before them
        logits: Tensor = self.head(self.temporal(tokens + times)[:, 0])
        return logits

    def _filtered(self, logits: Tensor, steps: Tensor, neutral: int) -> Tensor:
        """Where a clip is found neutral, the mean of those snippets that are not; the clip's own if all are."""
        length = min(self.config.filter_steps, steps.shape[1])
        starts = range(0, steps.shape[1] - length + 1, length)
        snippets = torch.stack([self.forward_head(steps[:, i : i + length], first=i) for i in starts], 1)  # (B, S, C)
        moved = (snippets.argmax(-1) != neutral).to(logits.dtype)[..., None]
        mean = (snippets * moved).sum(1) / moved.sum(1).clamp_min(1)
        replaced = (logits.argmax(-1, keepdim=True) == neutral) & (moved.sum(1) > 0)
        return torch.where(replaced, mean, logits)


def _convolution(width: int, out: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(width, out, kernel_size=3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)
