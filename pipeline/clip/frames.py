"""Frames of one clip from image files or a video, decoded strictly: a damaged frame is an error, never grey pixels."""

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from schemas.clip import ImageSequence, VideoSegment
from schemas.errors import FrameError

Frame = NDArray[np.uint8]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mov", ".mkv", ".m4v"})

_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"}
_DEEP = re.compile(r"(RGB[AaX]?|LA);16")  # raw modes of which Pillow keeps the high bytes, unasked
_KEEP_BYTES = 512 * 2**20  # a decoded clip up to this size is held, so that later stages need not decode again


class Frames:
    """The frames of a clip, in order, each ``(H, W, 3) uint8`` RGB, all of one size.

    Args:
        root: dataset root that the source's paths are relative to.
        source: where the frames are.

    Raises:
        FrameError: on decoding, naming the file, what was found and what was expected.
    """

    def __init__(self, root: Path, source: ImageSequence | VideoSegment) -> None:
        self._root, self._source = root, source
        self._held: dict[int, Frame] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._source.numbers)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Frame numbers as the annotation counts them."""
        return self._source.numbers

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every file that the clip is read from."""
        if isinstance(self._source, VideoSegment):
            return (self._root / self._source.path,)
        return tuple(self._root / self._source.folder / name for name in self._source.names)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(H, W)`` of the first frame, px."""
        height, width = self[0].shape[:2]
        return height, width

    def __getitem__(self, index: int) -> Frame:
        """One frame by position; negative positions count from the end."""
        index = range(len(self))[index]
        if index in self._held:
            return self._held[index]
        if isinstance(self._source, ImageSequence):
            return self._keep(index, self._checked(index, decode_image(self.paths[index])))
        for position, frame in enumerate(self._video(self._source)):
            if position == index:
                return frame
        raise AssertionError("unreachable: _video yields every frame or raises")

    def __iter__(self) -> Iterator[Frame]:
        if len(self._held) == len(self):
            yield from (self._held[i] for i in range(len(self)))
        elif isinstance(self._source, VideoSegment):
            for i, frame in enumerate(self._video(self._source)):
                yield self._keep(i, frame)
        else:
            yield from (self[i] for i in range(len(self)))

    def _keep(self, index: int, frame: Frame) -> Frame:
        if index not in self._held and self._held_bytes + frame.nbytes <= _KEEP_BYTES:
            self._held[index] = frame
            self._held_bytes += frame.nbytes
        return frame

    def _checked(self, index: int, frame: Frame) -> Frame:
        if index and frame.shape[:2] != self.shape:
            (h, w), (h0, w0) = frame.shape[:2], self.shape
            raise FrameError(
                f"{self.paths[index]}: {w}x{h} px, but the clip's first frame has {w0}x{h0}; "
                "all frames of a clip must have one size"
            )
        return frame

    def _video(self, source: VideoSegment) -> Iterator[Frame]:
        path = self._root / source.path
        if not path.is_file():
            raise FrameError(f"{path}: no such video file")
        video = cv2.VideoCapture(str(path))
        try:
            if not video.isOpened():
                raise FrameError(
                    f"{path}: not a video that OpenCV can open; check the file, or convert it to mp4 or avi"
                )
            for position in range(source.start + source.count):
                ok, frame = video.read() if position >= source.start else (video.grab(), None)
                if not ok:
                    raise FrameError(
                        f"{path}: ends after {position} frames, expected {source.start + source.count}; "
                        "the file is truncated or is not the one that was annotated"
                    )
                if frame is not None:
                    yield np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        finally:
            video.release()


def decode_image(path: Path) -> Frame:
    """Decode an 8-bit grey or colour image file to ``(H, W, 3) uint8`` RGB.

    Pillow rather than OpenCV: for a truncated JPEG OpenCV returns grey rows with only a line on stderr.

    Raises:
        FrameError: missing, empty, truncated, not an image, more than 8 bits a channel, or CMYK.
    """
    try:
        with Image.open(path) as image:
            if (mode := _raw_mode(image)) not in _EIGHT_BIT:
                raise FrameError(
                    f"{path}: pixel format {mode}, expected 8-bit grey or RGB; convert it first, "
                    "since how its values map to 8 bits changes the result"
                )
            return np.array(image.convert("RGB"), np.uint8)  # a copy: PyTorch wants it writable
    except FrameError:
        raise
    except FileNotFoundError as error:
        raise FrameError(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        found = "not an image" if path.stat().st_size else "empty file"
        raise FrameError(f"{path}: {found}; copy it again from the original") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the image's: it may pass
        raise FrameError(f"{path}: damaged image ({error}); copy it again from the original") from error


def _raw_mode(image: Image.Image) -> str:
    """Pillow's mode, or the file's own where that has 16 bits a channel behind an 8-bit mode."""
    tiles = image.tile if isinstance(image, ImageFile) else []
    for tile in tiles:
        for arg in tile.args if isinstance(tile.args, tuple) else (tile.args,):
            if isinstance(arg, str) and _DEEP.match(arg):
                return arg
    return image.mode


def digest(paths: tuple[Path, ...]) -> tuple[int, str]:
    """Total bytes and one sha256 for a clip's files, as ``sha256sum FILE... | sha256sum`` prints it (bare names)."""
    total, listing = 0, hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            listing.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode())
        total += path.stat().st_size
    return total, listing.hexdigest()
