"""The network over a whole recording, frame by frame as they come."""

import numpy as np
import torch
from numpy.typing import NDArray

from training.spotting.methods.madv_spot.network import FRAMES, STRIDE, SpottingNetwork
from training.spotting.methods.madv_spot.windows import RATE

EVIDENCE = 4  # columns: probabilities of an expression and of its being macro; s since its onset, s until its end
_APART = FRAMES // 2  # from window to window; of each the middle half is taken
_EDGE = FRAMES // 4


class FieldObserver:
    """Half-overlapping windows, each read once when its last frame has come; two seconds of fields are in memory.

    Args:
        network: in eval mode.
        fps: frames per second of the recording.
    """

    def __init__(self, network: SpottingNetwork, fps: float) -> None:
        self._network, self._fps = network, fps
        self._frame, self._taken = 0, 0  # frames that came, and samples of RATE that were taken of them
        self._place: NDArray[np.float32] | None = None
        self._window: list[NDArray[np.float32]] = []
        self._faces: list[bool] = []
        self._found: list[NDArray[np.float32]] = []

    def push(self, field: NDArray[np.float16], *, face: bool) -> None:
        """Take the next frame's field, ``(2, G, G)``."""
        self._place = field.astype(np.float32) if self._place is None else self._place + field
        while round(self._taken * self._fps / RATE) <= self._frame:
            self._take(self._place, face)
        self._frame += 1

    def so_far(self) -> NDArray[np.float32]:
        """``(N, 4) float32`` of the windows that were read: up to 1.6 s behind the last frame."""
        found = np.concatenate(self._found) if self._found else np.zeros((0, EVIDENCE), np.float32)
        found[:, :1] *= np.array(self._faces[::STRIDE][: len(found)]).reshape(-1, 1)
        return found

    def finish(self) -> NDArray[np.float32]:
        """``(N, 4) float32``: moment n lies in the middle of frame ``2 n`` of ``RATE``."""
        assert self._place is not None, "a recording has frames"
        samples = self._taken
        while self._taken < samples + FRAMES:  # the last frame stands for those after it
            self._take(self._place, face=False)
        return self.so_far()[: -(-samples // STRIDE)]

    def _take(self, place: NDArray[np.float32], face: bool) -> None:
        self._taken += 1
        if not self._window:  # the first frame stands for those before it
            self._window = [place] * _EDGE
        self._window.append(place)
        self._faces.append(face)
        if len(self._window) == FRAMES:
            self._found.append(self._read(np.stack(self._window)))
            self._window = self._window[_APART:]

    @torch.inference_mode()
    def _read(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        answers = self._network(torch.from_numpy(places)[None])
        columns = (
            answers.expression.sigmoid(), answers.macro.sigmoid(), answers.before / RATE, answers.after / RATE,
        )  # fmt: skip
        middle = slice(_EDGE // STRIDE, (FRAMES - _EDGE) // STRIDE)
        return np.asarray(torch.stack(columns, -1)[0, middle].numpy())
