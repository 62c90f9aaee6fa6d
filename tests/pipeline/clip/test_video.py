"""Videos: never a frame that was not decoded; at their times, upright, of square pixels, in 8 bits."""

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.frames import Frames, without_damage
from pipeline.clip.video import read_video
from pipeline.clip.video_facts import examine_video, frame_rate
from schemas.clip import Clip, VideoSegment
from schemas.errors import FrameError
from schemas.labels import Label
from tests.pipeline.clip.videos import append, index_of, picture, remux, write_video

ENCODERS = [
    ("a.mp4", "libx264", "yuv420p"),
    ("a.mkv", "libx264", "yuv420p"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.avi", "libx264", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.avi", "mjpeg", "yuvj420p"),
    ("a.mov", "mjpeg", "yuvj420p"),
    ("a.avi", "rawvideo", "bgr24"),
    ("a.webm", "libvpx", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.wmv", "wmv2", "yuv420p"),
    ("a.mkv", "ffv1", "yuv420p"),
    ("a.mpg", "mpeg2video", "yuv420p"),
]


def everything(path: Path) -> list[NDArray[np.uint8]]:
    return list(read_video(path, 0, len(examine_video(path).times)))


@pytest.mark.parametrize(("name", "codec", "pixels"), ENCODERS)
def test_every_container_and_codec(tmp_path: Path, name: str, codec: str, pixels: str) -> None:
    """All frames in order, with their times; the same from any frame on and by way of any key frame."""
    options = {"auto-alt-ref": "1", "lag-in-frames": "10"} if codec == "libvpx" else {}
    path = write_video(tmp_path / name, codec=codec, pixels=pixels, options=options)
    facts = examine_video(path)
    assert (facts.fps, facts.varies, facts.damaged, facts.interlaced, facts.deep) == (25, False, (), False, "")
    assert facts.times == pytest.approx([i / 25 for i in range(40)], abs=0.001)
    frames = everything(path)
    assert [index_of(frame) for frame in frames] == list(range(40))
    for start in (0, 9, 25):
        for seek in (None, *(key for key in facts.key_frames if key[0] <= start)):
            again = list(read_video(path, start, 30, seek=seek))
            np.testing.assert_array_equal(again, frames[start:30], err_msg=f"{start} {seek}")


def test_pixels_are_those_that_were_encoded(tmp_path: Path) -> None:
    """A lossless RGB video comes back to the bit; YUV follows the matrix that the video names."""
    frames = list(np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8))
    path = write_video(tmp_path / "a.avi", frames, codec="rawvideo", pixels="bgr24")
    np.testing.assert_array_equal(everything(path), frames)
    red = np.full((48, 64, 3), (200, 40, 60), np.uint8)
    for matrix in ("bt709", "smpte170m"):
        options = {"qp": "0", "colorspace": matrix}
        path = write_video(tmp_path / f"{matrix}.mkv", [red] * 3, options=options, pixels="yuv444p")
        with_matrix = everything(path)[0].reshape(-1, 3).mean(axis=0)
        y = 40 if matrix == "smpte170m" else None  # PyAV encodes with BT.601, which then is read back
        assert (np.abs(with_matrix - (200, 40, 60)).max() <= 3) == (y is not None)


# Damage. Frames are named from 1; pictures 0 to 39 have key frames at 0, 10, 20, 30.

Damage = Callable[[Path, Path], None]


def lose_packets(*indices: int) -> Damage:
    return lambda source, target: void(remux(source, target, lambda index, _: index not in indices))


def cut(share: float) -> Damage:
    return lambda source, target: void(target.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)]))


def overwrite(share: float) -> Damage:
    def damage(source: Path, target: Path) -> None:
        data = bytearray(source.read_bytes())
        at = int(len(data) * share)
        data[at : at + 40] = bytes(255 - byte for byte in data[at : at + 40])
        target.write_bytes(data)

    return damage


def lose_bytes(start: int, stop: int) -> Damage:
    def damage(source: Path, target: Path) -> None:
        data = source.read_bytes()
        target.write_bytes(data[:start] + data[stop:])

    return damage


def void(_: object) -> None: ...


NOISY = [np.clip(picture(i, 160, 120) + np.random.default_rng(i).normal(0, 2, (120, 160, 1)), 0, 255).astype(np.uint8)
         for i in range(40)]  # fmt: skip
NO_B = {"bf": "0"}


