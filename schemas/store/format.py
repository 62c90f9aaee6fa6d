"""The arrays of a store as Zarr makes them: to be written, and to hold the metadata of a foreign store against.

There is one description of a store's arrays, ``schemas.layout``, and Zarr itself turns it into metadata. What a
foreign store says must be the same, or nothing of it is decoded: Zarr would do as the metadata says, load any codec
that is installed, and allocate any shape.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore, StoreLike

from schemas.errors import StoreDamagedError
from schemas.layout import (
    CLIPS_PER_COLUMN_CHUNK,
    FRAMES_PER_CHUNK,
    FRAMES_PER_SHARD,
    SPECS,
    ArraySpec,
    array_names,
)
from schemas.manifest import Manifest
from schemas.settings import shortened
from schemas.store.location import StoreLocation
from schemas.strict_json import strict_json

Packing = tuple[int, int]  # level of zstd, bytes of a block; 0: as Blosc chooses

_LARGEST_TEXT = 2**20  # bytes; that of all arrays is 20 kB
_LARGEST_READ = 8 * 2**30  # bytes decoded at once: a clip of one array, or a column
_GROUP = {"format": "mer-store"}

# A block of several frames, which resemble each other, still fits a core's second cache; by itself Blosc takes 32 to
# 128 kB. It unpacks either kind whatever the metadata says, so that objects of both may lie in one array.
PACKING: Packing = (1, 2**19)
EARLIER_PACKING: Packing = (3, 0)  # of stores made before


@dataclass(frozen=True)
class Dimensions:
    """Lengths of a store's axes."""

    clips: int
    frames: int
    size: int
    action_units: tuple[str, ...]
    depth: bool
    au_frames: bool
    texture: bool = True

    @classmethod
    def of(cls, manifest: Manifest, *, clips: int, frames: int) -> "Dimensions":
        """Those of a store with the arrays of a manifest."""
        arrays = manifest.arrays
        return cls(
            clips=clips,
            frames=frames,
            size=manifest.provenance.config.size,
            action_units=manifest.action_units.names,
            depth="depth" in arrays,
            au_frames="au_frames" in arrays,
            texture="texture" in arrays,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays of this store."""
        return array_names(depth=self.depth, au_frames=self.au_frames, texture=self.texture)

    def shape(self, spec: ArraySpec) -> tuple[int, ...]:
        """Shape of one array."""
        length = {
            "clip": self.clips, "frame": self.frames, "y": self.size, "x": self.size, "rgb": 3,
            "phase": 2, "action_unit": len(self.action_units), "row": 2, "column": 3,
        }  # fmt: skip
        return tuple(length[dim] for dim in spec.dims)


def shard_frames(frames: int) -> int:
    """Frames that the index of a clip's object has room for in a store with this frame axis."""
    return -(-frames // FRAMES_PER_SHARD) * FRAMES_PER_SHARD


def create_arrays(
    store: StoreLike, dimensions: Dimensions, *, room: int | None = None, packing: Packing = PACKING
) -> None:
    """Create the group and its empty arrays; what is there already is replaced.

    Args:
        store: a path, or another store of Zarr.
        dimensions: of the arrays.
        room: frames that the index of a clip's object has room for; ``shard_frames`` by default.
        packing: what Zarr writes with from now on, also when a run is gone on with.
    """
    level, block = packing
    group = zarr.create_group(store, overwrite=True, attributes=_GROUP)
    for name in dimensions.names:
        spec, shape = SPECS[name], dimensions.shape(SPECS[name])
        chunks, shards = list(shape), None
        if spec.per_clip:
            chunks[:2] = 1, FRAMES_PER_CHUNK
            shards = (1, room or shard_frames(dimensions.frames), *shape[2:])
        elif spec.dims[0] == "clip":
            chunks[0] = CLIPS_PER_COLUMN_CHUNK
        typesize = 1 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
        group.create_array(
            name,
            shape=shape,
            dtype=str if spec.dtype == "str" else spec.dtype,
            chunks=tuple(chunks),
            shards=shards,
            fill_value=spec.fill_value,
            compressors=[
                BloscCodec(cname="zstd", clevel=level, shuffle=spec.shuffle, typesize=typesize, blocksize=block),
                Crc32cCodec(),
            ],
            dimension_names=spec.dims,
            attributes={key: value for key in ("description", "unit") if (value := getattr(spec, key))},
        )


def array_metadata(place: StoreLocation, text: bytes, manifest: Manifest) -> dict[str, Any]:
    """The metadata of every array, out of a store's ``zarr.json``.

    Args:
        place: where the store is, for messages.
        text: its ``zarr.json``.
        manifest: decides what the arrays must be.

    Raises:
        StoreDamagedError: anything in it is not what mer writes.
    """
    try:
        if len(text) > _LARGEST_TEXT:
            raise ValueError(f"{len(text)} bytes, more than the metadata of a store can have")
        root = strict_json(text)
        arrays = root["consolidated_metadata"]["metadata"]
        fault = _group_fault(root) or next(_array_faults(arrays, manifest), None)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        raise StoreDamagedError(
            f"{place}: zarr.json: {fault}; this is not what mer writes for this manifest, so nothing was decoded: "
            "copy the store again, or ask whoever made it"
        )
    return dict(arrays)


def _group_fault(root: dict[str, Any]) -> str | None:
    rest = {name: value for name, value in root.items() if name != "consolidated_metadata"}
    expected = {"zarr_format": 3, "node_type": "group", "attributes": _GROUP}
    return None if rest == expected else f"the group is {shortened(rest)}, expected {expected}"


def _array_faults(arrays: dict[str, Any], manifest: Manifest) -> Iterator[str]:
    if set(arrays) != set(manifest.arrays):
        yield f"it describes the arrays {shortened(sorted(arrays))}, the manifest has {sorted(manifest.arrays)}"
    longest = max((entry.n_frames for entry in manifest.rows), default=0)
    frames = arrays["frame_number"]["shape"][1]
    if type(frames) is not int or frames < longest:
        yield f"the frame axis is {shortened(frames)} long, the longest clip {longest}"
    dimensions = Dimensions.of(manifest, clips=len(manifest.clips), frames=frames)
    for name in manifest.arrays:
        spec, shape = SPECS[name], dimensions.shape(SPECS[name])
        itemsize = 8 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
        if math.prod(shape[1:] if spec.per_clip else shape) * itemsize > _LARGEST_READ:
            yield f"{name} is {shape}: more than {_LARGEST_READ} bytes to be read at once"
    before = -(-frames // FRAMES_PER_CHUNK) * FRAMES_PER_CHUNK  # when indices had no one length yet
    forms = list(product((shard_frames(frames), before), (PACKING, EARLIER_PACKING)))  # today's first
    for name in manifest.arrays:
        found = arrays[name]
        if not any(found == _created(dimensions, *form)[name] for form in forms):  # others are made when it is not
            expected = _created(dimensions, *forms[0])[name]
            key = next(key for key in {**found, **expected} if found.get(key) != expected.get(key))
            yield f"{name}: {key} is {shortened(found.get(key))}, expected {shortened(expected.get(key))}"


@lru_cache(maxsize=32)
def _created(dimensions: Dimensions, room: int, packing: Packing) -> dict[str, Any]:
    """The metadata that Zarr writes for these arrays, by name."""
    files: dict[str, Any] = {}
    create_arrays(MemoryStore(files), dimensions, room=room, packing=packing)
    return {name: json.loads(files[f"{name}/zarr.json"].to_bytes()) for name in dimensions.names}
