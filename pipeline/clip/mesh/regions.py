"""Where on the aligned crop each action unit acts, for figures and region statistics."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pipeline.clip.mesh.geometry import AU_NAMES, face_mesh
from pipeline.clip.mesh.motion_model import REFERENCE_SIZE, motion_model
from pipeline.clip.mesh.raster import pixel_weights

# Units that py-feat's map leaves out -> a unit in the map of the same muscle (FACS; orbicularis oris and oculi).
_SAME_MUSCLE = {"AU23": "AU24", "AU25": "AU24", "AU28": "AU24", "AU43": "AU07"}
_AROUND = 12.0  # px of the reference crop about that unit's region: the red of the lips, the lids
_MOVED = 0.5  # share of the largest displacement from which skin counts as moved


def region_masks(size: int) -> dict[str, NDArray[np.bool_]]:
    """Masks ``(S, S) bool`` by ``AU_NAMES`` in a crop of ``size`` px.

    The regions are those of py-feat's map of the mesh (``au_region_map.json``), out to half way to the next
    vertex; neighbours overlap along their border. The map has none for AU23, AU25, AU28 and AU43: theirs is the
    skin about the lips or the lids that the unit moves at least half as far as the place there that it moves most.
    """
    mesh, weights = face_mesh(size), pixel_weights(size)
    masks = {}
    for index, name in enumerate(AU_NAMES):
        on_vertices = np.zeros(len(mesh.vertices), np.float32)
        on_vertices[mesh.regions[name] if name in mesh.regions else _moved_vertices(index)] = 1
        masks[name] = np.asarray(weights @ on_vertices > 0.5).reshape(size, size)
    return masks


def _moved_vertices(unit: int) -> NDArray[np.intp]:
    """Vertices about the unit's muscle that it moves most, the same on both sides."""
    mesh, model = face_mesh(REFERENCE_SIZE), motion_model()
    xy = mesh.vertices[:, :2] - [REFERENCE_SIZE / 2, 0]
    muscle = mesh.regions[_SAME_MUSCLE[AU_NAMES[unit]]]
    near = cdist(xy, xy[muscle]).min(1) < _AROUND
    distance = np.linalg.norm(model.unit_moves[:, :2, unit], axis=1)
    mirrored = cdist(xy * [-1, 1], xy).argmin(1)
    moved = np.where(near & near[mirrored], distance + distance[mirrored], 0)
    return np.flatnonzero(moved >= _MOVED * moved.max())
