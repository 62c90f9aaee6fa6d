"""The numbers behind the page of one clip: what is drawn of its frames, and the curves over them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.mesh.regions import region_masks
from pipeline.inspect.figures import change_against
from schemas.layout import FRAMES_PER_CHUNK
from schemas.manifest import ClipEntry
from schemas.store.reader import Store

# Steps of the integers that frames are sent as; the page multiplies by them. float16 has no finer steps near 1.
CHANGE_STEP, DEPTH_STEP = 1 / 64, 1 / 4096
_SENT = 48e6  # bytes of frames that are sent to the browser at once
_BYTES_A_PIXEL = 7  # texture, change, depth

Block = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Curves:
    """What changes from frame to frame, ``(T,)`` each.

    Attributes:
        numbers: frame numbers as in the files.
        times: s from the first frame.
        motion: mean absolute change of the smoothed grey levels against onset; zeros without texture.
        depth: region of an action unit -> mean depth there, against onset; empty without depth.
        units: action unit -> its values; empty where the store has them of onset and apex alone.
    """

    numbers: NDArray[np.int32]
    times: NDArray[np.float64]
    motion: NDArray[np.float64]
    depth: dict[str, NDArray[np.float64]]
    units: dict[str, NDArray[np.float32]]


class ClipFrames:
    """One clip, decoded block by block, so that a long one takes no more memory than a short one.

    Args:
        store: that holds it.
        entry: of the clip.

    Attributes:
        onset: position in the clip.
        apex: position in the clip.

    Raises:
        StoreError: the clip failed, or is damaged.
    """

    def __init__(self, store: Store, entry: ClipEntry) -> None:
        self._store, self.entry = store, entry
        self.onset, self.apex = store.phases(entry.key)
        self._onset_frame = None
        if "texture" in entry.objects:
            self._onset_frame = store.clip_array("texture", entry.key, slice(self.onset, self.onset + 1))[0]

    @property
    def block(self) -> int:
        """Frames that are sent at once: whole chunks."""
        size = self._store.manifest.provenance.config.size
        return max(int(_SENT / (_BYTES_A_PIXEL * size**2)) // FRAMES_PER_CHUNK, 1) * FRAMES_PER_CHUNK

    def read(self, number: int) -> Block:
        """Block ``number``, of ``N`` frames of ``P`` pixels.

        ``position (N,)`` in the clip, and of what the store has: ``texture (N, 3 P) uint8``, ``change (N, P) int16`` in
        steps of ``CHANGE_STEP`` grey levels, ``depth (N, P) int16`` in steps of ``DEPTH_STEP``.
        """
        first = number * self.block
        part = slice(first, min(first + self.block, self.entry.n_frames))
        found: Block = {"position": np.arange(part.start, part.stop)}
        if self._onset_frame is not None:
            texture = self._store.clip_array("texture", self.entry.key, part)
            change = np.stack([change_against(self._onset_frame, frame) for frame in texture])
            found |= {"texture": _flat(texture), "change": _flat(_steps(change, CHANGE_STEP))}
        if "depth" in self.entry.objects:
            depth = self._store.clip_array("depth", self.entry.key, part)
            found["depth"] = _flat(_steps(depth.astype(np.float32), DEPTH_STEP))
        return found

    def curves(self) -> Curves:
        """Of the whole clip."""
        entry, size = self.entry, self._store.manifest.provenance.config.size
        motion, depth = [], []
        for block in self._blocks():
            if "change" in block:
                motion.append(np.abs(block["change"].astype(np.float32)).mean(1) * CHANGE_STEP)
            if "depth" in block:
                depth.append(_region_means(block["depth"], size) * DEPTH_STEP)
        count = entry.n_frames
        times = np.array(entry.seconds or range(count), np.float64)
        regions = np.concatenate(depth) if depth else np.zeros((count, 0))
        units = {}
        if "au_frames" in entry.objects:
            values = self._store.clip_array("au_frames", entry.key)
            units = dict(zip(self._store.manifest.action_units.names, values.T, strict=True))
        return Curves(
            numbers=self._store.frame_numbers(entry.key),
            times=times,
            motion=np.concatenate(motion) if motion else np.zeros(count),
            depth=dict(zip(masks(size), (regions - regions[self.onset]).T, strict=True)) if depth else {},
            units=units,
        )

    def _blocks(self) -> Iterator[Block]:
        for number in range(-(-self.entry.n_frames // self.block)):
            yield self.read(number)


@lru_cache(2)
def masks(size: int) -> dict[str, NDArray[np.bool_]]:
    """``region_masks``, kept: they are the same for every clip."""
    return region_masks(size)


def _region_means(depth: NDArray[np.int16], size: int) -> NDArray[np.float64]:
    return np.stack([depth[:, mask.ravel()].mean(1) for mask in masks(size).values()], axis=1)


def _steps(values: NDArray[np.float32], step: float) -> NDArray[np.int16]:
    limits = np.iinfo(np.int16)
    return np.asarray(np.clip(np.rint(values / step), limits.min, limits.max), np.int16)


def _flat(frames: NDArray[Any]) -> NDArray[Any]:
    return frames.reshape(len(frames), -1)
