"""What moves a face between two frames: action units, the head, and smooth motion that neither explains.

A linear mixed model of the mesh's displacement ``u``::

    u = B a + H h + G g + e,    a >= 0

``B`` are the mesh's action unit moves, ``H`` the motion of the head as a whole (similarity, rigid yaw and
pitch, and the pose moves that leak into ``B``), ``G`` the leading modes of a smooth Gaussian process (person,
asymmetry, skin), ``e`` the error of the flow. ``h`` and ``g`` have Gaussian priors and are eliminated exactly;
what is left is a non-negative elastic net of 20 unknowns. Huber weights keep single vertices
(a blink, teeth that appear) from being explained by units that they do not belong to.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.spatial.distance import cdist

from pipeline.face_mesh import FaceMesh, face_mesh

Array = NDArray[np.float64]

REFERENCE_SIZE = 224  # px; motion is measured and explained in a crop of this side, whatever the store's

# Standard deviations and lengths in px of the reference crop. Chosen on warps with a perturbed basis, smooth
# extra motion, head motion, blinks and noise; the optimum is flat (a factor of two costs under 0.02 of mean r).
_FLOW_ERROR = 1.0
_FLOW_LENGTH = 4.0  # vertices closer than this share one flow error
_HEAD_MOTION = 4.0
_SMOOTH_MOTION = 0.6
_SMOOTH_LENGTH = 30.0
_SMOOTH_MODES = 12  # an axis
_RIDGE = 0.5  # standard deviation of an activation
_SPARSITY = 1.9  # cost of one px (root mean square over the inner face) of facial motion
_HUBER = 1.5  # of the median residual
_PASSES = 3
_OUTLINE = 70.0  # |x - centre| from which a vertex lies as often in hair or background as on skin
_OUTLINE_WEIGHT = 0.05


@dataclass(frozen=True)
class MotionFit:
    """How a displacement of the mesh is explained.

    Attributes:
        activations: ``(20,) float64 >= 0`` in the order of ``AU_NAMES``.
        head: coefficients of the head's motion.
        smooth: coefficients of the smooth modes.
    """

    activations: Array
    head: Array
    smooth: Array


class MotionModel:
    """Explains displacements of the 478 vertices in a crop of ``REFERENCE_SIZE`` px."""

    def __init__(self) -> None:
        mesh = face_mesh(REFERENCE_SIZE)
        self._units = mesh.au_moves.astype(np.float64).transpose(1, 2, 0)  # (478, 3, 20)
        self._head = _head_moves(mesh)  # (478, 3, 9)
        modes = _smooth_modes(mesh)
        planar = [moves[:, :2].reshape(-1, moves.shape[2]) for moves in (self._units, self._head)]
        self._design = np.hstack([*planar, modes])
        offset = np.abs(mesh.vertices[:, 0] - REFERENCE_SIZE / 2)
        neighbours = np.exp(-0.5 * (cdist(mesh.vertices[:, :2], mesh.vertices[:, :2]) / _FLOW_LENGTH) ** 2).sum(1)
        self._weights = np.where(offset > _OUTLINE, _OUTLINE_WEIGHT, 1.0) / neighbours / _FLOW_ERROR**2
        inner = self._units[offset <= _OUTLINE, :2]
        self._sparsity = _SPARSITY * np.sqrt((inner**2).mean((0, 1)))
        self._facial = _without(planar[0], planar[1], np.repeat(self._weights, 2)).reshape(-1, 2, planar[0].shape[1])

    def fit(self, moves: NDArray[np.floating]) -> MotionFit:
        """Explain ``(478, 2)`` px of the reference crop, onset -> frame.

        Iteratively reweighted (Huber) maximum a posteriori estimate; about 3 ms.
        """
        target, units = np.asarray(moves, np.float64).ravel(), self._units.shape[2]
        heads = self._head.shape[2]
        robust = np.ones(len(self._weights))
        for _ in range(_PASSES):
            solution = self._solve(target, self._weights * robust)
            residual = np.linalg.norm((target - self._design @ solution).reshape(-1, 2), axis=1)
            robust = 1 / np.maximum(1, residual / max(_HUBER * float(np.median(residual)), 1e-6))
        return MotionFit(solution[:units], solution[units : units + heads], solution[units + heads :])

    def displacement(self, fit: MotionFit) -> Array:
        """Where the fit moves the vertices, ``(478, 3)`` px; the smooth modes have no depth."""
        moved = self._units @ fit.activations + self._head @ fit.head
        smooth = self._design[:, -len(fit.smooth) :] @ fit.smooth
        moved[:, :2] += smooth.reshape(-1, 2)
        return moved

    def facial_displacement(self, fit: MotionFit, units: NDArray[np.bool_]) -> Array:
        """What the chosen ``units`` ``(20,) bool`` move beyond motion of the head, ``(478, 2)`` px."""
        return np.asarray(self._facial @ np.where(units, fit.activations, 0.0))

    @property
    def weights(self) -> Array:
        """How far the flow at each vertex is to be trusted, ``(478,)``."""
        return self._weights

    def facial_moves(self) -> Array:
        """Action unit moves beyond motion of the head, ``(478, 2, 20)`` px per unit of activation."""
        return self._facial

    def _solve(self, target: Array, weights: Array) -> Array:
        units = self._units.shape[2]
        weighted = self._design * np.repeat(weights, 2)[:, None]
        gram, moment = self._design.T @ weighted, weighted.T @ target
        rest = cho_factor(gram[units:, units:] + np.eye(len(gram) - units))  # both priors have unit variance
        coupling = cho_solve(rest, gram[units:, :units])
        reduced = gram[:units, :units] - gram[:units, units:] @ coupling + np.eye(units) / _RIDGE**2
        right = moment[:units] - coupling.T @ moment[units:] - self._sparsity
        factor = cholesky(reduced, lower=True)
        activations, _ = nnls(factor.T, solve_triangular(factor, right, lower=True))
        others = cho_solve(rest, moment[units:]) - coupling @ activations
        return np.concatenate([activations, others])


@cache
def motion_model() -> MotionModel:
    """The one model of the process; it has no state."""
    return MotionModel()


def _head_moves(mesh: FaceMesh) -> Array:
    """Infinitesimal similarity, rigid yaw and pitch, and the mesh's pose moves: ``(478, 3, 9)``, prior scale 1."""
    x, y, z = (mesh.vertices - [mesh.size / 2, mesh.size / 2, mesh.vertices[:, 2].mean()]).T.astype(np.float64)
    one, none = np.ones_like(x), np.zeros_like(x)
    rigid = [
        (one, none, none),
        (none, one, none),
        (-y, x, none),  # roll
        (x, y, z),  # towards the camera
        (z, none, -x),  # yaw
        (none, z, -y),  # pitch
    ]
    moves = np.concatenate([np.array(rigid).transpose(2, 1, 0), mesh.pose_moves.transpose(1, 2, 0)], axis=2)
    return np.asarray(moves * _HEAD_MOTION / np.sqrt((moves[:, :2] ** 2).sum(1).mean(0)))


def _smooth_modes(mesh: FaceMesh) -> Array:
    """Leading modes of a Gaussian process on the vertices, x then y: ``(956, 2 * modes)``, prior scale 1."""
    xy = mesh.vertices[:, :2]
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (cdist(xy, xy) / _SMOOTH_LENGTH) ** 2))
    modes = _SMOOTH_MOTION * vectors[:, -_SMOOTH_MODES:] * np.sqrt(values[-_SMOOTH_MODES:])
    return np.asarray(np.kron(modes, np.eye(2))).reshape(2 * len(xy), -1)


def _without(moves: Array, removed: Array, weights: Array) -> Array:
    """Columns of ``moves`` less their weighted least-squares part in the span of ``removed``."""
    root = np.sqrt(weights)[:, None]
    coefficients, *_ = np.linalg.lstsq(removed * root, moves * root, rcond=None)
    return np.asarray(moves - removed @ coefficients)
