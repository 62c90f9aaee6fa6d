"""AU encoder with a layerwise variational information bottleneck (Eqs. 3-12)."""

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.madv_net.config import MADVNetConfig


class BottleneckLayer(nn.Module):
    """One F_i of Eq. 3 and its bottleneck (Eqs. 6-8).

    ``v = LayerNorm(GELU(W v~_{i-1} + b))``, gate ``m = sigmoid(theta(v))``, ``v~ = m v``. Eq. 8 prints mu in
    both terms, which leaves no trade-off; here m v is what passes and v - m v what is lost::

        mean over channels of  beta (m v)^2 + ((v - m v) / r)^2

    v is normalised and, inside this term, a constant: else it could shrink to 0, the term's cheapest minimum.
    """

    def __init__(self, features: int, width: int, *, beta: float, scale: float) -> None:
        super().__init__()
        self.beta, self.scale = beta, scale
        self.transform = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.theta = nn.Linear(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, features)`` -> v~ ``(B, width)`` and the term per clip ``(B,)``."""
        v = self.norm(F.gelu(self.transform(x)))
        gate = self.theta(v).sigmoid()
        return gate * v, bottleneck(v.detach().float(), gate.float(), beta=self.beta, scale=self.scale)


class ActionUnitCode(NamedTuple):
    """What the encoder says of B clips.

    Attributes:
        tokens: v~_0 .. v~_{n-1}, ``(B, n, width)``.
        logits: of Eq. 11's classifier, ``(B, C)``.
        bottleneck: Eq. 8 per clip and layer, ``(B, n)``.
    """

    tokens: Tensor
    logits: Tensor
    bottleneck: Tensor


class ActionUnitEncoder(nn.Module):
    """Eq. 3: F_0 .. F_{n-1} with bottlenecks, then the classifier F_n, on V = AU(apex) - AU(onset).

    Args:
        action_units: A.
        classes: C.
        width: of v_i.
        layers: n.
        beta: of Eq. 8.
        scale: r of Eq. 8.
    """

    @classmethod
    def of(cls, config: MADVNetConfig) -> Self:
        """The encoder of a network with this config."""
        return cls(
            config.action_units,
            config.classes,
            width=config.au_width,
            layers=config.au_layers,
            beta=config.bottleneck_beta,
            scale=config.bottleneck_scale,
        )

    def __init__(self, action_units: int, classes: int, *, width: int, layers: int, beta: float, scale: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            BottleneckLayer(action_units if i == 0 else width, width, beta=beta, scale=scale) for i in range(layers)
        )
        self.classifier = nn.Linear(width, classes)

    def forward(self, au: Tensor) -> ActionUnitCode:
        """``(B, A)`` -> tokens, logits and bottleneck terms."""
        tokens, terms = [], []
        v = au
        for layer in self.layers:
            v, term = layer(v)
            tokens.append(v)
            terms.append(term)
        return ActionUnitCode(torch.stack(tokens, 1), self.classifier(v), torch.stack(terms, 1))


def bottleneck(v: Tensor, gate: Tensor, *, beta: float, scale: float) -> Tensor:
    """Eq. 8, ``mean[beta (m v)^2 + ((v - m v) / r)^2]`` over the last axis: ``(.., D)`` -> ``(..)``."""
    passed = gate * v
    return (beta * passed.square() + ((v - passed) / scale).square()).mean(-1)
