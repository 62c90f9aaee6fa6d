"""Image and video files by name: which are frames, and which number they have."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.clip.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_LAST_DIGITS = re.compile(r"(\d+)\D*$")
_DIGITS = re.compile(r"\d+")
_CLOCK = re.compile(r"(?:.*\D)?(\d+)[-_.:h](\d{2})[-_.:m](\d{2})[-_.:s,](\d+)\D*")  # hours, minutes, s, its fraction
_DECIMAL = re.compile(r".*?(\d+)\.(\d+)\D*")


@dataclass(frozen=True)
class FrameFiles:
    """Numbered images of one folder, in the order of their numbers.

    ``duplicates`` are names left out because an earlier one has the same number; ``problem`` says why none of them can
    be put in order.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    duplicates: tuple[str, ...]
    problem: str = ""


def is_image(name: str) -> bool:
    """Whether a file name is that of an image, not of litter such as ``Thumbs.db`` or ``._img1.jpg``."""
    return not name.startswith(".") and _suffix(name) in IMAGE_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a path object for each of 100,000 names takes seconds


def is_video(name: str) -> bool:
    """Whether a file name is that of a video."""
    return not name.startswith(".") and _suffix(name) in VIDEO_SUFFIXES


def frame_number(name: str) -> int | None:
    """The last run of digits in the stem: padding varies even inside one clip, so that names are never built."""
    match = _LAST_DIGITS.search(_stem(name))
    return int(match[1]) if match else None


def index_frames(images: Iterable[str]) -> FrameFiles:
    """Number images by the digits in their names that change from one to the next.

    That is the last run of digits, or the one that changes where the last does not (``frame0001_cam2.jpg``). Names that
    tell a time (``00-00-01-967.jpg``, ``frame_0.967.jpg``) are numbered from 1 in the order of their times. Of two
    names with one number the first is taken.
    """
    alike: dict[str, list[str]] = {}
    for name in sorted(images):
        stem = _stem(name)
        if _LAST_DIGITS.search(stem):
            alike.setdefault(_DIGITS.sub("0", stem), []).append(name)
    by_number: dict[int, str] = {}
    duplicates = []
    for name, number in sorted(pair for names in alike.values() for pair in _numbered(names)):
        if number is None:
            problem = f"{name} and others differ in several numbers: which of them counts the frames cannot be told"
            return FrameFiles((), (), (), problem)
        if by_number.setdefault(number, name) != name:
            duplicates.append(name)
    numbers = tuple(sorted(by_number))
    return FrameFiles(tuple(by_number[n] for n in numbers), numbers, tuple(duplicates))


def _stem(name: str) -> str:
    return name[: len(name) - len(_suffix(name))]


def _numbered(names: Sequence[str]) -> Iterable[tuple[str, int | None]]:
    """Names that differ in their digits alone, each with its number; ``None`` if that cannot be told."""
    rows = [[int(digits) for digits in _DIGITS.findall(_stem(name))] for name in names]
    changing = [i for i, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]
    last = [row[-1] for row in rows]
    if len(changing) > 1 or (changing and not _consecutive(last)):
        times = _clock_times(names) or _decimals(names, with_whole=len(changing) > 1)
        if times:
            order = sorted(range(len(names)), key=times.__getitem__)
            return [(names[index], rank) for rank, index in enumerate(order, 1)]
    if len(changing) == 1:
        return [(name, row[changing[0]]) for name, row in zip(names, rows, strict=True)]
    if len(set(last)) == len(last) and [row for _, row in sorted(zip(last, rows, strict=True))] == sorted(rows):
        return list(zip(names, last, strict=True))
    return [(name, None if changing else number) for name, number in zip(names, last, strict=True)]


def _consecutive(numbers: Sequence[int]) -> bool:
    return max(numbers) - min(numbers) < 2 * len(numbers)


def _clock_times(names: Sequence[str]) -> list[Fraction]:
    """Times of day, s, if every name tells a different one."""
    found = [_CLOCK.fullmatch(_stem(name)) for name in names]
    parts = [match.groups() for match in found if match and int(match[2]) < 60 and int(match[3]) < 60]
    times = [3600 * int(h) + 60 * int(m) + Fraction(f"{s}.{fraction}") for h, m, s, fraction in parts]
    return times if len(set(times)) == len(names) else []


def _decimals(names: Sequence[str], *, with_whole: bool) -> list[Fraction]:
    """Decimal numbers, if each name ends with a different one, to one number of places or with a whole that changes."""
    found = [_DECIMAL.fullmatch(_stem(name)) for name in names]
    values = [Fraction(f"{match[1]}.{match[2]}") for match in found if match]
    even = len({len(match[2]) for match in found if match}) == 1
    return values if (even or with_whole) and len(set(values)) == len(names) else []
