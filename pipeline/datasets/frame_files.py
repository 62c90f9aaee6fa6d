"""Image and video files by name: which are frames, and which number they have."""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipeline.clip.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES

_LAST_DIGITS = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class FrameFiles:
    """Numbered images of one folder, in the order of their numbers.

    ``duplicates`` are names left out because an earlier one has the same number.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    duplicates: tuple[str, ...]


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
    match = _LAST_DIGITS.search(name[: len(name) - len(_suffix(name))])
    return int(match[1]) if match else None


def index_frames(images: Iterable[str]) -> FrameFiles:
    """Number images by their names; of two with one number the first by name is taken."""
    by_number: dict[int, str] = {}
    duplicates = []
    for name in sorted(images):
        number = frame_number(name)
        if number is None:
            continue
        if by_number.setdefault(number, name) != name:
            duplicates.append(name)
    numbers = tuple(sorted(by_number))
    return FrameFiles(tuple(by_number[n] for n in numbers), numbers, tuple(duplicates))


def count_frames(path: Path) -> tuple[int, float]:
    """Frames of a video, and its frames per second (0 where the file does not say); ``(0, 0)`` if it is none.

    Every frame is grabbed: the count in a container's header is an estimate.
    """
    video = cv2.VideoCapture(str(path))
    try:
        count = 0
        while video.grab():
            count += 1
        fps = float(video.get(cv2.CAP_PROP_FPS)) if count else 0.0
        return count, fps if 0 < fps < 10_000 else 0.0
    finally:
        video.release()


def count_all_frames(paths: Iterable[Path]) -> dict[Path, int]:
    """Frames of each video, in threads since OpenCV decodes outside the interpreter's lock."""
    paths = tuple(paths)
    with ThreadPoolExecutor() as pool:
        return {path: count for path, (count, _) in zip(paths, pool.map(count_frames, paths), strict=True)}
