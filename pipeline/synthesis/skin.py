"""How the skin of one person looks where it moves: lighter or darker as it turns, with furrows where it is folded."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.mesh.geometry import AU_NAMES, face_mesh
from pipeline.synthesis.anatomy import mirror
from pipeline.synthesis.recording import Portrait

Array = NDArray[np.float64]
Relief = NDArray[np.float32]

_AMBIENT = 0.5  # share of the light that comes from everywhere
_FURROW = 0.15  # share of its light that the bottom of a furrow loses at activation 1, in a face that has few
_WIDTH = 0.012  # of a furrow, face widths
_STRAY = 0.008  # face widths that a furrow of one person lies beside where the manual draws it
_DEEPEST = 0.4
_PEN = 2  # px
_PIECES = 12  # straight ones that a line is drawn of
_FIXED_POINT = 4  # bits of a pixel that OpenCV draws lines by

# Furrows as FACS describes the changes of appearance of each unit (Ekman, Friesen and Hager, 2002), as lines through
# vertices of the right half and the midline; the left half mirrors them. Two vertices stand for the middle between.
_Point = tuple[int, ...]
_Line = tuple[_Point, ...]
_FURROWS: dict[str, tuple[_Line, ...]] = {
    "AU01": (((69,), (108,), (151,)), ((67,), (109,), (10,))),  # across the middle of the forehead
    "AU02": (((71,), (68,), (104,)), ((21,), (54,), (103,))),  # across its side, above the outer brow
    "AU04": (((107, 9), (55, 8)),),  # upright between the brows
    "AU06": (((130, 226), (143,)), ((226,), (35,)), ((231,), (230,), (229,), (228,))),  # crow's feet; below the lid
    "AU07": (((22,), (23,), (24,), (110,)),),  # of the lower lid
    "AU09": (((193,), (168,)), ((122,), (6,)), ((129,), (203,), (206,))),  # across the root of the nose; its wings
    "AU10": (((129,), (203,), (206,), (216,)),),  # from the nose to the corner of the mouth
    "AU11": (((129,), (203,)),),
    "AU12": (((203,), (206,), (216,), (212,)),),
    "AU14": (((186,), (57,), (43,)),),  # the dimple
    "AU15": (((57,), (43,), (106,)),),  # below the corner of the mouth
    "AU17": (((106,), (182,), (83,), (18,)), ((201,), (200,))),  # between lip and chin; on its boss
}


@dataclass(frozen=True)
class Furrow:
    """A line on a person's face that darkens with one side of an action unit.

    Attributes:
        unit: position in ``AU_NAMES``.
        side: 0 = right, 1 = left.
        line: ``(13, 2) int32`` px of the portrait times 16.
        depth: ``(12,)`` share of the light that each piece loses at activation 1.
    """

    unit: int
    side: int
    line: NDArray[np.int32]
    depth: Array


class Skin:
    """The skin of one person, and the light that falls on it.

    Args:
        portrait: of the person.
        rng: of the lamp's place, and of how deep and where the person's furrows are.
    """

    def __init__(self, portrait: Portrait, rng: np.random.Generator) -> None:
        self._points, self._width = portrait.points, portrait.face_width
        lamp = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.9, -0.3), 1.0])  # y points down: from above
        self._lamp = lamp / float(np.linalg.norm(lamp))
        self._lit = self._light(self._points)
        depth = _FURROW * float(rng.lognormal(0, 0.4))
        self._furrows = tuple(
            Furrow(
                AU_NAMES.index(name), side, self._placed(line, rng), depth * float(rng.lognormal(0, 0.3)) * _taper(line)
            )
            for name, lines in _FURROWS.items()
            for line in lines
            for side, line in enumerate((line, _mirrored(line)))
        )

    def shading(self, moved: Array) -> Array:
        """How much lighter each vertex gets as the skin around it turns, ``(478,)``, 0 = as on the portrait.

        Lambert's law for one lamp, and as much light again from everywhere.

        Args:
            moved: ``(478, 3)`` px, displacement of the mesh.
        """
        return np.asarray(self._light(self._points + moved) / self._lit - 1, np.float64)

    def fold(self, gain: Relief, au: Array) -> Relief:
        """A portrait's gain ``(H, W) float32`` with furrows in it, dark with a lighter ridge on both sides.

        Args:
            gain: without them.
            au: ``(20, 2)`` activations by unit and side.
        """
        folded = [furrow for furrow in self._furrows if au[furrow.unit, furrow.side]]
        if not folded:
            return gain
        drawn: Relief = np.zeros_like(gain)
        for furrow in folded:
            depth = np.minimum(furrow.depth * au[furrow.unit, furrow.side], _DEEPEST)
            for start, end, darker in zip(furrow.line, furrow.line[1:], depth.tolist(), strict=False):
                cv2.line(drawn, start.tolist(), end.tolist(), darker, _PEN, cv2.LINE_AA, _FIXED_POINT)
        width = _WIDTH * self._width
        dark, ridges = (cv2.GaussianBlur(drawn, (0, 0), scale) for scale in (width / 2, 1.5 * width))
        # A blur makes a line paler by its width over the pen's; that is taken back, so that every camera sees as much.
        return np.asarray(gain * (1 - np.float32(width) * (dark - ridges)), np.float32)

    def _light(self, points: Array) -> Array:
        towards = np.clip(_normals(points) @ self._lamp, 0, None)
        return np.asarray(_AMBIENT + (1 - _AMBIENT) * towards, np.float64)

    def _placed(self, line: _Line, rng: np.random.Generator) -> NDArray[np.int32]:
        drawn = np.stack([self._points[list(point), :2].mean(0) for point in line])
        along = np.linspace(0, len(drawn) - 1, _PIECES + 1)
        drawn = np.stack([np.interp(along, np.arange(len(drawn)), axis) for axis in drawn.T], 1)
        drawn += rng.normal(0, _STRAY * self._width, 2)
        return np.asarray((drawn * (1 << _FIXED_POINT)).round(), np.int32)


def _normals(points: Array) -> Array:
    """Unit normals of the vertices towards the camera, ``(478, 3)``, each the mean of its triangles' by their area."""
    triangles = face_mesh(1).triangles
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    across = np.cross(c - a, b - a)  # the mesh's triangles run clockwise, seen from the camera
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], across)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9), np.float64)


def _mirrored(line: _Line) -> _Line:
    return tuple(tuple(int(mirror()[vertex]) for vertex in point) for point in line)


def _taper(line: _Line) -> Array:
    """How deep each piece is: 1 in the middle, nothing at the ends; a line that ends at the midline goes on there."""
    middle = all(int(mirror()[vertex]) == vertex for vertex in line[-1])
    return np.asarray(np.sin(np.pi / (2 if middle else 1) * (np.arange(_PIECES) + 0.5) / _PIECES), np.float64)
