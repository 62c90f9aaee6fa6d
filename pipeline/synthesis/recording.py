"""Seat a person in front of the dataset's camera: the still, resampled into a recording frame of its format."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Frame
from pipeline.synthesis.identities import Still

RIGHT_EAR, LEFT_EAR = 234, 454  # vertices of the mesh: the widest points of the face


@dataclass(frozen=True)
class Camera:
    """What a dataset's recordings look like.

    Attributes:
        width, height: of a frame, px.
        fps: frames a second.
        face_width: ear to ear, px.
        grey: monochrome sensor.
        noise: standard deviation of the sensor noise, grey levels of 255.
        depth: whether a depth camera records beside it.
    """

    width: int
    height: int
    fps: float
    face_width: float
    grey: bool
    noise: float
    depth: bool = False


CAMERAS = {
    "samm": Camera(960, 650, 200, 300, grey=True, noise=1.6),
    "casme2": Camera(640, 480, 200, 225, grey=False, noise=1.2),
    "casme-sq": Camera(640, 480, 30, 190, grey=False, noise=1.2),
    "casme3": Camera(1280, 720, 30, 270, grey=False, noise=1.2, depth=True),
    "smic": Camera(640, 480, 100, 175, grey=False, noise=1.8),
}


@dataclass(frozen=True)
class Portrait:
    """A person as the camera sees them at rest.

    Attributes:
        image: ``(H, W, C) float32`` in [0, 255]: RGB, or one grey channel.
        points: ``(478, 3) float64`` mesh, px of the image, z towards the camera.
    """

    image: NDArray[np.float32]
    points: NDArray[np.float64]

    @property
    def face_width(self) -> float:
        """Ear to ear in space, px: the same at every pose of the head."""
        return float(np.linalg.norm(self.points[LEFT_EAR] - self.points[RIGHT_EAR]))


def take_portrait(still: Still, camera: Camera, rng: np.random.Generator) -> Portrait:
    """Resample a still into the camera's format, face upright within some degrees and near the centre."""
    ears = still.points[LEFT_EAR] - still.points[RIGHT_EAR]
    scale = camera.face_width / float(np.linalg.norm(ears)) * float(rng.uniform(0.94, 1.06))
    turn = -np.arctan2(ears[1], ears[0]) + np.deg2rad(rng.normal(0, 2))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    seat = np.array([camera.width, camera.height]) * (0.5 + rng.normal(0, 0.01, 2)) + [0, 0.02 * camera.height]
    centre = (still.points[:, :2].min(0) + still.points[:, :2].max(0)) / 2
    matrix = np.column_stack([linear, seat - linear @ centre])

    points = np.column_stack([still.points[:, :2] @ linear.T + matrix[:, 2], still.points[:, 2] * scale])
    image = _with_pores(_resample(still.image, matrix, camera), scale, rng)
    image = _with_backdrop(image, _covered(still.image, matrix, camera), points, camera.face_width)
    if camera.grey:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], np.float32)
    return Portrait(image, points)


def _resample(image: Frame, matrix: NDArray[np.float64], camera: Camera) -> NDArray[np.float32]:
    scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))
    if scale < 1:  # band-limit before taking fewer samples
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / scale), np.uint8)
    frame = cv2.warpAffine(
        image.astype(np.float32), matrix, (camera.width, camera.height),
        flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(np.clip(frame, 0, 255), np.float32)


def _covered(image: Frame, matrix: NDArray[np.float64], camera: Camera) -> NDArray[np.float32]:
    inside = np.ones(image.shape[:2], np.float32)
    return np.asarray(cv2.warpAffine(inside, matrix, (camera.width, camera.height)), np.float32)


def _with_pores(image: NDArray[np.float32], scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Fine texture for enlarged stills, which have none left that a real camera would see on skin."""
    strength = 1.2 * float(np.clip(scale - 1, 0, 2))
    texture = rng.standard_normal(image.shape[:2], np.float32)
    texture = cv2.GaussianBlur(texture, (0, 0), 0.8) - cv2.GaussianBlur(texture, (0, 0), 2.5)
    return np.asarray(np.clip(image + strength * texture[..., None] / texture.std(), 0, 255), np.float32)


def _with_backdrop(
    image: NDArray[np.float32], covered: NDArray[np.float32], points: NDArray[np.float64], face_width: float
) -> NDArray[np.float32]:
    """Defocus what is neither head nor shoulders: bystanders must not be found as faces, nor borders as structure."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = points[:, :2].mean(0)
    edge = round(0.1 * face_width)
    up = np.where(y < cy, 1.0, 0.9)
    radius = np.hypot((x - cx) / (0.82 * face_width), (y - cy + 0.15 * face_width) * up / (1.0 * face_width))
    sharp = np.clip((1.25 - radius) / 0.35, 0, 1) * cv2.GaussianBlur(
        cv2.erode(covered, np.ones((edge, edge))), (0, 0), edge / 3
    )
    sharp = (sharp * sharp * (3 - 2 * sharp))[..., None]
    soft = cv2.GaussianBlur(image, (0, 0), 0.18 * face_width, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(sharp * image + (1 - sharp) * soft, np.float32)
