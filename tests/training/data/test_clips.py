"""Clips as the trainer reads them: what the store holds, when it is opened, and what is refused."""

import pickle
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from schemas.errors import ConfigError, ManifestMissingError, StoreDamagedError, StoreError, StoreVersionError
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME
from schemas.store.manifest_file import JOURNAL_NAME
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store
from tests.training.small_stores import small_store
from training.data.batch import INPUTS, Input
from training.data.clips import ClipCache, ClipReader, StoredClip, check_stores


def keys_of(*stores: Store) -> list[str]:
    return [entry.key for store in stores for entry in store.manifest.clips]


def equal(one: StoredClip, other: StoredClip) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(StoredClip)]
    return all(same(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


def test_a_clip_is_what_the_store_holds(shared_store: Store) -> None:
    """Pixels unchanged, channels before rows, action units apex minus onset, positions from the columns."""
    keys = keys_of(shared_store)
    reader = ClipReader([shared_store.path], keys, size=112)
    assert len(reader) == 4
    for index, key in enumerate(keys):
        clip, entry = reader[index], shared_store.entry(key)
        assert (clip.texture.dtype, clip.depth.dtype, clip.au.dtype) == (torch.uint8, torch.float16, torch.float32)
        np.testing.assert_array_equal(clip.texture.permute(0, 2, 3, 1), shared_store.texture(key))
        np.testing.assert_array_equal(clip.depth[:, 0], shared_store.depth(key))
        onset, apex = shared_store.action_units(key)
        np.testing.assert_array_equal(clip.au, apex - onset)
        assert clip.coded is not None
        assert entry.label.action_units is not None
        coded = {f"AU{unit.number:02d}" for unit in entry.label.action_units.units}
        assert coded, "the units that are known, and no others"
        assert {
            name for name, value in zip(shared_store.manifest.action_units.names, clip.coded, strict=True) if value
        } == coded
        numbers = shared_store.column("frame_number")[index]
        assert (numbers[clip.onset], numbers[clip.apex]) == (entry.onset, entry.apex)


def test_a_resized_clip_is_the_same_picture(shared_store: Store) -> None:
    """Antialiased means of the pixels at the smaller side, in the same range and dtype."""
    key = keys_of(shared_store)[0]
    whole, small = (ClipReader([shared_store.path], [key], size=size)[0] for size in (112, 56))
    assert small.texture.shape == (len(whole.texture), 3, 56, 56)
    assert small.depth.shape == (len(whole.depth), 1, 56, 56)
    assert (small.texture.dtype, small.depth.dtype) == (torch.uint8, torch.float16)
    for big, little, step in ((whole.texture, small.texture, 1.0), (whole.depth, small.depth, 2e-3)):
        big, little = big.float(), little.float()
        reference = F.interpolate(big, (56, 56), mode="bilinear", antialias=True)
        torch.testing.assert_close(little, reference, rtol=0, atol=step)
        assert abs(little.mean() - big.mean()) < step
        assert little.min() >= big.min()
        assert little.max() <= big.max()


def test_inputs_that_no_model_reads_come_without_channels(shared_store: Store) -> None:
    """Shapes stay, so that batches look alike; nothing is decoded for them."""
    key = keys_of(shared_store)[0]
    depth_only = ClipReader([shared_store.path], [key], size=32, inputs=frozenset(["depth"]))[0]
    frames = shared_store.entry(key).n_frames
    assert depth_only.texture.shape == (frames, 0, 32, 32)
    assert depth_only.depth.shape == (frames, 1, 32, 32)
    units_only = ClipReader([shared_store.path], [key], size=32, inputs=frozenset(["au"]))[0]
    assert units_only.texture.shape == units_only.depth.shape == (frames, 0, 32, 32)


def test_nothing_is_opened_before_the_first_read(store: Store, tmp_path: Path) -> None:
    """A reader is made, counted, pickled where there is no store yet; then it reads, and travels on without handles."""
    keys, away = keys_of(store), tmp_path / "away.zarr"
    expected = ClipReader([store.path], keys, size=32)[1]
    store.path.rename(away)
    reader = pickle.loads(pickle.dumps(ClipReader([store.path], keys, size=32)))
    assert len(reader) == 4
    with pytest.raises(ManifestMissingError):
        reader[1]
    away.rename(store.path)
    assert equal(reader[1], expected)
    assert len(pickle.dumps(reader)) == len(pickle.dumps(ClipReader([store.path], keys, size=32)))
    assert equal(pickle.loads(pickle.dumps(reader))[1], expected)


def test_clips_of_several_stores(shared_store: Store, tmp_path: Path) -> None:
    """Each from the store that has it, in the order of the keys, whatever the order of the stores."""
    smic = small_store(tmp_path / "smic.zarr", dataset="smic", subjects=2, clips=2)
    keys = [name for pair in zip(keys_of(smic), keys_of(shared_store), strict=True) for name in pair]
    reader = ClipReader([shared_store.path, smic.path], keys, size=112)
    assert [equal(reader[i], ClipReader([smic.path, shared_store.path], keys, size=112)[i]) for i in range(8)]
    for index, key in enumerate(keys):
        np.testing.assert_array_equal(reader[index].depth[:, 0], (smic if index % 2 == 0 else shared_store).depth(key))


def test_a_cache_gives_the_same(store: Store) -> None:
    """And reads only once: it needs no store any more."""
    reader = ClipReader([store.path], keys_of(store), size=32)
    expected = [reader[index] for index in range(4)]
    cache = ClipCache(reader, "cpu")
    shutil.rmtree(store.path)
    assert len(cache) == 4
    assert all(equal(cache[index], expected[index]) for index in (3, 0, 0, 2, 1))


def test_a_clip_that_vanished(store: Store) -> None:
    """The store was made anew since the run was planned."""
    with pytest.raises(StoreError, match=r"casme2/sub09/x is in none of .*casme2.zarr; did a store change\?"):
        ClipReader([store.path], [*keys_of(store), "casme2/sub09/x"], size=32)[0]


def test_a_damaged_object(store: Store) -> None:
    """Only that clip cannot be read, and the message names it."""
    reader = ClipReader([store.path], keys_of(store), size=32)
    file = store.path / object_path("depth", 2)
    data = bytearray(file.read_bytes())
    data[20] ^= 255
    file.write_bytes(data)
    reader[1]
    with pytest.raises(StoreDamagedError, match=rf"depth of {keys_of(store)[2]} cannot be read"):
        reader[2]
    file.unlink()
    with pytest.raises(StoreDamagedError, match="is missing"):
        ClipReader([store.path], keys_of(store), size=32)[2]


def test_stores_that_are_none_yet(store: Store) -> None:
    """An unfinished run and a newer format are refused when the first clip is read, too."""
    reader = ClipReader([store.path], keys_of(store), size=32)
    manifest = store.path / MANIFEST_NAME
    manifest.write_text('{"format_version":2,' + manifest.read_text().removeprefix("{"))
    with pytest.raises(StoreVersionError, match="store format 2, this version of mer reads up to 1; upgrade mer"):
        reader[0]
    manifest.unlink()
    (store.path / JOURNAL_NAME).touch()
    with pytest.raises(ManifestMissingError, match="this run has not finished"):
        reader[0]


def test_stores_that_fit(shared_store: Store) -> None:
    """The names of the action units come back, for the run's record."""
    names = check_stores([shared_store, shared_store], size=112, inputs=INPUTS)
    assert names == shared_store.manifest.action_units.names


def test_stores_that_do_not_fit(shared_store: Store, tmp_path: Path) -> None:
    """Smaller frames, no depth, and two stores of other tools, each with what to do."""
    flat = small_store(tmp_path / "flat.zarr", subjects=1, clips=2, depth=False)
    deep = small_store(tmp_path / "deep.zarr", subjects=1, clips=2)
    newer = small_store(tmp_path / "newer.zarr", subjects=1, clips=2, version="1")
    with pytest.raises(ConfigError, match=r"its frames are 112 px, fewer than the model's 224; choose --size 112 or"):
        check_stores([shared_store], size=224, inputs=INPUTS)
    with pytest.raises(ConfigError, match=r"flat.zarr: made without depth, .* add --set model_options.depth=false"):
        check_stores([flat], size=112, inputs=INPUTS)
    check_stores([flat], size=112, inputs=frozenset(["texture", "au"]))
    with pytest.raises(
        ConfigError, match=r"newer.zarr: its action units are of mesh 1, those of .*deep.zarr of mesh 0"
    ):
        check_stores([deep, newer], size=112, inputs=INPUTS)
    assert flat.manifest.depth is None
    check_stores([deep, flat], size=112, inputs=frozenset(["texture"]))
    with pytest.raises(ConfigError, match=r"flat.zarr: made without depth"):
        check_stores([deep, flat], size=112, inputs=frozenset(["depth"]))


@pytest.mark.parametrize(("inputs", "size"), [({"texture", "depth"}, 112), ({"texture", "depth"}, 32), ({"flow"}, 32)])
def test_frames_that_are_chosen_first_are_those_of_the_whole_clip(
    tmp_path: Path, inputs: set[Input], size: int
) -> None:
    """Pixels, flow and phases, whichever frames are wanted, also twice and without the onset, resized or not."""
    key = "casme2/sub01/EP01"
    store = tiny_store(tmp_path / "s.zarr", [key], lengths={key: 37})
    reader = ClipReader([store.path], [key], size=size, inputs=frozenset(inputs))
    whole, random = reader[0], np.random.default_rng(0)
    for count in (1, 5, 16, 40):
        chosen = random.integers(0, 37, count)
        (some,) = reader.sampled([(0, lambda frames, onset, apex, chosen=chosen: chosen)])  # type: ignore[misc]
        for name in ("texture", "depth", *inputs & {"flow"}):
            torch.testing.assert_close(getattr(some, name), getattr(whole, name)[chosen], rtol=0, atol=0)
        assert some.apex == np.abs(chosen - whole.apex).argmin()
        assert torch.equal(some.au, whole.au)
