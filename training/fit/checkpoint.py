"""Where a fold stands after an epoch, in one file from which it goes on as if nothing had happened."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from schemas.model import Model
from training.data.preparation import Normalisation
from training.fit.epoch_metrics import Metrics
from training.models.tensor_file import write_tensors


class Checkpoint(Model):
    """Header of ``checkpoint.safetensors``.

    Attributes:
        epoch: epochs done.
        threads: of PyTorch, kept when the fold goes on: another number changes the last bit.
        history: one line of metrics an epoch.
        best: epoch with the lowest validation loss, from 1; 0 where there is no validation part.
        scaler: state of the gradient scaler.
    """

    epoch: int
    threads: int
    normalisation: Normalisation
    history: list[Metrics] = Field(default_factory=list)
    best: int = 0
    scaler: dict[str, Any] = Field(default_factory=dict)


def write_checkpoint(
    path: Path, header: Checkpoint, network: nn.Module, optimiser: torch.optim.Optimizer, best: dict[str, Tensor]
) -> None:
    """Write the file, whole or not at all.

    Args:
        path: of the file.
        header: where the fold stands.
        network: as it is now.
        optimiser: the same.
        best: state of the best epoch's network, if there is a validation part.
    """
    tensors = {f"model/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for number, slots in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{name}": value for name, value in slots.items()}
    write_tensors(path, tensors, header)


def restore(tensors: dict[str, Tensor], network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Put a checkpoint's tensors into network and optimiser; the state of the best epoch's network."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    network.load_state_dict(parts["model"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        number, _, slot = name.partition("/")
        state.setdefault(int(number), {})[slot] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return parts["best"]
