"""MTCNN (Zhang et al., IEEE SPL 2016; facenet-pytorch): found on a small frame, placed on the full one."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from pipeline.clip.faces import MIN_PROBABILITY, MIN_SIDE, Face
from pipeline.clip.frames import Frame

# px, longer side of the frame that is searched. Small faces need the second, whose cost grows with the area.
_SIDES = (320, 960)
_SURE = 0.99  # probability from which the first search is enough
_PADDING = 0.4  # of the frame's side, around crops so tight that the detector misses the face
_ROOM = 1.1  # side of the square that the detector cuts out about a face, in sides of the face's own

_INPUT = 48  # px, side of the last network's input
_MOVED = 0.05  # how far the squares that are looked at lie from the face's, in its sides
_SCALES = (0.95, 1.05)  # their sides, in its sides
_TURNS = np.arange(6) * np.pi / 3
# ``(13, 3)``: shift in x and y and scale, of the square itself and of two rings of six about it.
_SQUARES = np.array(
    [(0, 0, 1)] + [(_MOVED * np.cos(turn), _MOVED * np.sin(turn), scale) for scale in _SCALES for turn in _TURNS]
)


class Mtcnn:
    """The largest face of a frame (a ``FaceDetector``)."""

    def __init__(self, device: str = "cpu") -> None:
        self._mtcnn = MTCNN(keep_all=True, post_process=False, device=torch.device(device))

    def detect(self, frame: Frame) -> Face | None:
        """The largest face of ``(H, W, 3) uint8`` RGB; tried again on a padded frame, for tight crops.

        Also where a face was found at the frame's edge: facenet-pytorch cuts the square about a face off there and
        stretches the rest to its input, which moves the points by up to half the distance of the eyes.
        """
        face = self._search(frame, 0)
        if face is None or not _has_room(face, frame):
            face = self._search(frame, round(max(frame.shape[:2]) * _PADDING)) or face
        return None if face is None else self._placed(frame, face)

    def _search(self, frame: Frame, padding: int) -> Face | None:
        """The largest face of a small frame; of the large one where the small one has none that is sure."""
        padded = cv2.copyMakeBorder(frame, padding, padding, padding, padding, cv2.BORDER_CONSTANT)
        face = None
        for side in _SIDES:
            scale = min(1.0, side / max(padded.shape[:2]))
            face = self._found(np.asarray(padded, np.uint8), scale, padding)
            if scale == 1 or (face is not None and face.probability >= _SURE):
                break
        return face

    def _found(self, padded: NDArray[np.uint8], scale: float, padding: int) -> Face | None:
        if min(padded.shape[:2]) * scale < MIN_SIDE:  # it raises on images that have no room for a face
            return None
        if scale < 1:
            padded = np.asarray(cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
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

    def _placed(self, frame: Frame, face: Face) -> Face:
        """With box and points as the median of what MTCNN's last network says of 13 squares of the full frame.

        One pass depends on where exactly its square lies, by a pixel of the crop and more.
        """
        x1, y1, x2, y2 = face.box
        side = max(x2 - x1, y2 - y1)
        centres = [(x1 + x2) / 2, (y1 + y2) / 2] + _SQUARES[:, :2] * side
        sides = np.maximum(1, np.round(_SQUARES[:, 2:] * side)).astype(int)
        corners = np.round(centres - sides / 2).astype(int)
        views = np.stack([_square(frame, x, y, side) for (x, y), (side,) in zip(corners, sides, strict=True)])
        pixels = torch.from_numpy(views).to(self._mtcnn.device).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            moves, places, _ = self._mtcnn.onet((pixels - 127.5) / 128)  # shares of a square's side
        moves, places = (shares.cpu().numpy().astype(np.float64) for shares in (moves, places))
        boxes = np.hstack([corners, corners + sides]) + moves * sides
        points = corners[:, None] + places.reshape(-1, 2, 5).swapaxes(1, 2) * sides[:, None]
        x1, y1, x2, y2 = np.median(boxes, axis=0).tolist()
        return replace(face, box=(x1, y1, x2, y2), points=np.median(points, axis=0))


def _square(frame: Frame, x: int, y: int, side: int) -> NDArray[np.uint8]:
    """What the last network sees of a square of a frame, black beyond the frame's edge."""
    inside = frame[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    above, left = min(max(-y, 0), side), min(max(-x, 0), side)
    below, right = side - above - inside.shape[0], side - left - inside.shape[1]
    if above or left or below or right:
        inside = np.asarray(cv2.copyMakeBorder(inside, above, below, left, right, cv2.BORDER_CONSTANT), np.uint8)
    return np.asarray(cv2.resize(inside, (_INPUT, _INPUT), interpolation=cv2.INTER_AREA), np.uint8)


def _has_room(face: Face, frame: Frame) -> bool:
    """Whether the square about a face, with a small margin, lies in its frame."""
    x1, y1, x2, y2 = face.box
    reach = _ROOM * max(x2 - x1, y2 - y1) / 2
    (x, y), (height, width) = ((x1 + x2) / 2, (y1 + y2) / 2), frame.shape[:2]
    return bool(min(x, y, width - x, height - y) >= reach)
