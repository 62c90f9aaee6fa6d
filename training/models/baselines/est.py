"""EST (Liu et al., Pattern Recognition 138, 2023; arXiv 2109.08409).

Expression Snippet Transformer for Robust Video-based Facial Expression Recognition.
"""

from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.baselines.residual import RESNET18
from training.models.baselines.snippets import WIDTH, SnippetClassifier, SnippetConfig
from training.models.baselines.transformer import sinusoids
from training.models.published import PublishedCost
from training.models.registry import model

_LEAST_WEIGHT = 1e-6  # of a snippet in which no frame resembles the whole


class ESTConfig(SnippetConfig):
    """Liu et al., section 3.

    Attributes:
        snippets: that a clip is cut into; the order task needs all their orders, so few.
        depth: blocks of the encoder, and of the decoder.
        hidden: of their MLP.
        dropout: in the transformer and in the attention within a snippet.
        orders: that the snippets may be shuffled to, the true one among them.
        order_hidden: of the order task's MLP.
        order_weight: of the order task's loss; the paper's is 1 / 7.
    """

    snippets: int = Field(default=7, ge=4, le=8)
    depth: int = Field(default=3, ge=1)
    hidden: int = Field(default=2048, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    orders: int = Field(default=10, ge=2, le=24)
    order_hidden: int = Field(default=2048, ge=1)
    order_weight: float = Field(default=1 / 7, ge=0)


@model(
    "est",
    title="EST",
    paper="Liu et al., Pattern Recognition 138, 2023",
    place=9,
    config=ESTConfig,
    fast={"layers": (1, 1, 1, 1), "depth": 1, "hidden": 512, "order_hidden": 256},
    fast_lr=2e-4,  # a transformer that is normalised after its sums
    weights=(RESNET18,),
    cost=PublishedCost(35, 224, parameters=43e6),
    printed={
        "smic-hs": ((70.10, 55.67, 52.87), 59.54, 0.57),
        "casme2": ((86.00, 79.60, 82.00, 80.00, 81.60), 81.84, 0.78),
        "casme-sq": ((86.25, 65.25, 67.15, 72.54, 78.81, 65.21, 79.25), 73.49, 0.68),
        "samm": ((82.00, 82.00, 85.00, 81.00, 75.00, 74.50, 76.50, 79.36), 79.42, 0.71),
    },
)
class EST(SnippetClassifier[ESTConfig]):
    """A transformer over snippets; in training they come shuffled, and it has to say how.

    ``Prediction.auxiliary`` holds, in training, ``order`` ``(B,)``, the index of the permutation that was drawn, and
    ``order_logits`` ``(B, orders)``. In eval mode snippets come in their true order.
    """

    orders: Tensor
    positions: Tensor

    def __init__(self, config: ESTConfig) -> None:
        super().__init__(config, dropout=config.dropout)
        self.register_buffer("orders", distant_orders(config.snippets, config.orders), persistent=False)
        self.register_buffer("positions", sinusoids(config.snippets, WIDTH), persistent=False)
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
        snippets = self.forward_snippets(self.video(batch))
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

    def summed_up(self, frames: Tensor, common: Tensor) -> Tensor:
        """The mean of the frames, weighted by how much they resemble what they share."""
        weights = F.cosine_similarity(frames, common, dim=-1).clamp_min(0)[..., None]
        return (weights * frames).sum(1) / weights.sum(1).clamp_min(_LEAST_WEIGHT)

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
