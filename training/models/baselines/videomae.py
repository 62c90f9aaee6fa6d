"""VideoMAE (Tong et al., VideoMAE: Masked Autoencoders are Data-Efficient Learners, NeurIPS 2022), of transformers."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torchvision.ops import StochasticDepth

from training.data.batch import ClipBatch, Input
from training.models.base import Prediction
from training.models.baselines.masked_pretraining import FINE_TUNING, MaskedAutoencoder, MaskedConfig
from training.models.baselines.transformer import video_of
from training.models.published import PublishedWeights

# For the `fast` recipe: a quarter of the width, a third of the blocks.
FAST_OPTIONS = {
    "dim": 192,
    "heads": 3,
    "depth": 4,
    "pretrain_epochs": 5,
    "decoder_dim": 96,
    "decoder_depth": 1,
    "decoder_heads": 3,
}

NATIVE_RECIPE = FINE_TUNING

# Of ViT-B alone. Their files are of an older transformers, which kept two biases apart from their layers.
_ENCODER = {f"videomae.{part}": f"model.videomae.{part}" for part in ("embeddings", "encoder")}
_BIASES = {".q_bias": ".query.bias", ".v_bias": ".value.bias"}
PUBLISHED_WEIGHTS = (
    PublishedWeights(
        "videomae-base",
        _ENCODER,
        unused=("videomae.layernorm", "mask_token", "encoder_to_decoder", "decoder"),
        endings=_BIASES,
    ),
    PublishedWeights(
        "videomae-base-kinetics", {**_ENCODER, "fc_norm": "model.fc_norm"}, unused=("classifier",), endings=_BIASES
    ),
)


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


class VideoMAE(MaskedAutoencoder):
    """``VideoMAEForVideoClassification`` of transformers; ``model`` has its names, so that its checkpoints fit."""

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("model.classifier",)
    target_difference = False

    def __init__(self, config: VideoMAEConfig) -> None:
        import transformers

        super().__init__()
        self.config = config
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
        return Prediction(self.model(video_of(batch, self.config)).logits)

    def encode(self, video: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` tokens, those that are not hidden."""
        tokens: Tensor = self.model.videomae(video, bool_masked_pos=hidden).last_hidden_state
        return tokens

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, D, T', h, w)``: the tokens after the last block."""
        tokens = self.encode(video_of(batch, self.config))
        return torch.unflatten(tokens.transpose(1, 2), -1, self.config.grid)


def videomae(**fields: object) -> VideoMAE:
    """VideoMAE; ``fields`` are those of ``VideoMAEConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return VideoMAE(VideoMAEConfig.model_validate(fields))
