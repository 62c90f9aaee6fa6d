"""What transformer baselines share: attention, the pre-norm block and sinusoidal positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of Vaswani et al. (NeurIPS 2017), of tokens among themselves or to others.

    Args:
        dim: width of the tokens.
        heads: number of heads.
        head_dim: width of one.
        bias: of queries and values; one of the keys would cancel in the softmax.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, heads * head_dim, bias=False)
        self.value = nn.Linear(dim, heads * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, N, D)``, each token of ``x`` looking at ``context`` ``(B, M, D)``, by default at ``x``."""
        context = x if context is None else context
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, head_dim)
        k = self.key(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        v = self.value(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed: Tensor = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class MLP(nn.Sequential):
    """Two layers with GELU between.

    Args:
        dim: width of the tokens.
        hidden: width between.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


class Block(nn.Module):
    """Pre-norm attention and MLP, each added to what comes in.

    Args:
        dim: width of the tokens.
        heads: number of heads.
        head_dim: width of one.
        hidden: width of the MLP.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, head_dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, D)`` to the same."""
        x = x + self.attention(self.attention_norm(x))
        mixed: Tensor = x + self.mlp(self.mlp_norm(x))
        return mixed


def sinusoids(count: int, dim: int) -> Tensor:
    """``(count, dim)`` fixed positions, sine and cosine in turn (Vaswani et al., section 3.5).

    Args:
        count: positions.
        dim: width of a token, even.
    """
    frequencies = 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    angles = torch.arange(count)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
