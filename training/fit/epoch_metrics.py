"""The metrics of an epoch: added up over its batches, and as a table."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

Metrics = dict[str, float | None]


def metrics_csv(history: Sequence[Metrics]) -> str:
    """One line an epoch; blank where there is no validation part."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**line, "epoch": int(line["epoch"] or 0)} for line in history)
    return text.getvalue()


def read_metrics(file: Path) -> Iterator[dict[str, str]]:
    """The lines of a ``metrics.csv``: column -> cell."""
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


class Means:
    """Means over clips of scalar tensors, added up on their device."""

    def __init__(self) -> None:
        self._clips = 0
        self._sums: dict[str, Tensor] = {}

    def add(self, clips: int, values: dict[str, Tensor]) -> None:
        """Means over so many clips."""
        self._clips += clips
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value * clips

    def means(self) -> dict[str, float]:
        """Over all clips that were added."""
        return {name: value.item() / self._clips for name, value in self._sums.items()}
