"""Depth that a camera measured: cut out as the texture is, in mm, and nothing made of holes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.frames import Frames, decode_depth
from pipeline.clip.measured_depth import MeasuredDepth
from schemas.clip import ImageSequence
from schemas.errors import DepthError, FrameError

WIDTH, HEIGHT, SIZE = 320, 240, 112
Millimetres = NDArray[np.float64]


def ramp(x: Millimetres, y: Millimetres) -> Millimetres:
    """A wall that recedes to the right and, half as steeply, downwards."""
    return 600 + x + y / 2


def similarity(degrees: float, scale: float) -> NDArray[np.float64]:
    """Turns and scales about the middle of the frame, which goes to the middle of the crop."""
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, [SIZE / 2, SIZE / 2] - linear @ [WIDTH / 2, HEIGHT / 2]])


def at_source(transform: NDArray[np.float64]) -> tuple[Millimetres, Millimetres]:
    """Where in the source each pixel of the crop comes from."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    points = np.stack([x - transform[0, 2], y - transform[1, 2]]).reshape(2, -1)
    return tuple(np.linalg.solve(transform[:, :2], points).reshape(2, SIZE, SIZE))  # type: ignore[return-value]


def clip(folder: Path, transform: NDArray[np.float64], depth: list[NDArray[np.uint16] | None]) -> AlignedClip:
    """A clip of black frames with these frames of depth beside them."""
    names = tuple(f"{number}.png" for number in range(len(depth)))
    for name in names:
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    files: list[Path | None] = []
    for position, values in enumerate(depth):
        files.append(None if values is None else folder / f"depth{position}.png")
        if values is not None:
            Image.fromarray(values).save(files[-1])  # type: ignore[arg-type]
    frames = Frames(folder, ImageSequence(folder=".", names=names, numbers=tuple(range(len(names)))))
    texture = np.zeros((len(depth), SIZE, SIZE, 3), np.uint8)
    return AlignedClip(texture, transform, (0, 0, 9, 9), 0, frames, tuple(files))


def wall() -> NDArray[np.uint16]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    return ramp(x, y).round().astype(np.uint16)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (25, 0.9), (-90, 0.6), (10, 0.47), (170, 3)])
def test_millimetres_arrive_where_the_face_was_turned_to(tmp_path: Path, degrees: float, scale: float) -> None:
    """Minus the ramp's distance, to half a millimetre of rounding and what a pixel spans, whatever the transform."""
    transform = similarity(degrees, scale)
    made = clip(tmp_path, transform, [wall()])
    [depth] = np.concatenate(list(MeasuredDepth().estimate(made)))
    x, y = at_source(transform)
    inside = (x > 2) & (x < WIDTH - 3) & (y > 2) & (y < HEIGHT - 3)
    assert inside.mean() > 0.6
    assert np.abs(depth + ramp(x, y))[inside].max() < 1.0
    assert np.isfinite(depth).all()


def test_holes_take_the_nearest_measurement(tmp_path: Path) -> None:
    """Nothing between 0 and the nearest measured distance appears; the share is said; the rest is as without holes."""
    transform, holed = similarity(15, 0.8), wall()
    holed[100:140, 120:200] = 0
    holed[::7, ::5] = 0
    made = clip(tmp_path, transform, [holed])
    [depth] = np.concatenate(list(MeasuredDepth().estimate(made)))
    x, y = at_source(transform)
    hole = (x > 120) & (x < 199) & (y > 100) & (y < 139)
    assert depth.max() <= -600
    far = (x < 115) | (x > 204) | (y < 95) | (y > 144)
    assert np.abs(depth + ramp(x, y))[far & (x > 2) & (x < WIDTH - 3) & (y > 2) & (y < HEIGHT - 3)].max() < 4
    across = np.minimum(np.minimum(x - 119, 200 - x), np.minimum(y - 99, 140 - y))  # px of the source to the edge
    assert (np.abs(depth + ramp(x, y))[hole] <= 1.5 * across[hole] + 4).all()
    [(kind, message)] = made.notes
    assert kind == "depth_filled"
    share = float(message.split("%")[0]) / 100
    outside = ((x < 0) | (x > WIDTH - 1) | (y < 0) | (y > HEIGHT - 1)).mean()
    assert share == pytest.approx(hole.mean() + outside, abs=0.04)


def test_a_frame_without_depth_takes_that_of_its_neighbour(tmp_path: Path) -> None:
    """A file that is missing, and one in which nothing was measured."""
    near, far = np.full((HEIGHT, WIDTH), 500, np.uint16), np.full((HEIGHT, WIDTH), 900, np.uint16)
    made = clip(tmp_path, similarity(0, 0.9), [None, near, np.zeros_like(near), far, None])
    depth = np.concatenate(list(MeasuredDepth().estimate(made)))
    assert [float(frame.max()) for frame in depth] == [-500, -500, -500, -900, -900]
    assert made.notes[0][1].startswith("60.0% of the crop has no measured depth")


def test_what_is_no_depth_of_these_frames(tmp_path: Path) -> None:
    """None at all, nothing measured, another size, eight bits."""
    upright = similarity(0, 1)
    for depth, message in (
        ([None], "no measured depth beside the frames"),
        ([np.zeros((HEIGHT, WIDTH), np.uint16)], "nothing was measured where the face is"),
        ([np.ones((HEIGHT // 2, WIDTH), np.uint16)], r"depth0\.png: 320x120 px, but the colour frame has 320x240"),
    ):
        with pytest.raises(DepthError, match=message):
            list(MeasuredDepth().estimate(clip(tmp_path, upright, depth)))
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "8.png")
    with pytest.raises(FrameError, match=r"8\.png: pixel format L, expected depth of 16 bits, in mm"):
        decode_depth(tmp_path / "8.png")
