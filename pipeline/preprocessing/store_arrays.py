"""Write the arrays of a store: create them, one clip's objects at a time, the columns at the end."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numcodecs.blosc
import numpy as np
import zarr
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from schemas.layout import (
    CLIPS_PER_COLUMN_CHUNK,
    FRAMES_PER_CHUNK,
    FRAMES_PER_SHARD,
    SPECS,
    ArraySpec,
    array_names,
    object_path,
)
from schemas.manifest import StoredObject
from schemas.output import output_errors

# Blosc's own threads append blocks in the order in which they finish: the same pixels, other bytes.
numcodecs.blosc.use_threads = False

_CRC32C = CRC32C(location="end")
_CHECKSUM = 4  # bytes
_INDEX_ENTRY = 16  # bytes
_NO_CHUNK = np.uint64(2**64 - 1)


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


def create_arrays(path: Path, dimensions: Dimensions) -> None:
    """Create the group and its empty arrays; what is there already is replaced."""
    with output_errors(path):
        group = zarr.create_group(path, overwrite=True, attributes={"format": "mer-store"})
        for name in dimensions.names:
            _create_array(group, SPECS[name], dimensions.shape(SPECS[name]))


def _create_array(group: zarr.Group, spec: ArraySpec, shape: tuple[int, ...]) -> None:
    chunks = list(shape)
    shards: tuple[int, ...] | None = None
    if spec.per_clip:
        chunks[:2] = 1, FRAMES_PER_CHUNK
        shards = (1, shard_frames(shape[1]), *shape[2:])
    elif spec.dims[0] == "clip":
        chunks[0] = CLIPS_PER_COLUMN_CHUNK
    typesize = 1 if spec.dtype == "str" else np.dtype(spec.dtype).itemsize
    attributes = {key: value for key in ("description", "unit") if (value := getattr(spec, key))}
    group.create_array(
        spec.name,
        shape=shape,
        dtype=str if spec.dtype == "str" else spec.dtype,
        chunks=tuple(chunks),
        shards=shards,
        fill_value=spec.fill_value,
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle=spec.shuffle, typesize=typesize), Crc32cCodec()],
        dimension_names=spec.dims,
        attributes=attributes,
    )


def shard_frames(frames: int) -> int:
    """Frames that a clip's object has room for in a store with this frame axis."""
    return -(-frames // FRAMES_PER_SHARD) * FRAMES_PER_SHARD


def write_clip(path: Path, index: int, values: Mapping[str, NDArray[Any]]) -> dict[str, StoredObject]:
    """Write one clip's part of the clip arrays, each ``(T, ...)``; returns size and hash of every object.

    An object left by a killed run is removed first: Zarr would merge a partial shard into it.
    """
    stored = {}
    with output_errors(path):
        group = zarr.open_group(path, mode="r+")
        for name, value in values.items():
            file = path / object_path(name, index)
            file.unlink(missing_ok=True)
            array = _writable(group, name)
            array[index : index + 1, : len(value)] = value[None]
            stored[name] = stored_object(file)
    return stored


def write_columns(path: Path, columns: Mapping[str, NDArray[Any] | Sequence[str]]) -> None:
    """Write whole columns, then consolidate the metadata: one read opens the store, and Zarr need not list it."""
    with output_errors(path):
        group = zarr.open_group(path, mode="r+")
        for name, values in columns.items():
            array = _writable(group, name)
            array[...] = np.asarray(values, object if SPECS[name].dtype == "str" else None)
        with warnings.catch_warnings():  # consolidated metadata is not yet in the specification of Zarr 3
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(path, zarr_format=3)


def _writable(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array that writes what is all fill value too, so that an object which is absent is one that was lost."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array.with_config({"write_empty_chunks": True})


def resized_shard(data: bytes, *, chunks: int, room: int) -> bytes:
    """The same shard with an index of another length; the chunks' bytes stay as and where they are.

    A shard ends in its index: per chunk its offset and length (both ``uint64``, little-endian, all ones where there
    is no chunk), then their CRC-32C (Zarr's ``sharding_indexed``, ``index_location`` end).

    Args:
        data: the object.
        chunks: chunks that its index has.
        room: chunks that the index shall have.

    Raises:
        ValueError: the index is damaged, or lists chunks that there is no room for.
    """
    start = len(data) - chunks * _INDEX_ENTRY - _CHECKSUM
    if start < 0:
        raise ValueError(f"{len(data)} bytes hold no index of {chunks} chunks")
    try:
        index = np.frombuffer(_CRC32C.decode(data[start:]), np.uint64)
    except RuntimeError as error:
        raise ValueError(f"its index is damaged: {error}") from error
    if (index[2 * room :] != _NO_CHUNK).any():
        raise ValueError(f"it has more than {room} chunks")
    fitted = np.full(2 * room, _NO_CHUNK)
    fitted[: len(index)] = index[: 2 * room]
    return data[:start] + bytes(_CRC32C.encode(fitted.tobytes()))


def stored_object(file: Path) -> StoredObject:
    """Size and hash of a file."""
    with file.open("rb") as stream:
        return hashed(stream)


def hashed(stream: IO[bytes]) -> StoredObject:
    """Size and hash of what is left of a stream."""
    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    return {"bytes": stream.tell(), "sha256": sha256}
