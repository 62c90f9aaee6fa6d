"""Videos of known frames, made with PyAV's encoders."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

RATE, GOP = 25, 10


def picture(index: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A smooth picture whose grey level tells the frame: 20 + 5 x index, with a gradient of 8 levels on it."""
    gradient = np.add.outer(np.linspace(-4, 4, height), np.linspace(-4, 4, width)) / 2
    grey = np.clip(20 + 5 * index + gradient, 0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def index_of(frame: NDArray[np.uint8]) -> int:
    """Which picture it is."""
    return round((float(frame.mean()) - 20) / 5)


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] | None = None,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    turned: int = 0,
    options: dict[str, str] | None = None,
    mux: dict[str, str] | None = None,
    settings: Callable[[VideoStream], None] = lambda stream: None,
) -> Path:
    """Write pictures 0 to 39, or the given ones, with a key frame every ten.

    Args:
        path: its suffix names the container.
        frames: each ``(H, W, 3) uint8`` RGB.
        codec: encoder.
        pixels: pixel format.
        times: of each frame, ms; 25 frames per second where not given.
        aspect: width of a pixel over its height.
        turned: degrees to turn by for display, counter-clockwise.
        options: of the encoder.
        mux: options of the container.
        settings: whatever else is to be set.
    """
    frames = [picture(i) for i in range(40)] if frames is None else frames
    height, width = frames[0].shape[:2]
    with av.open(path, "w", options=mux or {}) as container:
        no_more_keys = {"sc_threshold": "0" if codec == "libx264" else "1000000000"}
        stream = container.add_stream(codec, rate=RATE, options={"b": "4M"} | no_more_keys | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.gop_size = GOP
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turned:
            stream.set_display_rotation(turned)
        settings(stream)
        for i, pixels_of in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_of, format="rgb24").reformat(format=pixels)
            frame.pts = i if times is None else times[i]
            frame.time_base = Fraction(1, RATE) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def remux(source: Path, target: Path, keep: Callable[[int, "Packet[VideoStream]"], bool]) -> Path:
    """Copy the packets of a video that ``keep`` chooses by index, without decoding them."""
    with av.open(source) as old, av.open(target, "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for index, packet in enumerate(p for p in old.demux(stream) if p.size):
            if keep(index, packet):
                packet.stream = copy
                new.mux(packet)
    return target


def append(first: Path, second: Path, target: Path) -> Path:
    """One video after another in one stream, whatever their sizes."""
    with av.open(target, "w") as new, av.open(first) as before, av.open(second) as after:
        copy = new.add_stream_from_template(before.streams.video[0])
        for shift, old in ((0, before), (90_000, after)):  # one second
            for packet in old.demux(video=0):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    packet.stream, packet.pts, packet.dts = copy, packet.pts + shift, packet.dts + shift
                    new.mux(packet)
    return target
