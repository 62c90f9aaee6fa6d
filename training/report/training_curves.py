"""What the folds and seeds of a run did over the epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.fit.epoch_metrics import read_metrics


@dataclass(frozen=True)
class TrainingCurve:
    """One column of ``metrics.csv`` over epochs ``(E,)``: mean and range over the runs that have a value there."""

    epochs: NDArray[np.int64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curves(files: Sequence[Path]) -> dict[str, TrainingCurve]:
    """Column -> its curve over all these ``metrics.csv``; a column that is blank everywhere is left out."""
    values: dict[str, dict[int, list[float]]] = {}
    for file in files:
        for row in read_metrics(file):
            epoch = int(row.pop("epoch"))
            for name, cell in row.items():
                number = float(cell) if cell else math.nan
                if math.isfinite(number):
                    values.setdefault(name, {}).setdefault(epoch, []).append(number)
    return {name: _curve(by_epoch) for name, by_epoch in values.items()}


def _curve(by_epoch: dict[int, list[float]]) -> TrainingCurve:
    epochs = sorted(by_epoch)
    mean, low, high = (np.array([float(of(by_epoch[epoch])) for epoch in epochs]) for of in (np.mean, min, max))
    return TrainingCurve(np.array(epochs), mean, low, high)
