"""What a method of spotting is, and the registry of those there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from schemas.labels import ExpressionType
from schemas.registry import Registry
from training.spotting.config import SpotConfig
from training.spotting.course import Course, Observer
from training.spotting.intervals import Recording, Spotted


@dataclass(frozen=True)
class Curve:
    """What a spotter says of each frame, for people: ``values`` ``(T,)``, 1 where the kind's threshold is."""

    kind: ExpressionType
    values: NDArray[np.float64]


class Spotter(Protocol):
    """A method, fitted on some recordings or not yet; the class itself is what is registered.

    Attributes:
        seeded: whether another random seed gives another spotter.
        reads_fields: whether it is fitted on the courses' fields.
    """

    seeded: ClassVar[bool]
    reads_fields: ClassVar[bool]

    @classmethod
    def fit(
        cls, courses: Mapping[str, Course], recordings: Sequence[Recording], config: SpotConfig, *, seed: int
    ) -> Self:
        """Learn from the recordings of training subjects, ``courses`` holding those of at least these.

        Raises:
            PredictionsError: they hold no expression.
        """

    def observer(self, fps: float) -> Observer | None:
        """What reads a new recording's fields while they pass; ``None`` where positions are enough."""

    def spot(self, course: Course) -> list[Spotted]:
        """The expressions of a recording, by onset; ``score`` is 1 at the threshold of its kind."""

    def curves(self, course: Course) -> list[Curve]:
        """What led to them."""

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write all that using it needs, and give the files."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what ``write`` wrote.

        Raises:
            RunFolderError: it is not there, or damaged.
        """


METHODS: Registry[type[Spotter]] = Registry("spotters", "training.spotting.methods", "methods of spotting")
