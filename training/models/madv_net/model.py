"""MADV-Net (Kong, You, Lv, Sensors 2025, 25(10), 3175): texture, depth and AU paths, a three-stage pyramid."""

from math import prod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.batch import INPUTS, ClipBatch
from training.models.base import ClipClassifier, Prediction
from training.models.losses import (
    focal_loss,
    inverse_frequency,
    known_binary_cross_entropy,
    one_hot_binary_cross_entropy,
)
from training.models.madv_net.attention import Block
from training.models.madv_net.au_encoder import ActionUnitEncoder
from training.models.madv_net.config import MADVNetConfig
from training.models.madv_net.discard import keep_ratio, kept_tokens, pool_weights
from training.models.madv_net.heads import FusionFeature, MLPHead, temporal_bands
from training.models.madv_net.tokens import (
    ClassTokenAndPositions,
    FrameDifference,
    Grid,
    PatchEmbedding,
    VideoToTokens,
    patch_maps,
)
from training.models.registry import model

LEVELS = ("low", "mid", "high")


class StageOutput(NamedTuple):
    """One level of the pyramid.

    Attributes:
        maps: ``(B, T, S, D, h, w)`` patch tokens, the discarded ones zero.
        cls: ``(B, T, D)``.
        weights: ``(B, T, P)``, CLS's attention in the last block.
        kept: ``(B, T, P)`` bool, the patches that the last block kept.
        grid: of the patches.
    """

    maps: Tensor
    cls: Tensor
    weights: Tensor
    kept: Tensor
    grid: Grid


class Stage(nn.Module):
    """Embedding, inter-frame difference, CLS and positions, then the blocks.

    Args:
        config: of the model.
        level: 0, 1, 2.
        width: channels of the maps that come in.
        grid: of the patches that this stage makes.
        frames: tokens in time, T'.
    """

    def __init__(self, config: MADVNetConfig, level: int, *, width: int, grid: Grid, frames: int) -> None:
        super().__init__()
        dim = config.dims[level]
        self.stride = config.strides[level]
        self.embedding = PatchEmbedding(width, dim, self.stride)
        self.difference = FrameDifference(dim, config.difference_reduction) if config.frame_difference else None
        self.positions = ClassTokenAndPositions(grid, frames, dim)
        self.blocks = nn.ModuleList(
            Block(
                dim,
                config.head_dim,
                kernel=config.projection_kernel,
                kv_stride=config.kv_stride,
                mlp_ratio=config.mlp_ratio,
                au_width=config.au_width if config.au else None,
            )
            for _ in range(config.depths[level])
        )

    def forward(
        self, maps: Tensor, before: StageOutput | None, au_tokens: Tensor | None, keep: Tensor | None
    ) -> StageOutput:
        """One level up: ``maps`` are the stems' ``(B, T, S, D, h, w)`` or the stage before's."""
        x = self.embedding(maps)  # (B, T, S, h, w, D)
        if self.difference is not None:
            x = self.difference(x)
        grid = Grid(*x.shape[2:5])
        tokens = self.positions(x)  # (B, T, 1 + P, D)
        weights = None if before is None else pool_weights(before.weights, before.grid, self.stride)
        kept = None
        for block in self.blocks:
            if keep is not None and weights is not None:
                kept = kept_tokens(weights, keep)
            tokens, weights = block(tokens, grid, au_tokens, kept)
        assert weights is not None  # every stage has a block
        shown = torch.ones_like(weights, dtype=torch.bool) if kept is None else kept[..., 1:]
        return StageOutput(patch_maps(tokens, grid), tokens[..., 0, :], weights, shown, grid)


