"""Reading clips out of a store beside what the codec alone can decode of the same bytes, on one core, in turns.

The limit is Blosc decompressing the same chunks, which lie in memory already, into arrays that are there already: no
file, no index, no checksum, nothing else. "Zarr" is plain zarr-python reading the same frames. Clips are textured noise
that drifts, packed about as real crops are. CPU seconds of this process; the median of ratios taken in turns.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import cv2
import numcodecs.blosc
import numpy as np
import zarr

from schemas.layout import FRAMES_PER_CHUNK, FRAMES_PER_SHARD, object_path
from schemas.store.reader import Store
from tests.benchmarks.profiles import shares
from tests.benchmarks.sharing import store_of
from tests.benchmarks.table import Beside, Goal, Row

CLIPS, REPEATS, SAMPLED = 8, 5, 8


def rows(*, short: bool) -> Iterator[Row]:
    """Whole clips, frames spread over them, and frames at the onset."""
    numcodecs.blosc.use_threads = False
    for count, size in ((16, 112),) if short else ((64, 112), (64, 224)):
        with TemporaryDirectory() as folder:
            textures = (drifting(index, count, size) for index in range(CLIPS))
            store = store_of(Path(folder) / "s.zarr", textures, clips=CLIPS, frames=count, size=size)
            spread = np.linspace(0, count - 1, SAMPLED).round().astype(int)
            reads = {
                "all frames": np.arange(count),
                f"{SAMPLED} frames, spread": spread,
                "16 at the onset": np.arange(16),
            }
            for name, frames in reads.items():
                yield compared(store, frames, f"clips of {count} frames, {size} px: {name}", 1 if short else REPEATS)


def compared(store: Store, frames: np.ndarray, what: str, repeats: int) -> Row:
    """Clips/s of each."""
    keys = [entry.key for entry in store.manifest.clips]
    array = zarr.open_group(store.path, mode="r")["texture"]
    needed = sorted(set((frames // FRAMES_PER_CHUNK).tolist()))
    packed = [chunks_of(store, index, needed) for index in range(len(keys))]
    target = np.empty((FRAMES_PER_CHUNK, *array.shape[2:]), np.uint8)

    def limit() -> None:
        for chunks in packed:
            for chunk in chunks:
                numcodecs.blosc.decompress(chunk, target)

    def ours() -> None:
        for key in keys:
            store.clip_array("texture", key, frames)

    def plain() -> None:
        for index in range(len(keys)):
            if np.array_equal(frames, range(len(frames))):
                array[index, : len(frames)]
            else:
                array.oindex[index, frames]

    turns = [[seconds(read) for read in (ours, plain, limit)] for _ in range(repeats)]
    mine, other, least = (CLIPS / median(column) for column in zip(*turns, strict=True))
    peer, limit = Beside(other, "plain Zarr"), Beside(least, "Blosc alone")
    taken = median(turn[2] / turn[0] for turn in turns)
    goal = Goal("≥", 0.8, "limit")
    return Row(what=what, unit="clips/s", ours=mine, peer=peer, limit=limit, taken=taken, goal=goal, why=shares(ours))


def chunks_of(store: Store, index: int, needed: list[int]) -> list[bytes]:
    """The compressed chunks of a clip, without their checksums."""
    data = (Path(str(store.path)) / object_path("texture", index)).read_bytes()
    shard = len(data) - FRAMES_PER_SHARD // FRAMES_PER_CHUNK * 16 - 4
    table = np.frombuffer(data[shard:-4], np.uint64).reshape(-1, 2).tolist()
    return [data[offset : offset + size - 4] for offset, size in (table[number] for number in needed)]


def drifting(seed: int, frames: int, size: int) -> np.ndarray:
    """A smooth picture that drifts, with a camera's noise: ``(T, S, S, 3) uint8``."""
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (size + frames, size, 3)).astype(np.float32), (0, 0), 4) * 4 % 256
    moved = np.stack([picture[t // 4 : t // 4 + size] for t in range(frames)])
    return (moved + rng.normal(0, 2, moved.shape)).clip(0, 255).astype(np.uint8)


def seconds(read: Callable[[], None]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    read()
    return time.process_time() - started
