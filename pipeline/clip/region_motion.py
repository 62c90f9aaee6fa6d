"""How the skin of a face moves from frame to frame, without the head: courses that spotting looks for peaks in."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.faces import FaceDetector
from pipeline.clip.frames import Frame
from pipeline.clip.mesh.raster import pixel_weights
from pipeline.clip.mesh.regions import region_masks
from pipeline.clip.tracking import follow
from schemas.store.reader import Store

# One unit a muscle; without those of the lids, which blinks move.
_UNITS = ("AU01", "AU02", "AU04", "AU06", "AU09", "AU10", "AU12", "AU15", "AU17")
REGIONS = tuple(f"{unit}{side}" for unit in _UNITS for side in ("right", "left"))
SIDE = 112  # px; motion is measured in a crop of this side, whatever the store's
_SPACING = 4  # px between the points that the head's motion is fitted to
_FITS = 3  # rounds of reweighting
_OUTLIER = 0.15  # px, from which a point counts less in the fit: it is skin that moves by itself
_SMOOTHING = 1.0  # px, of the flow
_READ = 256  # frames of a store at a time


class RegionMotion:
    """Positions of regions of the face, one frame after the other.

    Dense inverse search (Kroeger et al., ECCV 2016; OpenCV, medium preset) from a reference frame, which is replaced
    once a second by the frame at hand: an expression is measured against how the face was just before. An affine motion
    of the whole face, fitted robustly, is taken off as the head's.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float) -> None:
        self._renewed = max(2, round(fps))
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        halves = np.arange(SIDE)[None] < SIDE / 2  # the subject's right is at the image's left
        masks = region_masks(SIDE)
        weights = [masks[unit] & half for unit in _UNITS for half in (halves, ~halves)]
        self._regions = np.stack([(w / w.sum()).ravel() for w in weights]).astype(np.float32)  # (R, S * S)
        face = np.asarray(pixel_weights(SIDE).sum(1)).reshape(SIDE, SIDE) > 0.5
        rows, columns = np.nonzero(face[::_SPACING, ::_SPACING])
        self._points = rows * _SPACING, columns * _SPACING
        self._design = np.column_stack([columns, rows, np.full(len(rows), SIDE / _SPACING)]) * (_SPACING / SIDE)
        grid = np.mgrid[:SIDE, :SIDE].reshape(2, -1)[::-1]
        self._everywhere = np.vstack([grid / SIDE, np.ones(grid.shape[1])])
        self._region_places = self._regions @ self._everywhere.T.astype(np.float32)  # (R, 3)
        self.restart()

    def restart(self) -> None:
        """Begin a new segment: what came before is of another scene."""
        self._reference: NDArray[np.uint8] | None = None
        self._age = 0
        self._carried = np.zeros((len(REGIONS), 2), np.float32)

    def next(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Where the regions are on a frame, ``(R, 2) float32`` in the order of ``REGIONS``.

        Args:
            crop: ``(S, S, 3) uint8`` RGB.

        Returns:
            Displacements against the first frame of the segment, px of a crop of 112 px.
        """
        grey = _grey(crop)
        if self._reference is None:
            self._reference = grey
            return self._carried
        moved = self._carried + self._against_reference(self._reference, grey)
        self._age += 1
        if self._age >= self._renewed:
            self._reference, self._carried, self._age = grey, moved, 0
        return moved

    def _against_reference(self, reference: NDArray[np.uint8], grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        flow = cv2.GaussianBlur(self._dis.calc(reference, grey, None), (0, 0), _SMOOTHING)  # type: ignore[call-overload]
        sampled = np.asarray(flow[self._points], np.float64)
        weights = np.ones(len(sampled))
        for _ in range(_FITS):
            root = np.sqrt(weights)[:, None]
            fit = np.linalg.lstsq(self._design * root, sampled * root, rcond=None)[0]
            off = np.linalg.norm(sampled - self._design @ fit, axis=1)
            weights = 1 / (1 + (off / _OUTLIER) ** 2)
        moved = self._regions @ np.asarray(flow).reshape(-1, 2)
        return np.asarray(moved - self._region_places @ fit, np.float32)


def course_of_crops(crops: Iterable[tuple[NDArray[np.uint8], int | None]], fps: float) -> Iterator[NDArray[np.float32]]:
    """``(R, 2)`` of each frame as of ``RegionMotion.next``; NaN where no face was followed.

    Args:
        crops: ``(S, S, 3) uint8`` RGB in order, each with its segment, ``None`` for none.
        fps: frames per second.
    """
    motion, before = RegionMotion(fps), None
    for crop, segment in crops:
        if segment != before:
            motion.restart()
        before = segment
        yield np.full((len(REGIONS), 2), np.nan, np.float32) if segment is None else motion.next(crop)


def course_of_entry(store: Store, key: str) -> NDArray[np.float32]:
    """The course ``(T, R, 2) float32`` of a long recording in a store, read some frames at a time.

    Raises:
        StoreError: the recording failed, or cannot be read.
    """
    entry = store.entry(key)
    segment_of = dict[int, int]()
    for number, segment in enumerate(entry.segments):
        segment_of |= dict.fromkeys(range(segment.start, segment.stop), number)

    def crops() -> Iterator[tuple[NDArray[np.uint8], int | None]]:
        for start in range(0, entry.n_frames, _READ):
            part = store.clip_array("texture", key, slice(start, start + _READ))
            yield from ((crop, segment_of.get(start + offset)) for offset, crop in enumerate(part))

    return np.stack(list(course_of_crops(crops(), entry.fps)))


def course_of_video(frames: Iterable[Frame], detector: FaceDetector, fps: float) -> Iterator[NDArray[np.float32]]:
    """``(R, 2)`` of each frame of a video, decoded once; about a second of its frames is in memory.

    Args:
        frames: ``(H, W, 3) uint8`` RGB, in order, all of one size.
        detector: finds the largest face of a frame.
        fps: frames per second.
    """
    followed = follow(frames, detector, size=SIDE, fps=fps)
    return course_of_crops(((one.crop, one.segment) for one in followed), fps)


def _grey(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] == SIDE:
        return np.asarray(grey, np.uint8)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
