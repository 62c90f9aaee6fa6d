"""How the skin of a face moves from frame to frame, without the head: courses that spotting looks for peaks in."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
GRID = 32  # cells a side of a field
_SPACING = 4  # px between the points that the head's motion is fitted to
_FITS = 3  # rounds of reweighting
_OUTLIER = 0.15  # px, from which a point counts less in the fit: it is skin that moves by itself
_SMOOTHING = 1.0  # px, of the flow
_READ = 256  # frames of a store at a time


class FaceMotion(NamedTuple):
    """Where the face is on one frame, without the head's own motion; px of a crop of 112 px.

    Attributes:
        regions: ``(R, 2) float32`` in the order of ``REGIONS``, against the first frame of the segment; NaN where no
            face was followed.
        field: ``(2, GRID, GRID) float16``, how the cells of a grid moved since the frame before, to the right and down;
            0 on the first frame of a segment, and where no face was followed.
    """

    regions: NDArray[np.float32]
    field: NDArray[np.float16]


class RegionMotion:
    """Positions of regions of the face, and of the cells of a grid, one frame after the other.

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
        places = self._everywhere.reshape(3, SIDE, SIDE).transpose(1, 2, 0).astype(np.float32)
        self._cell_places = cv2.resize(places, (GRID, GRID), interpolation=cv2.INTER_AREA)  # (G, G, 3)
        self.restart()

    def restart(self) -> None:
        """Begin a new segment: what came before is of another scene."""
        self._reference: NDArray[np.uint8] | None = None
        self._age = 0
        self._carried = np.zeros((len(REGIONS), 2), np.float32)
        self._before = np.zeros((2, GRID, GRID), np.float32)  # the cells against the reference

    def next(self, crop: NDArray[np.uint8]) -> FaceMotion:
        """Where the face is on a frame.

        Args:
            crop: ``(S, S, 3) uint8`` RGB.
        """
        grey = _grey(crop)
        if self._reference is None:
            self._reference = grey
            return FaceMotion(self._carried, self._before.astype(np.float16))
        regions, cells = self._against_reference(self._reference, grey)
        moved, field = self._carried + regions, (cells - self._before).astype(np.float16)
        self._before = cells
        self._age += 1
        if self._age >= self._renewed:
            self._reference, self._carried, self._age = grey, moved, 0
            self._before = np.zeros_like(cells)
        return FaceMotion(moved, field)

    def _against_reference(
        self, reference: NDArray[np.uint8], grey: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``(R, 2)`` of the regions and ``(2, G, G)`` of the cells."""
        flow = cv2.GaussianBlur(self._dis.calc(reference, grey, None), (0, 0), _SMOOTHING)  # type: ignore[call-overload]
        sampled = np.asarray(flow[self._points], np.float64)
        weights = np.ones(len(sampled))
        for _ in range(_FITS):
            root = np.sqrt(weights)[:, None]
            fit = np.linalg.lstsq(self._design * root, sampled * root, rcond=None)[0]
            off = np.linalg.norm(sampled - self._design @ fit, axis=1)
            weights = 1 / (1 + (off / _OUTLIER) ** 2)
        moved = self._regions @ np.asarray(flow).reshape(-1, 2)
        cells = cv2.resize(np.asarray(flow), (GRID, GRID), interpolation=cv2.INTER_AREA) - self._cell_places @ fit
        regions = np.asarray(moved - self._region_places @ fit, np.float32)
        return regions, np.ascontiguousarray(cells.transpose(2, 0, 1), np.float32)


def motion_of_crops(crops: Iterable[tuple[NDArray[np.uint8], int | None]], fps: float) -> Iterator[FaceMotion]:
    """The motion of each frame.

    Args:
        crops: ``(S, S, 3) uint8`` RGB in order, each with its segment, ``None`` for none.
        fps: frames per second.
    """
    motion, before = RegionMotion(fps), None
    nothing = FaceMotion(np.full((len(REGIONS), 2), np.nan, np.float32), np.zeros((2, GRID, GRID), np.float16))
    for crop, segment in crops:
        if segment != before:
            motion.restart()
        before = segment
        yield nothing if segment is None else motion.next(crop)


def motion_of_entry(store: Store, key: str) -> Iterator[FaceMotion]:
    """The motion of each frame of a long recording in a store, read some frames at a time.

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

    return motion_of_crops(crops(), entry.fps)


def motion_of_video(frames: Iterable[Frame], detector: FaceDetector, fps: float) -> Iterator[FaceMotion]:
    """The motion of each frame of a video, decoded once; about a second of its frames is in memory.

    Args:
        frames: ``(H, W, 3) uint8`` RGB, in order, all of one size.
        detector: finds the largest face of a frame.
        fps: frames per second.
    """
    followed = follow(frames, detector, size=SIDE, fps=fps)
    return motion_of_crops(((one.crop, one.segment) for one in followed), fps)


def _grey(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] == SIDE:
        return np.asarray(grey, np.uint8)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
