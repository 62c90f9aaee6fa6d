"""Read frames out of the object of one clip: a shard as Zarr's ``sharding_indexed`` writes it and mer declares it.

Zarr itself needs some 3 ms a call, whatever is asked for, and copies what it decodes; here the chunks that hold the
frames are decoded to where they are wanted. The metadata has been held against what mer writes
(``schemas.store.format``) before, so that codecs and shapes are known; each chunk's checksum is looked at before it is
decoded, because Blosc can crash on damaged bytes.
"""

from dataclasses import dataclass
from struct import unpack_from
from typing import IO, Any

import google_crc32c
import numcodecs.blosc
import numpy as np
from numpy.typing import NDArray

_CHECKSUM = 4  # bytes, of a CRC-32C
_ENTRY = 16  # bytes: offset and length of a chunk
_BLOSC_HEADER = 16  # bytes
_ABSENT = 2**64 - 1  # offset of a chunk that holds fill values alone


@dataclass(frozen=True)
class ShardLayout:
    """How the objects of an array are laid out.

    Attributes:
        chunks: that the index at the end of an object has room for.
        shape: of a chunk; the first axis is that of the frames.
        dtype: of the values.
        fill: value of frames that were not written.
    """

    chunks: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: float = 0


def read_frames(file: IO[bytes], length: int, frames: NDArray[np.integer], layout: ShardLayout) -> NDArray[Any]:
    """Frames of one clip, ``(len(frames), ...)``, in the order in which they are asked for.

    Args:
        file: the object.
        length: of it, bytes.
        frames: positions of the frames.
        layout: of the object.

    Raises:
        ValueError: the index or a chunk is damaged.
    """
    index_start = length - layout.chunks * _ENTRY - _CHECKSUM
    if index_start < 0:
        raise ValueError(f"{length} bytes hold no index of {layout.chunks} chunks")
    per_chunk = layout.shape[0]
    needed = np.unique(frames // per_chunk)

    index = np.frombuffer(_checked(file, index_start, length - index_start, "its index"), "<u8").reshape(-1, 2)
    decoded = np.empty((len(needed) * per_chunk, *layout.shape[1:]), layout.dtype)
    for place, number in enumerate(needed.tolist()):
        offset, size = index[number].tolist()
        target = decoded[place * per_chunk : (place + 1) * per_chunk]
        if offset == _ABSENT:
            target[...] = layout.fill
            continue
        if offset + size > index_start:
            raise ValueError(f"chunk {number} lies outside the object")
        _decode(_checked(file, offset, size, f"chunk {number}"), target)
    if np.array_equal(frames, np.arange(len(frames)) + needed[:1] * per_chunk):  # from the start of a chunk on
        return decoded[: len(frames)]
    return decoded[np.searchsorted(needed, frames // per_chunk) * per_chunk + frames % per_chunk]


def _checked(file: IO[bytes], start: int, size: int, what: str) -> bytes:
    """A part of the file without the checksum that it ends in."""
    file.seek(start)
    body, checksum = file.read(max(0, size - _CHECKSUM)), file.read(_CHECKSUM)  # in two: a slice would be a copy
    if len(checksum) < _CHECKSUM or google_crc32c.value(body) != int.from_bytes(checksum, "little"):
        raise ValueError(f"{what} is damaged: its checksum does not fit")
    return body


def _decode(data: bytes, target: NDArray[Any]) -> None:
    if len(data) < _BLOSC_HEADER or unpack_from("<I", data, 4)[0] != target.nbytes:
        raise ValueError(f"a chunk decodes to other than {target.nbytes} bytes")
    if unpack_from("<I", data, 12)[0] != len(data):
        raise ValueError("a chunk is of another length than it says")
    numcodecs.blosc.decompress(data, target)
