"""Write the arrays of a store: one clip's objects at a time, the columns at the end."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numcodecs.blosc
import numpy as np
import zarr
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray
from zarr.errors import ZarrUserWarning

from schemas.layout import SPECS, object_path
from schemas.manifest import StoredObject
from schemas.output import output_errors
from schemas.store.files import stored_object

# Blosc's own threads append blocks in the order in which they finish: the same pixels, other bytes.
numcodecs.blosc.use_threads = False

_CRC32C = CRC32C(location="end")
_CHECKSUM = 4  # bytes
_INDEX_ENTRY = 16  # bytes
_NO_CHUNK = np.uint64(2**64 - 1)


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
