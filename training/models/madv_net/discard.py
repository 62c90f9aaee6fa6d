"""Discarding of blocks with low attention weight (section 3.2.3), which the paper asks for without saying how.

The patches of a clip (of both streams together) are ranked by the weight that CLS gave them, averaged over heads
and frames, in the mixed attention of the block before. The best ``keep`` share stays, in all frames alike: masks drawn
frame by frame flicker, and put eleven times the true motion into the last stage. The others are not deleted,
since Eq. 1 convolves over the whole grid: they are zero before every convolution, no key of any attention,
and zero in whatever pools over patches. The same holds in eval mode.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.models.madv_net.tokens import Grid


def keep_ratio(epoch: int, epochs: int, *, final: float, over: int) -> float:
    """Share of blocks kept in ``epoch`` (0-based): linear from 1 to ``final``.

    It falls over ``over`` epochs, or, where there are fewer, arrives in the last one.
    """
    over = min(over, epochs - 1)
    return final if epoch >= over else 1 - (1 - final) * epoch / over


def kept_tokens(weights: Tensor, ratio: Tensor) -> Tensor:
    """Which tokens of a clip stay: the ``round(ratio P)`` heaviest, at least one, and always CLS.

    Args:
        weights: ``(B, T, P)``.
        ratio: scalar tensor, so that a new ratio does not recompile a compiled model.

    Returns:
        ``(B, T, 1 + P)`` bool, the same for all frames.
    """
    rank = weights.mean(1).argsort(dim=-1, descending=True, stable=True).argsort(-1)
    kept = rank < (ratio * weights.shape[-1]).round().clamp_min(1)
    return torch.cat([torch.ones_like(kept[:, :1]), kept], 1)[:, None].expand(-1, weights.shape[1], -1)


def pool_weights(weights: Tensor, grid: Grid, stride: int) -> Tensor:
    """Weights ``(B, T, P)`` for the next stage: the mean over the patches that its embedding convolves."""
    maps = torch.unflatten(weights, -1, grid).flatten(0, 1)
    pooled = F.avg_pool2d(maps, 3, stride=stride, padding=1, count_include_pad=False)
    return torch.unflatten(pooled, 0, weights.shape[:2]).flatten(2)


def zero_discarded(tokens: Tensor, kept: Tensor | None) -> Tensor:
    """``(B, T, 1 + P, D)`` with the discarded tokens at zero; ``None`` keeps all."""
    return tokens if kept is None else tokens * kept[..., None]
