"""Loss terms at points where the answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F

from training.models.losses import focal_loss, inverse_frequency, one_hot_binary_cross_entropy

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 3, 0, 1])


def test_focal_without_focusing_is_cross_entropy() -> None:
    """Lambda = 0 gives cross entropy, and gradients to match."""
    a, b = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    one, other = focal_loss(a, TARGET, focusing=0), F.cross_entropy(b, TARGET)
    torch.testing.assert_close(one, other)
    one.backward()
    other.backward()
    torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(("focusing", "factor"), [(0.5, math.sqrt(0.5)), (1, 0.5), (2, 0.25), (3, 0.125)])
def test_focal_at_one_half(focusing: float, factor: float) -> None:
    """At p = 1/2 the loss is (1/2)^lambda ln 2."""
    loss = focal_loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]), focusing=focusing)
    assert loss.item() == pytest.approx(factor * math.log(2))


def test_focal_weights_classes_without_dividing_by_them() -> None:
    """Mu multiplies each clip's term; the mean is over clips."""
    loss = focal_loss(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1]), focusing=2, class_weight=torch.tensor([1.0, 5.0]))
    assert loss.item() == pytest.approx((3 * 1 + 5) / 4 * 0.25 * math.log(2))


@pytest.mark.parametrize("focusing", [0.0, 0.5, 1.0, 2.0])
def test_focal_is_finite_at_the_ends(focusing: float) -> None:
    """A sure and right clip costs nothing, a sure and wrong one its full margin; no NaN in either gradient."""
    logits = torch.tensor([[200.0, 0.0], [200.0, 0.0]], requires_grad=True)
    right = focal_loss(logits[:1], torch.tensor([0]), focusing=focusing)
    wrong = focal_loss(logits[1:], torch.tensor([1]), focusing=focusing)
    assert right.item() == 0
    assert wrong.item() == pytest.approx(200)
    (right + wrong).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_losses_are_float32_for_half_precision_logits() -> None:
    """Logits of autocast are taken to float32 before any exponential."""
    half = LOGITS.bfloat16()
    for loss in (focal_loss(half, TARGET, focusing=2), one_hot_binary_cross_entropy(half, TARGET)):
        assert loss.dtype == torch.float32
    torch.testing.assert_close(focal_loss(half, TARGET, focusing=2), focal_loss(half.float(), TARGET, focusing=2))


def test_binary_cross_entropy_at_known_points() -> None:
    """All sigmoids at 1/2 cost ln 2 for any number of classes; the right one-hot costs nothing."""
    for classes in (2, 7):
        loss = one_hot_binary_cross_entropy(torch.zeros(3, classes), torch.tensor([0, 1, 1]))
        assert loss.item() == pytest.approx(math.log(2))
    sure = 60 * (2 * F.one_hot(TARGET, 4) - 1).float()
    assert one_hot_binary_cross_entropy(sure, TARGET).item() == pytest.approx(0, abs=1e-12)


def test_inverse_frequency_averages_one_over_clips() -> None:
    """Every class that is present gets the same total weight; an absent one gets none."""
    counts = torch.tensor([6, 3, 0, 1])
    weight = inverse_frequency(counts)
    total = weight * counts
    torch.testing.assert_close(total[counts > 0], torch.full((3,), 10 / 3))
    assert weight[2] == 0
    assert total.sum().item() / 10 == pytest.approx(1)
