"""Masked pre-training of VideoMAE (Tong et al., NeurIPS 2022) and MAE-DFER (Sun et al., ACM MM 2023).

Nine tenths of a clip's patches are hidden, the same places in all frames; the network sees the rest alone, and a light
decoder, the same in both papers, says what is hidden. No label is read.
"""

from abc import abstractmethod
from typing import Any, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction, Pretraining
from training.models.baselines.texture import TextureClassifier
from training.models.config import ModelConfig

# How both are fine-tuned in MAE-DFER's section 4.2; the rate is 1e-3 for a batch of 256.
FINE_TUNING: dict[str, Any] = {
    "optimisation": {
        "lr": 1.25e-4,
        "weight_decay": 0.05,
        "layer_decay": 0.75,
        "label_smoothing": 0.1,
        "batch_size": 32,
        "epochs": 100,
        "warmup_epochs": 5,
    },
    "augmentation": {"mixup": 0.8, "cutmix": 1.0},
    "model_options": {"drop_path": 0.1},
}


class MaskedConfig(ModelConfig):
    """What the two methods have in common; the defaults are those of both papers.

    Attributes:
        patch: px, side of a token.
        tubelet: frames of a token.
        dim: width of a token.
        heads: of the attention.
        depth: blocks.
        drop_path: stochastic depth of the last block, in fine-tuning alone; that of the first is 0.
        pretrain_epochs: of masked pre-training on the training part of a fold; 0: none. MAE-DFER's 50.
        hidden_share: of the patches, in pre-training.
        decoder_dim: width of a token in the decoder.
        decoder_depth: its blocks.
        decoder_heads: of its attention.
    """

    patch: int = Field(default=16, ge=2)
    tubelet: int = Field(default=2, ge=1)
    dim: int = Field(ge=2)
    heads: int = Field(ge=1)
    depth: int = Field(ge=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    pretrain_epochs: int = Field(default=50, ge=0)
    hidden_share: float = Field(default=0.9, gt=0, lt=1)
    decoder_dim: int = Field(default=384, ge=2)
    decoder_depth: int = Field(default=4, ge=1)
    decoder_heads: int = Field(default=6, ge=1)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        for name, whole, part in (
            ("size", self.size, "patch"),
            ("frames", self.frames, "tubelet"),
            ("dim", self.dim, "heads"),
            ("decoder_dim", self.decoder_dim, "decoder_heads"),
        ):
            if whole % getattr(self, part):
                raise ValueError(f"{name} {whole} must be a multiple of {part} {getattr(self, part)}")
        if self.size == self.patch:
            raise ValueError(f"size {self.size} must be more than one patch")
        return self

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens in time, height and width."""
        side = self.size // self.patch
        return self.frames // self.tubelet, side, side

    @property
    def drop_rates(self) -> tuple[float, ...]:
        """Stochastic depth of each block."""
        return tuple(torch.linspace(0, self.drop_path, self.depth, device="cpu").tolist())


class MaskedAutoencoder(TextureClassifier[MaskedConfig]):
    """A classifier that can be pre-trained by hiding patches: its encoder works on any part of the tokens.

    Attributes:
        window: (places, places) of which the same share is hidden.
        target_difference: ask for a tubelet's other frames as differences from its first.
    """

    window: tuple[int, int]
    target_difference: bool

    @abstractmethod
    def encode(self, video: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(B, N, D)`` tokens of ``(B, T, 3, H, W)``, in raster order; those alone that ``hidden`` does not hide.

        Args:
            video: the clips.
            hidden: ``(B, N)`` bool, equally many in every clip and window.
        """

    def pretraining(self) -> "MaskedPretraining | None":
        """What is to be trained first, on the same clips; its ``network`` is this model."""
        return MaskedPretraining(self) if self.config.pretrain_epochs else None


class MaskedPretraining(Pretraining):
    """A model with a decoder of hidden patches in place of its head.

    Args:
        network: to pre-train.

    Attributes:
        epochs: to pre-train for.
    """

    network: MaskedAutoencoder

    def __init__(self, network: MaskedAutoencoder) -> None:
        from transformers import VideoMAEConfig, VideoMAEForPreTraining

        super().__init__()
        config = network.config
        self.network = network
        self.inputs = network.inputs
        self.epochs = config.pretrain_epochs
        self.norm = nn.LayerNorm(config.dim)
        # The decoder of transformers, without the encoder that goes with it.
        whole = VideoMAEForPreTraining(
            VideoMAEConfig(
                image_size=config.size,
                patch_size=config.patch,
                num_frames=config.frames,
                tubelet_size=config.tubelet,
                hidden_size=config.dim,
                num_hidden_layers=0,
                decoder_hidden_size=config.decoder_dim,
                decoder_num_hidden_layers=config.decoder_depth,
                decoder_num_attention_heads=config.decoder_heads,
                decoder_intermediate_size=4 * config.decoder_dim,
            )
        )
        self.narrow: nn.Module = whole.encoder_to_decoder
        self.decoder: Any = whole.decoder
        self.mask_token: nn.Parameter = whole.mask_token
        self.register_buffer("positions", whole.position_embeddings[0], persistent=False)

    positions: Tensor

    def train(self, mode: bool = True) -> Self:
        """As a module does, but for stochastic depth: no block is skipped where nine tenths of the clip are hidden."""
        from torchvision.ops import StochasticDepth  # takes seconds

        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, StochasticDepth):
                module.eval()
        return self

    def forward(self, batch: ClipBatch) -> Prediction:
        """``reconstruction`` and ``target``, ``(B, hidden, values)`` of the hidden patches; the logits say nothing."""
        config = self.network.config
        video = self.network.video(batch)
        hidden = hidden_tubes(len(video), config.grid, self.network.window, config.hidden_share, video.device)
        shown = self.narrow(self.norm(self.network.encode(video, hidden)))
        positions = self.positions.expand(len(video), -1, -1)
        shown = shown + positions[~hidden].view(shown.shape)
        masked = self.mask_token + positions[hidden].view(len(video), -1, config.decoder_dim)
        decoded = self.decoder(torch.cat((shown, masked), 1), masked.shape[1]).logits
        targets = patch_targets(video.float(), config.patch, config.tubelet, difference=self.network.target_difference)
        auxiliary = {"reconstruction": decoded, "target": targets[hidden].view(decoded.shape)}
        return Prediction(torch.zeros(len(video), 2, device=video.device), auxiliary)

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """``reconstruction``: mean squared error."""
        auxiliary = prediction.auxiliary
        return {"reconstruction": F.mse_loss(auxiliary["reconstruction"].float(), auxiliary["target"])}


