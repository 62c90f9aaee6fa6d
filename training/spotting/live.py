"""Spotting while a video goes on: what has ended is said once, some seconds later, and is not taken back."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from training.spotting.course import Course, Motion, Observer
from training.spotting.intervals import Spotted, are_one
from training.spotting.method import Spotter

SETTLED = 2.0  # s after its offset at which an interval is said: no method looks further ahead
_GRACE = 1.0  # s by which an interval's offset may still move to before what was settled
_LONGEST = 60.0  # s that a spotter is given at once
_OVERLAP = 20.0  # s of them that the next ones begin with
_FILLED = 1.0  # s without a frame, beyond which motion is not continued
_STEP = 0.5  # s from one look at what has ended to the next


class LiveSpotter:
    """Feeds a spotter frame by frame with the last minute of a video.

    Frames that are missing are put in between, on a straight way: time goes on as in a video that lacks none.

    Args:
        spotter: fitted.
        fps: frames per second.
        video: key that the intervals are given.
    """

    def __init__(self, spotter: Spotter, fps: float, video: str = "live") -> None:
        self._spotter, self._fps, self._video = spotter, fps, video
        self._tail = deque[tuple[NDArray[np.float32], NDArray[np.float16]]](maxlen=max(1, round(_OVERLAP * fps)))
        self._said = deque[Spotted](maxlen=100)
        self._last, self._looked, self._until = -1, 0, -1
        self._begin(0)

    def push(self, number: int, motion: Motion) -> list[Spotted]:
        """Take a frame, and give the intervals that are settled with it.

        Args:
            number: of the frame, at ``fps`` from the start; larger than those before.
            motion: of the face on it.
        """
        ended: list[Spotted] = []
        missing = number - self._last - 1
        if self._positions and missing <= _FILLED * self._fps:
            before, after = self._positions[-1], motion.regions
            field = (motion.field / (missing + 1)).astype(np.float16)
            for share in np.arange(1, missing + 1) / (missing + 1):
                self._add(before + np.float32(share) * (after - before), field)
            self._add(after, field)
        else:
            ended += self.finish()
            self._tail.clear()
            self._begin(number)
            self._add(motion.regions, np.zeros_like(motion.field))
        self._last = number
        if self._last - self._looked >= _STEP * self._fps:
            self._looked = self._last
            observed = None if self._observer is None else self._observer.so_far()
            ended += self._settled(self._last - round(SETTLED * self._fps), observed)
        if len(self._positions) > _LONGEST * self._fps:
            self._begin(self._last + 1 - len(self._tail))
            for regions, field in list(self._tail):
                self._add(regions, field, again=True)
        return ended

    def finish(self) -> list[Spotted]:
        """The intervals that are left, when no frame follows."""
        if not self._positions:
            return []
        return self._settled(self._last, None if self._observer is None else self._observer.finish())

    def _begin(self, number: int) -> None:
        self._first = number
        self._positions: list[NDArray[np.float32]] = []
        self._observer: Observer | None = self._spotter.observer(self._fps)

    def _add(self, regions: NDArray[np.float32], field: NDArray[np.float16], *, again: bool = False) -> None:
        self._positions.append(regions)
        if self._observer is not None:
            self._observer.push(field, face=bool(np.isfinite(regions).all()))
        if not again:
            self._tail.append((regions, field))

    def _settled(self, until: int, evidence: NDArray[np.float32] | None) -> list[Spotted]:
        """What has ended up to a frame, and was not said yet."""
        numbers = np.arange(self._first, self._first + len(self._positions))
        course = Course(self._video, self._fps, numbers, np.stack(self._positions), evidence=evidence)
        since, self._until = self._until - round(_GRACE * self._fps), max(until, self._until)
        found = [
            one
            for one in self._spotter.spot(course)
            if since < one.offset <= until and not any(are_one(one, other) for other in self._said)
        ]
        self._said += found
        return found
