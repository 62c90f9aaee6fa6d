"""How the skin of one person moves with each action unit.

Two sources are mixed, in a proportion that differs from person to person: pulls of the muscles as FACS
describes them (Ekman, Friesen and Hager, 2002), and py-feat's statistical mesh model without its head
motion. Gain, direction and extent are then disturbed smoothly. So the motion resembles what the ``mesh``
estimator expects, but no person follows its basis.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import expit

from pipeline.clip.alignment import similarity
from pipeline.clip.mesh.geometry import AU_NAMES, FaceMesh, face_mesh
from pipeline.synthesis.recording import LEFT_EAR, RIGHT_EAR, Portrait

Array = NDArray[np.float64]
SIDES = ("right", "left")  # the subject's own; right is at the image's left
_UNIT_FACE = 1000  # size of the canonical mesh in which the pulls are laid out

# Vertices of the lids from the outer to the inner corner, right eye then left eye.
_UPPER_LID = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
_LOWER_LID = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
_UPPER_FOLD = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
_LOWER_FOLD = ((25, 110, 24, 23, 22, 26, 112), (255, 339, 254, 253, 252, 256, 341))
LID_AUS = ("AU05", "AU07", "AU43")


@dataclass(frozen=True)
class _Pull:
    """Skin around anchors moves in one direction.

    ``anchors`` are vertices of the right half or the midline; the left half mirrors them. ``outward``, ``down``
    and ``forward`` are fractions of the face's width at activation 1; ``radius`` is that of the Gaussian.
    """

    anchors: tuple[int, ...]
    radius: float
    outward: float = 0.0
    down: float = 0.0
    forward: float = 0.0
    lip: Literal["both", "upper", "lower"] = "both"


# fmt: off
_PULLS: dict[str, tuple[_Pull, ...]] = {
    "AU01": (_Pull((107, 55, 66), 0.075, down=-0.036), _Pull((108,), 0.08, down=-0.020)),
    "AU02": (_Pull((105, 63, 70), 0.080, down=-0.034), _Pull((104, 68), 0.08, down=-0.020)),
    "AU04": (_Pull((55, 107, 9), 0.080, outward=-0.022, down=0.026),
             _Pull((105, 52), 0.07, outward=-0.008, down=0.018)),
    "AU06": (_Pull((117, 118, 50), 0.090, outward=-0.004, down=-0.026, forward=0.012),
             _Pull((111, 35), 0.06, down=-0.012)),
    "AU09": (_Pull((129, 98, 203), 0.055, down=-0.028), _Pull((122, 193), 0.05, outward=-0.008, down=-0.014),
             _Pull((55, 9), 0.05, outward=-0.008, down=0.016)),
    "AU10": (_Pull((39, 37, 40), 0.050, down=-0.026, lip="upper"),
             _Pull((203, 206), 0.05, outward=0.006, down=-0.018)),
    "AU11": (_Pull((203, 206, 36), 0.055, outward=0.010, down=-0.018),),
    "AU12": (_Pull((61, 57), 0.070, outward=0.040, down=-0.036),
             _Pull((205, 207), 0.09, outward=0.016, down=-0.020, forward=0.010)),
    "AU14": (_Pull((61, 57, 212), 0.050, outward=0.022, down=-0.004, forward=-0.018),),
    "AU15": (_Pull((61, 57), 0.060, outward=0.006, down=0.036),),
    "AU17": (_Pull((175, 199, 200), 0.085, down=-0.030, forward=0.010),
             _Pull((17, 84), 0.06, down=-0.016, lip="lower")),
    "AU20": (_Pull((61, 57, 214), 0.070, outward=0.040, down=0.008),),
    "AU23": (_Pull((61,), 0.040, outward=-0.018), _Pull((0, 37), 0.04, down=0.010, lip="upper"),
             _Pull((17, 84), 0.04, down=-0.010, lip="lower")),
    "AU24": (_Pull((0, 37, 39), 0.045, down=0.016, lip="upper"),
             _Pull((17, 84, 181), 0.045, down=-0.020, lip="lower")),
    "AU25": (_Pull((17, 84, 14), 0.060, down=0.020, lip="lower"), _Pull((0, 13), 0.05, down=-0.004, lip="upper")),
    "AU26": (_Pull((152, 17, 175, 148), 0.150, down=0.050, lip="lower"),
             _Pull((61,), 0.05, outward=-0.004, down=0.014)),
    "AU28": (_Pull((0, 37, 13), 0.045, down=0.012, forward=-0.012, lip="upper"),
             _Pull((17, 84, 14), 0.045, down=-0.016, forward=-0.012, lip="lower")),
}
# fmt: on


@dataclass(frozen=True)
class Muscles:
    """One person's answer to the action units.

    Attributes:
        moves: ``(20, 2, 478, 3) float64`` px at activation 1, by ``AU_NAMES`` and ``SIDES``, x and y along the image.
        to_image: ``(3, 3)`` rotation times scale, from the canonical face (width 1) to px of the image.
        place: ``(478, 3)`` canonical vertices, face width 1, origin between the ears.
    """

    moves: Array
    to_image: Array
    place: Array


def muscles(portrait: Portrait, rng: np.random.Generator) -> Muscles:
    """Draw a person's muscles, and turn them to how the head is seen on the portrait."""
    place = _place()
    to_image = similarity(place, portrait.points)[:, :3]
    share = rng.uniform(0.35, 0.65)  # of the anatomical pulls against the statistical model
    moves = np.zeros((len(AU_NAMES), 2, *place.shape))
    halves = expit(np.array([[-1], [1]]) * place[None, :, 0] / 0.03)  # (2, 478)
    for index, name in enumerate(AU_NAMES):
        if name in LID_AUS:
            continue
        pulled = _pulled(name)
        reach = np.clip(np.linalg.norm(pulled, axis=1) / np.linalg.norm(pulled, axis=1).max() * 2.5, 0, 1)
        move = share * pulled + (1 - share) * _statistical(name) * reach[:, None]
        move = _personal(move, place, rng)
        balance = rng.normal(0, 0.08)
        for side, sign in enumerate((-1, 1)):
            moves[index, side] = (1 + sign * balance) * halves[side][:, None] * move @ to_image.T
    for name, by_side in _lids(portrait).items():
        moves[AU_NAMES.index(name)] = by_side * rng.lognormal(0, 0.1)
    return Muscles(moves, to_image, place)


