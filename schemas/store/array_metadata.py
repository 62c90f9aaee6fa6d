"""Zarr metadata from a stranger: exactly what mer writes for the manifest's dimensions, or nothing is decoded.

Zarr would do as the metadata says: load any codec that is installed, and make room for any shape.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from schemas.errors import StoreDamagedError
from schemas.layout import CLIPS_PER_COLUMN_CHUNK, FRAMES_PER_CHUNK, FRAMES_PER_SHARD, SPECS, ArraySpec
from schemas.manifest import Manifest
from schemas.store.location import StoreLocation
from schemas.strict_json import strict_json

_LARGEST_TEXT = 2**20  # bytes; that of all arrays is 20 kB
_LARGEST_READ = 8 * 2**30  # bytes decoded at once: a clip of one array, or a column
_CRC32C = {"name": "crc32c"}
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}


def array_metadata(place: StoreLocation, text: bytes, manifest: Manifest) -> dict[str, Any]:
    """The metadata of every array, out of a store's ``zarr.json``.

    Args:
        place: of the store, to be named in errors.
        text: of its ``zarr.json``.
        manifest: which says what the arrays must be.

    Raises:
        StoreDamagedError: anything in it is not what mer writes.
    """
    try:
        if len(text) > _LARGEST_TEXT:
            raise ValueError(f"{len(text)} bytes are more than it can have")
        root = strict_json(text)
        arrays = root["consolidated_metadata"]["metadata"]
        fault = _group_fault(root) or next(_array_faults(arrays, manifest), None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        fault = f"{type(error).__name__}: {error}"
    if fault is not None:
        raise StoreDamagedError(
            f"{place}: zarr.json: {fault}; it is not what mer writes for this manifest, so nothing was decoded: "
            "ask whoever made the store"
        )
    return dict(arrays)


def _group_fault(root: dict[str, Any]) -> str | None:
    rest = {name: value for name, value in root.items() if name != "consolidated_metadata"}
    expected = {"zarr_format": 3, "node_type": "group", "attributes": {"format": "mer-store"}}
    return None if rest == expected else f"the group is {_short(rest)}, expected {expected}"


def _array_faults(arrays: dict[str, Any], manifest: Manifest) -> Iterator[str]:
    if set(arrays) != set(manifest.arrays):
        yield f"describes the arrays {_short(sorted(arrays))}, the manifest has {sorted(manifest.arrays)}"
    longest = max((entry.n_frames for entry in manifest.clips), default=0)
    frames = arrays["frame_number"]["shape"][1]
    if type(frames) is not int or frames < longest:
        yield f"the frame axis is {_short(frames)} long, the longest clip {longest}"
    lengths = {
        "clip": len(manifest.clips), "frame": frames, "x": manifest.provenance.config.size,
        "y": manifest.provenance.config.size, "rgb": 3, "phase": 2, "row": 2, "column": 3,
        "action_unit": len(manifest.action_units.names),
    }  # fmt: skip
    for name in manifest.arrays:
        spec = SPECS[name]
        shape = [lengths[dim] for dim in spec.dims]
        itemsize = 8 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
        if math.prod(shape[1:] if spec.per_clip else shape) * itemsize > _LARGEST_READ:
            yield f"{name} is {shape}: more than {_LARGEST_READ} bytes to be read at once"
        found = arrays[name]
        allowed = [_described(spec, shape, room) for room in _rooms(spec, frames)]
        if found not in allowed:
            differing = [key for key in {**found, **allowed[0]} if found.get(key) != allowed[0].get(key)]
            key = differing[0]
            yield f"{name}: {key} is {_short(found.get(key))}, expected {_short(allowed[0].get(key))}"


def _rooms(spec: ArraySpec, frames: int) -> list[int]:
    """Frames that an object has room for: today, and in stores written before the index had one length."""
    return [-(-frames // unit) * unit for unit in (FRAMES_PER_SHARD, FRAMES_PER_CHUNK)] if spec.per_clip else [0]


def _described(spec: ArraySpec, shape: list[int], room: int) -> dict[str, Any]:
    """The metadata of one array as Zarr writes it."""
    chunk = [1, room, *shape[2:]] if spec.per_clip else list(shape)
    if not spec.per_clip and spec.dims[0] == "clip":
        chunk[0] = CLIPS_PER_COLUMN_CHUNK
    codecs = _codecs(spec)
    if spec.per_clip:
        inner = {
            "chunk_shape": [1, FRAMES_PER_CHUNK, *shape[2:]], "codecs": codecs,
            "index_codecs": [_LITTLE_ENDIAN, _CRC32C], "index_location": "end",
        }  # fmt: skip
        codecs = [{"name": "sharding_indexed", "configuration": inner}]
    return {
        "shape": shape,
        "data_type": "string" if spec.dtype == "str" else spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": spec.fill_value,
        "codecs": codecs,
        "attributes": {key: value for key in ("description", "unit") if (value := getattr(spec, key))},
        "dimension_names": list(spec.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _codecs(spec: ArraySpec) -> list[dict[str, Any]]:
    text, itemsize = spec.dtype == "str", 1 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
    first = _LITTLE_ENDIAN if itemsize > 1 else {"name": "bytes"}
    blosc = {"typesize": itemsize, "cname": "zstd", "clevel": 3, "shuffle": spec.shuffle, "blocksize": 0}
    return [
        {"name": "vlen-utf8", "configuration": {}} if text else first,
        {"name": "blosc", "configuration": blosc},
        _CRC32C,
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