@pytest.mark.parametrize(
    ("name", "codec", "damage", "options", "named"),
    [
        ("a.mkv", "libx264", lose_packets(0), NO_B, "frames 1-9 of 39"),
        ("a.avi", "mpeg4", lose_packets(0), {}, "frames 1-10 of 40"),
        ("a.mkv", "libx264", lose_packets(14), NO_B, "frames 15-20 of 40"),
        ("a.mkv", "libx264", cut(0.6), NO_B, "of 40"),
        ("a.mp4", "libx264", cut(0.6), NO_B, "of 40"),
        ("a.avi", "mpeg4", cut(0.6), {}, "of 40"),
        ("a.avi", "mjpeg", cut(0.6), {}, "of 40"),
        ("a.webm", "libvpx-vp9", cut(0.6), {}, "of 40"),
        ("a.mkv", "libx264", overwrite(0.4), NO_B, "of 40"),
        ("a.mp4", "libx264", overwrite(0.6), NO_B, "of 40"),
        ("a.ts", "libx264", lose_bytes(40 * 188, 43 * 188), NO_B, "of 40"),
        ("a.mkv", "ffv1", overwrite(0.5), {"slicecrc": "1", "level": "3"}, "of 40"),
        ("a.avi", "mpeg4", overwrite(0.5), {}, "of 40"),
    ],
)  # fmt: skip
def test_a_damaged_video_names_its_frames(
    tmp_path: Path, name: str, codec: str, damage: Damage, options: dict[str, str], named: str
) -> None:
    """Without --tolerate the clip fails; with it, what is left are frames of the sound video, each in its place."""
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    whole = tmp_path / f"whole-{name}"
    write_video(whole, NOISY, codec=codec, pixels=pixels, options=options, mux={"movflags": "faststart"})
    truth = everything(whole)
    damage(whole, tmp_path / name)
    facts = examine_video(tmp_path / name)
    count = len(facts.times)
    clip = Clip(
        dataset="video", subject="s", name="n", source=VideoSegment(path=name, count=count), onset=1, apex=None,
        offset=count, fps=25, label=Label(),
    )  # fmt: skip
    assert isinstance(clip.source, VideoSegment)
    with pytest.raises(FrameError, match=f"{name}: frames .* of {count} cannot be decoded: .+; copy the file again"):
        list(Frames(tmp_path, clip.source))

    kept = without_damage(tmp_path, clip)
    (finding,) = kept.findings
    assert finding.kind == "damaged_frames"
    assert named in finding.message
    assert kept.source is not None
    assert kept.onset == kept.source.numbers[0]
    lost_first = 40 - count  # frames are counted from the first that is there
    frames = list(Frames(tmp_path, kept.source))
    assert 3 <= len(frames) == count - len(facts.damaged)
    for number, frame in zip(kept.source.numbers, frames, strict=True):
        np.testing.assert_array_equal(frame, truth[number - 1 + lost_first], err_msg=str(number))


def test_a_sound_part_of_a_damaged_video(tmp_path: Path) -> None:
    """A clip that ends before the damage, or begins after it, is read as ever."""
    whole = write_video(tmp_path / "whole.mkv", options=NO_B)
    path = remux(whole, tmp_path / "a.mkv", lambda index, _: index != 14)
    for start, stop in ((0, 14), (20, 40)):
        assert [index_of(frame) for frame in read_video(path, start, stop)] == list(range(start, stop))
    with pytest.raises(FrameError, match=r"a.mkv: frames 15-20 of 40 cannot be decoded"):
        list(read_video(path, 13, 21))


# Times


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.webm"])
def test_a_variable_frame_rate(tmp_path: Path, name: str) -> None:
    """The times are the container's, the frame rate is the median, whatever the container."""
    times = [0]
    for i in range(39):
        times.append(times[-1] + (33 if i % 3 else 34) + (200 if i == 20 else 0))
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    facts = examine_video(write_video(tmp_path / name, times=times, codec=codec))
    assert facts.times == pytest.approx([time / 1000 for time in times], abs=1e-9)
    assert facts.varies
    assert facts.fps == pytest.approx(30, abs=0.05)


