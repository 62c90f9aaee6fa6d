"""What happens in a recording: which emotion, which action units and when, and everything that disturbs them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.anatomy import LID_AUS
from schemas.datasets import FACTS
from schemas.labels import Emotion

Array = NDArray[np.float64]

# Intensities. Activation 1 moves the corners of the mouth by a fortieth of the face; an open smile three times that.
MICRO, MACRO = (0.1, 0.5), (1.2, 2.2)
_MOST_OF_LIDS = 0.9  # activation: lids that go further would cross


@dataclass(frozen=True)
class Prototype:
    """A combination of action units that shows an emotion.

    Attributes:
        weight: how often, relative to the emotion's other prototypes.
        units: AU name -> strength relative to the expression's intensity.
        unilateral: one side only.
    """

    weight: float
    units: dict[str, float]
    unilateral: bool = False


# Which units show which emotion overlaps, as it does where people are coded: combinations of Yan et al. 2014 (CASME II,
# criteria of labelling) and of Davison et al. 2018 (objective classes of SAMM and CASME II); the first of an emotion is
# the full one of the paper's Table 1 (AU16 has no column in the mesh model; AU10 stands for it). How often each occurs
# is not published: the weights are ours. AU04, with AU07 or alone, stands for anger, for disgust and for others.
PROTOTYPES: dict[str, tuple[Prototype, ...]] = {
    "happiness": (
        Prototype(3, {"AU06": 0.8, "AU12": 1.0}),
        Prototype(3, {"AU12": 1.0}),
        Prototype(1, {"AU06": 1.0}),
        Prototype(1, {"AU06": 1.0, "AU07": 0.6, "AU12": 0.8}),
        Prototype(1, {"AU07": 0.7, "AU12": 1.0}),
        Prototype(1, {"AU12": 1.0, "AU14": 0.6}),
    ),
    "sadness": (
        Prototype(2, {"AU01": 1.0, "AU04": 0.7, "AU15": 0.9}),
        Prototype(2, {"AU01": 1.0, "AU04": 0.8}),
        Prototype(1, {"AU15": 1.0, "AU17": 0.7}),
        Prototype(1, {"AU01": 1.0}),
        Prototype(1, {"AU04": 1.0, "AU15": 0.6}),
    ),
    "surprise": (
        Prototype(2, {"AU01": 1.0, "AU02": 1.0, "AU05": 0.7, "AU26": 0.5}),
        Prototype(4, {"AU01": 1.0, "AU02": 1.0}),
        Prototype(1, {"AU01": 0.8, "AU02": 1.0, "AU25": 0.8}),
        Prototype(1, {"AU02": 1.0}),
        Prototype(1, {"AU05": 1.0, "AU25": 0.7}),
    ),
    "fear": (
        Prototype(2, {"AU01": 0.9, "AU02": 0.6, "AU04": 0.8, "AU05": 0.8, "AU07": 0.6, "AU20": 0.9, "AU26": 0.3}),
        Prototype(2, {"AU01": 0.9, "AU02": 0.8, "AU04": 0.8}),
        Prototype(1, {"AU20": 1.0}),
    ),
    "anger": (
        Prototype(2, {"AU04": 1.0, "AU05": 0.5, "AU07": 0.8, "AU23": 0.8}),
        Prototype(3, {"AU04": 1.0, "AU07": 0.9}),
        Prototype(2, {"AU04": 1.0}),
        Prototype(1, {"AU17": 0.8, "AU24": 1.0}),
        Prototype(1, {"AU04": 0.9, "AU06": 0.6, "AU07": 0.8}),
    ),
    "disgust": (
        Prototype(2, {"AU09": 1.0, "AU15": 0.6, "AU10": 0.5}),
        Prototype(3, {"AU04": 1.0, "AU07": 0.8}),
        Prototype(2, {"AU04": 0.8, "AU09": 1.0}),
        Prototype(2, {"AU04": 0.8, "AU07": 0.7, "AU10": 0.8}),
        Prototype(1, {"AU10": 1.0}),
        Prototype(1, {"AU04": 0.7, "AU09": 0.9, "AU17": 0.6}),
    ),
    "contempt": (
        Prototype(2, {"AU12": 0.8, "AU14": 1.0}, unilateral=True),
        Prototype(2, {"AU14": 1.0}, unilateral=True),
    ),
    "repression": (
        Prototype(2, {"AU15": 0.8, "AU17": 1.0}),
        Prototype(2, {"AU17": 1.0}),
        Prototype(1, {"AU15": 1.0}),
        Prototype(1, {"AU14": 0.7, "AU17": 0.9}),
        Prototype(1, {"AU04": 0.6, "AU17": 1.0}),
    ),
    "others": (
        Prototype(3, {"AU04": 1.0}),
        Prototype(2, {"AU04": 0.9, "AU07": 0.8}),
        Prototype(2, {"AU14": 1.0}),
        Prototype(1, {"AU04": 0.8, "AU14": 0.7}),
        Prototype(1, {"AU17": 1.0, "AU24": 0.7}),
        Prototype(1, {"AU07": 1.0, "AU25": 0.6}),
        Prototype(1, {"AU01": 0.8, "AU02": 0.8, "AU14": 0.6}),
    ),
}

# Classes that stand for several emotions, and how often each of them.
MEMBERS: dict[str, dict[str, float]] = {
    "positive": {"happiness": 1},
    "negative": {"disgust": 3, "sadness": 2, "fear": 2, "anger": 2},
}

# Clips of each class in the real dataset (CAS(ME)^2: micro-expressions; SMIC: HS). CAS(ME)^3's are not known here, so
# that its classes are as frequent as one another.
CLASS_COUNTS: dict[str, dict[Emotion, int]] = {
    "samm": FACTS["samm"].counts.emotions,
    "casme2": FACTS["casme2"].counts.emotions,
    "casme-sq": FACTS["casme-sq"].counts.micro,
    "casme3": dict.fromkeys(("happiness", "surprise", "anger", "disgust", "sadness", "fear", "others"), 1),
    "smic": FACTS["smic-hs"].counts.emotions,
}


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves in a recording of ``T`` frames, frame by frame.

    Attributes:
        au: ``(T, 20, 2) float64`` activations by ``AU_NAMES`` and side; blinks are in AU43.
        head: ``(T, 6) float64``: shift x, y in face widths; pitch, yaw, roll in radians; log of the scale.
        wobble: ``(T, K) float64`` in face widths: weights of smooth motions that no action unit explains.
        light: ``(T, 3) float64``: brightness, and its slope across and down the frame; 0 = unchanged.
    """

    au: Array
    head: Array
    wobble: Array
    light: Array

    def __len__(self) -> int:
        return len(self.au)