def hidden_tubes(
    count: int, grid: tuple[int, int, int], window: tuple[int, int], share: float, device: torch.device
) -> Tensor:
    """``(count, N)`` bool: places that are hidden in all frames, equally many in every window.

    Args:
        count: of clips.
        grid: tokens in time, height and width, N in all.
        window: height and width, in tokens; it divides the grid.
        share: of a window that is hidden, rounded down.
        device: to draw on.
    """
    frames, height, width = grid
    down, across = height // window[0], width // window[1]
    places = window[0] * window[1]
    few = min(max(int(share * places), 1), places - 1)
    order = torch.rand(count, down, across, places, device=device).argsort(-1)
    hidden = torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order[..., :few], True)
    hidden = torch.unflatten(hidden, -1, window).transpose(2, 3).reshape(count, 1, height * width)
    return hidden.expand(-1, frames, -1).flatten(1)


def patch_targets(video: Tensor, patch: int, tubelet: int, *, difference: bool) -> Tensor:
    """``(B, N, tubelet * patch**2 * 3)``: each patch's values, with mean 0 and variance 1 in each channel.

    Args:
        video: ``(B, T, 3, H, W)``.
        patch: px.
        tubelet: frames.
        difference: give a tubelet's first frame, and the others as differences from it (MAE-DFER).
    """
    count, frames, channels, height, width = video.shape
    x = video.reshape(count, frames // tubelet, tubelet, channels, height // patch, patch, width // patch, patch)
    x = x.permute(0, 1, 4, 6, 2, 5, 7, 3).flatten(1, 3)  # (B, N, tubelet, patch, patch, 3)
    mean = x.mean((2, 3, 4), keepdim=True)
    x = (x - mean) / (x.var((2, 3, 4), keepdim=True).sqrt() + 1e-6)
    if difference:
        x = torch.cat((x[:, :, :1], x[:, :, 1:] - x[:, :, :1]), 2)
    return x.flatten(2)
