"""Follow one face through a long video: aligned crops one after the other, in bounded memory.

One transform for minutes of video is wrong, and one a frame would carry the detector's jitter into every crop. So the
face is looked for about once a second. While it stays where it was, up to a tolerance, the transform stays; once it has
moved, the transform follows over the next second. A cut, or a face that is lost, ends a segment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.alignment import warp
from pipeline.clip.compute import SAME_SCENE, glance
from pipeline.clip.faces import Face, FaceDetector, detect_upright
from pipeline.clip.frames import Frame
from pipeline.clip.mesh.geometry import face_mesh

_MOST_HELD = 64  # source frames in memory: 0.4 GB of 1920x1080
_TOLERANCE = 0.06  # of the distance of the eyes, by which the five points may be off before the transform follows


@dataclass(frozen=True)
class FollowedFrame:
    """One frame of a long video.

    Attributes:
        crop: ``(S, S, 3) uint8`` RGB; black before a face was found.
        transform: ``(2, 3) float64``, source px -> crop px; ``None`` before a face was found.
        segment: counts the stretches with a face from 0; ``None`` where there is no face.
        face: what the detector found, on the frames that it looked at.
    """

    crop: NDArray[np.uint8]
    transform: NDArray[np.float64] | None
    segment: int | None
    face: Face | None = None


def follow(frames: Iterable[Frame], detector: FaceDetector, *, size: int, fps: float) -> Iterator[FollowedFrame]:
    """Crops of one face, each frame decoded and held once.

    Args:
        frames: ``(H, W, 3) uint8`` RGB, in order, all of one size.
        detector: finds the largest face of a frame.
        size: side of the crops, px.
        fps: frames per second; the face is looked for once a second, and at least once in 64 frames.
    """
    return _Follower(detector, size).frames(iter(frames), max(1, min(round(fps), _MOST_HELD)))


class _Follower:
    def __init__(self, detector: FaceDetector, size: int) -> None:
        self._detector, self._size = detector, size
        self._five = face_mesh(size).five_points.astype(np.float64)
        self._eyes = float(np.linalg.norm(self._five[1] - self._five[0]))
        self._transform: NDArray[np.float64] | None = None
        self._segment, self._inside = -1, False
        self._before: NDArray[np.float64] | None = None  # the last crop at a glance

    def frames(self, frames: Iterator[Frame], step: int) -> Iterator[FollowedFrame]:
        block = list(islice(frames, step))
        if not block:
            return
        face = self._look(block[0])
        self._begin(face)
        while block:
            following = list(islice(frames, step))
            ahead = self._look(following[0]) if following else None
            yield from self._block(block, face, ahead, last=not following)
            if following:
                if ahead is None:
                    self._inside = False
                elif not self._inside:
                    self._begin(ahead)
            block, face = following, ahead

    def _look(self, frame: Frame) -> Face | None:
        return detect_upright(self._detector, frame)

    def _begin(self, face: Face | None) -> None:
        """A new segment where there is a face, which is brought to its place at once."""
        self._inside = face is not None
        if face is not None:
            self._segment += 1
            self._transform = face.transform(self._size)
            self._before = None

    def _block(
        self, block: list[Frame], face: Face | None, ahead: Face | None, *, last: bool
    ) -> Iterator[FollowedFrame]:
        """About a second of frames, of which the first was looked at, and so was the one after them."""
        start = self._transform
        goal = None if start is None or ahead is None or not self._inside else self._goal(start, ahead)
        moving = goal is not None
        for position, frame in enumerate(block):
            if moving and start is not None and goal is not None:
                share = position / len(block)
                self._transform = start + share * share * (3 - 2 * share) * (goal - start)
            found = self._crop(frame, face if position == 0 else None)
            if self._inside and self._is_cut(found.crop):
                moving = False
                seen = self._look(frame)
                self._begin(seen)
                found = self._crop(frame, seen)
                self._before = glance(found.crop)
            yield found
        if moving:
            self._transform = goal

    def _goal(self, start: NDArray[np.float64], face: Face) -> NDArray[np.float64] | None:
        """Where the transform is to be at the next look; ``None`` where it may stay."""
        own = face.transform(self._size)
        return own if self._off(face, start) - self._off(face, own) > _TOLERANCE * self._eyes else None

    def _off(self, face: Face, transform: NDArray[np.float64]) -> float:
        """How far the five points lie from their places in the crop, px; also with its own transform not 0."""
        placed = face.points @ transform[:, :2].T + transform[:, 2]
        return float(np.linalg.norm(placed - self._five, axis=1).mean())

    def _crop(self, frame: Frame, face: Face | None) -> FollowedFrame:
        if self._transform is None:
            return FollowedFrame(np.zeros((self._size, self._size, 3), np.uint8), None, None)
        crop = warp(frame, self._transform, self._size)
        return FollowedFrame(crop, self._transform, self._segment if self._inside else None, face)

    def _is_cut(self, crop: NDArray[np.uint8]) -> bool:
        """Whether this crop and the one before it show different scenes."""
        before, now = self._before, glance(crop)
        self._before = now
        return before is not None and float(before @ now) < SAME_SCENE
