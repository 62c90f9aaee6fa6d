"""Annotated action units as a target of training; never an input, since nobody codes a clip before it is recognised."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.labels import ActionUnit, ActionUnitCode

_COLUMN = re.compile(r"AU0*(?P<number>\d+)(?P<side>[LR]?)")
_SIDES = {"L": "left", "R": "right"}


def coded_units(code: ActionUnitCode | None, names: Sequence[str]) -> NDArray[np.float32]:
    """``(A,)``: 1 where the unit of a store's AU column is coded, 0 where it is not, NaN where nobody can say.

    That is: of every unit where the clip is not coded; of units that the coder was not sure of, or that exclude each
    other; of those that are not found where part of the code was not understood; and of a side where another is said.

    Args:
        code: of the clip; ``None`` where the dataset has none.
        names: of the store's AU columns, such as ``AU12`` or ``AU12L``.
    """
    if code is None:
        return np.full(len(names), np.nan, np.float32)
    return np.array([_target(code, name) for name in names], np.float32)


def _target(code: ActionUnitCode, name: str) -> float:
    column = _COLUMN.fullmatch(name)
    if column is None:
        return math.nan
    side = _SIDES.get(column["side"])
    said = [_value(unit, side) for unit in code.units if unit.number == int(column["number"])]
    if 1 in said:
        return 1
    return math.nan if code.unparsed or any(map(math.isnan, said)) else 0


def _value(unit: ActionUnit, side: str | None) -> float:
    if unit.uncertain or unit.alternative is not None:
        return math.nan
    if side is None or unit.side in (None, side):
        return 1
    return 0 if unit.side in _SIDES.values() else math.nan
