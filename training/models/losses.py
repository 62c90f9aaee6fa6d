"""Loss terms that any model may use. All are computed in float32, also under autocast, and averaged over clips."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, target: Tensor, *, focusing: float, class_weight: Tensor | None = None) -> Tensor:
    """Focal loss, ``mean[-mu_y (1 - p_y)^lambda log p_y]``.

    Lin et al., ICCV 2017; MADV-Net Eq. 19. The mean is over clips and is not divided by the weights.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)`` int64.
        focusing: lambda; 0 is cross entropy.
        class_weight: mu, ``(C,)``; ``None`` means 1.
    """
    log_p = logits.float().log_softmax(-1).gather(-1, target[:, None]).squeeze(-1)
    loss = -log_p
    if focusing > 0:
        loss = (-torch.expm1(log_p)).clamp_min(1e-12) ** focusing * loss  # the clamp: lambda < 1 has no slope at p = 1
    if class_weight is not None:
        loss = class_weight[target] * loss
    return loss.mean()


def one_hot_binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy on the one-hot label, ``mean[-y log p - (1 - y) log(1 - p)]``, p = sigmoid.

    MADV-Net Eq. 11. The mean is over clips and classes, so that the term's size does not grow with C.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)`` int64.
    """
    one_hot = F.one_hot(target, logits.shape[-1]).float()
    return F.binary_cross_entropy_with_logits(logits.float(), one_hot)


def known_binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy over the targets that are known, ``mean[-y log p - (1 - y) log(1 - p)]``; 0 where none is.

    Args:
        logits: ``(B, A)``.
        target: ``(B, A)`` in [0, 1], NaN where it is not known.
    """
    known = ~target.isnan()
    losses = F.binary_cross_entropy_with_logits(logits.float(), target.nan_to_num(0), reduction="none")
    return (losses * known).sum() / known.sum().clamp_min(1)


def inverse_frequency(counts: Tensor) -> Tensor:
    """Class weights ``mu_c = N / (C n_c)``, ``(C,)`` float32, whose mean over the N clips is 1.

    A class that has no clip gets 0: no loss ever reads it.

    Args:
        counts: ``(C,)`` clips per class.
    """
    counts = counts.float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp_min(1)), 0.0)
