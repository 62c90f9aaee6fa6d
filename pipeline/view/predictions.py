"""What a run answered on clips, as plain data: the viewer knows nothing of training."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Answer:
    """Class probabilities of one clip by one training, in the order of ``RunPredictions.classes``."""

    fold: str
    seed: int
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class ClipAnswers:
    """One clip that a run was tested on: its class, and an answer for each seed."""

    truth: int
    answers: tuple[Answer, ...]

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Probabilities, the mean over seeds."""
        return tuple(np.mean([answer.probabilities for answer in self.answers], axis=0).tolist())

    @cached_property
    def predicted(self) -> int:
        """The class of the largest mean probability."""
        return int(np.argmax(self.mean))

    @property
    def wrong(self) -> bool:
        """Whether that is another class than the true one."""
        return self.predicted != self.truth


@dataclass(frozen=True)
class RunPredictions:
    """What a run answered.

    Attributes:
        title: names the run and its protocol, for people.
        classes: names of the classes.
        clips: key -> what was answered on the clip.
    """

    title: str
    classes: tuple[str, ...]
    clips: Mapping[str, ClipAnswers]

    def confusion(self) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """``(C, C)`` clips: rows are true classes, columns predicted ones."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        for answers in self.clips.values():
            counts[answers.truth, answers.predicted] += 1
        return counts
