"""Find the face of a clip once, and the similarity that brings it onto the canonical mesh."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from pipeline.clip.alignment import similarity
from pipeline.clip.frames import Frame, Frames
from pipeline.clip.mesh.geometry import face_mesh
from schemas.errors import FaceNotFoundError

Phase = Literal["onset", "apex", "middle", "offset"]

_MAX_SIDE = 960  # px; detection needs no more, and its cost grows with the area
_PADDING = 0.4  # of the frame's side, around crops so tight that the detector misses the face
_ROOM = 1.1  # side of the square that the detector cuts out about a face, in sides of the face's own
_MIN_PROBABILITY = 0.9
_MIN_SIDE = 20  # px; MTCNN's smallest face, and it raises on images that have no room for one


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

    def transform(self, size: int) -> NDArray[np.float64]:
        """The ``(2, 3)`` similarity, source px -> crop px, onto the mesh in a crop of ``size`` px."""
        return similarity(self.points, face_mesh(size).five_points)


class FaceDetector:
    """MTCNN (Zhang et al., IEEE SPL 2016; facenet-pytorch) for the largest face of a frame."""

    def __init__(self, device: str = "cpu") -> None:
        self._mtcnn = MTCNN(keep_all=True, post_process=False, device=torch.device(device))

    def detect(self, frame: Frame) -> Face | None:
        """The largest face of ``(H, W, 3) uint8`` RGB; tried again on a padded frame, for tight crops.

        Also where a face was found at the frame's edge: facenet-pytorch cuts the square about a face off there and
        stretches the rest to its input, which moves the points by up to half the distance of the eyes.
        """
        face = self._detect(frame, 0)
        if face is not None and _has_room(face, frame):
            return face
        return self._detect(frame, round(max(frame.shape[:2]) * _PADDING)) or face

    def _detect(self, frame: Frame, padding: int) -> Face | None:
        padded = cv2.copyMakeBorder(frame, padding, padding, padding, padding, cv2.BORDER_CONSTANT)
        scale = min(1.0, _MAX_SIDE / max(padded.shape[:2]))
        if min(padded.shape[:2]) * scale < _MIN_SIDE:
            return None
        if scale < 1:
            padded = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes, probabilities, points = self._mtcnn.detect(padded, landmarks=True)
        if boxes is None:
            return None
        boxes = np.asarray(boxes, np.float64) / scale - padding
        points = np.asarray(points, np.float64) / scale - padding
        probabilities = np.asarray(probabilities, np.float64)
        kept = np.flatnonzero(probabilities >= _MIN_PROBABILITY)
        if not len(kept):
            return None
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        best = kept[np.argmax(area[kept])]
        x1, y1, x2, y2 = (float(v) for v in boxes[best])
        return Face((x1, y1, x2, y2), points[best], float(probabilities[best]), len(kept), padding > 0)


def _has_room(face: Face, frame: Frame) -> bool:
    """Whether the square about a face, with a small margin, lies in its frame."""
    x1, y1, x2, y2 = face.box
    reach = _ROOM * max(x2 - x1, y2 - y1) / 2
    (x, y), (height, width) = ((x1 + x2) / 2, (y1 + y2) / 2), frame.shape[:2]
    return bool(min(x, y, width - x, height - y) >= reach)


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
        face = detector.detect(frames[position])
        if face is not None:
            return face, phase
    numbers = ", ".join(f"{phase} {frames.numbers[position]}" for position, phase in tries.items())
    raise FaceNotFoundError(
        f"{frames.paths[0].parent if len(frames.paths) > 1 else frames.paths[0]}: no face found on frames {numbers}, "
        f"nor with padding; expected a frontal face of at least {_MIN_SIDE} px "
        f"(detector probability >= {_MIN_PROBABILITY}): look at these frames"
    )
