"""Windows that should get no class: what is on their frames is not one face in motion."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.faces import FaceDetector
from schemas.store.reader import Store

_STEP = 8  # frames between those on which a face is looked for
_SMALL = 32  # px, side of the pictures in which cuts show
_CUT = 25  # grey levels; a face that moves within a window stays below 10 from frame to frame
_ABRUPT = 6  # times the median difference
_BLACK = 8  # grey levels


def doubts(store: Store, detector: FaceDetector) -> dict[str, str]:
    """Clip key -> why it should get no class, for the good clips of a store of windows."""
    found = {}
    for entry in store.manifest.clips:
        if entry.status == "ok":
            texture = store.texture(entry.key)
            if reason := doubt(texture) or _faceless(texture, detector):
                found[entry.key] = reason
    return found


def doubt(texture: NDArray[np.uint8]) -> str:
    """Why the crops ``(T, S, S, 3) uint8`` of a window show no motion of one face; empty if they may."""
    if (texture == texture[:1]).all():
        return "black" if texture.mean() < _BLACK else "frozen: all frames are the same picture"
    small = [cv2.resize(frame, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA).astype(float) for frame in texture]
    if np.mean(small) < _BLACK:
        return "black"
    steps = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    cut = int(steps.argmax())
    if steps[cut] > max(_CUT, _ABRUPT * np.median(steps)):
        return f"a cut between frames {cut + 1} and {cut + 2} of the window"
    return ""


def _faceless(texture: NDArray[np.uint8], detector: FaceDetector) -> str:
    """Looks where there is a face on the first crop; on one too tight for the detector the others are no better."""
    if detector.detect(texture[0]) is None:
        return ""
    looked_at = sorted({*range(_STEP, len(texture), _STEP), len(texture) - 1})
    missing = [str(position + 1) for position in looked_at if detector.detect(texture[position]) is None]
    return f"no face on frames {', '.join(missing)} of the window" if missing else ""