@dataclass(frozen=True, kw_only=True)
class Script(Motion):
    """One recording of one expression, with a neutral lead-in and lead-out.

    Attributes:
        emotion: the class.
        member: the emotion shown (differs from ``emotion`` for positive and negative).
        onset, apex, offset: positions.
    """

    emotion: str
    member: str
    onset: int
    apex: int
    offset: int


WOBBLES = 6


def emotion_plan(dataset: str, subject: int, clips: int, seed: int) -> list[str]:
    """Emotions of a subject's clips: the real dataset's balance, long tail and all, but every class once at first.

    A subject's emotions do not depend on how many subjects come after.
    """
    counts = CLASS_COUNTS[dataset]
    weight = np.array(list(counts.values()), np.float64)
    weight /= weight.sum()
    order = np.random.default_rng([seed, 1]).permutation(len(weight))
    taken = np.zeros(len(weight))
    sequence: list[int] = []
    for turn in range((subject + 1) * clips):
        # The first round takes every class once; then the one that lags furthest behind its share.
        behind = np.where(taken == 0, np.inf, weight * (turn + 1) - taken)[order]
        sequence.append(int(order[int(np.argmax(behind))]))
        taken[sequence[-1]] += 1
    own = np.array(sequence[subject * clips :])
    names = list(counts)
    return [names[i] for i in np.random.default_rng([seed, 2, subject]).permutation(own)]


def write_script(emotion: str, *, frames: int, fps: float, rng: np.random.Generator, macro: bool = False) -> Script:
    """Draw a recording.

    Args:
        emotion: a class of the dataset.
        frames: frames from onset to offset, give or take a quarter.
        fps: frames a second.
        rng: source of every choice.
        macro: whether it is a macro-expression.
    """
    member = draw_member(emotion, rng)
    length = max(3, round(frames * rng.uniform(0.75, 1.25)))
    lead_in, lead_out = (int(n) for n in rng.integers(3, 5 + round(fps / 30), 2))
    total, onset, offset = lead_in + length + lead_out, lead_in, lead_in + length - 1
    middle = onset + (length - 1) * rng.uniform(0.3, 0.55)

    au = np.zeros((total, len(AU_NAMES), 2))
    for name, sides in activations(member, rng, MACRO if macro else MICRO).items():
        own_apex = float(np.clip(middle + rng.normal(0, 0.05) * length, onset + 1, offset - 1))
        au[:, AU_NAMES.index(name)] = course(total, onset, own_apex, offset, rng)[:, None] * within_lids(name, sides)
    apex = int(au.sum((1, 2)).argmax())  # units do not all peak at once
    time = np.arange(total) / fps
    # A lid already tightened has less way to go: together they must not cross.
    free = 1 - 0.5 * au[:, AU_NAMES.index("AU07")]
    au[:, AU_NAMES.index("AU43")] = _blinks(time, rng)[:, None] * free
    return Script(
        emotion=emotion,
        member=member,
        onset=onset,
        apex=apex,
        offset=offset,
        au=au,
        **background(time, rng),
    )


