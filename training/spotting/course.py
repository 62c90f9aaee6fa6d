"""How a face moves in a long recording: all that a spotter sees of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Course:
    """How a face moves in a recording.

    Attributes:
        video: key of the recording.
        fps: frames per second.
        numbers: ``(T,) int64``, of the frames.
        positions: ``(T, R, 2) float32``, px of regions of the face; NaN where there is no face.
        fields: ``(T, 2, G, G) float16``, how the cells of a grid moved since the frame before, px; ``None`` where a
            spotter does not ask for them.
        evidence: ``(N, K) float32``, what a spotter's observer made of the fields while they passed; ``None`` where
            none did.
    """

    video: str
    fps: float
    numbers: NDArray[np.int64]
    positions: NDArray[np.float32]
    fields: NDArray[np.float16] | None = None
    evidence: NDArray[np.float32] | None = None


def frames_of(numbers: NDArray[np.integer], onset: int, offset: int) -> tuple[int, int]:
    """Where an interval lies in a recording: position of its first frame, and that behind its last.

    Args:
        numbers: ``(T,)``, of the recording's frames, rising.
        onset: number of the first frame.
        offset: number of the last.
    """
    return int(np.searchsorted(numbers, onset)), int(np.searchsorted(numbers, offset, side="right"))


class Motion(Protocol):
    """The motion of one frame, as ``pipeline.clip.region_motion.FaceMotion`` has it."""

    @property
    def regions(self) -> NDArray[np.float32]:
        """``(R, 2)``."""

    @property
    def field(self) -> NDArray[np.float16]:
        """``(2, G, G)``."""


class Observer(Protocol):
    """Reads the fields of a recording frame by frame, so that none of them has to be kept."""

    def push(self, field: NDArray[np.float16], *, face: bool) -> None:
        """Take the next frame's field ``(2, G, G)``, and whether a face was followed on it."""

    def so_far(self) -> NDArray[np.float32]:
        """The first rows of what ``finish`` will give, as far as no later frame can change them, ``(N, K) float32``."""

    def finish(self) -> NDArray[np.float32]:
        """What was made of them, ``(N, K) float32``; nothing is pushed after it."""


def course_of(
    video: str,
    fps: float,
    numbers: NDArray[np.int64],
    motions: Iterable[Motion],
    *,
    observer: Observer | None = None,
    keep_fields: bool = False,
) -> Course:
    """Read a recording's motion to its end.

    Args:
        video: key of the recording.
        fps: frames per second.
        numbers: ``(T,) int64``, of the frames.
        motions: of each frame.
        observer: reads the fields while they pass.
        keep_fields: hold them in memory, 4 kB a frame: for training.
    """
    positions, fields = [], []
    for motion in motions:
        positions.append(motion.regions)
        if observer is not None:
            observer.push(motion.field, face=bool(np.isfinite(motion.regions).all()))
        if keep_fields:
            fields.append(motion.field)
    return Course(
        video,
        fps,
        numbers,
        np.stack(positions),
        np.stack(fields) if keep_fields else None,
        None if observer is None else observer.finish(),
    )
