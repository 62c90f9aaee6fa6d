"""A trained network as a PyTorch module, and what brings clips to its input."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from madv_mer.store import Clip
from training.data.batch import ClipBatch
from training.data.clips import ClipReader, check_stores
from training.data.dataset import ClipDraw, StoreDataset, join
from training.models.trained_model import TrainedModel


class ClipModel(nn.Module):
    """One network of a run, in evaluation mode: ``model(model.prepare(store))`` are the logits.

    Attributes:
        network: reads a normalised batch, and answers logits and whatever its loss reads.
        header: classes, frames, size, action units and normalisation; which fold and seed it is of.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.network, self.header, self._trained = trained.network, trained.header, trained
        self.eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.header.classes

    def prepare(self, clips: Iterable[Clip]) -> ClipBatch:
        """Clips as one batch as they lie in their stores, with the T frames and the size that the network reads.

        ``texture`` is ``(B, T, 3, S, S) uint8``, ``depth`` ``(B, T, 1, S, S) float16``, ``au`` ``(B, A) float32``,
        apex minus onset; what the network does not read has no channels. The frames are those of a test clip.

        Raises:
            ConfigError: a store has not what the network reads, or its frames are smaller.
            StoreError: a clip failed, or is damaged.
        """
        chosen, batches = list(clips), []
        for clip in chosen:
            check_stores([clip._store], size=self.header.size, inputs=self._trained.inputs)
            source = ClipReader([clip._store.path], [clip.key], size=self.header.size, inputs=self._trained.inputs)
            batches.append(StoreDataset(source, [0], frames=self.header.frames)[ClipDraw(0)])
        return join(batches)

    def forward(self, batch: ClipBatch) -> Tensor:
        """``(B, C)`` logits of clips from ``prepare``, on the device that the module is on."""
        device = next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))
        logits: Tensor = self.network(self._trained.prepare(batch.to(device))).logits
        return logits
