"""VideoMAE (Tong et al., VideoMAE: Masked Autoencoders are Data-Efficient Learners, NeurIPS 2022), of transformers."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.masked_pretraining import FINE_TUNING, MaskedAutoencoder, MaskedConfig
from training.models.published import PublishedCost, PublishedWeights
from training.models.registry import model

# Of ViT-B alone. Their files are of an older transformers, which kept two biases apart from their layers.
_ENCODER = {f"videomae.{part}": f"model.videomae.{part}" for part in ("embeddings", "encoder")}
_BIASES = {".q_bias": ".query.bias", ".v_bias": ".value.bias"}


class VideoMAEConfig(MaskedConfig):
    """ViT-B of patches of 16 px and tubelets of 2 frames (Tong et al., Table 1).

    Attributes:
        dim: width of a token.
        heads: of the attention.
        depth: blocks.
    """

    dim: int = Field(default=768, ge=2)
    heads: int = Field(default=12, ge=1)
    depth: int = Field(default=12, ge=1)


@model(
    "videomae",
    title="VideoMAE",
    paper="Tong et al., NeurIPS 2022",
    place=12,
    config=VideoMAEConfig,
    fast={
        "dim": 192,
        "heads": 3,
        "depth": 4,
        "pretrain_epochs": 5,
        "decoder_dim": 96,
        "decoder_depth": 1,
        "decoder_heads": 3,
    },
    fast_lr=2e-4,
    native=FINE_TUNING,
    weights=(
        PublishedWeights(
            "videomae-base",
            _ENCODER,
            unused=("videomae.layernorm", "mask_token", "encoder_to_decoder", "decoder"),
            endings=_BIASES,
        ),
        PublishedWeights(
            "videomae-base-kinetics", {**_ENCODER, "fc_norm": "model.fc_norm"}, unused=("classifier",), endings=_BIASES
        ),
    ),
    cost=PublishedCost(16, 160, parameters=86e6, macs=81e9),
    printed={
        "smic-hs": ((75.19, 58.41, 63.50), 65.70, 0.61),
        "casme2": ((87.00, 88.20, 79.50, 85.50, 85.00), 85.04, 0.81),
        "casme-sq": ((91.25, 68.15, 70.52, 74.02, 61.56, 85.61, 79.65), 75.82, 0.71),
        "samm": ((92.00, 94.00, 90.00, 86.00, 84.00, 85.00, 86.00, 88.12), 88.14, 0.82),
    },
)
class VideoMAE(MaskedAutoencoder):
    """``VideoMAEForVideoClassification`` of transformers; ``model`` has its names, so that its checkpoints fit."""

    head_prefixes: ClassVar[tuple[str, ...]] = ("model.classifier",)
    target_difference = False

    def __init__(self, config: VideoMAEConfig) -> None:
        import transformers  # both take seconds
        from torchvision.ops import StochasticDepth

        super().__init__(config)
        self.feature_width = config.dim
        self.window = config.grid[1:]
        published = transformers.VideoMAEConfig(
            image_size=config.size,
            patch_size=config.patch,
            num_frames=config.frames,
            tubelet_size=config.tubelet,
            hidden_size=config.dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.dim,
        )
        published.num_labels = config.classes
        self.model: Any = transformers.VideoMAEForVideoClassification(published)
        blocks: Any = self.model.videomae.encoder.layer
        for block, rate in zip(blocks, config.drop_rates, strict=True):
            # transformers has no stochastic depth, but a dropout of 0 where it belongs.
            block.attention.output.dropout = StochasticDepth(rate, "row")
            block.output.dropout = StochasticDepth(rate, "row")
        encoder = ((f"model.videomae.encoder.layer.{i}",) for i in range(config.depth))
        self.layers = (("model.videomae.embeddings",), *encoder)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits, nothing else."""
        return Prediction(self.model(self.video(batch)).logits)

    def encode(self, video: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` tokens, those that are not hidden."""
        tokens: Tensor = self.model.videomae(video, bool_masked_pos=hidden).last_hidden_state
        return tokens

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, D, T', h, w)``: the tokens after the last block."""
        tokens = self.encode(self.video(batch))
        return torch.unflatten(tokens.transpose(1, 2), -1, self.config.grid)
