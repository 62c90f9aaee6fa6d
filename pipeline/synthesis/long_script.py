"""What happens in a long recording: expressions between neutral stretches, and what only looks like one."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.expression import (
    CLASS_COUNTS,
    MACRO,
    Array,
    Motion,
    activations,
    background,
    blink,
    course,
    draw_member,
    within_lids,
)

EventKind = Literal["micro", "macro", "talk", "turn", "blink"]

_KINDS: dict[EventKind, float] = {"micro": 0.3, "macro": 0.3, "talk": 0.2, "turn": 0.2}
_SECONDS: dict[EventKind, tuple[float, float]] = {
    "micro": (0.2, 0.5), "macro": (0.8, 2.5), "talk": (1.0, 2.5), "turn": (1.5, 3.0),
}  # fmt: skip
_INTENSITY: dict[EventKind, tuple[float, float]] = {"micro": (0.2, 0.6), "macro": MACRO}
_QUIET = (1.2, 3.0)  # s between events
_BLINKS = 4.0  # s between blinks, on average; they also fall into expressions


@dataclass(frozen=True)
class Event:
    """Something that happens from position ``onset`` to ``offset``, both inclusive.

    ``emotion`` is the class of an expression, ``member`` the emotion that is shown, and ``au`` its activations at the
    apex, ``(20, 2)``; of all else they are empty.
    """

    kind: EventKind
    onset: int
    apex: int
    offset: int
    emotion: str = ""
    member: str = ""
    au: Array | None = None


@dataclass(frozen=True, kw_only=True)
class LongScript(Motion):
    """A long recording and its events, sorted by onset."""

    events: tuple[Event, ...]

    @property
    def expressions(self) -> tuple[Event, ...]:
        """The micro- and macro-expressions."""
        return tuple(event for event in self.events if event.emotion)


def write_long_script(dataset: str, *, seconds: float, fps: float, rng: np.random.Generator) -> LongScript:
    """Draw a long recording with one expression at least: no two events but blinks at a time, 1.2 s between them.

    A micro-expression lasts 0.2 to 0.5 s, a macro-expression 0.8 to 2.5 s and moves more. What only looks like one:
    lips that move as in talk, turns of the head, blinks.

    Args:
        dataset: whose classes are shown.
        seconds: length of the recording, 5 at least.
        fps: frames a second.
        rng: source of every choice.
    """
    while not (script := _draw(dataset, seconds, fps, rng)).expressions:
        pass  # a short one may show only talk and turns of the head
    return script


def _draw(dataset: str, seconds: float, fps: float, rng: np.random.Generator) -> LongScript:
    total = round(seconds * fps)
    time = np.arange(total) / fps
    au = np.zeros((total, len(AU_NAMES), 2))
    moves = background(time, rng)
    events: list[Event] = []
    begin = rng.uniform(*_QUIET)
    while True:
        kind: EventKind = list(_KINDS)[int(rng.choice(len(_KINDS), p=list(_KINDS.values())))]
        length = rng.uniform(*_SECONDS[kind])
        if begin + length + _QUIET[0] > seconds:
            break
        onset = round(begin * fps)
        offset = onset + max(4, round(length * fps)) - 1
        if kind in _INTENSITY:
            events.append(_express(kind, dataset, onset, offset, au, rng))
        else:
            events.append(Event(kind, onset, (onset + offset) // 2, offset))
            if kind == "talk":
                _talk(au[onset : offset + 1], fps, rng)
            else:
                _turn(moves["head"][onset : offset + 1], rng)
        begin += length + rng.uniform(*_QUIET)
    lids = AU_NAMES.index("AU43")
    start = rng.exponential(_BLINKS)
    while start < seconds:
        closure = blink(time, start, rng)
        closed = np.flatnonzero(closure)
        if len(closed):
            au[:, lids] = np.maximum(au[:, lids], closure[:, None])
            events.append(Event("blink", int(closed[0]), int(closure.argmax()), int(closed[-1])))
        start += 0.5 + rng.exponential(_BLINKS)
    au[:, lids] *= 1 - 0.5 * np.clip(au[:, AU_NAMES.index("AU07")], 0, 1)  # together they must not cross
    return LongScript(au=au, events=tuple(sorted(events, key=lambda event: event.onset)), **moves)


def _express(kind: EventKind, dataset: str, onset: int, offset: int, au: Array, rng: np.random.Generator) -> Event:
    emotion = str(rng.choice(list(CLASS_COUNTS[dataset])))
    member, length = draw_member(emotion, rng), offset - onset + 1
    own = np.zeros_like(au)
    middle = onset + (length - 1) * rng.uniform(0.3, 0.55)
    for name, sides in activations(member, rng, _INTENSITY[kind]).items():
        peak = float(np.clip(middle + rng.normal(0, 0.05) * length, onset + 1, offset - 1))
        shape = course(len(au), onset, peak, offset, rng)
        shape[offset + 1 :] = 0  # what is left at the end would last for minutes
        own[:, AU_NAMES.index(name)] = shape[:, None] * within_lids(name, sides)
    apex = int(own.sum((1, 2)).argmax())
    au += own
    return Event(kind, onset, apex, offset, emotion, member, own[apex])


def _talk(au: Array, fps: float, rng: np.random.Generator) -> None:
    """Lips and jaw open and close a few times a second."""
    time = np.arange(len(au)) / fps
    envelope = np.sin(np.pi * np.arange(len(au)) / max(1, len(au) - 1)).clip(0) ** 0.5  # the last may be -1e-16
    for name, strength in (("AU25", rng.uniform(0.3, 0.6)), ("AU26", rng.uniform(0.15, 0.4))):
        rate, phase = rng.uniform(2.5, 5), rng.uniform(0, 2 * np.pi)
        opening = strength * envelope * (0.5 - 0.5 * np.cos(2 * np.pi * rate * time + phase))
        au[:, AU_NAMES.index(name)] += opening[:, None]


def _turn(head: Array, rng: np.random.Generator) -> None:
    """The head turns, rests, and comes back."""
    part = np.arange(len(head)) / max(1, len(head) - 1)
    there = np.clip(np.minimum(part, 1 - part) / rng.uniform(0.2, 0.4), 0, 1)
    smooth = there * there * (3 - 2 * there)
    pitch, yaw, roll = rng.uniform(-0.08, 0.08), rng.choice([-1, 1]) * rng.uniform(0.05, 0.14), rng.normal(0, 0.03)
    head += smooth[:, None] * np.array([0.25 * yaw, 0.2 * pitch, pitch, yaw, roll, 0.0])