def test_the_last_frame_of_a_variable_frame_rate_may_be_long(tmp_path: Path) -> None:
    """40 ms after frames 5 ms apart are no frames that were cut off, if others were shown for 60 ms too."""
    times = [5 * i + 55 * (i // 10) for i in range(40)]
    facts = examine_video(write_video(tmp_path / "a.mkv", times=times))
    assert facts.varies
    assert len(facts.times) == 40
    assert facts.damaged == ()


@pytest.mark.parametrize("rate", [23.976, 25, 29.97, 100, 200, 240])
def test_a_constant_frame_rate_in_rounded_times(rate: float) -> None:
    """Times in whole ms are no variable rate; a rate that nobody states is the mean."""
    times = [round(i / rate, 3) for i in range(400)]
    assert frame_rate(times, [rate]) == (rate, False)
    found, varies = frame_rate(times)
    assert found == pytest.approx(rate, rel=1e-3)
    assert not varies


def test_too_few_frames_for_a_rate() -> None:
    """One frame, or all at one time: nothing is known."""
    assert frame_rate([0.0]) == (0, False)
    assert frame_rate([0.0, 0.0]) == (0, False)


# What a viewer is meant to see


def corner(frame: NDArray[np.uint8]) -> str:
    """Where the bright corner is."""
    rows, columns = (np.linspace(0, size, 3).astype(int) for size in frame.shape[:2])
    means = [[frame[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean() for j in (0, 1)] for i in (0, 1)]
    y, x = np.unravel_index(np.argmax(means), (2, 2))
    return f"{'top' if y == 0 else 'bottom'} {'left' if x == 0 else 'right'}"


def with_corner() -> NDArray[np.uint8]:
    frame = np.full((48, 64, 3), 30, np.uint8)
    frame[:24, :32] = 200
    return frame


@pytest.mark.parametrize(
    ("turned", "shape", "place"),
    [(0, (48, 64), "top left"), (90, (64, 48), "bottom left"), (180, (48, 64), "bottom right"),
     (270, (64, 48), "top right")],
)  # fmt: skip
def test_rotation(tmp_path: Path, turned: int, shape: tuple[int, int], place: str) -> None:
    """A telephone held upright writes frames that lie on their side, and how to turn them."""
    frame = everything(write_video(tmp_path / "a.mp4", [with_corner()] * 3, turned=turned))[0]
    assert frame.shape[:2] == shape
    assert corner(frame) == place


@pytest.mark.parametrize(("aspect", "shape"), [(Fraction(4, 3), (48, 85)), (Fraction(1, 2), (96, 64))])
def test_square_pixels(tmp_path: Path, aspect: Fraction, shape: tuple[int, int]) -> None:
    """The side that is too short grows."""
    path = write_video(tmp_path / "a.mp4", [with_corner()] * 3, aspect=aspect)
    assert everything(path)[0].shape[:2] == shape


@pytest.mark.parametrize("pixels", ["yuv420p10le", "gray10le", "gray16le"])
def test_more_than_8_bits(tmp_path: Path, pixels: str) -> None:
    """Reduced to the 8 bits that they stand for, and said."""
    path = write_video(tmp_path / "a.mkv", codec="ffv1", pixels=pixels)
    assert examine_video(path).deep == pixels
    for i, frame in enumerate(everything(path)):
        assert np.abs(frame.astype(int) - picture(i)).max() <= 3


def test_interlaced_frames_are_made_whole(tmp_path: Path) -> None:
    """Of a bar that moves from field to field no comb is left, the still background is as it was, one frame each."""
    fields = np.full((20, 96, 128, 3), 60, np.uint8)
    for i, field in enumerate(fields):
        field[16:80, 10 + 4 * i : 30 + 4 * i] = 200
    woven = fields[::2].copy()
    woven[:, 1::2] = fields[1::2, 1::2]

    def interlace(stream: object) -> None:
        stream.codec_context.flags |= 0x20040000  # type: ignore[attr-defined]  # interlaced DCT and motion

    path = write_video(tmp_path / "a.mkv", list(woven), options={"qp": "1", "x264-params": "tff=1"}, settings=interlace)
    assert examine_video(path).interlaced
    frames = np.stack(everything(path)).astype(int)
    assert len(frames) == len(woven)
    combs = [np.abs(np.diff(f[:, 20:76], n=2, axis=1)).mean() for f in (woven.astype(int), frames)]
    assert combs[1] < combs[0] / 3
    assert np.abs(frames[:, 84:] - 60).max() <= 3


def test_the_size_may_not_change(tmp_path: Path) -> None:
    """An error as with images, which names both."""
    parts = [write_video(tmp_path / f"{width}.ts", [picture(i, width, 48) for i in range(10)]) for width in (64, 96)]
    path = append(*parts, tmp_path / "a.ts")
    with pytest.raises(FrameError, match=r"a.ts: 96x48 px after frames of 64x48; all frames of a clip must have one"):
        everything(path)


# What is refused


def test_a_gif_is_refused(tmp_path: Path) -> None:
    """With the reason."""
    path = write_video(tmp_path / "a.gif", codec="gif", pixels="rgb8")
    with pytest.raises(FrameError, match=r"a.gif: a GIF, whose few colours hide small motion; take the video"):
        examine_video(path)


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    """An error for the file, with the byte escaped."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    write_video(tmp_path / "a.mp4").rename(path)
    with pytest.raises(FrameError, match=r"caf\\xe9.mp4: its name is not UTF-8; rename the file"):
        examine_video(path)


@pytest.mark.parametrize("data", [None, b"", b"x" * 999])
def test_what_is_no_video(tmp_path: Path, data: bytes | None) -> None:
    """Absent, empty, something else."""
    path = tmp_path / "a.mp4"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(FrameError, match="a.mp4: no such video file" if data is None else "not a video that can be"):
        examine_video(path)


def test_nothing_of_ffmpeg_is_printed(tmp_path: Path) -> None:
    """What it says of damage is in the message, and nowhere else."""
    whole = write_video(tmp_path / "whole.mkv", NOISY, codec="ffv1", options={"slicecrc": "1", "level": "3"})
    overwrite(0.5)(whole, tmp_path / "a.mkv")
    code = f"""
from pathlib import Path
from pipeline.clip.video import read_video
from pipeline.clip.video_facts import examine_video
path = Path({str(tmp_path / "a.mkv")!r})
assert examine_video(path).damaged
try:
    list(read_video(path, 0, 40))
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("FrameError\n", "")