def smooth_field(place: Array, rng: np.random.Generator, *, scale: float, columns: int) -> Array:
    """Random smooth functions on the face, ``(478, columns)``, about zero mean and unit deviation, within +-2.

    ``scale`` is their length, in face widths.
    """
    centres = place[rng.choice(len(place), 24, replace=False)]
    field = np.exp(-0.5 * (cdist(place, centres) / scale) ** 2) @ rng.standard_normal((24, columns))
    # Vertices crowd at eyes and mouth: unbounded, the sparse rim of the face would swing widest.
    return np.asarray(2 * np.tanh((field - field.mean(0)) / field.std(0) / 2), np.float64)


@cache
def _mesh() -> FaceMesh:
    return face_mesh(_UNIT_FACE)


@cache
def _place() -> Array:
    vertices = _mesh().vertices.astype(np.float64)
    right, left = vertices[RIGHT_EAR], vertices[LEFT_EAR]
    return np.asarray((vertices - (right + left) / 2) / float(np.linalg.norm(left - right)), np.float64)


@cache
def mirror() -> NDArray[np.int64]:
    """For each vertex the one that lies opposite on the other half of the face, ``(478,)``."""
    place = _place()
    return np.asarray(cdist(place * [-1, 1, 1], place).argmin(1), np.int64)


