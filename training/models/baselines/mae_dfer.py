"""MAE-DFER (Sun et al., MAE-DFER: Efficient Masked Autoencoder for Self-supervised DFER, ACM MM 2023)."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.masked_pretraining import FINE_TUNING, MaskedAutoencoder, MaskedConfig
from training.models.baselines.transformer import MLP, Attention, sinusoids
from training.models.published import PublishedCost
from training.models.registry import model

_TALLEST = 7  # tokens, of a region whose size is not given


class MAEDFERConfig(MaskedConfig):
    """Sun et al., section 3.

    Attributes:
        dim: width of a token.
        heads: of every attention.
        depth: blocks.
        region: tokens in time, height and width of a local region; by default two in time, the whole width, and at
            most 7 in height: the paper's (2, 5, 10) at 160 px.
    """

    dim: int = Field(default=512, ge=2)
    heads: int = Field(default=8, ge=1)
    depth: int = Field(default=16, ge=1)
    region: tuple[int, int, int] | None = None

    @model_validator(mode="after")
    def _regions_tile(self) -> Self:
        if any(size < 1 or whole % size for size, whole in zip(self.regions_of, self.grid, strict=True)):
            raise ValueError(f"regions of {self.regions_of} tokens do not tile the {self.grid} of a clip")
        return self

    @property
    def regions_of(self) -> tuple[int, int, int]:
        """``region``, or its default."""
        if self.region is not None:
            return self.region
        frames, height, width = self.grid
        return 2 - frames % 2, max(rows for rows in range(1, _TALLEST + 1) if height % rows == 0), width


class LocalGlobalBlock(nn.Module):
    """LGI-Former's block: within regions, among their representatives, from these to the tokens, MLP.

    Args:
        dim: width of the tokens.
        heads: of every attention.
        drop_path: probability that a clip skips a part.
    """

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        from torchvision.ops import StochasticDepth  # takes seconds

        super().__init__()
        self.local_norm, self.local = nn.LayerNorm(dim), Attention(dim, heads, dim // heads, bias=True)
        self.among_norm, self.among = nn.LayerNorm(dim), Attention(dim, heads, dim // heads, bias=True)
        self.spread_norm, self.spread = nn.LayerNorm(dim), Attention(dim, heads, dim // heads, bias=True)
        self.source_norm = nn.LayerNorm(dim)
        self.mlp_norm, self.mlp = nn.LayerNorm(dim), MLP(dim, 4 * dim)
        self.drop = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """``(B, R, 1 + S, D)`` to the same: R regions of S tokens, each behind its representative."""
        regions, size = x.shape[1], x.shape[2] - 1
        x = x + self.drop(self.local(self.local_norm(x).flatten(0, 1)).unflatten(0, (-1, regions)))
        heads, tokens = x[:, :, 0], x[:, :, 1:].flatten(1, 2)  # (B, R, D), (B, RS, D)
        heads = heads + self.drop(self.among(self.among_norm(heads)))
        tokens = tokens + self.drop(self.spread(self.spread_norm(tokens), self.source_norm(heads)))
        x = torch.cat((heads[:, :, None], tokens.unflatten(1, (regions, size))), 2)
        mixed: Tensor = x + self.drop(self.mlp(self.mlp_norm(x)))
        return mixed


@model(
    "mae-dfer",
    title="MAE-DFER",
    paper="Sun et al., ACM MM 2023",
    place=13,
    config=MAEDFERConfig,
    fast={
        "dim": 128,
        "heads": 2,
        "depth": 4,
        "pretrain_epochs": 5,
        "decoder_dim": 96,
        "decoder_depth": 1,
        "decoder_heads": 3,
    },
    fast_lr=3e-4,
    native=FINE_TUNING,
    cost=PublishedCost(16, 160, parameters=85e6, macs=50e9),
    printed={
        "smic-hs": ((76.02, 65.70, 61.25), 67.65, 0.62),
        "casme2": ((90.00, 86.50, 86.00, 84.00, 86.00), 86.50, 0.82),
        "casme-sq": ((91.85, 70.95, 72.56, 75.21, 65.21, 80.56, 83.69), 77.14, 0.72),
        "samm": ((91.00, 94.00, 92.00, 88.00, 94.00, 86.00, 84.00, 89.80), 89.85, 0.84),
    },
)
class MAEDFER(MaskedAutoencoder):
    """A video transformer whose attention is local in regions and global through one representative of each."""

    target_difference = True

    by_region: Tensor
    positions: Tensor

    def __init__(self, config: MAEDFERConfig) -> None:
        super().__init__(config)
        self.feature_width = config.dim
        self.window = config.regions_of[1:]
        self.register_buffer("by_region", raster_of_regions(config.grid, config.regions_of), persistent=False)
        regions, size = self.by_region.shape
        kernel = (config.tubelet, config.patch, config.patch)
        self.embedding = nn.Conv3d(3, config.dim, kernel_size=kernel, stride=kernel)
        self.register_buffer("positions", sinusoids(regions * size, config.dim), persistent=False)
        self.representatives = nn.Parameter(torch.empty(regions, 1, config.dim))
        self.blocks = nn.Sequential(*(LocalGlobalBlock(config.dim, config.heads, rate) for rate in config.drop_rates))
        self.layers = (("embedding", "representatives"), *((f"blocks.{i}",) for i in range(config.depth)))
        self.norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.classes)
        self._initialise()

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        tokens = self.encode(self.video(batch))
        return Prediction(self.head(self.norm(tokens.mean(1))))

    def encode(self, video: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` tokens in raster order, those that are not hidden."""
        tokens = self.embedding(video.transpose(1, 2)).flatten(2).transpose(1, 2) + self.positions
        index = self.by_region.expand(video.shape[0], -1, -1)  # (B, R, S)
        if hidden is not None:
            shown = ~hidden[:, self.by_region]
            index = index[shown].view(video.shape[0], len(self.by_region), -1)  # as many in every region
        raster = index.flatten(1)[..., None]
        x = torch.unflatten(tokens.gather(1, raster.expand(-1, -1, tokens.shape[-1])), 1, index.shape[1:])
        x = self.blocks(torch.cat((self.representatives.expand(video.shape[0], -1, -1, -1), x), 2))
        mixed: Tensor = x[:, :, 1:].flatten(1, 2)
        return mixed.gather(1, raster.argsort(1).expand_as(mixed))

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, D, T', h, w)``: the tokens after the last block."""
        tokens = self.encode(self.video(batch))
        return torch.unflatten(tokens.transpose(1, 2), -1, self.config.grid)

    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.representatives, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def raster_of_regions(grid: tuple[int, int, int], region: tuple[int, int, int]) -> Tensor:
    """``(R, S)`` int64: the raster indices of the tokens of each region.

    Args:
        grid: tokens in time, height and width.
        region: the same of one region; it divides the grid.
    """
    (frames, height, width), (t, h, w) = grid, region
    index = torch.arange(frames * height * width).view(frames // t, t, height // h, h, width // w, w)
    return index.permute(0, 2, 4, 1, 3, 5).reshape(-1, t * h * w)
