"""From a decoded video frame to what a viewer is meant to see: whole frames, upright, with square pixels, in RGB."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from schemas.errors import FrameError

if TYPE_CHECKING:
    from av.filter import Graph
    from av.video.frame import VideoFrame

_TRANSFERS = {16: "PQ", 18: "HLG"}  # of high dynamic range


def deep_format(frame: "VideoFrame") -> str:
    """Pixel format, and transfer of high dynamic range, of a frame that has more than 8 bits a channel; else empty."""
    transfer = _TRANSFERS.get(frame.color_trc)
    if transfer is None and max(component.bits for component in frame.format.components) <= 8:
        return ""
    return frame.format.name + (f" ({transfer})" if transfer else "")


def deinterlaced(frames: Iterable[tuple[int, "VideoFrame"]]) -> Iterator[tuple[int, "VideoFrame"]]:
    """The frames, from the first interlaced one on through FFmpeg's ``bwdif``, which gives one frame for each."""
    import av

    graph: Graph | None = None
    positions: list[int] = []

    def pulled() -> Iterator[tuple[int, "VideoFrame"]]:
        assert graph is not None
        try:
            while True:
                frame = graph.vpull()
                yield positions.pop(0), frame
        except (av.error.BlockingIOError, av.error.EOFError):
            return

    for position, frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield position, frame
            continue
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
            graph.configure()
        positions.append(position)
        graph.vpush(frame)
        yield from pulled()
    if graph is not None:
        graph.vpush(None)
        yield from pulled()


class RgbConverter:
    """Converts the frames of one video to ``(H, W, 3) uint8`` RGB.

    YUV becomes RGB by the matrix and range that the video names (BT.601, limited range, where it names none), and more
    than 8 bits a channel become 8.

    Args:
        path: of the video, for messages.
        aspect: width of a pixel over its height.
    """

    def __init__(self, path: Path | str, aspect: float) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._path, self._aspect = path, aspect
        self._reformatter = VideoReformatter()
        self._interpolation = Interpolation.BICUBIC  # as OpenCV; accurate rounding takes twenty times as long
        self._size: tuple[int, int] | None = None

    def __call__(self, frame: "VideoFrame") -> NDArray[np.uint8]:
        """One frame.

        Raises:
            FrameError: it has another size than the first, or is to be shown at an angle that is no quarter turn.
        """
        size = frame.width, frame.height
        if self._size not in (None, size):
            (w, h), (w0, h0) = size, self._size or size
            raise FrameError(
                f"{self._path}: {w}x{h} px after frames of {w0}x{h0}; all frames of a clip must have one size"
            )
        self._size = size
        width, height = _square(*size, self._aspect)
        shown = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=self._interpolation, threads=1
        )
        pixels = cast("NDArray[np.uint8]", shown.to_ndarray())
        return np.ascontiguousarray(np.rot90(pixels, self._quarter_turns(frame)))

    def _quarter_turns(self, frame: "VideoFrame") -> int:
        turns, rest = divmod(frame.rotation, 90)
        if rest:
            raise FrameError(f"{self._path}: to be shown turned by {frame.rotation} degrees; turn it upright first")
        return turns


def _square(width: int, height: int, aspect: float) -> tuple[int, int]:
    """The size with square pixels; the side that is too short grows, so that nothing is lost."""
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))