@model(
    "madv_net",
    title="MADV-Net",
    paper="Kong, You, Lv, Sensors 2025, 25(10), 3175",
    place=0,
    config=MADVNetConfig,
    motion="flow",
    fast={"stem_width": 16, "dims": (32, 64, 128), "depths": (1, 1, 1)},  # half the width, a third of the blocks
    ablations={  # that section 3.2.5 of the paper promises: each path off
        "texture": {"texture": False},
        "depth": {"depth": False},
        "action units": {"au": False},
        "depth and action units": {"depth": False, "au": False},
        "texture and action units": {"texture": False, "au": False},
        "discarding": {"discard": False},
        "stage heads": {"stage_heads": False},
        "frame difference": {"frame_difference": False},
    },
    printed={
        "smic-hs": ((84.31, 69.31, 65.00), 72.87, 0.69),
        "casme2": ((94.12, 91.30, 88.24, 86.36, 89.71), 89.94, 0.84),
        "casme-sq": ((92.90, 78.99, 79.02, 84.36, 81.36, 85.37, 81.25), 83.32, 0.78),
        "samm": ((93.95, 88.85, 86.36, 91.97, 86.60, 90.06, 88.98, 89.47), 89.53, 0.88),
    },
)
class MADVNet(ClipClassifier):
    """The whole of section 3.

    ``Prediction.auxiliary`` holds, where the path is on: ``low``, ``mid``, ``high`` and ``au``, logits ``(B, C)``;
    ``coded``, logits ``(B, A)``; ``bottleneck`` ``(B, n)``; and per level, for figures, ``attention_LEVEL`` and
    ``kept_LEVEL`` ``(B, T', S, h, w)``: CLS's head-mean weights in that stage's last block, and the blocks that it
    kept.

    Any number of frames goes through the same weights; the side must be the config's.
    """

    head_prefixes: ClassVar[tuple[str, ...]] = (
        "head",
        "stage_heads",
        "coded_head",
        "au_encoder.classifier",
        "class_weight",
    )
    mixes: ClassVar[bool] = False  # the focal loss and Eq. 11 are of one class

    keep: Tensor
    class_weight: Tensor

    def __init__(self, config: MADVNetConfig) -> None:
        super().__init__()
        self.config = config
        switched_off = {name for name in ("texture", "depth", "au") if not getattr(config, name)}
        self.inputs = INPUTS - switched_off
        self.feature_width = config.dims[-1]
        channels = {name: {"texture": 3, "depth": 1}[name] for name in config.streams}
        self.stems = nn.ModuleList(
            VideoToTokens(count, config.stem_width, config.stem_kernel) for count in channels.values()
        )
        self.au_encoder = ActionUnitEncoder.of(config) if config.au else None

        side = -(-config.size // 4)  # Eq. 2 halves twice
        frames, width = -(-config.frames // 2), config.stem_width
        places = config.frames * (-(-config.size // 2)) ** 2  # of the stems' convolutions
        self.printed_macs = places * config.stem_width * prod(config.stem_kernel) * sum(channels.values())
        stages = []
        for level, (dim, stride) in enumerate(zip(config.dims, config.strides, strict=True)):
            side = -(-side // stride)
            grid = Grid(len(config.streams), side, side)
            stages.append(Stage(config, level, width=width, grid=grid, frames=frames))
            layer = printed_layer_macs(1 + grid.patches, dim, config.mlp_ratio * dim)
            self.printed_macs += frames * config.depths[level] * layer
            width = dim
        self.stages = nn.ModuleList(stages)

        self.fusion = FusionFeature(len(config.streams), config.dims)
        self.head = nn.Linear(self.fusion.width, config.classes)
        self.learns_codes = config.weight_coded > 0
        self.coded_head = nn.Linear(self.fusion.width, config.action_units) if self.learns_codes else None
        head_dims = config.dims if config.frequency_split == "pyramid" else (config.dims[-1],) * len(LEVELS)
        self.stage_heads = (
            nn.ModuleDict({level: MLPHead(dim, config.classes) for level, dim in zip(LEVELS, head_dims, strict=True)})
            if config.stage_heads
            else None
        )
        self.register_buffer("keep", torch.ones(()))  # persistent: discarding is the same in eval
        self.register_buffer("class_weight", torch.ones(config.classes))
        self._initialise()

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits of Eq. 14, and all that the loss and the figures read."""
        batch = batch.held()
        code = None if self.au_encoder is None else self.au_encoder(batch.au)
        stages = self.forward_features(batch, None if code is None else code.tokens)
        prediction = self.forward_head(stages)
        if code is None:
            return prediction
        prediction.auxiliary.update(au=code.logits, bottleneck=code.bottleneck)
        logits = prediction.logits + code.logits if self.config.au_logits else prediction.logits
        return Prediction(logits, prediction.auxiliary)

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, D, T', h, w)``: the last stage's tokens, the mean of the streams."""
        batch = batch.held()
        code = None if self.au_encoder is None else self.au_encoder(batch.au)
        last = self.forward_features(batch, None if code is None else code.tokens)[-1]
        return last.maps.mean(2).transpose(1, 2)

    def forward_features(self, batch: ClipBatch, au_tokens: Tensor | None) -> list[StageOutput]:
        """The three levels of the pyramid."""
        side = self.config.size
        if batch.texture.shape[-2:] != (side, side):
            height, width = batch.texture.shape[-2:]
            raise ValueError(f"frames are {width}x{height} px, this model was built for {side}x{side}")
        videos = [getattr(batch, name) for name in self.config.streams]
        maps = [stem(video.transpose(1, 2)) for stem, video in zip(self.stems, videos, strict=True)]  # (B, D, T', h, w)
        x = torch.stack(maps, 1).permute(0, 3, 1, 2, 4, 5)  # (B, T', S, D, h, w)
        keep = self.keep if self.config.discard else None
        outputs: list[StageOutput] = []
        for stage in self.stages:
            before = outputs[-1] if outputs else None
            outputs.append(stage(x if before is None else before.maps, before, au_tokens, keep))
        return outputs

    def forward_head(self, stages: list[StageOutput]) -> Prediction:
        """Eq. 14's logits and those of the stage heads; a clip's CLS is the mean over its frames."""
        features = self.fusion(stages[-1].cls.mean(1), [stage.maps for stage in stages])
        auxiliary: dict[str, Tensor] = {}
        if self.stage_heads is not None:
            if self.config.frequency_split == "pyramid":
                inputs = tuple(stage.cls.mean(1) for stage in stages)
            else:
                inputs = temporal_bands(stages[-1].cls)
            auxiliary |= {level: self.stage_heads[level](x) for level, x in zip(LEVELS, inputs, strict=True)}
        if self.coded_head is not None:
            auxiliary["coded"] = self.coded_head(features)
        for level, stage in zip(LEVELS, stages, strict=True):
            auxiliary[f"attention_{level}"] = torch.unflatten(stage.weights, -1, stage.grid)
            auxiliary[f"kept_{level}"] = torch.unflatten(stage.kept, -1, stage.grid)
        return Prediction(self.head(features), auxiliary)

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """Eq. 18: ``multiclass`` (19), ``frequency_LEVEL`` (20-23), ``au_bottleneck``, ``au_class`` (12); ``coded``."""
        config, target, auxiliary = self.config, batch.targets(), prediction.auxiliary
        focal = focal_loss(prediction.logits, target, focusing=config.focal_lambda, class_weight=self.class_weight)
        terms = {"multiclass": config.weight_multiclass * focal}
        if config.stage_heads:
            for level, weight in zip(LEVELS, config.frequency_weights, strict=True):
                entropy = F.cross_entropy(auxiliary[level].float(), target)
                terms[f"frequency_{level}"] = config.weight_frequency * weight * entropy
        if config.au:
            binary = config.au_classifier == "binary"
            classify = one_hot_binary_cross_entropy if binary else F.cross_entropy
            terms["au_bottleneck"] = config.weight_au * auxiliary["bottleneck"].sum(1).mean()
            terms["au_class"] = config.weight_au * classify(auxiliary["au"].float(), target)
        if self.learns_codes:
            if batch.coded is None:
                raise ValueError("the batch has no annotated action units; weight_coded needs them")
            terms["coded"] = config.weight_coded * known_binary_cross_entropy(auxiliary["coded"], batch.coded)
        return terms

    def on_fold(self, class_counts: Tensor) -> None:
        """Set Eq. 19's mu."""
        if self.config.focal_mu == "inverse_frequency":
            self.class_weight.copy_(inverse_frequency(class_counts))

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Anneal the share of blocks that stays."""
        if self.config.discard:
            self.keep.fill_(keep_ratio(epoch, epochs, final=self.config.discard_keep, over=self.config.discard_epochs))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, ClassTokenAndPositions):
                for parameter in module.parameters():
                    nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, FrameDifference):
                nn.init.zeros_(module.out.weight)


def printed_layer_macs(length: int, dim: int, hidden: int) -> int:
    """Eq. 24: ``3 L d² + L² d + 2 L d d_hidden``.

    It counts one attention a layer, one of its two products of L x L, and no projection of its output. L is the tokens
    of a frame here, so that a layer counts once for each frame; Eq. 25 is the sum over the layers.
    """
    return 3 * length * dim**2 + length**2 * dim + 2 * length * dim * hidden
