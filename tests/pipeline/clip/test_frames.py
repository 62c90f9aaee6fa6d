"""Frames are decoded strictly and in order, whatever was asked for before, and held as far as memory allows."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

import pipeline.clip.frames
from pipeline.clip.frames import Frames, decode_image, digest
from schemas.clip import ImageSequence, VideoSegment
from schemas.errors import FrameError

COUNT, HEIGHT, WIDTH = 6, 24, 32
FRAME_BYTES = HEIGHT * WIDTH * 3


def photograph(seed: int = 0) -> NDArray[np.uint8]:
    """Something that compresses like a picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    st.sampled_from(["png", "bmp", "tiff"]),
)
def test_lossless_pictures_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8], kind: str
) -> None:
    """RGB in, the same RGB out, as an array of its own that may be written to."""
    path = tmp_path_factory.getbasetemp() / f"lossless.{kind}"
    Image.fromarray(pixels).save(path)
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded, pixels)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_8_bit_format_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Black and white, grey, palette, with transparency: three channels, as Pillow shows them."""
    path = tmp_path / "frame.png"
    picture = Image.fromarray(photograph()).convert(mode)
    picture.save(path)
    decoded = decode_image(path)
    np.testing.assert_array_equal(decoded, np.asarray(picture.convert("RGB")))
    if mode in ("1", "L", "LA"):
        assert (decoded == decoded[..., :1]).all()


def test_a_jpeg_decodes_as_in_opencv(tmp_path: Path) -> None:
    """Red is red: within the rounding of two decoders."""
    path = tmp_path / "frame.jpg"
    pixels = photograph()
    pixels[..., 0] //= 4
    Image.fromarray(pixels).save(path, quality=95)
    other = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
    assert np.abs(decode_image(path) - other).max() <= 3


def write(path: Path, pixels: NDArray[np.generic]) -> None:
    assert cv2.imwrite(str(path), pixels)


def save(mode: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(photograph()).convert(mode).save(path)


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("a.png", lambda path: write(path, np.full((9, 9), 999, np.uint16)), "pixel format I;16, expected 8-bit"),
        ("a.png", lambda path: write(path, np.full((9, 9, 3), 999, np.uint16)), "pixel format RGB;16B, expected 8-bit"),
        ("a.png", lambda path: write(path, np.full((9, 9, 4), 999, np.uint16)), "pixel format RGBA;16B, expected"),
        ("a.tif", lambda path: write(path, np.full((9, 9, 3), 999, np.uint16)), "pixel format RGB;16N, expected 8-bit"),
        ("a.jpg", save("CMYK"), "pixel format CMYK, expected 8-bit"),
        ("a.tif", save("F"), "pixel format F, expected 8-bit"),
        ("a.tif", save("I"), "pixel format I, expected 8-bit"),
        ("a.jpg", Path.touch, "empty file; copy it again"),
        ("a.jpg", lambda path: path.write_text("<html>404</html>"), "not an image; copy it again"),
        ("a.jpg", lambda path: None, "no such file"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, name: str, make: Callable[[Path], object], expected: str) -> None:
    """More than 8 bits, other colours, no picture: the file and what it is."""
    path = tmp_path / name
    make(path)
    with pytest.raises(FrameError, match=f"^{re.escape(f'{path}: {expected}')}"):
        decode_image(path)


@pytest.mark.parametrize("name", ["frame.jpg", "frame.png", "frame.bmp"])
def test_a_truncated_picture_is_an_error_or_whole(tmp_path: Path, name: str) -> None:
    """Cut anywhere: never a picture with grey rows. Without its last bytes it may still be whole."""
    path = tmp_path / name
    Image.fromarray(photograph()).save(path)
    data, whole = path.read_bytes(), decode_image(path)
    for cut in range(1, 60):
        path.write_bytes(data[: len(data) * cut // 60])
        with pytest.raises(FrameError, match=f"{path}: (damaged|not an) image"):
            decode_image(path)
    for cut in range(1, 30):
        path.write_bytes(data[:-cut])
        with suppress(FrameError):
            np.testing.assert_array_equal(decode_image(path), whole)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (1, 0)), (6, (0, 1)), (8, (1, 0))]
)
def test_pictures_are_upright(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    """The bright quarter, stored at the top left, is shown where EXIF says (CIPA DC-008, tag 274)."""
    pixels = np.full((24, 48, 3), 20, np.uint8)
    pixels[:12, :24] = 220
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "frame.png", exif=exif)
    shown = decode_image(tmp_path / "frame.png")
    assert shown.shape == ((48, 24, 3) if orientation > 4 else (24, 48, 3))
    height, width = shown.shape[0] // 2, shown.shape[1] // 2
    quarters = [[shown[y : y + height, x : x + width].mean() for x in (0, width)] for y in (0, height)]
    assert np.unravel_index(np.argmax(quarters), (2, 2)) == corner


def test_a_fault_of_the_disk_is_not_the_pictures(tmp_path: Path) -> None:
    """It passes through as it is, for the run to try again."""
    with pytest.raises(IsADirectoryError):
        decode_image(tmp_path)


# Clips of images and of a video: frame i is of grey value 20 + 30 i


@pytest.fixture
def images(tmp_path: Path) -> Frames:
    names = tuple(f"img{number}.png" for number in range(8, 8 + COUNT))
    for i, name in enumerate(names):
        write(tmp_path / name, np.full((HEIGHT, WIDTH, 3), 20 + 30 * i, np.uint8))
    return Frames(tmp_path, ImageSequence(folder=".", names=names, numbers=tuple(range(8, 8 + COUNT))))


@pytest.fixture
def video(tmp_path: Path) -> Frames:
    """Frames 3 to 8 of a video of ten, counted from 103."""
    path = str(tmp_path / "recording.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for i in range(-3, 7):
        writer.write(np.full((HEIGHT, WIDTH, 3), max(0, 20 + 30 * i), np.uint8))
    writer.release()
    return Frames(tmp_path, VideoSegment(path="recording.avi", start=3, count=COUNT, first_number=103))


@pytest.fixture(params=["images", "video"])
def frames(request: pytest.FixtureRequest) -> Frames:
    made: Frames = request.getfixturevalue(request.param)
    return made


def position(frame: NDArray[np.uint8]) -> int:
    assert frame.shape == (HEIGHT, WIDTH, 3)
    return round((float(frame.mean()) - 20) / 30)


def test_length_numbers_shape(images: Frames, video: Frames) -> None:
    """Numbers are the annotation's; the files are all that are read."""
    assert len(images) == len(video) == COUNT
    assert images.numbers == (8, 9, 10, 11, 12, 13)
    assert video.numbers == (103, 104, 105, 106, 107, 108)
    assert images.shape == video.shape == (HEIGHT, WIDTH)
    assert [path.name for path in images.paths] == [f"img{number}.png" for number in images.numbers]
    assert [path.name for path in video.paths] == ["recording.avi"]


