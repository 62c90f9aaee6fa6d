"""The canonical face in the crop: geometry, raster and regions."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pipeline.clip.mesh.geometry import AU_NAMES, face_mesh
from pipeline.clip.mesh.raster import MeshRaster, pixel_weights
from pipeline.clip.mesh.regions import region_masks

SIZE = 224
MAPPED = [name for name in AU_NAMES if name in face_mesh(SIZE).regions]
UNMAPPED = [name for name in AU_NAMES if name not in face_mesh(SIZE).regions]


def test_five_points_lie_inside_the_face_in_detector_order() -> None:
    """Eyes above nose above mouth, image left before right, all of them on the mesh."""
    right_eye, left_eye, nose, right_mouth, left_mouth = face_mesh(SIZE).five_points
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    coverage = np.asarray(pixel_weights(SIZE).sum(1)).reshape(SIZE, SIZE)
    x, y = face_mesh(SIZE).five_points.round().astype(int).T
    assert (coverage[y, x] > 0.99).all()


def test_triangles_are_a_surface_without_holes() -> None:
    """Every triangle has three different vertices of the skin, and no pixel inside the outline is left uncovered."""
    triangles = face_mesh(SIZE).triangles
    assert triangles.min() == 0
    assert triangles.max() == 467  # the irises, 468 to 477, are no skin
    assert (np.diff(np.sort(triangles, axis=1), axis=1) > 0).all()
    covered = MeshRaster(SIZE).rest > MeshRaster(SIZE).far
    for row in covered[covered.any(1)]:
        first, last = np.flatnonzero(row)[[0, -1]]
        assert row[first : last + 1].all()


@pytest.mark.parametrize("size", [112, 225])
def test_geometry_scales_with_the_crop(size: int) -> None:
    """The same face at every crop size, about the centre of the crop."""
    small, large = face_mesh(size), face_mesh(2 * size)
    np.testing.assert_allclose(small.vertices * 2, large.vertices, atol=1e-3)
    np.testing.assert_allclose(small.au_moves * 2, large.au_moves, atol=1e-3)


def test_pixel_weights_reproduce_positions() -> None:
    """The weights interpolate: applied to the vertices' own x and y they give each covered pixel its position."""
    weights = pixel_weights(SIZE)
    coverage = np.asarray(weights.sum(1)).ravel()
    assert coverage.min() >= 0
    assert coverage.max() <= 1 + 1e-5
    full = coverage > 1 - 1e-5
    assert 0.5 < full.mean() < 0.6
    y, x = np.divmod(np.arange(SIZE**2), SIZE)
    placed = weights @ face_mesh(SIZE).vertices[:, :2]
    np.testing.assert_allclose(placed[full], np.column_stack([x, y])[full], atol=0.01)


@pytest.mark.parametrize("name", MAPPED)
def test_region_holds_its_own_vertices_and_no_others(name: str) -> None:
    """At the vertices the mask is the map: on at those of the unit, off at all others in full view."""
    mesh, mask = face_mesh(SIZE), region_masks(SIZE)[name]
    far_apart = np.array([row.min() > 4 for row in _distances_to_others(mesh.vertices[:468, :2])])
    x, y = mesh.vertices[:468, :2].round().astype(int).T
    inside = np.isin(np.arange(468), mesh.regions[name])
    covered = np.asarray(pixel_weights(SIZE).sum(1)).reshape(SIZE, SIZE)[y, x] > 0.99
    checked = far_apart & covered
    np.testing.assert_array_equal(mask[y, x][checked], inside[checked])


def _distances_to_others(points: NDArray[np.float32]) -> NDArray[np.float64]:
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    return distances


@pytest.mark.parametrize("name", AU_NAMES)
def test_region_is_on_the_face_and_on_both_sides(name: str) -> None:
    """Each mask is a visible part of the face, mirrored left to right up to the mesh's own asymmetry."""
    mask = region_masks(SIZE)[name]
    assert mask.shape == (SIZE, SIZE)
    assert 200 < mask.sum() < 6000
    assert mask[MeshRaster(SIZE).rest == MeshRaster(SIZE).far].sum() == 0
    here, there = np.argwhere(mask), np.argwhere(mask[:, ::-1])
    distance = cdist(there, here).min(1)
    assert np.percentile(distance, 95) < 6


@pytest.mark.parametrize("name", UNMAPPED)
def test_units_without_a_region_get_that_of_their_muscle(name: str) -> None:
    """Lip units lie about the mouth, the blink about the eyes."""
    mesh = face_mesh(SIZE)
    points = mesh.five_points[:2] if name == "AU43" else mesh.five_points[3:]
    y, x = np.nonzero(region_masks(SIZE)[name])
    assert abs(y.mean() - points[:, 1].mean()) < 10
    assert points[:, 0].min() - 30 < x.min() < x.max() < points[:, 0].max() + 30
