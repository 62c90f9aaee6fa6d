"""Windows of recordings at one rate: what the network reads of a recording, and what is true of each moment."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.spotting.course import Course, frames_of
from training.spotting.intervals import Recording
from training.spotting.methods.madv_spot.network import FRAMES, STRIDE, FrameAnswers

RATE = 30.0  # frames per second that every recording is read at
MOMENTS = FRAMES // STRIDE
_STRETCH = (0.8, 1.25)  # of time
_GAIN = (0.7, 1.4)  # of motion
_LONGEST = int(FRAMES * _STRETCH[1]) + 1


@dataclass(frozen=True)
class Track:
    """A recording at ``RATE``.

    Attributes:
        places: ``(N, 2, G, G) float32``, px from the first frame.
        spans: ``(E, 3) float64``: where each expression begins and ends, in frames of ``RATE``, and 1 for macro.
        restless: ``(N,)``, how much moves; blinks, talk and turns do, and are what must be told from expressions.
    """

    places: NDArray[np.float32]
    spans: NDArray[np.float64]
    restless: NDArray[np.float64]


def positions(frames: int, fps: float) -> NDArray[np.int64]:
    """Which of a recording's frames are read, ``(N,)``."""
    count = max(1, int(np.ceil(frames * RATE / fps)))
    return np.minimum(np.round(np.arange(count) * fps / RATE).astype(np.int64), frames - 1)


def track(course: Course, recording: Recording) -> Track:
    """A recording whose fields were kept."""
    assert course.fields is not None, "the method reads fields"
    places = np.cumsum(course.fields, 0, dtype=np.float32)[positions(len(course.fields), course.fps)]
    spans = np.array(
        [
            (
                *(place * RATE / course.fps for place in frames_of(course.numbers, one.onset, one.offset)),
                one.label.expression_type == "macro",
            )
            for one in recording.truth
        ],
        float,
    )
    moved = np.abs(np.diff(places, axis=0, prepend=places[:1])).mean((1, 2, 3))
    kernel = np.ones(FRAMES) / FRAMES
    return Track(places, spans.reshape(-1, 3), np.convolve(moved, kernel, "same") + 1e-6)


def draw(tracks: Sequence[Track], count: int, random: np.random.Generator) -> tuple[Tensor, FrameAnswers]:
    """Windows to learn from: half about an expression, half drawn by how much moves, wherever that is.

    Each is mirrored or not, stretched in time, and its motion made larger or smaller.

    Args:
        tracks: of the training recordings.
        count: windows, B.
        random: draws them.

    Returns:
        ``(B, T, 2, G, G)`` places, and the truth.
    """
    shown = [(t, s) for t, one in enumerate(tracks) for s in range(len(one.spans))]
    weights = np.concatenate([one.restless for one in tracks])
    owners = np.concatenate([np.full(len(one.restless), t) for t, one in enumerate(tracks)])
    middles = np.concatenate([np.arange(len(one.restless)) for one in tracks])
    anywhere = random.choice(len(weights), count, p=weights / weights.sum())
    videos, truths = [], []
    for number in range(count):
        if number % 2 == 0:
            t, s = shown[random.integers(len(shown))]
            middle = float(tracks[t].spans[s, :2].mean()) + random.uniform(-FRAMES / 3, FRAMES / 3)
        else:
            t, middle = int(owners[anywhere[number]]), float(middles[anywhere[number]])
        stretch, gain = random.uniform(*_STRETCH), random.uniform(*_GAIN)
        start = middle - FRAMES * stretch / 2
        at = np.clip(np.round(start + np.arange(FRAMES) * stretch), 0, len(tracks[t].places) - 1).astype(np.int64)
        places = tracks[t].places[at] * np.float32(gain)
        if random.random() < 0.5:
            places = places[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None]
        videos.append(np.ascontiguousarray(places))
        truths.append(truth_of((tracks[t].spans - [start, start, 0]) / [stretch, stretch, 1]))
    stacked = torch.from_numpy(np.stack(truths)).float()
    return torch.from_numpy(np.stack(videos)), FrameAnswers(*stacked.unbind(1))


def truth_of(spans: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(4, N)``, what is true of each moment of a window; where expressions overlap, the shorter one.

    Args:
        spans: ``(E, 3)``: begin and end in frames of the window, and 1 for macro.
    """
    truth = np.zeros((4, MOMENTS))
    moments = np.arange(MOMENTS) * STRIDE + 0.5
    for begin, end, macro in spans[np.argsort(spans[:, 0] - spans[:, 1])]:  # the longest first
        inside = (moments >= begin) & (moments < end)
        truth[:, inside] = np.stack(
            [np.ones(inside.sum()), np.full(inside.sum(), macro), moments[inside] - begin, end - moments[inside]]
        )
    return truth
