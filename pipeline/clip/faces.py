"""Find the face of a clip once, and the similarity that brings it onto the canonical mesh."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.alignment import similarity
from pipeline.clip.frames import Frame, Frames
from pipeline.clip.mesh.geometry import face_mesh
from schemas.errors import FaceNotFoundError

Phase = Literal["onset", "apex", "middle", "offset"]

MIN_SIDE = 20  # px; MTCNN's smallest face
MIN_PROBABILITY = 0.9
_SURE = 0.999  # upright faces are found with at least 0.9996; sideways or upside down at most 0.9974, points misplaced
_UPRIGHT = 30.0  # degrees of roll


@dataclass(frozen=True)
class Face:
    """One detected face in source px.

    Attributes:
        box: ``(x1, y1, x2, y2)``.
        points: ``(5, 2) float64``: eyes, nose, mouth corners, image left first.
        probability: the detector's, in [0, 1].
        count: faces on the frame; this is the largest.
        padded: found on the padded frame, since it is not found, or reaches the edge, on the frame itself.
    """

    box: tuple[float, float, float, float]
    points: NDArray[np.float64]
    probability: float
    count: int
    padded: bool

    @property
    def inter_eye(self) -> float:
        """Distance of the eyes, px."""
        return float(np.linalg.norm(self.points[1] - self.points[0]))

    @property
    def roll(self) -> float:
        """Rotation from upright, degrees."""
        transform = self.transform(1)
        return float(np.degrees(np.arctan2(transform[1, 0], transform[0, 0])))

    def transform(self, size: int) -> NDArray[np.float64]:
        """The ``(2, 3)`` similarity, source px -> crop px, onto the mesh in a crop of ``size`` px."""
        return similarity(self.points, face_mesh(size).five_points)


class FaceDetector(Protocol):
    """Finds the largest face of a frame."""

    def detect(self, frame: Frame) -> Face | None:
        """The largest face of ``(H, W, 3) uint8`` RGB that is at least ``MIN_PROBABILITY`` sure, if there is one."""
        ...


def turned(points: NDArray[np.float64], turns: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Where points ``(n, 2)`` px of a frame ``(H, W, ..)`` lie after ``np.rot90(frame, turns)``."""
    for turn in range(turns % 4):
        points = np.column_stack([points[:, 1], shape[1 - turn % 2] - 1 - points[:, 0]])
    return points


def detect_upright(detector: FaceDetector, frame: Frame) -> Face | None:
    """The face of a frame; where it is unsure or tilted, the frame is also looked at turned by quarters."""
    found = detector.detect(frame)
    if found is not None and found.probability >= _SURE and abs(found.roll) <= _UPRIGHT:
        return found
    for turns in (1, 2, 3):
        view = np.ascontiguousarray(np.rot90(frame, turns))
        face = detector.detect(view)
        if face is not None and face.probability >= _SURE and abs(face.roll) <= _UPRIGHT:
            corners = turned(np.reshape(face.box, (2, 2)), -turns, view.shape)
            box = (*corners.min(0).tolist(), *corners.max(0).tolist())
            return replace(face, box=box, points=turned(face.points, -turns, view.shape))
    return found


def locate_face(detector: FaceDetector, frames: Frames, *, onset: int, apex: int | None) -> tuple[Face, Phase]:
    """The face on the onset frame, else apex, middle, offset; one transform then serves every frame.

    Args:
        detector: finds the largest face of a frame.
        frames: the clip.
        onset: position of the onset in the clip.
        apex: position of the apex, where one is annotated.

    Raises:
        FaceNotFoundError: on none of them.
    """
    tries: dict[int, Phase] = {onset: "onset"}
    if apex is not None:
        tries.setdefault(apex, "apex")
    tries.setdefault(len(frames) // 2, "middle")
    tries.setdefault(len(frames) - 1, "offset")
    for position, phase in tries.items():
        face = detect_upright(detector, frames[position])
        if face is not None:
            return face, phase
    numbers = ", ".join(f"{phase} {frames.numbers[position]}" for position, phase in tries.items())
    raise FaceNotFoundError(
        f"{frames.paths[0].parent if len(frames.paths) > 1 else frames.paths[0]}: no face found on frames {numbers}, "
        f"nor with padding; expected a frontal face of at least {MIN_SIDE} px "
        f"(detector probability >= {MIN_PROBABILITY}): look at these frames"
    )
