"""Frames of one clip from image files or a video, decoded strictly: a damaged frame is an error, never grey pixels."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from pipeline.clip.video import read_video
from pipeline.clip.video_facts import damage, examine_video
from schemas.clip import Clip, Finding, FrameSource, ImageSequence, VideoSegment
from schemas.errors import FrameError

Frame = NDArray[np.uint8]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
# Of what FFmpeg reads; a GIF is one too, so that the reader can say why it is refused.
_CONTAINERS = "3g2 3gp asf avi dv f4v flv gif m2ts m2v m4v mkv mov mp4 mpeg mpg mts mxf ogv ts vob webm wmv y4m"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _CONTAINERS.split())
USUAL_VIDEOS = ".avi, .mkv, .mov, .mp4, .webm and others"  # for messages

_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"}
_DEEP = re.compile(r"(RGB[AaX]?|LA);16")  # raw modes of which Pillow keeps the high bytes, unasked
_KEEP_BYTES = 512 * 2**20


class Frames:
    """The frames of a clip, in order, each ``(H, W, 3) uint8`` RGB, all of one size.

    Args:
        root: dataset root that the source's paths are relative to.
        source: where the frames are.
        keep_bytes: decoded frames up to this size are held, so that later stages need not decode again.

    Raises:
        FrameError: on decoding, naming the file, what was found and what was expected.
    """

    def __init__(self, root: Path, source: ImageSequence | VideoSegment, *, keep_bytes: int = _KEEP_BYTES) -> None:
        self._root, self._source, self._keep_bytes = root, source, keep_bytes
        self._held: dict[int, Frame] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._source.numbers)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Frame numbers as the annotation counts them."""
        return self._source.numbers

    @cached_property
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
        if index not in self._held and self._held_bytes + frame.nbytes <= self._keep_bytes:
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
        stop = source.start + source.count
        return read_video(self._root / source.path, source.start, stop, left_out=source.left_out, seek=source.seek)


def without_damage(root: Path, clip: Clip) -> Clip:
    """The clip without frames that cannot be decoded, and a finding that names them, for ``--tolerate``.

    An annotated clip without its onset is unusable: everything is measured against that frame.

    Raises:
        FrameError: it is no video at all.
    """
    if clip.source is None:
        return clip
    source, message = _sound_part(root, clip.source)
    if not message:
        return clip
    numbers = source.numbers
    unusable = len(numbers) < 2 or (clip.apex is not None and clip.onset not in numbers)
    finding = Finding(kind="damaged_frames", clip=clip.key, message=f"{message}; left out", unusable=unusable)
    time_of = dict(zip(clip.source.numbers, clip.times, strict=True)) if clip.times else {}
    times = [time_of[number] for number in numbers] if time_of else []
    return clip.model_copy(
        update={
            "source": source,
            "onset": clip.onset if clip.onset in numbers or not numbers else numbers[0],
            "apex": clip.apex if clip.apex in numbers else None,
            "times": tuple(time - times[0] for time in times),
            "findings": (*(f for f in clip.findings if f.kind != "damaged_frames"), finding),
        }
    )


def _sound_part(root: Path, source: FrameSource) -> tuple[FrameSource, str]:
    """The frames that can be decoded, and what to say of the others."""
    if isinstance(source, VideoSegment):
        facts = examine_video(root / source.path)
        bad = [position for position in facts.damaged if source.start <= position < source.start + source.count]
        message = damage(Path(source.path), facts, bad) if bad else ""
        return source.model_copy(update={"left_out": tuple(sorted({*source.left_out, *bad}))}), message
    problems: dict[str, str] = {}
    for name in source.names:
        try:
            decode_image(root / source.folder / name)
        except FrameError as error:
            problems[name] = str(error).replace(str(root / source.folder / name), name)
    kept = {name: number for name, number in zip(source.names, source.numbers, strict=True) if name not in problems}
    update = {"names": tuple(kept), "numbers": tuple(kept.values())}
    return source.model_copy(update=update), "; ".join(problems.values())


def decode_image(path: Path) -> Frame:
    """Decode an 8-bit grey or colour image file to ``(H, W, 3) uint8`` RGB, upright as its EXIF orientation says.

    Pillow rather than OpenCV: for a truncated JPEG OpenCV returns grey rows with only a line on stderr.

    Raises:
        FrameError: missing, empty, truncated, not an image, more than 8 bits a channel, or CMYK.
    """
    with _opened(path) as image:
        if (mode := _raw_mode(image)) not in _EIGHT_BIT:
            raise FrameError(
                f"{path}: pixel format {mode}, expected 8-bit grey or RGB; convert it first, "
                "since how its values map to 8 bits changes the result"
            )
        ImageOps.exif_transpose(image, in_place=True)
        rgb = image if image.mode == "RGB" else image.convert("RGB")  # which copies an image that is RGB already
        return np.array(rgb, np.uint8)  # a copy: PyTorch wants it writable


def decode_depth(path: Path) -> NDArray[np.uint16]:
    """Decode an image of measured depth to ``(H, W) uint16``, mm from the camera; 0 where nothing was measured.

    Raises:
        FrameError: missing, empty, truncated, not an image, or not of 16 bits and one channel.
    """
    with _opened(path) as image:
        if not image.mode.startswith("I;16"):
            raise FrameError(f"{path}: pixel format {_raw_mode(image)}, expected depth of 16 bits, in mm")
        return np.array(image, np.uint16)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file; whatever is wrong with it is a ``FrameError``, also while its pixels are read."""
    try:
        with Image.open(path) as image:
            yield image
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


def digest(paths: Sequence[Path]) -> tuple[int, str]:
    """Total bytes and one sha256 for a clip's files, as ``sha256sum FILE... | sha256sum`` prints it (bare names)."""
    total, listing = 0, hashlib.sha256()
    for path in paths:
        status = path.stat()
        listing.update(f"{_sha256(path, status.st_size, status.st_mtime_ns)}  {path.name}\n".encode())
        total += status.st_size
    return total, listing.hexdigest()


@lru_cache(maxsize=64)  # many clips may be of one long video
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
