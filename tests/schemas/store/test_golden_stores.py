"""Stores of every format version, as they were written then, are read for ever."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.sharing.merge import merge
from pipeline.sharing.pack import unpack
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

DATA = Path(__file__).parents[2] / "data"
GOLDEN = {
    "format-1-shard-of-frame-axis": "62462ecfa8f0eee13705880e651873607647e3368aeb91f6fe27f8d7fabf9edb",
    "format-1": "e4fc15e2209a8bc2ab2bc7211a1e6d8e127338a609ee59e127c1dd5737b014ba",
}


@pytest.mark.parametrize("place", ["packed", "folder"])
@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_store_is_sound_and_holds_what_it_held(name: str, place: str, tmp_path: Path) -> None:
    """Every byte, every value, and the content id that was cited."""
    store = Store.open(DATA / f"{name}.zip")
    if place == "folder":
        unpack(store.path, tmp_path / "s.zarr")
        store = Store.open(tmp_path / "s.zarr")
    assert verify(store, deep=True) == []
    assert store.manifest.content_sha256 == GOLDEN[name]
    good = [entry for entry in store.manifest.clips if entry.status == "ok"]
    assert summarise(store)["clips"] == {"ok": 2, "failed": len(store.manifest.clips) - 2}
    for entry in good:
        texture = store.texture(entry.key).astype(int)
        assert texture.shape == (entry.n_frames, 112, 112, 3)
        np.testing.assert_array_equal(texture[:, :, :, 0], _ramp(entry.n_frames))
    if name == "format-1":
        assert store.manifest.depth is None
        assert [licence.dataset for licence in store.manifest.licences] == ["smic-hs"]
    else:
        assert [entry.n_frames for entry in store.manifest.clips] == [3, 18, 0]
        assert store.depth(good[0].key)[2, 5, 56] == np.float16(2 / 64)
        assert store.clip_array("au_frames", good[1].key)[:, 0].tolist() == [t / 32 for t in range(18)]
        assert store.manifest.licences == ()


def test_a_golden_store_merges_with_itself(tmp_path: Path) -> None:
    """The index of a shard that was as long as the frame axis gets today's length; the chunks stay."""
    golden = Store.open(DATA / "format-1-shard-of-frame-axis.zip")
    merge([golden], tmp_path / "today.zarr")
    today = Store.open(tmp_path / "today.zarr")
    assert verify(today, deep=True) == []
    for entry in golden.manifest.clips[:2]:
        assert (today.depth(entry.key) == golden.depth(entry.key)).all()
    assert merge([today, golden], tmp_path / "both.zarr") == today.manifest


def test_todays_writer_still_writes_the_golden_store(tmp_path: Path) -> None:
    """A change of a store's bytes has to be meant."""
    golden = Store.open(DATA / "format-1.zip")
    today = tiny_store(tmp_path / "s.zarr", list(golden.manifest.index), depth=False)
    for mine, theirs in zip(today.manifest.clips, golden.manifest.clips, strict=True):
        for name in mine.objects:
            assert (today.clip_array(name, mine.key) == golden.clip_array(name, theirs.key)).all()
    assert today.manifest.model_dump(exclude={"objects", "clips", "content_sha256"}) == golden.manifest.model_dump(
        exclude={"objects", "clips", "content_sha256"}
    )


def _ramp(n_frames: int) -> np.ndarray:
    """A gradient that moves by a pixel a frame."""
    return np.arange(112)[None, None, :] + np.arange(n_frames)[:, None, None] + np.zeros((1, 112, 1), int)
