"""Annotated action units as targets: what is known, and who reads them."""

import numpy as np
import pytest
import torch

from schemas.labels import ActionUnit, ActionUnitCode
from training.data.coded_units import coded_units
from training.models.losses import known_binary_cross_entropy

NAMES = ("AU04", "AU12", "AU12L", "AU12R", "AU14", "smile")
NO, YES, UNKNOWN = 0.0, 1.0, float("nan")


@pytest.mark.parametrize(
    ("raw", "units", "expected"),
    [
        ("4+12", [(4, {}), (12, {})], (YES, YES, YES, YES, NO, UNKNOWN)),
        ("L12", [(12, {"side": "left"})], (NO, YES, YES, NO, NO, UNKNOWN)),
        ("L12 + R12", [(12, {"side": "left"}), (12, {"side": "right"})], (NO, YES, YES, YES, NO, UNKNOWN)),
        ("A12", [(12, {"side": "asymmetric"})], (NO, YES, UNKNOWN, UNKNOWN, NO, UNKNOWN)),
        (
            "12 or 14",
            [(12, {"alternative": 1}), (14, {"alternative": 1})],
            (NO, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
        ),
        ("4?", [(4, {"uncertain": True})], (UNKNOWN, NO, NO, NO, NO, UNKNOWN)),
    ],
)
def test_what_a_code_says_of_each_column(raw: str, units: list[tuple[int, dict[str, object]]], expected: tuple) -> None:
    """A side that is not said is both; what the coder did not know stays unknown."""
    code = ActionUnitCode(
        raw=raw, units=tuple(ActionUnit.model_validate({"number": number, **more}) for number, more in units)
    )
    np.testing.assert_array_equal(coded_units(code, NAMES), np.array(expected, np.float32))


def test_a_code_in_part_not_understood_says_nothing_of_what_it_does_not_name() -> None:
    """And a clip without a code nothing at all."""
    code = ActionUnitCode(raw="4+x", units=(ActionUnit(number=4),), unparsed=("x",))
    np.testing.assert_array_equal(coded_units(code, NAMES[:2]), np.array([YES, UNKNOWN], np.float32))
    assert np.isnan(coded_units(None, NAMES)).all()


def test_the_loss_is_that_of_the_known_targets() -> None:
    """By the formula: ln 2 of a logit of 0, ``ln(1 + e^-2)`` of a right logit of 2."""
    logits = torch.tensor([[0.0, 2.0], [-7.0, 5.0]], requires_grad=True)
    loss = known_binary_cross_entropy(logits, torch.tensor([[0.0, 1.0], [UNKNOWN, UNKNOWN]]))
    assert loss.item() == pytest.approx((np.log(2) + np.log1p(np.exp(-2))) / 2)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad[1], torch.zeros(2))
    nothing = torch.full((2, 2), UNKNOWN)
    assert known_binary_cross_entropy(logits, nothing).item() == 0