@cache
def _pulled(name: str) -> Array:
    place = _place()
    sideways = np.tanh(place[:, 0] / 0.04)
    seam = (place[13, 1] + place[14, 1]) / 2 + (place[61, 1] + place[291, 1] - place[13, 1] - place[14, 1]) / 2 * (
        place[:, 0] / place[291, 0]
    ) ** 2
    below = expit((place[:, 1] - seam) / 0.006)
    move = np.zeros_like(place)
    for pull in _PULLS[name]:
        anchors = [*pull.anchors, *mirror()[list(pull.anchors)]]
        weight = np.exp(-0.5 * (cdist(place, place[anchors]).min(1) / pull.radius) ** 2)
        weight *= {"both": 1.0, "upper": 1 - below, "lower": below}[pull.lip]
        move += weight[:, None] * np.column_stack(
            [pull.outward * sideways, np.full(len(place), pull.down), np.full(len(place), pull.forward)]
        )
    return move


@cache
def _statistical(name: str) -> Array:
    """py-feat's moves of one action unit, without the similarity and head pose that its training left in."""
    mesh, place = _mesh(), _place()
    width = float(np.linalg.norm(mesh.vertices[LEFT_EAR] - mesh.vertices[RIGHT_EAR]))
    move = mesh.au_moves[AU_NAMES.index(name)].astype(np.float64) / width
    rigid = [np.eye(3)[None, axis].repeat(len(place), 0) for axis in range(3)]
    rigid += [np.cross(np.eye(3)[axis], place) for axis in range(3)]
    rigid += [place, *mesh.pose_moves.astype(np.float64)]
    basis = np.stack([field.ravel() for field in rigid], 1)
    solution, *_ = np.linalg.lstsq(basis, move.ravel(), rcond=None)
    return np.asarray((move.ravel() - basis @ solution).reshape(move.shape), np.float64)


def _personal(move: Array, place: Array, rng: np.random.Generator) -> Array:
    """Disturb gain, spatial extent, direction, and add what the model has no word for."""
    size = np.linalg.norm(move, axis=1)
    relative = size / size.max()
    spread = np.where(relative > 0, np.maximum(relative, 1e-6) ** rng.uniform(-0.3, 0.4), 0)
    angle = np.deg2rad(rng.normal(0, 9) * np.sign(place[:, 0]) * np.clip(np.abs(place[:, 0]) / 0.1, 0, 1)
                       + 6 * smooth_field(place, rng, scale=0.3, columns=1)[:, 0])  # fmt: skip
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.column_stack([cos * move[:, 0] - sin * move[:, 1], sin * move[:, 0] + cos * move[:, 1], move[:, 2]])
    stray = 0.16 * size.max() * np.sqrt(relative)[:, None] * smooth_field(place, rng, scale=0.2, columns=3)
    disturbed = turned * (spread * np.exp(0.3 * smooth_field(place, rng, scale=0.25, columns=1)[:, 0]))[:, None] + stray
    return np.asarray(
        disturbed * rng.lognormal(0, 0.2) * size.max() / float(np.linalg.norm(disturbed, axis=1).max()), np.float64
    )


def _lids(portrait: Portrait) -> dict[str, Array]:
    """Lids follow the person's own aperture: closing by its full height, whatever the shape of the eye."""
    points = portrait.points
    moves = {name: np.zeros((2, len(points), 3)) for name in LID_AUS}
    arch = np.sin(np.pi * (np.arange(7) + 1) / 8)[:, None]
    for side in range(2):
        upper, lower = list(_UPPER_LID[side]), list(_LOWER_LID[side])
        aperture = points[lower] - points[upper]
        moves["AU43"][side][upper], moves["AU43"][side][lower] = 0.95 * aperture, -0.05 * aperture
        moves["AU43"][side][list(_UPPER_FOLD[side])] = 0.35 * aperture
        moves["AU05"][side][upper], moves["AU05"][side][list(_UPPER_FOLD[side])] = (
            -0.35 * arch * aperture,
            -0.2 * aperture,
        )
        moves["AU07"][side][lower], moves["AU07"][side][list(_LOWER_FOLD[side])] = (
            -0.35 * arch * aperture,
            -0.2 * aperture,
        )
        moves["AU07"][side][upper] = 0.12 * arch * aperture
    return moves
