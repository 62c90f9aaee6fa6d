"""EST (Liu et al., Pattern Recognition 138, 2023; arXiv 2109.08409).

Expression Snippet Transformer for Robust Video-based Facial Expression Recognition.
"""

from itertools import permutations
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.baselines.snippets import SnippetContext, windows
from training.models.baselines.transformer import sinusoids, video_of
from training.models.config import ModelConfig
from training.models.published import RESNET18_PARTS, resnet18

# For the `fast` recipe: one residual block a stage, one block of encoder and decoder.
FAST_OPTIONS = {"layers": (1, 1, 1, 1), "depth": 1, "hidden": 512, "order_hidden": 256}

PUBLISHED_WEIGHTS = (resnet18(*(f"resnet.{part}" for part in RESNET18_PARTS)),)

WIDTH = 512  # of the ResNet's features, the transformer's too

_LEAST_WEIGHT = 1e-6  # of a snippet in which no frame resembles the whole


class ESTConfig(ModelConfig):
    """Liu et al., section 3.

    Attributes:
        layers: residual blocks of the four stages of the ResNet-18.
        snippets: that a clip is cut into; the order task needs all their orders, so few.
        length: frames of one.
        heads: of every attention.
        depth: blocks of the encoder, and of the decoder.
        hidden: of their MLP.
        dropout: in the transformer and in the attention within a snippet.
        orders: that the snippets may be shuffled to, the true one among them.
        order_hidden: of the order task's MLP.
        order_weight: of the order task's loss; the paper's is 1 / 7.
    """

    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    snippets: int = Field(default=7, ge=4, le=8)
    length: int = Field(default=5, ge=1)
    heads: int = Field(default=4, ge=1)
    depth: int = Field(default=3, ge=1)
    hidden: int = Field(default=2048, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    orders: int = Field(default=10, ge=2, le=24)
    order_hidden: int = Field(default=2048, ge=1)
    order_weight: float = Field(default=1 / 7, ge=0)


class EST(ClipClassifier):
    """A transformer over snippets; in training they come shuffled, and it has to say how.

    ``Prediction.auxiliary`` holds, in training, ``order`` ``(B,)``, the index of the permutation that was drawn, and
    ``order_logits`` ``(B, orders)``. In eval mode snippets come in their true order.
    """

    inputs: frozenset[Input] = frozenset({"texture"})
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)

    frames_of: Tensor
    orders: Tensor
    positions: Tensor

    def __init__(self, config: ESTConfig) -> None:
        super().__init__()
        self.config = config
        self.resnet = ResNet(BasicBlock, list(config.layers))
        self.resnet.fc = nn.Identity()
        indices = windows(config.frames, count=config.snippets, length=config.length)
        self.register_buffer("frames_of", indices, persistent=False)
        self.register_buffer("orders", distant_orders(config.snippets, config.orders), persistent=False)
        self.register_buffer("positions", sinusoids(config.snippets, WIDTH), persistent=False)
        self.context = SnippetContext(WIDTH, config.heads, config.dropout)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(WIDTH, config.heads, config.hidden, config.dropout, batch_first=True),
            config.depth,
            enable_nested_tensor=False,
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(WIDTH, config.heads, config.hidden, config.dropout, batch_first=True),
            config.depth,
        )
        self.query = nn.Parameter(torch.randn(1, WIDTH))
        self.order_head = nn.Sequential(
            nn.Linear(config.snippets * WIDTH, config.order_hidden),
            nn.ReLU(),
            nn.Linear(config.order_hidden, 512),
            nn.ReLU(),
            nn.Linear(512, config.orders),
        )
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.head = nn.Linear(64, config.classes)

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits; in training also the order task's."""
        snippets = self.forward_snippets(video_of(batch, self.config))
        auxiliary: dict[str, Tensor] = {}
        if self.training:
            order = torch.randint(self.config.orders, snippets.shape[:1], device=snippets.device)
            snippets = snippets.gather(1, self.orders[order][..., None].expand_as(snippets))
            auxiliary["order"] = order
        memory = self.encoder(snippets + self.positions)
        if self.training:
            auxiliary["order_logits"] = self.order_head(memory.flatten(1))
        clip = self.decoder(self.query.repeat(snippets.shape[0], 1, 1), memory)[:, 0]
        return Prediction(self.head(self.mlp(clip)), auxiliary)

    def forward_snippets(self, video: Tensor) -> Tensor:
        """``(B, S, 512)``: the mean of a snippet's frames, weighted by how much they resemble what they share."""
        features = self.resnet(video.flatten(0, 1)).unflatten(0, video.shape[:2])  # (B, T, 512); each frame once
        frames = features[:, self.frames_of].flatten(0, 1)  # (BS, L, 512)
        weights = F.cosine_similarity(frames, self.context(frames)[:, None], dim=-1).clamp_min(0)[..., None]
        mean = (weights * frames).sum(1) / weights.sum(1).clamp_min(_LEAST_WEIGHT)
        return torch.unflatten(mean, 0, (video.shape[0], -1))

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """``cross_entropy``, and in training ``order``."""
        terms = super().loss(prediction, batch)
        if "order" in prediction.auxiliary:
            logits, order = prediction.auxiliary["order_logits"].float(), prediction.auxiliary["order"]
            terms["order"] = self.config.order_weight * F.cross_entropy(logits, order)
        return terms


def distant_orders(items: int, count: int) -> Tensor:
    """``(count, items)`` int64 permutations, each as unlike those before it as can be; the first is the identity.

    Greedy: of all permutations, the one with the largest least Hamming distance, then the largest sum of distances,
    then the first (Noroozi and Favaro, ECCV 2016).
    """
    every = np.array(list(permutations(range(items))))
    chosen = every[:1]
    while len(chosen) < count:
        distances = (every[:, None] != chosen).sum(-1)  # (items!, chosen)
        best = np.lexsort((-distances.sum(1), -distances.min(1)))[0]
        chosen = np.concatenate((chosen, every[best : best + 1]))
    return torch.tensor(chosen.tolist())


def est(**fields: object) -> EST:
    """EST; ``fields`` are those of ``ESTConfig``.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or out of range.
    """
    return EST(ESTConfig.model_validate(fields))
