"""Faces moved in known ways, for tests of the mesh backend. The moves are never exactly those that it looks for."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.frames import Frame, Frames
from pipeline.clip.mesh.geometry import AU_NAMES, LEFT_EYE, RIGHT_EYE, face_mesh
from schemas.clip import VideoSegment

SIZE = 224
Array = NDArray[np.float64]


def as_clip(texture: NDArray[np.uint8], onset: int = 0) -> AlignedClip:
    """Crops as a clip; its source frames are never read."""
    source = VideoSegment(path="none.mp4", count=len(texture))
    size = texture.shape[1]
    return AlignedClip(texture, np.eye(2, 3), (0.0, 0.0, size, size), onset, Frames(Path(), source))


def personal_moves(units: dict[str, float], seed: int) -> Array:
    """Moves of the vertices ``(478, 2)`` px: the mesh model's, of uneven strength, plus smooth motion of no unit."""
    rng, mesh = np.random.default_rng(seed), face_mesh(SIZE)
    place = np.clip(mesh.vertices[:, :2], 0, SIZE - 1).astype(int)
    moved = np.zeros((len(place), 2))
    for name, activation in units.items():
        gain = 1 + 0.2 * _smooth(rng, 30)[place[:, 1], place[:, 0]]
        side = 1 + rng.uniform(-0.15, 0.15) * np.tanh((place[:, 0] - SIZE / 2) / 40)
        moved += activation * (gain * side)[:, None] * mesh.au_moves[AU_NAMES.index(name), :, :2]
    stray = np.stack([_smooth(rng, 25), _smooth(rng, 25)], -1)
    return moved + 0.15 * stray[place[:, 1], place[:, 0]]


def closed_lids(closure: float) -> Array:
    """Moves of a blink: AU43 and nothing away from the eyes."""
    mesh = face_mesh(SIZE)
    xy = mesh.vertices[:, :2]
    eyes = np.stack([xy[list(eye)].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])
    near = np.linalg.norm(xy[:, None] - eyes, axis=2).min(1) < 20
    return closure * near[:, None] * mesh.au_moves[AU_NAMES.index("AU43"), :, :2].astype(np.float64)


def turned_head(*, pitch: float, yaw: float) -> Array:
    """Moves ``(478, 3)`` px of a rigid head turned by so many degrees, seen from 6 face widths away."""
    vertices = face_mesh(SIZE).vertices.astype(np.float64)
    points = vertices - [SIZE / 2, SIZE / 2, vertices[:, 2].mean()]
    rotation, _ = cv2.Rodrigues(np.deg2rad([pitch, yaw, 0.0]))
    turned = points @ rotation.T

    def seen(p: Array) -> Array:
        return np.column_stack([p[:, :2] / (1 - p[:, 2:] / (6 * SIZE)), p[:, 2]])

    return seen(turned) - seen(points)


def moved_face(crop: Frame, moves: Array, seed: int) -> Frame:
    """The crop with its vertices displaced by ``(478, 2)`` px, and sensor noise."""
    vertices = face_mesh(SIZE).vertices[:, :2]
    border = np.linspace(-30, SIZE + 30, 9)
    frame = np.array([(x, y) for t in border for x, y in ((t, -30), (t, SIZE + 30), (-30, t), (SIZE + 30, t))])
    backward = LinearNDInterpolator(np.vstack([vertices + moves, frame]), np.vstack([-moves, 0 * frame]))
    y, x = np.mgrid[:SIZE, :SIZE]
    shift = cv2.GaussianBlur(backward(x[::2, ::2], y[::2, ::2]).astype(np.float32), (0, 0), 1)
    shift = cv2.resize(shift, (SIZE, SIZE))
    return noisy(cv2.remap(crop, (x + shift[..., 0]).astype(np.float32), (y + shift[..., 1]).astype(np.float32),
                           cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), seed)  # fmt: skip


def noisy(crop: Frame, seed: int) -> Frame:
    """The crop with sensor noise of two grey levels."""
    noise = np.random.default_rng(seed).normal(0, 2, crop.shape)
    return np.clip(crop + noise, 0, 255).astype(np.uint8)


def _smooth(rng: np.random.Generator, scale: float) -> Array:
    field = gaussian_filter(rng.standard_normal((SIZE, SIZE)), scale)
    return np.asarray(field / field.std())
