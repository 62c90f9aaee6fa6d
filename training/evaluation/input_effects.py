"""What each input is worth to a trained model: how its answers change when that input holds still or is another clip's.

A score tells nothing of where it comes from: a network with three inputs may have learned to read one of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal

import numpy as np

from schemas.model import Model
from training.evaluation.metrics import count_confusion, measure

Change = Literal["frozen", "swapped"]
INERT = 0.02  # share of answers; an input that changes fewer, either way, is as good as not read


class AlteredAnswers(Model):
    """What a model answers to test clips one of whose inputs is altered.

    Attributes:
        input: texture, depth or au.
        change: ``frozen``: no motion, each frame is the onset (action units: no change of any); ``swapped``: another
            test clip's.
        answers: clip key -> class index. A clip that is alone in its fold has nothing to be swapped with, and is left
            out.
    """

    input: str
    change: Change
    answers: dict[str, int]


class FoldInputs(Model):
    """``inputs.json`` of a fold."""

    altered: tuple[AlteredAnswers, ...]


class InputEffect(Model):
    """The same over all folds and seeds.

    Attributes:
        changed: share of answers that are others than without the change.
        uf1: of the altered answers, mean over seeds, and ``None`` where a class has no clip among them.
        uf1_unaltered: of the same clips, unaltered.
        clips: clip and seed pairs that were altered.
    """

    input: str
    change: Change
    changed: float
    uf1: float | None
    uf1_unaltered: float | None
    clips: int

    @property
    def scores(self) -> tuple[str, ...]:
        """UF1 altered and unaltered, for tables."""
        return tuple("-" if uf1 is None else f"{uf1:.3f}" for uf1 in (self.uf1, self.uf1_unaltered))

    @property
    def title(self) -> str:
        """For tables: ``depth frozen``."""
        return f"{self.input} {self.change}"


def joined(parts: Iterable[FoldInputs]) -> FoldInputs:
    """What was found of several batches, as one."""
    return FoldInputs(altered=tuple(one for part in parts for one in part.altered))


def input_effects(
    altered: Sequence[tuple[int, FoldInputs]],
    plain: Mapping[int, Mapping[str, int]],
    labels: Mapping[str, int],
    classes: int,
) -> Iterator[InputEffect]:
    """Put together what the folds of a run found.

    Args:
        altered: seed and what one of its folds found.
        plain: seed -> clip key -> class index that was answered without any change.
        labels: clip key -> true class index.
        classes: C.
    """
    parts = [(one.input, one.change, seed, one.answers) for seed, fold in altered for one in fold.altered]
    for (name, change), group in groupby(sorted(parts, key=lambda part: part[:3]), key=lambda part: part[:2]):
        by_seed: dict[int, dict[str, int]] = {}
        for _, _, seed, answers in group:
            by_seed.setdefault(seed, {}).update(answers)
        pairs = [(seed, clip) for seed, answers in by_seed.items() for clip in answers]
        if pairs:
            changed = [plain[seed][clip] != by_seed[seed][clip] for seed, clip in pairs]
            before = {seed: {clip: plain[seed][clip] for clip in answers} for seed, answers in by_seed.items()}
            yield InputEffect(
                input=name,
                change=change,
                changed=float(np.mean(changed)),
                uf1=_uf1(by_seed, labels, classes),
                uf1_unaltered=_uf1(before, labels, classes),
                clips=len(pairs),
            )


def inert_inputs(effects: Sequence[InputEffect]) -> list[str]:
    """Inputs that hardly change an answer, whatever is done to them."""
    largest: dict[str, float] = {}
    for effect in effects:
        largest[effect.input] = max(largest.get(effect.input, 0.0), effect.changed)
    return [name for name, share in largest.items() if share < INERT]


def _uf1(answers: Mapping[int, Mapping[str, int]], labels: Mapping[str, int], classes: int) -> float | None:
    scores = []
    for of_seed in answers.values():
        truth = np.array([labels[clip] for clip in of_seed])
        if len(set(truth.tolist())) < classes:
            return None
        scores.append(measure(count_confusion(truth, np.array(list(of_seed.values())), classes))["uf1"])
    return float(np.mean(scores))
