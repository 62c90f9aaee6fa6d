"""A synthetic recording, and what a writer of one dataset's tree has to offer."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.labels import ExpressionType

RgbFrame = NDArray[np.uint8]


@dataclass(frozen=True)
class SyntheticClip:
    """One recording with one expression in it.

    Attributes:
        subject: 0-based identity; the writer maps it to an id that the dataset has.
        index: 0-based within the subject, unique there.
        emotion: normalised emotion, one that the dataset has.
        action_units: unit with its side as written (``"12"``, ``"L12"``) -> intensity letter, or ``""`` for none.
            Only SAMM's annotation has intensities, and SMIC's has no units at all: what the dataset
            cannot express is not written.
        frames: the whole recording with its neutral lead-in and lead-out, each ``(H, W, 3) uint8`` RGB.
        onset: position in ``frames``.
        apex: position in ``frames``.
        offset: position in ``frames``, inclusive.
        depth: what a depth camera beside it measured, ``(H, W) uint16`` mm a frame, 0 where it measured nothing; only
            CAS(ME)^3's tree has a place for it.
        macro: whether it is a macro-expression.
    """

    subject: int
    index: int
    emotion: str
    action_units: dict[str, str]
    frames: Sequence[RgbFrame]
    onset: int
    apex: int
    offset: int
    depth: Sequence[NDArray[np.uint16]] | None = None
    macro: bool = False

    def random(self, seed: int) -> random.Random:
        """Choices of this clip (frame numbers, spelling): the same in every layout and in any order of clips."""
        return random.Random(f"{seed}/{self.subject}/{self.index}")


@dataclass(frozen=True)
class SyntheticExpression:
    """An expression in a long recording; positions, class and units as of a ``SyntheticClip``."""

    kind: ExpressionType
    emotion: str
    action_units: dict[str, str]
    onset: int
    apex: int
    offset: int


@dataclass(frozen=True)
class SyntheticRecording:
    """A long recording: 0-based subject and index, all frames, and the expressions in it, if any."""

    subject: int
    index: int
    frames: Sequence[RgbFrame]
    expressions: tuple[SyntheticExpression, ...]


class LayoutWriter(ABC):
    """Writes clips as they come, the spreadsheet at the end.

    Args:
        out: dataset root, created where missing.
        layout: one of the dataset's layouts.
        quirks: add the oddities of the real distribution, each to another clip, in the order of clips.
        seed: of everything that the clips leave open.

    Attributes:
        subjects: the real dataset's ids, in the order of ``SyntheticClip.subject``.
        emotions: normalised emotion -> the annotation's spelling.
        layouts: names of the dataset's trees on disk, the most common first.
        fps: frames per second.
        size: ``(width, height)`` of a full frame of the real dataset, px.
    """

    subjects: ClassVar[tuple[str, ...]]
    emotions: ClassVar[Mapping[str, str]]
    layouts: ClassVar[tuple[str, ...]]
    fps: ClassVar[float]
    size: ClassVar[tuple[int, int]]

    def __init__(self, out: Path, layout: str, *, quirks: bool, seed: int) -> None:
        self.out, self.layout, self.quirks, self.seed = out, layout, quirks, seed
        self._count = 0

    def write(self, clip: SyntheticClip) -> str:
        """Write one clip and give its key ``dataset/subject/clip``."""
        quirk = self._count if self.quirks else -1
        self._count += 1
        return self._write(clip, quirk)

    @abstractmethod
    def _write(self, clip: SyntheticClip, quirk: int) -> str:
        """``quirk`` is the position of the oddity to add in the dataset's own list, or -1 for none."""

    @abstractmethod
    def close(self) -> None:
        """Write what can only be written once all clips are known."""
