"""A batch of clips: what every model reads, and what the data path makes."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import torch
from torch import Tensor

Input = Literal["texture", "depth", "au", "flow"]  # flow: in place of texture, see ``training.data.motion``
INPUTS: frozenset[Input] = frozenset(("texture", "depth", "au"))


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """B clips of T frames. Raw, as stores hold them, until ``training.data.preparation`` has normalised them.

    Frame 0 is the onset.

    Attributes:
        texture: ``(B, T, 3, H, W)`` float, normalised RGB or its motion; raw: uint8 RGB. No channel where the model
            reads none.
        depth: ``(B, T, 1, H, W)`` float, normalised, or its motion; raw: float16. No channel where the model reads
            none.
        au: ``(B, A)`` float, apex minus onset (Eq. 3's V), as an estimator sees it, never annotated.
        label: ``(B,)`` int64 class index; ``(B, C)`` float shares of the classes where clips were mixed; ``None`` where
            there is none to know.
        apex: ``(B,)`` int64, which of the T frames is the apex; ``None`` where nobody knows.
        flow: ``(B, T, 2, H, W)`` float16, raw optical flow from the onset, px, where it is read in place of texture.
        coded: ``(B, A)`` float32, annotated action units as ``training.data.coded_units`` has them, for a loss alone;
            ``None`` where nobody can know.
        n_frames: ``(B,)`` int64, real frames of each clip, at least 1, where the rest is padding; ``None`` means all T.
    """

    texture: Tensor
    depth: Tensor
    au: Tensor
    label: Tensor | None = None
    apex: Tensor | None = None
    flow: Tensor | None = None
    coded: Tensor | None = None
    n_frames: Tensor | None = None

    def __len__(self) -> int:
        return int(self.texture.shape[0])

    def tensors(self) -> dict[str, Tensor]:
        """Name -> tensor of what is there."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """The batch on a device; dtypes stay."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The batch in page-locked memory; a ``DataLoader`` with ``pin_memory=True`` calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def select(self, index: Tensor) -> Self:
        """The clips at ``(n,)`` int64 positions, in that order."""
        return self._each(lambda tensor: tensor[index])

    def targets(self) -> Tensor:
        """``label``, for a loss; cross entropy takes either kind.

        Raises:
            ValueError: the batch has none.
        """
        if self.label is None:
            raise ValueError("the batch has no labels; a loss needs a label for every clip")
        return self.label

    def classes(self) -> Tensor:
        """``(B,)`` int64: the class of each clip, the one with the largest share where they are mixed.

        Raises:
            ValueError: the batch has none.
        """
        target = self.targets()
        return target if target.dim() == 1 else target.argmax(-1)

    def held(self) -> Self:
        """The batch with every padded frame replaced by its clip's last real one, and no padding left.

        A held frame has no motion, so models need no frame masks, and what the padding holds cannot matter.
        """
        if self.n_frames is None:
            return self
        steps = torch.arange(self.texture.shape[1], device=self.texture.device)
        index = steps.minimum(self.n_frames[:, None] - 1)  # (B, T)
        clip = torch.arange(len(self), device=self.texture.device)[:, None]
        flow = None if self.flow is None else self.flow[clip, index]
        return replace(self, texture=self.texture[clip, index], depth=self.depth[clip, index], flow=flow, n_frames=None)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{name: change(tensor) for name, tensor in self.tensors().items()})
