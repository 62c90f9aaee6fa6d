"""What the trainer knows of a model: clips in, logits out, its own loss, and two hooks."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

import torch.nn.functional as F
from torch import Tensor, nn

from training.data.batch import INPUTS, ClipBatch, Input
from training.models.facts import ModelFacts
from training.models.published import within


@dataclass(frozen=True)
class Prediction:
    """A model's answer.

    Attributes:
        logits: ``(B, C)``; the class probabilities are their softmax.
        auxiliary: whatever else the model's loss or a figure reads, batch first; its names are the model's own.
    """

    logits: Tensor
    auxiliary: dict[str, Tensor] = field(default_factory=dict)


class ClipClassifier(nn.Module, ABC):
    """Base of every model in the registry. A subclass takes its config, an instance of ``facts.config``.

    Attributes:
        facts: what is known of the model beside its code.
        inputs: what ``forward`` reads of a batch; the rest may come without channels.
        head_prefixes: names of the submodules and buffers that depend on the classes;
            ``load_backbone`` leaves them alone.
        layers: submodules and parameters from the input to the head, which is what they leave out: for learning rates
            that fall from layer to layer. None for a model that nobody trains in that way.
        solved: whether ``solve`` fits it to all training clips at once, in place of gradient steps.
        reads_apex: whether it reads ``batch.apex``.
        learns_codes: whether its loss reads ``batch.coded``.
        mixes: whether its loss takes shares of classes for labels.
        feature_width: D of ``feature_maps``, ``None`` for a model that has none.
        printed_macs: multiply-accumulates of a clip by the formula that its paper prints, ``None`` where there is none.
    """

    facts: ClassVar[ModelFacts] = ModelFacts()
    inputs: frozenset[Input] = INPUTS
    head_prefixes: ClassVar[tuple[str, ...]] = ("head",)
    layers: tuple[tuple[str, ...], ...] = ()
    solved: ClassVar[bool] = False
    reads_apex: ClassVar[bool] = False
    learns_codes: bool = False
    mixes: ClassVar[bool] = True
    feature_width: int | None = None
    printed_macs: int | None = None

    @classmethod
    def build(cls, **fields: object) -> Self:
        """Build the model with fresh weights from the fields of its config.

        Raises:
            pydantic.ValidationError: a field is missing, unknown or out of range.
        """
        return cls(cls.facts.config.model_validate(fields))

    @abstractmethod
    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits for every clip. Padded frames (``batch.n_frames``) must not matter: read ``batch.held()``."""

    if TYPE_CHECKING:  # nn.Module types a call as Any

        def __call__(self, batch: ClipBatch) -> Prediction: ...  # noqa: D102

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, D, T', h, w)``: what the head reads, before it is pooled; for pre-training without labels."""
        raise NotImplementedError(f"{type(self).__name__} has no feature maps")

    def pretraining(self) -> "Pretraining | None":
        """What is trained first, on the same clips without their labels, where the model's authors do so."""
        return None

    def loss(self, prediction: Prediction, batch: ClipBatch) -> dict[str, Tensor]:
        """Scalar loss terms by name, already weighted: their sum is the training loss."""
        return {"cross_entropy": F.cross_entropy(prediction.logits.float(), batch.targets())}

    def solve(self, batch: ClipBatch) -> None:
        """Fit it to all training clips of a fold, prepared and not augmented, where it is ``solved``."""
        raise NotImplementedError(f"{type(self).__name__} is trained by gradient steps")

    def on_fold(self, class_counts: Tensor) -> None:
        """Called once before training, with the clips per class ``(C,)`` of the training part of the fold."""

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """Called before each training epoch ``epoch`` of ``0 .. epochs - 1``; for schedules inside the model.

        What it sets must be part of the state dict, so that a loaded checkpoint evaluates as it trained, and set in
        place (``fill_``), so that networks that are trained together see it.
        """

    def load_backbone(self, state: Mapping[str, Tensor], parts: Collection[str] | None = None) -> None:
        """Load a pre-trained state but for the heads, which may have other classes.

        Args:
            state: by the names of this model.
            parts: submodules that the state is of, the others stay as they are; ``None``: it is of all.

        Raises:
            RuntimeError: a weight of these parts is missing, unknown, or of another shape.
        """

        def stays(name: str) -> bool:
            return within(name, self.head_prefixes) or (parts is not None and not within(name, parts))

        own = {name: tensor for name, tensor in self.state_dict().items() if stays(name)}
        backbone = {name: tensor for name, tensor in state.items() if not within(name, self.head_prefixes)}
        self.load_state_dict(backbone | own)


class Pretraining(ClipClassifier):
    """A network in a task without labels. Its logits say nothing; what it learns stays in ``network``.

    Attributes:
        network: to pre-train.
        epochs: for how long, where a model asks for it itself.
    """

    head_prefixes = ()
    network: ClipClassifier
    epochs: int = 0

    def on_epoch(self, epoch: int, epochs: int) -> None:
        """As the network's."""
        self.network.on_epoch(epoch, epochs)
