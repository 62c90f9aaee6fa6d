"""Similarity alignment: points of a face to those of the canonical mesh. Pure functions."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def similarity(points: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Least-squares similarity (rotation, uniform scale, translation) from points to target.

    Umeyama, IEEE TPAMI 13(4), 1991. Without reflection, and without the randomness of a robust fit,
    so that equal points give equal bytes.

    Args:
        points: ``(n, d)``.
        target: ``(n, d)``.

    Returns:
        ``(d, d + 1)`` matrix; in the plane, what ``cv2.warpAffine`` takes.
    """
    p, q = np.asarray(points, np.float64), np.asarray(target, np.float64)
    p0, q0 = p.mean(0), q.mean(0)
    u, s, vt = np.linalg.svd((q - q0).T @ (p - p0) / len(p))
    sign = np.ones(p.shape[1])
    sign[-1] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = u @ np.diag(sign) @ vt
    scale = (s * sign).sum() / ((p - p0) ** 2).sum() * len(p)
    linear = scale * rotation
    return np.column_stack([linear, q0 - linear @ p0])


def rescale(transform: NDArray[np.floating], factor: float) -> NDArray[np.float64]:
    """The same alignment into a crop whose side is ``factor`` times larger (pixel centres kept)."""
    m = np.asarray(transform, np.float64) * factor
    m[:, 2] += (factor - 1) / 2
    return m


def warp(frame: NDArray[np.uint8], transform: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """Cut the aligned crop ``(size, size, 3) uint8`` out of a source frame ``(H, W, 3) uint8``.

    Down-scaling by more than two is done through an intermediate area-averaged frame: bilinear
    sampling alone would alias. Outside the frame the border pixel is repeated.
    """
    return np.asarray(_warped(frame, transform, size, cv2.BORDER_REPLICATE), np.uint8)


def warp_depth(depth: NDArray[np.uint16], transform: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Cut the aligned crop ``(size, size) float32`` out of measured depth ``(H, W) uint16``, 0 where there is none.

    Sampled as the texture is, but from measured pixels alone, so that holes don't bleed; NaN where less than half of
    what a pixel is sampled from was measured, and outside the frame.
    """
    measured = (depth > 0).astype(np.float32)
    weight = _warped(measured, transform, size, cv2.BORDER_CONSTANT)
    total = _warped(depth.astype(np.float32), transform, size, cv2.BORDER_CONSTANT)
    return np.where(weight >= 0.5, total / np.maximum(weight, 0.5), np.float32(np.nan)).astype(np.float32)


def _warped(frame: NDArray[Any], transform: NDArray[np.floating], size: int, border: int) -> NDArray[Any]:
    m = np.asarray(transform, np.float64)
    shrink = int(1 / np.sqrt(abs(np.linalg.det(m[:, :2]))))  # source px per crop px
    if shrink >= 2:
        height, width = frame.shape[:2]
        small = cv2.resize(frame, (-(-width // shrink), -(-height // shrink)), interpolation=cv2.INTER_AREA)
        fx, fy = width / small.shape[1], height / small.shape[0]
        to_source = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2], [0, 0, 1]])
        frame, m = np.asarray(small, frame.dtype), m @ to_source
    return np.asarray(cv2.warpAffine(frame, m, (size, size), flags=cv2.INTER_LINEAR, borderMode=border))
