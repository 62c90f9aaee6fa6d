"""Clips of stores as tensors at the model's size: read one by one, or kept in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import ConfigError, StoreError
from schemas.store.location import StoreLocation, StoreUrl
from schemas.store.prefetch import prefetched
from schemas.store.reader import Store
from training.data.batch import INPUTS, Input
from training.data.coded_units import coded_units
from training.data.motion import flow_from_onset


@dataclass(frozen=True)
class StoredClip:
    """One whole clip.

    Attributes:
        texture: ``(N, 3, S, S) uint8`` RGB; no channel where no model reads it.
        depth: ``(N, 1, S, S) float16``, normalised once a clip; no channel where no model reads it.
        flow: ``(N, 2, S, S) float16``, optical flow from the onset, px; ``None`` where no model reads it.
        au: ``(A,) float32``, apex minus onset (MADV-Net Eq. 3's V).
        onset: position in the clip.
        apex: position in the clip.
        coded: ``(A,) float32``, annotated action units; see ``training.data.coded_units``.
    """

    texture: Tensor
    depth: Tensor
    au: Tensor
    onset: int
    apex: int
    flow: Tensor | None = None
    coded: Tensor | None = None

    def taken(self, positions: NDArray[np.intp]) -> "StoredClip":
        """These frames of it; onset and apex are then the frames among them that are nearest."""
        at = torch.from_numpy(positions).to(self.texture.device)
        return replace(
            self,
            texture=self.texture[at],
            depth=self.depth[at],
            flow=None if self.flow is None else self.flow[at],
            onset=int(np.abs(positions - self.onset).argmin()),
            apex=int(np.abs(positions - self.apex).argmin()),
        )


Choose = Callable[[int, int, int], NDArray[np.intp]]  # frames, onset and apex of a clip -> positions of frames


class ClipSource(Protocol):
    """Clips by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> StoredClip: ...

    def sampled(self, draws: Iterable[tuple[int, Choose]]) -> Iterator[StoredClip]:
        """Frames of clips, one after the other; a source that has to wait for some fetches the next ones meanwhile."""
        for index, choose in draws:
            clip = self[index]
            yield clip.taken(choose(len(clip.texture), clip.onset, clip.apex))


@dataclass(frozen=True)
class Clips:
    """The clips of a run and where they lie. It is small and hashable: a worker process gets it and opens it itself.

    Attributes:
        stores: locations of the stores that hold the clips.
        contents: content hash of each store, since a worker may outlive a store that is made anew.
        keys: keys of the clips; their order numbers them.
        labels: class index of each clip, 0 where no labels are read.
        size: side of the frames, px.
        inputs: what the model reads of a clip.
    """

    stores: tuple[StoreLocation, ...]
    contents: tuple[str, ...]
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    size: int
    inputs: frozenset[Input] = INPUTS

    def open(self, cache: torch.device | str | None) -> ClipSource:
        """The clips, read once onto the device ``cache``; ``None`` reads each from its store when asked for it."""
        reader = ClipReader(self.stores, self.keys, size=self.size, inputs=self.inputs)
        return reader if cache is None else ClipCache(reader, cache)

    def positions(self, keys: Iterable[str]) -> list[int]:
        """Numbers of clips by their keys."""
        place = {key: index for index, key in enumerate(self.keys)}
        return [place[key] for key in keys]


class ClipReader(ClipSource):
    """Clips read from their stores when asked for. Spawned workers open the stores themselves.

    Args:
        stores: that hold the clips.
        keys: of the clips, in the order of their numbers.
        size: side to bring the frames to, px.
        inputs: what to read; the rest comes without channels.
    """

    def __init__(
        self, stores: Sequence[StoreLocation], keys: Sequence[str], *, size: int, inputs: frozenset[Input] = INPUTS
    ) -> None:
        self.paths, self.keys, self.size, self.inputs = tuple(stores), tuple(keys), size, inputs

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> StoredClip:
        """Read one clip.

        Raises:
            StoreDamagedError: it does not decode.
        """
        return self._read(index, np.arange(self._phases(index)[0]))

    def _phases(self, index: int) -> tuple[int, int, int]:
        """Frames of a clip, positions of onset and apex."""
        columns = self._columns[self.keys[index]]
        row = columns.store.manifest.index[self.keys[index]]
        return columns.store.manifest.rows[row].n_frames, int(columns.onset[row]), int(columns.apex[row])

    def _read(self, index: int, kept: NDArray[np.intp]) -> StoredClip:
        """These frames of a clip, rising, the onset among them: what is not wanted is neither decoded nor resized."""
        key = self.keys[index]
        columns = self._columns[key]
        store, row = columns.store, columns.store.manifest.index[key]
        entry, frames = store.manifest.rows[row], len(kept)
        at_onset, at_apex = (int(np.abs(kept - phase).argmin()) for phase in self._phases(index)[1:])
        texture = torch.empty(frames, 0, self.size, self.size, dtype=torch.uint8)
        depth = torch.empty(frames, 0, self.size, self.size, dtype=torch.float16)
        flow = None
        if self.inputs & {"texture", "flow"}:
            texture = resized(torch.from_numpy(store.clip_array("texture", key, kept)).permute(0, 3, 1, 2), self.size)
        if "depth" in self.inputs:
            depth = resized(torch.from_numpy(store.clip_array("depth", key, kept))[:, None].float(), self.size).half()
        onset, apex = columns.au[row]
        if "flow" in self.inputs:
            flow, texture = flow_from_onset(texture, at_onset), texture[:, :0]
        coded = coded_units(entry.label.action_units, store.manifest.action_units.names)
        return StoredClip(
            texture,
            depth,
            torch.from_numpy(apex - onset),
            at_onset,
            at_apex,
            flow,
            torch.from_numpy(coded),
        )

    def read(self, indices: Iterable[int]) -> Iterator[StoredClip]:
        """Clips one after the other; from a URL, the next few come over the network meanwhile.

        Raises:
            StoreDamagedError: one does not decode.
            TransferError: one does not come.
        """
        if any(isinstance(path, StoreUrl) for path in self.paths):
            indices = prefetched(indices, self._prefetch)
        for index in indices:
            yield self[index]

    def sampled(self, draws: Iterable[tuple[int, Choose]]) -> Iterator[StoredClip]:
        """See ``ClipSource``; only the chunks that hold the frames are decoded. Raises as ``read``."""
        if any(isinstance(path, StoreUrl) for path in self.paths):
            draws = prefetched(draws, lambda draw: self._prefetch(draw[0]))
        for index, choose in draws:
            frames, onset, apex = self._phases(index)
            chosen = choose(frames, onset, apex)
            kept = np.union1d(chosen, [onset])
            clip = self._read(index, kept).taken(np.searchsorted(kept, chosen))
            at_onset, at_apex = (int(np.abs(chosen - phase).argmin()) for phase in (onset, apex))
            yield replace(clip, onset=at_onset, apex=at_apex)

    def _prefetch(self, index: int) -> None:
        self._columns[self.keys[index]].store.prefetch(self.keys[index], arrays_of(self.inputs))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_columns"}

    @cached_property
    def _columns(self) -> dict[str, "_Columns"]:
        """Key -> the columns of its store."""
        wanted, found = set(self.keys), {}
        for path in self.paths:
            columns = _Columns.of(Store.open(path))
            found.update(dict.fromkeys(wanted & columns.store.manifest.index.keys(), columns))
        if missing := wanted - found.keys():
            raise StoreError(f"{min(missing)} is in none of {', '.join(map(str, self.paths))}; did a store change?")
        return found


class ClipCache(ClipSource):
    """Clips read once and kept, in memory or on a device.

    Args:
        source: to read from.
        device: to keep them on.
    """

    def __init__(self, source: ClipReader, device: torch.device | str) -> None:
        self._clips = [_on(clip, device) for clip in source.read(range(len(source)))]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> StoredClip:
        return self._clips[index]


@dataclass(frozen=True)
class _Columns:
    store: Store
    au: NDArray[np.float32]
    onset: NDArray[np.int32]
    apex: NDArray[np.int32]

    @classmethod
    def of(cls, store: Store) -> "_Columns":
        return cls(store, store.column("au"), store.column("onset_index"), store.column("apex_index"))


def resized(frames: Tensor, size: int) -> Tensor:
    """``(N, C, H, W)`` frames at another side, px, antialiased; the dtype stays."""
    if frames.shape[-1] == size:
        return frames.contiguous()
    return F.interpolate(frames, (size, size), mode="bilinear", antialias=True)


def check_stores(stores: Iterable[Store], *, size: int, inputs: frozenset[Input]) -> tuple[str, ...]:
    """Whether stores can be read by one model, and together. Returns the names of the AU columns.

    Raises:
        ConfigError: one has smaller frames, lacks what the model reads, or they were made with other tools.
    """
    listed = list(stores)
    for store in listed:
        config = store.manifest.provenance.config
        if config.size < size:
            raise ConfigError(
                f"{store.path}: its frames are {config.size} px, fewer than the model's {size}; choose --size "
                f"{config.size} or less, or preprocess with --size {size}"
            )
        for name in ("texture", "depth"):
            if name in arrays_of(inputs) and name not in store.manifest.arrays:
                remedy = "add --set model_options.depth=false" if name == "depth" else "use a store that has it"
                raise ConfigError(f"{store.path}: made without {name}, which the model reads; {remedy}")
    first = listed[0]
    for store in listed[1:]:
        for part in ("action_units", "depth"):
            mine, theirs = getattr(first.manifest, part), getattr(store.manifest, part)
            if mine != theirs and (part == "action_units" or part in inputs):
                raise ConfigError(
                    f"{store.path}: its {part.replace('_', ' ')} are of {_tool(theirs)}, those of {first.path} of "
                    f"{_tool(mine)}; one model cannot read both: preprocess with equal backends and versions"
                )
    return first.manifest.action_units.names


def arrays_of(inputs: frozenset[Input]) -> frozenset[str]:
    """The arrays of a store that these inputs are read from; flow is made of the texture."""
    return frozenset("texture" if name == "flow" else name for name in inputs)


def _tool(part: Any) -> str:
    return "nothing" if part is None else f"{part.tool} {part.version}"


def _on(clip: StoredClip, device: torch.device | str) -> StoredClip:
    flow = None if clip.flow is None else clip.flow.to(device)
    return replace(clip, texture=clip.texture.to(device), depth=clip.depth.to(device), au=clip.au.to(device), flow=flow)
