"""A trained model: weights, and all that using them on other clips needs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules import module as registration

from schemas.errors import RunFolderError
from schemas.model import Model
from training.data.batch import ClipBatch, Input
from training.data.motion import stored_inputs
from training.data.preparation import Normalisation
from training.models.base import ClipClassifier
from training.models.registry import create_model
from training.models.tensor_file import read_tensors, write_tensors

_MOST = 1024  # frames, and pixels of a side: more than any config allows
_SPARE_ELEMENTS = 2**24  # of what a model makes and throws away, such as the head of a network that it takes over
_SPARE_MODULES = 2**12


class SeenBefore(Model):
    """What one training saw, whose weights a later one started from.

    Attributes:
        run_sha256: of that run.
        stores: names of its stores, for people.
        people: ``dataset/subject`` of those whose clips taught it or chose its epoch.
        pixels: clip key -> hash of its pixels.
        pseudonyms: whether the names of its people are none.
        complete: whether it is known what the training itself started from.
    """

    run_sha256: str
    stores: tuple[str, ...]
    people: tuple[str, ...]
    pixels: dict[str, str]
    pseudonyms: bool
    complete: bool


class TrainedModelHeader(Model):
    """What the weights are of.

    Attributes:
        classes: none where it was pre-trained without labels.
        fold: whose training clips taught it.
        epoch: that the weights are of, from 1.
        threads: of PyTorch in training; another number changes the last bit.
        history: what the weights have seen, this training last; files of earlier versions do not say.
    """

    format: Literal["mer-model"] = "mer-model"
    format_version: Literal[2] = 2  # 1: raw frames, another inter-frame difference
    model: str
    model_options: dict[str, Any]
    classes: tuple[str, ...]
    frames: int = Field(ge=1, le=_MOST)
    size: int = Field(ge=1, le=_MOST)
    action_units: tuple[str, ...]
    normalisation: Normalisation
    fold: str
    seed: int
    epoch: int
    threads: int
    history: tuple[SeenBefore, ...] = ()

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

    @property
    def inputs(self) -> frozenset[Input]:
        """What is read of a clip for it."""
        return stored_inputs(self.network.inputs, self.header.normalisation.motion)

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


def load_trained_model(
    path: Path, device: torch.device | str = "cpu", *, classes: tuple[str, ...] | None = None
) -> TrainedModel:
    """The model of one fold, on a device.

    Args:
        path: of the file.
        device: to put the network on.
        classes: that the run has; by default any.

    Raises:
        RunFolderError: there is no such file, it is none that this version reads, or it is of other classes.
    """
    state, header = read_tensors(path, TrainedModelHeader, device=device)
    if classes not in (None, header.classes):
        raise RunFolderError(
            f"{path}: a model of the classes {', '.join(header.classes)}; its run has {', '.join(classes or ())}"
        )
    _refuse_others(path, header, state)
    network = header.build().to(device)
    network.load_state_dict(state)
    if bad := [name for name, value in state.items() if not bool(value.isfinite().all())]:
        raise RunFolderError(f"{path}: {bad[0]} holds NaN or infinite values; train the fold again")
    return TrainedModel(header, network.eval())


def _refuse_others(path: Path, header: TrainedModelHeader, state: Mapping[str, Tensor]) -> None:
    """Refuse a header whose network has not these tensors, before memory is taken: it is built without values first."""
    try:
        with torch.device("meta"), _no_larger_than(state):
            expected = {name: tensor.shape for name, tensor in header.build().state_dict().items()}
    except Exception as error:  # whatever a model makes of sizes that it was not made for
        why = str(error).partition("\n")[0][:200] or type(error).__name__
        raise RunFolderError(f"{path}: its header describes no {header.model} that it could be: {why}") from error
    for name in sorted(expected.keys() | state.keys()):
        there, wanted = state.get(name), expected.get(name)
        if there is None or there.shape != wanted:
            found = _size(None if there is None else there.shape)
            raise RunFolderError(
                f"{path}: its weights are not those of its {header.model}: {name} is {found}, expected {_size(wanted)}"
            )


@contextmanager
def _no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Modules that are made meanwhile may have as many tensors and elements as the state has, and some to spare."""
    elements = 2 * sum(tensor.numel() for tensor in state.values()) + _SPARE_ELEMENTS
    modules = 16 * len(state) + _SPARE_MODULES

    def tensor_made(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal elements
        elements -= 0 if tensor is None else tensor.numel()
        if elements < 0:
            raise ValueError("it would be far larger than the weights in the file")

    def module_made(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules
        modules -= 1
        if modules < 0:
            raise ValueError("it would have far more parts than there are weights in the file")

    with ExitStack() as stack:
        stack.enter_context(registration.register_module_parameter_registration_hook(tensor_made))
        stack.enter_context(registration.register_module_buffer_registration_hook(tensor_made))
        stack.enter_context(registration.register_module_module_registration_hook(module_made))
        yield


def _size(shape: torch.Size | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "a number"
