"""Motion of the face between the onset and another frame, and the frame where it is largest."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.spatial.distance import cdist

from pipeline.clip.mesh.geometry import AU_NAMES, LEFT_EYE, RIGHT_EYE, face_mesh
from pipeline.clip.mesh.motion_model import REFERENCE_SIZE, motion_model

_SMOOTHING = 1.5  # px, of the flow
_COARSE_FRAMES = 96  # apex spotting looks at no more frames than this before it refines
_ENDING = 3  # frames at most that the end of a clip is averaged over
_EYE_RADIUS = 22.0  # px of the reference crop about an eye's centre: the lids and what they pull along


class FacialMotion:
    """Dense flow from one crop to others, sampled at the vertices of the mesh.

    Dense inverse search (Kroeger et al., ECCV 2016; OpenCV) on grey crops brought to ``REFERENCE_SIZE``, then a small
    blur. The result does not depend on the number of threads.

    Args:
        onset: ``(S, S, 3) uint8`` RGB, the crop that motion is measured from.
        fast: take OpenCV's fast preset instead of the medium one, whose finer motion action units need.
    """

    def __init__(self, onset: NDArray[np.uint8], *, fast: bool = False) -> None:
        self._onset = _reference_grey(onset)
        preset = cv2.DISOPTICAL_FLOW_PRESET_FAST if fast else cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        self._dis = cv2.DISOpticalFlow.create(preset)
        x, y = face_mesh(REFERENCE_SIZE).vertices[:, :2].T
        self._x, self._y = np.ascontiguousarray(x[None]), np.ascontiguousarray(y[None])

    def to(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Displacement of the vertices, onset -> frame: ``(478, 2) float32``, px of the reference crop."""
        # No initial flow: even one of zeros would switch the search to another, worse start.
        flow = self._dis.calc(self._onset, _reference_grey(frame), None)  # type: ignore[call-overload]
        smooth = cv2.GaussianBlur(flow, (0, 0), _SMOOTHING)
        return np.asarray(cv2.remap(smooth, self._x, self._y, cv2.INTER_LINEAR)[0], np.float32)


def largest_motion(texture: NDArray[np.uint8], onset: int) -> int:
    """Position of the frame whose face has moved furthest from the onset: the apex, where none is annotated.

    The size of a motion is the root mean square of what the action units move, without the head's motion,
    without AU43 and without the vertices about the eyes, so that neither a nod nor a blink counts. Slow drift
    (light, posture) can outgrow a micro-expression, so the straight line from the onset to the clip's end is taken
    off first: the clip is expected to end near the offset, and one that is cut at its apex is not done justice.
    The course is smoothed over time, a median of three against a bad frame first. Of a clip with more than
    ``_COARSE_FRAMES`` frames evenly spaced ones are looked at, then every frame about the largest.

    Args:
        texture: ``(T, S, S, 3) uint8`` RGB crops.
        onset: position of the onset; only later frames are candidates.

    Returns:
        The position; that of the onset where no frame follows it.
    """
    last = len(texture) - 1
    if last <= onset:
        return onset
    motion = FacialMotion(texture[onset])
    ending = range(max(onset + 1, last - min(_ENDING, (last - onset) // 8 + 1) + 1), last + 1)
    drift = np.mean([motion.to(texture[position]) for position in ending], axis=0)

    def peak(positions: NDArray[np.intp]) -> int:
        shares = (positions - onset) / (last - onset)
        course = [motion_size(motion.to(texture[p]) - s * drift) for p, s in zip(positions, shares, strict=True)]
        steady = median_filter(course, size=min(3, len(course)), mode="nearest")
        smooth = gaussian_filter1d(steady, max(0.5, len(course) / 40), mode="nearest")
        return int(positions[np.argmax(smooth)])

    stride = -(-(last - onset) // _COARSE_FRAMES)
    best = peak(np.arange(onset + stride, last + 1, stride))
    if stride == 1:
        return best
    return peak(np.arange(max(onset + 1, best - 2 * stride), min(last, best + 2 * stride) + 1))


def motion_size(moves: NDArray[np.floating]) -> float:
    """Size of the facial part of a motion ``(478, 2)`` px of the reference crop, eyes left out; px."""
    mesh, model = face_mesh(REFERENCE_SIZE), motion_model()
    expressive = np.array([name != "AU43" for name in AU_NAMES])
    moved = model.unit_moves[:, :2] @ (model.fit(moves).strengths * expressive)
    eyes = np.stack([mesh.vertices[list(eye), :2].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])
    weights = model.weights * (cdist(mesh.vertices[:, :2], eyes).min(1) > _EYE_RADIUS)
    return float(np.sqrt((moved**2).sum(1) @ weights / weights.sum()))


def _reference_grey(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] == REFERENCE_SIZE:
        return np.asarray(grey, np.uint8)
    shrinks = grey.shape[0] > REFERENCE_SIZE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (REFERENCE_SIZE, REFERENCE_SIZE), interpolation=interpolation), np.uint8)
