"""Frames read out of a clip's object are those that plain Zarr reads, and damage with sound checksums is refused."""

import struct
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from schemas.errors import StoreDamagedError
from schemas.layout import object_path
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

KEY, FRAMES, PER_CHUNK = "casme2/sub01/EP01", 40, 16


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, NDArray[np.generic]]]:
    """A store, and what plain Zarr reads of its clip."""
    store = tiny_store(tmp_path_factory.mktemp("shard") / "s.zarr", [KEY], lengths={KEY: FRAMES}, frames=50)
    group = zarr.open_group(store.path, mode="r")
    return store, {name: group[name][0, :FRAMES] for name in ("texture", "depth")}


@given(frames=st.lists(st.integers(0, FRAMES - 1), max_size=20), name=st.sampled_from(["texture", "depth"]))
def test_any_frames_are_those_that_plain_zarr_reads(
    whole: tuple[Store, dict[str, NDArray[np.generic]]], frames: list[int], name: str
) -> None:
    """In any order, also twice."""
    store, expected = whole
    found = store.clip_array(name, KEY, np.array(frames, int))  # type: ignore[arg-type]
    assert (found.dtype, found.shape) == (expected[name].dtype, (len(frames), *expected[name].shape[1:]))
    np.testing.assert_array_equal(found, expected[name][frames])


@given(st.slices(FRAMES))
def test_any_slice_is_numpys(whole: tuple[Store, dict[str, NDArray[np.generic]]], part: slice) -> None:
    """With steps, backwards, empty."""
    store, expected = whole
    np.testing.assert_array_equal(store.clip_array("depth", KEY, part), expected["depth"][part])


def test_only_the_chunks_that_hold_the_frames_are_read(whole: tuple[Store, dict[str, NDArray[np.generic]]]) -> None:
    """Damage in another chunk goes unnoticed, which would be wrong of a reader of all."""
    store, expected = whole
    file = Path(str(store.path)) / object_path("texture", 0)
    data = bytearray(file.read_bytes())
    offset, size = entry_of(data, 1)
    data[offset + size // 2] ^= 1
    sound = file.read_bytes()
    file.write_bytes(data)
    try:
        np.testing.assert_array_equal(store.clip_array("texture", KEY, [0, 35]), expected["texture"][[0, 35]])
        with pytest.raises(StoreDamagedError, match="chunk 1 is damaged"):
            store.texture(KEY)
    finally:
        file.write_bytes(sound)


@pytest.mark.parametrize("change", ["decoded length", "own length", "outside", "overlong", "no room"])
def test_what_only_a_stranger_writes_is_refused_before_it_is_decoded(tmp_path: Path, change: str) -> None:
    """Every checksum fits."""
    store = tiny_store(tmp_path / "s.zarr", [KEY], lengths={KEY: FRAMES})
    file = tmp_path / "s.zarr" / object_path("texture", 0)
    data = bytearray(file.read_bytes())
    offset, size = entry_of(data, 0)
    if change in ("decoded length", "own length"):
        at = offset + (4 if change == "decoded length" else 12)
        data[at : at + 4] = struct.pack("<I", struct.unpack_from("<I", data, at)[0] - 1)
        seal(data, offset, size)
    elif change == "no room":
        data = data[-100:]
    else:
        data[index_of(data) : index_of(data) + 16] = struct.pack(
            "<QQ", *((len(data), size) if change == "outside" else (0, 2**63))
        )
        seal(data, index_of(data), len(data) - index_of(data))
    file.write_bytes(data)
    stored = {"bytes": len(data), "sha256": "0" * 64}
    entry = store.manifest.clips[0]
    clips = (entry.model_copy(update={"objects": {**entry.objects, "texture": stored}}),)
    store = Store(store.path, store.manifest.model_copy(update={"clips": clips}))
    with pytest.raises(StoreDamagedError, match=f"texture of {KEY} cannot be read"):
        store.texture(KEY)


def test_the_layout_is_that_of_zarrs_sharding(tmp_path: Path) -> None:
    """An object that plain Zarr wrote with the codecs of the format, frames missing: they are fill values."""
    store = tiny_store(tmp_path / "s.zarr", [KEY], lengths={KEY: FRAMES})
    array = zarr.open_group(store.path, mode="r+")["texture"]
    assert [type(codec) for codec in array.compressors] == [BloscCodec, Crc32cCodec]
    (tmp_path / "s.zarr" / object_path("texture", 0)).unlink()
    values = np.random.default_rng(0).integers(0, 255, (1, 8, *array.shape[2:]), np.uint8)
    array[0:1, 32:40] = values
    stored = {"bytes": (tmp_path / "s.zarr" / object_path("texture", 0)).stat().st_size, "sha256": "0" * 64}
    entry = store.manifest.clips[0]
    clips = (entry.model_copy(update={"objects": {**entry.objects, "texture": stored}}),)
    found = Store(store.path, store.manifest.model_copy(update={"clips": clips})).texture(KEY)
    assert not found[:32].any()
    np.testing.assert_array_equal(found[32:], values[0])


def index_of(data: bytes | bytearray) -> int:
    """Where the index starts: room for 1024 frames, 16 bytes a chunk, and a checksum."""
    return len(data) - 1024 // PER_CHUNK * 16 - 4


def entry_of(data: bytes | bytearray, chunk: int) -> tuple[int, int]:
    return struct.unpack_from("<QQ", data, index_of(data) + 16 * chunk)  # type: ignore[return-value]


def seal(data: bytearray, offset: int, size: int) -> None:
    """Make the checksum fit that these bytes end in."""
    data[offset + size - 4 : offset + size] = struct.pack(
        "<I", google_crc32c.value(bytes(data[offset : offset + size - 4]))
    )
