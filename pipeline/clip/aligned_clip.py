"""An aligned clip, and what turns it into depth and action units."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Frames
from schemas.clip import FindingKind


@dataclass(frozen=True)
class AlignedClip:
    """The crops of one clip, and the way back to the source frames.

    Attributes:
        texture: ``(T, S, S, 3) uint8`` RGB crops, all cut with one transform.
        transform: ``(2, 3) float64``, source px -> crop px.
        box: ``(x1, y1, x2, y2)`` of the face in source px, as the detector gave it.
        onset: position of the onset frame in the clip.
        frames: the source frames.
        depth_files: measured depth of each frame, ``None`` where there is none; empty if the dataset ships none.
        notes: what an estimator has to say of the clip beside its values.
    """

    texture: NDArray[np.uint8]
    transform: NDArray[np.float64]
    box: tuple[float, float, float, float]
    onset: int
    frames: Frames
    depth_files: tuple[Path | None, ...] = ()
    notes: list[tuple[FindingKind, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Side of the crop, px."""
        return int(self.texture.shape[1])

    @property
    def quarter_turns(self) -> int:
        """How often ``np.rot90`` has to turn a source frame for the face to stand upright, to the nearest quarter."""
        angle = math.atan2(self.transform[1, 0], self.transform[0, 0])
        return round(-angle / (math.pi / 2)) % 4


class DepthEstimator(Protocol):
    """Relative depth of a clip."""

    def estimate(self, clip: AlignedClip) -> Iterator[NDArray[np.float32]]:
        """Yield batches ``(n, S, S) float32`` in frame order; larger is nearer, unit and zero are the estimator's own.

        Raises:
            DepthError: the model failed.
        """
        ...


class ActionUnitEstimator(Protocol):
    """Action unit intensities of single frames of a clip."""

    def estimate(self, clip: AlignedClip, positions: Sequence[int]) -> NDArray[np.float32]:
        """``(len(positions), A) float32`` in the order of the backend's names.

        Raises:
            ActionUnitError: the model failed.
        """
        ...