@pytest.mark.parametrize("kept", [10**9, 2 * FRAME_BYTES, 0], ids=["all held", "two held", "none held"])
@pytest.mark.parametrize("before", [[], [3], [5, 0, 3], [-1], [2, 2], list(range(COUNT))], ids=str)
def test_any_access_in_any_order(frames: Frames, monkeypatch: pytest.MonkeyPatch, kept: int, before: list[int]) -> None:
    """Positions, also from the end, then all in order, twice, however much may be held in memory."""
    monkeypatch.setattr(pipeline.clip.frames, "_KEEP_BYTES", kept)
    for index in before:
        assert position(frames[index]) == index % COUNT
    assert [position(frame) for frame in frames] == list(range(COUNT))
    assert position(frames[-2]) == COUNT - 2
    assert [position(frame) for frame in frames] == list(range(COUNT))


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1, 99])
def test_no_frame_beyond_the_ends(frames: Frames, index: int) -> None:
    """As with any sequence."""
    with pytest.raises(IndexError):
        frames[index]


def test_two_iterations_at_once(frames: Frames) -> None:
    """Neither disturbs the other."""
    assert [(position(a), position(b)) for a, b in zip(frames, frames, strict=True)] == [(i, i) for i in range(COUNT)]


def test_a_clip_that_was_read_is_not_read_again(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held frames outlive their files, each counted once; where nothing may be held, the files are needed again."""
    monkeypatch.setattr(pipeline.clip.frames, "_KEEP_BYTES", COUNT * FRAME_BYTES)
    for _ in range(3):
        next(iter(frames))
    list(frames)
    for path in frames.paths:
        path.unlink()
    assert [position(frame) for frame in frames] == list(range(COUNT))
    monkeypatch.setattr(pipeline.clip.frames, "_KEEP_BYTES", 0)
    with pytest.raises(FrameError, match="no such"):
        list(Frames(frames._root, frames._source))


def test_a_frame_of_another_size(images: Frames, tmp_path: Path) -> None:
    """The file, its size, and that of the first; whichever is looked at first."""
    write(tmp_path / "img11.png", np.zeros((9, 7, 3), np.uint8))
    expected = (
        f"{tmp_path / 'img11.png'}: 7x9 px, but the clip's first frame has {WIDTH}x{HEIGHT}; all frames of a clip"
    )
    with pytest.raises(FrameError, match=f"^{re.escape(expected)}"):
        images[3]
    with pytest.raises(FrameError, match=f"^{re.escape(expected)}"):
        list(images)


def test_a_video_that_ends_too_early(video: Frames, tmp_path: Path) -> None:
    """How far it goes, and how far it should."""
    longer = Frames(tmp_path, VideoSegment(path="recording.avi", start=3, count=20, first_number=1))
    assert position(longer[5]) == 5
    with pytest.raises(FrameError, match=r"recording.avi: ends after 10 frames, expected 23; the file is truncated or"):
        list(longer)
    with pytest.raises(FrameError, match=r"ends after 10 frames"):
        longer[-1]


@pytest.mark.parametrize(
    ("data", "expected"), [(None, "no such video file"), (b"", "not a video"), (b"x" * 99, "not a video")]
)
def test_what_is_no_video(tmp_path: Path, data: bytes | None, expected: str) -> None:
    """Absent, empty, something else."""
    if data is not None:
        (tmp_path / "a.avi").write_bytes(data)
    frames = Frames(tmp_path, VideoSegment(path="a.avi", count=2))
    with pytest.raises(FrameError, match=f"a.avi: {expected}"):
        frames[0]


def test_the_digest_is_that_of_sha256sum(images: Frames, tmp_path: Path) -> None:
    """What ``sha256sum img*.png | sha256sum`` prints in the folder; any byte and the order matter."""
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in images.paths)
    size, found = digest(images.paths)
    assert found == hashlib.sha256(lines.encode()).hexdigest()
    assert size == sum(path.stat().st_size for path in images.paths)
    assert digest(images.paths[::-1])[1] != found
    images.paths[2].write_bytes(images.paths[2].read_bytes() + b"\0")
    assert digest(images.paths)[1] != found