def background(time: Array, rng: np.random.Generator) -> dict[str, Array]:
    """``head``, ``wobble`` and ``light`` of a person who sits still, at times ``(T,)`` s."""
    return {
        "head": _drift(time, rng, [0.004, 0.004, 0.004, 0.006, 0.004, 0.002]),
        "wobble": _drift(time, rng, [0.0013] * WOBBLES, fastest=4.0),
        "light": _drift(time, rng, [0.008, 0.006, 0.006])
        + 0.002 * np.sin(2 * np.pi * 7.3 * time + rng.uniform(0, 6))[:, None],
    }


def draw_member(emotion: str, rng: np.random.Generator) -> str:
    """The emotion shown, of a class that stands for several."""
    return _draw(rng, MEMBERS[emotion]) if emotion in MEMBERS else emotion


def _draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()), np.float64)
    return list(weights)[int(rng.choice(len(share), p=share / share.sum()))]


def within_lids(name: str, sides: Array) -> Array:
    """Activations of a unit, as far as lids can go."""
    return np.minimum(sides, _MOST_OF_LIDS) if name in LID_AUS else sides


def activations(member: str, rng: np.random.Generator, intensity: tuple[float, float]) -> dict[str, Array]:
    """AU name -> activation at the apex, ``(2,)`` by side, of an intensity between two bounds."""
    choices = PROTOTYPES[member]
    share = np.array([p.weight for p in choices])
    prototype = choices[int(rng.choice(len(choices), p=share / share.sum()))]
    strength = rng.uniform(*intensity)
    stronger = np.clip(rng.normal(0, 0.15), -0.4, 0.4)
    sides = np.array([1 + stronger, 1 - stronger])
    if prototype.unilateral:
        sides = np.array([1.0, 0.1]) if rng.random() < 0.7 else np.array([0.1, 1.0])
    units = dict(prototype.units)
    if rng.random() < 0.4:  # something beside the point
        units.setdefault(str(rng.choice(["AU02", "AU04", "AU07", "AU12", "AU14", "AU17", "AU24", "AU25"])), 0.35)
    return {
        name: np.clip(strength * s * rng.lognormal(0, 0.2) * sides, 0, 1.2 * intensity[1]) for name, s in units.items()
    }


def course(total: int, onset: int, apex: float, offset: int, rng: np.random.Generator) -> Array:
    """0 up to the onset, 1 at its apex, near 0 at the offset; rise and fall have shapes of their own."""
    position = np.arange(total, dtype=np.float64)
    rise = np.clip((position - onset) / (apex - onset), 0, 1) ** rng.uniform(0.8, 1.25)
    fall = np.clip((offset - position) / (offset - apex), 0, 1) ** rng.uniform(0.8, 1.25)
    rest = rng.uniform(0, 0.08)
    rising, falling = (0.5 - 0.5 * np.cos(np.pi * x) for x in (rise, fall))
    return np.where(position <= apex, rising, rest + (1 - rest) * falling)


def _blinks(time: Array, rng: np.random.Generator) -> Array:
    """Lid closure: about one blink in five seconds, more often outside the expression."""
    if rng.random() < 0.15 + time[-1] / 5:
        return blink(time, rng.uniform(-0.1, time[-1]), rng)
    return np.zeros_like(time)


def blink(time: Array, start: float, rng: np.random.Generator) -> Array:
    """Lid closure of one blink from a time on, s: a fast fall, a slower rise."""
    depth, since = rng.uniform(0.55, 0.8), time - start
    down, up = rng.uniform(0.06, 0.09), rng.uniform(0.13, 0.2)
    closing, opening = np.clip(since / down, 0, 1), np.clip((down + up - since) / up, 0, 1)
    return np.asarray(depth * (0.5 - 0.5 * np.cos(np.pi * np.where(since < down, closing, opening))))


def _drift(time: Array, rng: np.random.Generator, amplitude: list[float], *, fastest: float = 1.5) -> Array:
    """Smooth random courses ``(T, len(amplitude))`` that start anywhere: a few slow oscillations each."""
    rate = rng.uniform(0.1, fastest, (5, len(amplitude)))
    phase = rng.uniform(0, 2 * np.pi, rate.shape)
    strength = rng.normal(0, 1, rate.shape) / np.sqrt(5)
    waves = strength * np.sin(2 * np.pi * rate * time[:, None, None] + phase)
    return np.asarray(waves.sum(1) * amplitude)
