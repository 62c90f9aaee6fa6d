"""The mesh as an image: fixed weights from vertices to pixels, computed once for a crop size."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array, csr_array

from pipeline.clip.mesh.geometry import FaceMesh, face_mesh

_SAMPLES = 3  # a pixel's side; the silhouette is averaged over 9 samples and does not crawl as stairs


class MeshRaster:
    """Depth images ``(S, S) float32`` of the mesh, at rest or displaced.

    The triangle and the barycentric weights of every sample come from a z-buffer of the mean mesh. A depth
    image is then one sparse product with the vertices' depths, carried along by the vertices' motion.

    Args:
        size: side of the image, px.
    """

    def __init__(self, size: int) -> None:
        mesh = face_mesh(size)
        self.far = float(np.floor(mesh.vertices[:, 2].min()))  # px; the plane of the background
        self._heights = mesh.vertices[:, 2].astype(np.float32) - self.far
        self._surface = pixel_weights(size)
        self._anywhere = _extended(self._surface, size)
        rows, columns = np.mgrid[:size, :size].astype(np.float32)
        self._places = np.stack([columns, rows], axis=-1)
        self.rest = self.render(np.zeros((len(self._heights), 3)))

    def render(self, displacement: NDArray[np.floating]) -> NDArray[np.float32]:
        """Depth with the vertices displaced by ``(478, 3)`` px; larger is nearer, the background is ``far``."""
        moves = displacement.astype(np.float32)
        heights = (self._surface @ (self._heights + moves[:, 2])).reshape(self._places.shape[:2])
        sources = self._places - (self._anywhere @ moves[:, :2]).reshape(self._places.shape)
        # OpenCV takes ``None`` for the second map of a pair in one array; its type stubs do not know.
        carried = cv2.remap(heights, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(np.maximum(carried, 0) + np.float32(self.far), np.float32)


@cache
def pixel_weights(size: int) -> csr_array:
    """``(S * S, 478) float32``: image of a value on the vertices; a row sums to the pixel's coverage by the face."""
    mesh = face_mesh(size)
    vertices, weights = _nearest_triangle(mesh, size * _SAMPLES)
    covered = np.flatnonzero(vertices[:, 0] >= 0)
    row = covered // (size * _SAMPLES) // _SAMPLES * size + covered % (size * _SAMPLES) // _SAMPLES
    values = weights[covered].ravel() / np.float32(_SAMPLES**2)
    matrix = coo_array((values, (np.repeat(row, 3), vertices[covered].ravel())), shape=(size**2, len(mesh.vertices)))
    return matrix.tocsr()


def _nearest_triangle(mesh: FaceMesh, side: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Vertices (-1: none) and barycentric weights of the nearest triangle on a ``side`` x ``side`` grid of samples."""
    # Pixel centres are at integers: sample s of a grid finer by f lies at (s + 0.5) / f - 0.5.
    points = mesh.vertices.astype(np.float64)
    points[:, :2] = (points[:, :2] + 0.5) * side / mesh.size - 0.5
    depth = np.full((side, side), -np.inf)
    vertices = np.full((side, side, 3), -1, np.int32)
    weights = np.zeros((side, side, 3), np.float32)
    for triangle in mesh.triangles:
        corners = points[triangle]
        low = np.maximum(np.ceil(corners[:, :2].min(0)).astype(int), 0)
        high = np.minimum(np.floor(corners[:, :2].max(0)).astype(int), side - 1)
        if (low > high).any():
            continue
        y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
        system = np.vstack([corners[:, :2].T, np.ones(3)])
        if abs(np.linalg.det(system)) < 1e-9:
            continue  # seen edge-on
        barycentric = np.einsum("ij,jyx->yxi", np.linalg.inv(system), np.stack([x, y, np.ones_like(x)]))
        nearness = barycentric @ corners[:, 2]
        nearest = (barycentric >= -1e-9).all(2) & (nearness > depth[y, x])
        depth[y[nearest], x[nearest]] = nearness[nearest]
        vertices[y[nearest], x[nearest]] = triangle
        weights[y[nearest], x[nearest]] = barycentric[nearest]
    return vertices.reshape(-1, 3), weights.reshape(-1, 3)


def _extended(surface: csr_array, size: int) -> csr_array:
    """Weights that sum to one everywhere: a pixel off the face takes those of the nearest pixel on it."""
    coverage = np.asarray(surface.sum(1)).reshape(size, size)
    nearest = distance_transform_edt(coverage == 0, return_distances=False, return_indices=True)
    rows = nearest[0].ravel() * size + nearest[1].ravel()
    scale = 1 / coverage.ravel()[rows]
    extended = csr_array(surface[rows])
    extended.data *= np.repeat(scale, np.diff(extended.indptr)).astype(np.float32)
    return extended
