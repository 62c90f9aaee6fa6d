"""Depth and action units from the motion of the canonical face mesh."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.mesh.facial_motion import FacialMotion
from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.clip.mesh.motion_model import REFERENCE_SIZE, motion_model
from pipeline.clip.mesh.raster import MeshRaster
from schemas.errors import ActionUnitError, DepthError

_BATCH = 16  # frames


class MeshActionUnits:
    """Action units from the motion of the face since the onset (an ``ActionUnitEstimator``).

    Dense flow, sampled at the mesh's vertices, is explained by the mesh's action units beside motion of the
    head and smooth motion; see ``pipeline.clip.mesh.motion_model``. The onset itself is zero by definition.

    Args:
        size: side of the crops, px.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def estimate(self, clip: AlignedClip, positions: Sequence[int]) -> NDArray[np.float32]:
        """``(len(positions), 20) float32`` from 0 to 1 in the order of ``AU_NAMES``.

        Raises:
            ActionUnitError: the crops have another size than the estimator.
        """
        if clip.size != self.size:
            raise ActionUnitError(_size_message(self.size, clip))
        motion, model = FacialMotion(clip.texture[clip.onset]), motion_model()
        activations = np.zeros((len(positions), len(AU_NAMES)), np.float32)
        for row, position in enumerate(positions):
            if range(len(clip.texture))[position] != clip.onset:
                activations[row] = model.fit(motion.to(clip.texture[position])).activations
        return activations


class MeshDepth:
    """Depth of the mean face, moved in every frame as the face has moved since the onset (a ``DepthEstimator``).

    A prior in the shape of a face with the clip's motion in it: it knows nothing of the person's own shape.
    Values are crop px towards the camera from the canonical mesh's mean plane; the
    background lies on a far plane behind the face.

    Args:
        size: side of the crops, px.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._raster = MeshRaster(size)

    def estimate(self, clip: AlignedClip) -> Iterator[NDArray[np.float32]]:
        """Yield ``(n, S, S) float32`` in frame order; larger is nearer. No more than one batch is held.

        Raises:
            DepthError: the crops have another size than the estimator.
        """
        if clip.size != self.size:
            raise DepthError(_size_message(self.size, clip))
        motion = FacialMotion(clip.texture[clip.onset], fast=True)
        for start in range(0, len(clip.texture), _BATCH):
            frames = range(start, min(start + _BATCH, len(clip.texture)))
            yield np.stack([self._frame(clip, motion, position) for position in frames])

    def _frame(self, clip: AlignedClip, motion: FacialMotion, position: int) -> NDArray[np.float32]:
        if position == clip.onset:
            return self._raster.rest
        model = motion_model()
        moved = model.displacement(model.fit(motion.to(clip.texture[position])))
        return self._raster.render(moved * (self.size / REFERENCE_SIZE))


def _size_message(size: int, clip: AlignedClip) -> str:
    return f"{clip.frames.paths[0]}: crops of {clip.size} px, but the mesh backend was made for {size} px"
