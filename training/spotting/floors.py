"""What is reached without looking at a recording; a result that is not above these is none."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from schemas.model import Model
from training.spotting.intervals import Recording, Spotted, type_of
from training.spotting.scores import KINDS, by_video, count, f1_of

FloorName = Literal["nothing", "random intervals", "end to end"]
_DRAWS = 200


class Floor(Model):
    """One way of guessing: F1 of each kind, the mean over guesses and where 95 % of them lie."""

    name: FloorName
    f1: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]


def floors(recordings: Sequence[Recording], *, seed: int = 0) -> tuple[Floor, ...]:
    """The three floors.

    *Nothing*: no interval at all. *Random intervals*: as many a minute and as long as those of all other subjects,
    anywhere, 200 times. *End to end*: one interval after the other, as long as the median of all other subjects'.
    What is true about a subject is in none of its own guesses.
    """
    random = np.random.default_rng(seed)
    others = {subject: [r for r in recordings if r.subject != subject] for subject in {r.subject for r in recordings}}
    return (
        _floor("nothing", recordings, lambda recording: [], draws=1),
        _floor("random intervals", recordings, lambda r: _random(r, others[r.subject], random), draws=_DRAWS),
        _floor("end to end", recordings, lambda r: _end_to_end(r, others[r.subject]), draws=1),
    )


def _floor(
    name: FloorName, recordings: Sequence[Recording], guess: Callable[[Recording], list[Spotted]], *, draws: int
) -> Floor:
    scores = np.stack(
        [
            f1_of(count(recordings, by_video(one for recording in recordings for one in guess(recording))).sum(0))
            for _ in range(draws)
        ]
    )
    low, high = np.quantile(scores, [0.025, 0.975], axis=0)
    return Floor(
        name=name,
        f1=dict(zip(KINDS, scores.mean(0).tolist(), strict=True)),
        low=dict(zip(KINDS, low.tolist(), strict=True)),
        high=dict(zip(KINDS, high.tolist(), strict=True)),
    )


def _seconds(recordings: Sequence[Recording]) -> list[float]:
    """How long their expressions last."""
    return [(one.offset - one.onset + 1) / recording.fps for recording in recordings for one in recording.truth]


def _random(recording: Recording, others: Sequence[Recording], random: np.random.Generator) -> list[Spotted]:
    seconds, minutes = _seconds(others), sum(other.minutes for other in others)
    if not seconds:
        return []
    found = []
    for length in random.choice(seconds, random.poisson(len(seconds) / minutes * recording.minutes)):
        frames = max(1, min(round(length * recording.fps), recording.last - recording.first + 1))
        onset = int(random.integers(recording.first, recording.last - frames + 2))
        found.append(_spotted(recording, onset, onset + frames - 1))
    return found


def _end_to_end(recording: Recording, others: Sequence[Recording]) -> list[Spotted]:
    seconds = _seconds(others)
    if not seconds:
        return []
    frames = max(1, round(float(np.median(seconds)) * recording.fps))
    starts = range(recording.first, recording.last + 1, frames)
    return [_spotted(recording, start, min(start + frames - 1, recording.last)) for start in starts]


def _spotted(recording: Recording, onset: int, offset: int) -> Spotted:
    return Spotted(recording.key, onset, offset, type_of(onset, offset, recording.fps))
