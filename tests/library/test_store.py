"""A store in Python: its clips, the table, and arrays without padding."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import madv_mer
from madv_mer.arrays import frame_times
from schemas.errors import ClipNotFoundError, ConfigError, StoreError
from schemas.labels import Label
from schemas.manifest import ClipEntry
from schemas.store import reader
from tests.tiny_stores import tiny_store

KEYS = ["casme2/sub01/a", "casme2/sub01/b", "casme2/sub02/c", "casme2/sub02/d<i>"]
LENGTHS = dict(zip(KEYS, (3, 5, 4, 4), strict=True))
BAD = KEYS[3]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> reader.Store:
    """Clips of 3, 5 and 4 frames, and one that failed. Read only."""
    return tiny_store(tmp_path_factory.mktemp("stores") / "s.zarr", KEYS, lengths=LENGTHS, failed=[BAD], frames=9)


@pytest.fixture(scope="module")
def store(plain: reader.Store) -> madv_mer.Store:
    return madv_mer.open_store(str(plain.path))


def test_its_clips_are_those_that_can_be_read(store: madv_mer.Store) -> None:
    assert len(store) == 3
    assert [clip.key for clip in store] == store.keys() == KEYS[:3]
    assert KEYS[0] in store
    assert BAD not in store
    with pytest.raises(StoreError, match="no face in"):
        _ = store[BAD].texture
    with pytest.raises(ClipNotFoundError, match="did you mean casme2/sub02/c"):
        store["c"]


def test_a_clip_reads_what_the_stores_reader_reads(store: madv_mer.Store, plain: reader.Store) -> None:
    """And no frame more: the frame axis is nine long, the clip five."""
    clip, key = store[KEYS[1]], KEYS[1]
    assert clip.texture.shape == (5, 112, 112, 3)
    assert clip.texture.dtype == np.uint8
    np.testing.assert_array_equal(clip.texture, plain.texture(key))
    np.testing.assert_array_equal(clip.depth, plain.depth(key))
    np.testing.assert_array_equal(clip.au.loc["apex"], [0.5, 0.25])
    assert list(clip.au.columns) == ["AU04", "AU12"]
    assert clip.frame_numbers.tolist() == [10, 11, 12, 13, 14]
    np.testing.assert_allclose(clip.times, [0, 0.005, 0.01, 0.015, 0.02])  # 200 frames a second
    assert (clip.onset, clip.apex, clip.n_frames, len(clip), clip.fps, clip.subject) == (0, 1, 5, 5, 200, "sub01")


def test_conditions_choose_clips_and_add_up(store: madv_mer.Store) -> None:
    assert store.where("subject=sub01").keys() == KEYS[:2]
    assert (
        store.where("subject=sub01", "frames>=4").keys() == store.where("subject=sub01,frames>=4").keys() == KEYS[1:2]
    )
    assert store.where("subject=sub01").where("frames<4").keys() == KEYS[:1]
    assert list(store.where("status=failed").to_pandas().index) == [BAD]
    with pytest.raises(ClipNotFoundError, match="not among the 2 clips selected"):
        store.where("subject=sub01")[KEYS[2]]
    with pytest.raises(ConfigError, match="did you mean subject"):
        store.where("subjekt=sub01")


def test_the_table_has_a_row_a_clip(store: madv_mer.Store) -> None:
    table = store.to_pandas()
    assert list(table.index) == KEYS
    assert table["frames"].tolist() == [3, 5, 4, 0]
    assert table.loc[KEYS[1], ["subject", "onset", "apex", "offset"]].tolist() == ["sub01", 10, 11, 14]
    assert table.loc[KEYS[0], "au"] == [4, 12]
    assert table.loc[BAD, "failure"] == f"face: no face in {BAD}"
    assert table["apex"].isna().tolist() == [False, False, False, True]


def test_xarray_gets_no_padding_as_frames(store: madv_mer.Store, plain: reader.Store) -> None:
    """Each clip's own frames are the store's; beyond them there is NaN, and the mask says so."""
    ds = store.to_xarray()
    assert dict(ds.sizes) | {"clip": 3, "frame": 5} == dict(ds.sizes)  # as long as the longest, not as the axis
    np.testing.assert_array_equal(ds.is_frame.sum("frame"), [3, 5, 4])
    for key in KEYS[:3]:
        one, length = ds.sel(clip=key), LENGTHS[key]
        texture, depth = one.texture.compute(), one.depth.compute()
        np.testing.assert_array_equal(texture[:length], plain.texture(key))
        np.testing.assert_array_equal(depth[:length], plain.depth(key))
        for values in (texture, depth, one.frame_number, one.time):
            assert np.isnan(values[length:]).all()
            assert not np.isnan(values[:length]).any()
        np.testing.assert_array_equal(store[key].to_xarray().texture, plain.texture(key))
        assert store[key].to_xarray().sizes["frame"] == length
    np.testing.assert_array_equal(ds.au.sel(phase="apex", action_unit="AU12"), [0.25] * 3)
    assert ds.au.attrs["units"] == "in [0, 1]"
    assert ds.time.attrs["units"] == "s"
    assert all(ds[name].attrs.get("description") or ds[name].attrs.get("units") for name in ds.data_vars)
    assert store.where("subject=sub02").to_xarray()["clip"].values.tolist() == KEYS[2:3]


def test_damage_raises_and_is_no_zeros(tmp_path: Path) -> None:
    """Plain Zarr reads a missing object as fill values."""
    made = tiny_store(tmp_path / "s.zarr", KEYS)
    store = madv_mer.open_store(made.path)  # type: ignore[arg-type]
    (tmp_path / "s.zarr" / "texture" / "c" / "0" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(madv_mer.MerError, match=f"texture of {KEYS[0]} cannot be read"):
        store.to_xarray().texture[0].compute()
    assert store.to_xarray().texture[1].notnull().any()


class _Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.pictures += [value for name, value in attrs if name == "src" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_shows_itself(store: madv_mer.Store) -> None:
    """In a shell in one line, in a notebook with onset and apex of every clip; names are text, never markup."""
    assert repr(store) == f"<Store {store.path}: 3 clips of 2 subjects, 1 failed>"
    assert repr(store[KEYS[1]]) == f"<Clip {KEYS[1]}: {store[KEYS[1]].label.emotion}, 5 frames, 200 fps>"
    page = _Page(store._repr_html_())
    assert len(page.pictures) == 6
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in page.pictures)
    assert BAD in page.text
    assert "i" not in page.tags
    assert len(_Page(store[KEYS[0]]._repr_html_()).pictures) == 2


def test_frames_of_an_unknown_rate_have_no_times() -> None:
    """0 frames per second stand for that; times that were measured stay as they are."""
    entry = ClipEntry(key="d/s/c", status="ok", label=Label(), fps=0, onset=0, apex=1, offset=2, n_frames=3)
    assert np.isnan(frame_times(entry)).tolist() == [True] * 3
    varying = entry.model_copy(update={"times": (0.0, 0.1, 0.5)})
    assert frame_times(varying).tolist() == [0.0, 0.1, 0.5]
