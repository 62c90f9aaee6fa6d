"""Depth from the mesh: a face in front of a plane, moving as the face in the texture moves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.mesh.estimators import MeshDepth
from pipeline.clip.mesh.geometry import face_mesh
from pipeline.clip.mesh.raster import MeshRaster
from pipeline.clip.mesh.regions import region_masks
from schemas.errors import DepthError
from tests.pipeline.clip.mesh_warps import as_clip, moved_face, personal_moves, turned_head
from tests.pipeline.clip.real_clip import real_clip

SIZE = 224
EAR, CHEEK, CHIN = 234, 117, 152  # vertices of the mesh, the subject's right


def depth_of(texture: NDArray[np.uint8], onset: int = 0) -> NDArray[np.float32]:
    return np.concatenate(list(MeshDepth(texture.shape[1]).estimate(as_clip(texture, onset))))


def neutral() -> NDArray[np.uint8]:
    return real_clip(72, SIZE).texture[0]


@pytest.mark.parametrize("size", [112, 224, 301])
def test_nose_before_cheek_before_ear_before_background(size: int) -> None:
    """Larger is nearer, in px of the crop; nothing lies behind the far plane, and the corners lie on it."""
    raster, mesh = MeshRaster(size), face_mesh(size)

    def at(vertex: int) -> float:
        x, y = mesh.vertices[vertex, :2].round().astype(int)
        return float(raster.rest[y, x])

    inner_ear = mesh.vertices[EAR] + [0.03 * size, 0, 0]  # the outermost vertex itself is half background
    x, y = inner_ear[:2].round().astype(int)
    assert at(1) > at(CHEEK) > float(raster.rest[y, x]) > raster.far
    assert at(1) == pytest.approx(mesh.vertices[1, 2], abs=0.02 * size)
    assert raster.rest.min() == raster.far
    assert (raster.rest[[0, 0, -1, -1], [0, -1, 0, -1]] == raster.far).all()


def test_onset_is_the_mean_face() -> None:
    """At the onset nothing has moved, whichever frame that is."""
    texture = real_clip(72, SIZE).texture[[0, 10, 30]]
    for onset in range(3):
        np.testing.assert_array_equal(depth_of(texture, onset)[onset], MeshRaster(SIZE).rest)


def test_still_face_stays_still() -> None:
    """Equal frames, equal depth: the carried image is not blurred or shifted by a pixel fraction."""
    np.testing.assert_allclose(depth_of(np.stack([neutral()] * 2))[1], MeshRaster(SIZE).rest, atol=0.05)


def test_jaw_takes_the_chin_along() -> None:
    """When AU26 drops the jaw, the outline of the chin moves down and the forehead stays."""
    frame = moved_face(neutral(), personal_moves({"AU26": 0.6}, seed=1), seed=1)
    rest, moved = depth_of(np.stack([neutral(), frame]))
    column = round(float(face_mesh(SIZE).vertices[CHIN, 0]))
    far = MeshRaster(SIZE).far
    lower, upper = ((image[:, column] > far + 20).nonzero()[0] for image in (moved, rest))
    assert lower[-1] - upper[-1] >= 2
    assert abs(int(lower[0]) - int(upper[0])) <= 1
    change = np.abs(moved - rest)
    masks = region_masks(SIZE)
    assert change[masks["AU17"]].mean() > 3 * change[masks["AU04"]].mean()


@pytest.mark.parametrize(("pitch", "yaw"), [(0, 4), (4, 0)])
def test_depth_turns_with_the_head(pitch: float, yaw: float) -> None:
    """A turned head is nearer on one side: the change of depth at the vertices follows the true rotation."""
    moves = turned_head(pitch=pitch, yaw=yaw)
    rest, turned = depth_of(np.stack([neutral(), moved_face(neutral(), moves[:, :2], seed=1)]))
    start = face_mesh(SIZE).vertices
    inner = np.linalg.norm(start[:, :2] - SIZE / 2, axis=1) < 60
    x, y = start[inner, :2].round().astype(int).T
    x2, y2 = (start[inner, :2] + moves[inner, :2]).round().astype(int).T
    change = turned[y2, x2] - rest[y, x]
    assert np.corrcoef(change, moves[inner, 2])[0, 1] > 0.8


def test_batches_do_not_change_the_result() -> None:
    """A clip of more than one batch equals its frames estimated two at a time; batches are float32 and bounded."""
    clip = real_clip(72, SIZE)
    texture = clip.texture[np.r_[0:36:2]]
    batches = list(MeshDepth(SIZE).estimate(as_clip(texture)))
    assert len(batches) > 1
    assert all(batch.dtype == np.float32 and len(batch) <= 16 for batch in batches)
    together = np.concatenate(batches)
    assert together.shape == texture.shape[:3]
    for position in (1, 15, 16, 17):
        assert depth_of(texture[[0, position]])[1].tobytes() == together[position].tobytes()


def test_crops_of_another_size_are_refused() -> None:
    """A clip that was aligned for another mesh is an error that names both sizes."""
    with pytest.raises(DepthError, match="crops of 224 px, but the mesh backend was made for 112 px"):
        next(iter(MeshDepth(112).estimate(real_clip(72, SIZE))))
