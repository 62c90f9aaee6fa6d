"""A trained model: weights, and all that using them on other clips needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from schemas.errors import RunFolderError
from schemas.model import Model
from training.data.batch import ClipBatch
from training.data.preparation import Normalisation
from training.models.base import ClipClassifier
from training.models.registry import create_model
from training.models.tensor_file import read_tensors, write_tensors


class TrainedModelHeader(Model):
    """What the weights are of.

    Attributes:
        classes: none where it was pre-trained without labels.
        fold: whose training clips taught it.
        epoch: that the weights are of, from 1.
        threads: of PyTorch in training; another number changes the last bit.
    """

    format: Literal["mer-model"] = "mer-model"
    format_version: Literal[1] = 1
    model: str
    model_options: dict[str, Any]
    classes: tuple[str, ...]
    frames: int
    size: int
    action_units: tuple[str, ...]
    normalisation: Normalisation
    fold: str
    seed: int
    epoch: int
    threads: int

    def build(self) -> ClipClassifier:
        """The network with fresh weights."""
        return create_model(
            self.model,
            classes=max(len(self.classes), 2),  # without labels: a head that nobody reads
            frames=self.frames,
            size=self.size,
            action_units=len(self.action_units),
            **self.model_options,
        )


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in evaluation mode with its header."""

    header: TrainedModelHeader
    network: ClipClassifier

    def prepare(self, batch: ClipBatch) -> ClipBatch:
        """Raw pixels, as ``StoreDataset`` gives them, to what the network reads."""
        return self.header.normalisation.apply(batch)

    @torch.inference_mode()
    def probabilities(self, batch: ClipBatch) -> Tensor:
        """``(B, C) float64`` softmax of raw clips.

        Raises:
            RunFolderError: the network gives NaN or infinite values.
        """
        logits = self.network(self.prepare(batch)).logits.double()
        if not bool(logits.isfinite().all()):
            raise RunFolderError(
                f"the model of seed {self.header.seed}, {self.header.fold} gives NaN or infinite values; `mer verify "
                "--deep` finds clips that hold such values, else train the fold again"
            )
        return logits.softmax(-1)

    def save(self, path: Path) -> None:
        """Write ``model.safetensors``."""
        write_tensors(path, self.network.state_dict(), self.header)


def load_trained_model(path: Path, device: torch.device | str = "cpu") -> TrainedModel:
    """The model of one fold, on a device.

    Raises:
        RunFolderError: there is no such file, or it is none that this version reads.
    """
    state, header = read_tensors(path, TrainedModelHeader, device=device)
    network = header.build().to(device)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise RunFolderError(f"{path}: its weights are not those of {header.model}: {error}") from error
    if bad := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise RunFolderError(f"{path}: {bad[0]} holds NaN or infinite values; train the fold again")
    return TrainedModel(header, network.eval())
