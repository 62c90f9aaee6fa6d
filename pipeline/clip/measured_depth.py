"""Depth as a camera measured it, cut out as the texture is, its holes filled."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import warp_depth
from pipeline.clip.frames import decode_depth
from schemas.errors import DepthError


class MeasuredDepth:
    """Minus the measured distance from the camera, mm (a ``DepthEstimator``).

    A pixel that was not measured has the depth of the nearest one that was; a frame without any, that of the nearest
    frame in time.
    """

    def estimate(self, clip: AlignedClip) -> Iterator[NDArray[np.float32]]:
        """Yield ``(T, S, S) float32``, and note which share of it was not measured.

        Raises:
            DepthError: there is no depth beside the frames, or it shows something else.
            FrameError: a file cannot be decoded.
        """
        if not any(clip.depth_files):
            raise DepthError("the dataset has no measured depth beside the frames of this clip; take another --depth")
        depth = np.stack([_crop(path, clip) for path in clip.depth_files])
        measured = np.isfinite(depth)
        frames = np.flatnonzero(measured.any((1, 2)))
        if not len(frames):
            raise DepthError("nothing was measured where the face is: all of its depth is 0")
        if not measured.all():
            share = 1 - measured.mean()
            clip.notes.append(
                ("depth_filled", f"{share:.1%} of the crop has no measured depth and was filled from beside it")
            )
        for position in frames:
            nearest = distance_transform_edt(~measured[position], return_distances=False, return_indices=True)
            depth[position] = depth[position][tuple(nearest)]
        positions = np.arange(len(depth))
        yield -depth[frames[np.abs(positions[:, None] - frames).argmin(1)]]


def _crop(path: Path | None, clip: AlignedClip) -> NDArray[np.float32]:
    if path is None:
        return np.full((clip.size, clip.size), np.nan, np.float32)
    frame = decode_depth(path)
    if frame.shape != clip.frames.shape:
        (height, width), (h, w) = frame.shape, clip.frames.shape
        raise DepthError(f"{path}: {width}x{height} px, but the colour frame has {w}x{h}; expected registered depth")
    return warp_depth(frame, clip.transform, clip.size)
