"""Writing arrays: the same values, the same bytes, and nothing left of an earlier attempt."""

from pathlib import Path

import numcodecs.blosc
import numpy as np
import pytest
import zarr

from pipeline.preprocessing.store_arrays import write_clip, write_columns
from schemas.errors import StoreWriteError
from schemas.layout import FRAMES_PER_CHUNK, object_path
from schemas.store.format import EARLIER_PACKING, Dimensions, create_arrays

FRAMES = 2 * FRAMES_PER_CHUNK + 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    out = tmp_path / "s.zarr"
    create_arrays(out, Dimensions(clips=3, frames=FRAMES, size=16, action_units=("AU01",), depth=True, au_frames=False))
    return out


def texture(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (frames, 16, 16, 3), np.uint8)


def test_a_short_clip_takes_no_room_for_frames_that_it_has_not(path: Path) -> None:
    """Chunks past the clip's last are absent from its shard, and read as zeros."""
    short = write_clip(path, 0, {"texture": texture(4)})["texture"]["bytes"]
    full = write_clip(path, 1, {"texture": texture(FRAMES)})["texture"]["bytes"]
    assert short < full / 2
    array = zarr.open_group(path, mode="r")["texture"]
    np.testing.assert_array_equal(array[0, :4], texture(4))
    assert not array[0, 4:].any()


def test_an_object_of_a_killed_attempt_is_replaced_whole(path: Path) -> None:
    """Neither its frames nor its damage survive: Zarr would merge a partial shard into what is there."""
    first = write_clip(path, 0, {"texture": texture(4)})
    write_clip(path, 0, {"texture": texture(FRAMES, seed=1)})
    assert write_clip(path, 0, {"texture": texture(4)}) == first
    (path / object_path("texture", 0)).write_bytes(b"torn")
    assert write_clip(path, 0, {"texture": texture(4)}) == first


def test_bytes_do_not_depend_on_threads(path: Path) -> None:
    """Blosc's own threads, which would order its blocks by chance, are off."""
    assert numcodecs.blosc.use_threads is False
    smooth = np.tile(np.linspace(0, 1, 16 * 16, dtype=np.float16).reshape(1, 16, 16), (FRAMES, 1, 1))
    hashes = {write_clip(path, i % 3, {"depth": smooth})["depth"]["sha256"] for i in range(9)}
    assert len(hashes) == 1


def test_a_store_that_was_begun_before_keeps_its_codec(tmp_path: Path) -> None:
    """Whose chunks were zstd of level 3 in blocks of Blosc's choice: what numcodecs makes of that, byte for byte."""
    dimensions = Dimensions(clips=1, frames=FRAMES, size=16, action_units=("AU01",), depth=True, au_frames=False)
    create_arrays(tmp_path / "s.zarr", dimensions, packing=EARLIER_PACKING)
    write_clip(tmp_path / "s.zarr", 0, {"texture": texture(FRAMES)})
    data = (tmp_path / "s.zarr" / object_path("texture", 0)).read_bytes()
    expected = numcodecs.blosc.Blosc("zstd", 3, numcodecs.blosc.Blosc.BITSHUFFLE).encode(texture(FRAMES)[:16])
    assert data[: len(expected)] == expected


def test_a_clip_of_fill_values_still_has_an_object(path: Path) -> None:
    """So that an object which is missing is one that was lost."""
    assert write_clip(path, 0, {"texture": np.zeros((3, 16, 16, 3), np.uint8)})["texture"]["bytes"] > 0


def test_columns_round_trip_and_metadata_is_consolidated(path: Path) -> None:
    """Strings of any script included; one read of ``zarr.json`` then describes every array."""
    write_columns(path, {"clip": ["a", "b", "ü/日本"], "fps": np.array([200, 30, 25], np.float32)})
    group = zarr.open_group(path, mode="r")
    assert list(group["clip"][...]) == ["a", "b", "ü/日本"]
    np.testing.assert_array_equal(group["fps"][...], [200, 30, 25])
    assert group.metadata.consolidated_metadata is not None


def test_output_that_vanishes_is_told_with_the_remedy(path: Path) -> None:
    """A file where a folder should be stands for whatever the operating system may refuse."""
    (path / "texture" / "c").write_text("")
    with pytest.raises(StoreWriteError, match="type the same command again to go on"):
        write_clip(path, 0, {"texture": texture(4)})
