"""MTCNN (Zhang et al., IEEE SPL 2016; facenet-pytorch), made to keep its points in place at a frame's edge."""

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

from pipeline.clip.faces import MIN_PROBABILITY, MIN_SIDE, Face
from pipeline.clip.frames import Frame

_MAX_SIDE = 960  # px; detection needs no more, and its cost grows with the area
_PADDING = 0.4  # of the frame's side, around crops so tight that the detector misses the face
_ROOM = 1.1  # side of the square that the detector cuts out about a face, in sides of the face's own


class Mtcnn:
    """The largest face of a frame (a ``FaceDetector``)."""

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
        if min(padded.shape[:2]) * scale < MIN_SIDE:  # it raises on images that have no room for a face
            return None
        if scale < 1:
            padded = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes, probabilities, points = self._mtcnn.detect(padded, landmarks=True)
        if boxes is None:
            return None
        boxes = np.asarray(boxes, np.float64) / scale - padding
        points = np.asarray(points, np.float64) / scale - padding
        probabilities = np.asarray(probabilities, np.float64)
        kept = np.flatnonzero(probabilities >= MIN_PROBABILITY)
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
