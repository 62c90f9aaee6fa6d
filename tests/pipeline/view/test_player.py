"""The page of one clip: what is sent to the browser is the store's, block by block, and what fails is said."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.view import frames
from pipeline.view.clips import Clips
from pipeline.view.frames import CHANGE_STEP, DEPTH_STEP, ClipFrames
from pipeline.view.page import CLIP, Page
from pipeline.view.player import Player
from pipeline.view.thumbnails import Thumbnails
from schemas.layout import object_path
from schemas.store.reader import Store
from tests.tiny_stores import SIZE, tiny_store

KEYS = ("casme2/sub01/EP01", "casme2/sub01/EP02", "casme2/sub02/EP01")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("view") / "tiny.zarr"
    return tiny_store(path, KEYS, lengths={KEYS[1]: 40}, failed=[KEYS[2]])


def test_frames_are_the_stores(small: Store) -> None:
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[0]))
    texture, depth = small.texture(KEYS[0]), small.depth(KEYS[0]).astype(float)
    sent = player.frames.data
    assert np.array_equal(sent["texture"].reshape(texture.shape), texture)
    assert np.abs(sent["depth"].reshape(depth.shape) * DEPTH_STEP - depth).max() <= DEPTH_STEP / 2
    assert list(player.curves.data["number"]) == [10 + position for position in range(len(texture))]
    assert player.slider.value == 0
    assert player.slider.end == len(texture) - 1
    assert player.curves.data["phase"][:2] == ["onset", "apex"]


def test_change_is_against_onset_in_grey_levels(small: Store) -> None:
    """The texture is a ramp that moves by one a frame: away from where it wraps, every pixel gains one a frame."""
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[0]))
    change = player.frames.data["change"].reshape(-1, SIZE, SIZE) * CHANGE_STEP
    for position, image in enumerate(change):
        assert np.allclose(image[8:-8, 8:-8], position, atol=1 + CHANGE_STEP)  # grey levels are whole numbers
    assert player.curves.data["motion"][0] == 0
    assert np.all(np.diff(player.curves.data["motion"]) > 0.5)


def test_a_long_clip_is_sent_in_blocks(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_SENT", 1)  # byte: the smallest block is one chunk, 16 frames
    texture = small.texture(KEYS[1])
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[1]))
    assert list(player.frames.data["position"]) == list(range(16))
    assert len(player.curves.data["motion"]) == 40
    player.slider.value = 35
    assert list(player.frames.data["position"]) == list(range(32, 40))
    assert np.array_equal(player.frames.data["texture"][3].reshape(SIZE, SIZE, 3), texture[35])


def test_blocks_change_nothing_in_the_curves(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ClipFrames(small, small.entry(KEYS[1])).curves()
    monkeypatch.setattr(frames, "_SENT", 1)
    parts = ClipFrames(small, small.entry(KEYS[1])).curves()
    assert np.array_equal(whole.motion, parts.motion)
    assert all(np.allclose(whole.depth[name], parts.depth[name], atol=1e-9) for name in whole.depth)
    assert set(whole.depth) >= {"AU04", "AU12"}


def test_titles_say_the_source(small: Store) -> None:
    player = Player(small, Clips(small.manifest, None))
    assert player.panels["depth"].title.text == "depth by mesh: prior, not measured"
    assert player.bars.title.text.startswith("action units by mesh")


def test_what_cannot_be_shown_is_said(small: Store, tmp_path: Path) -> None:
    page = Page(small, None, Thumbnails(small))
    page.open(KEYS[2])
    assert page.tabs.active == CLIP
    assert f"no face in {KEYS[2]}" in page.player.problem.text
    assert not page.player.body.visible
    page.open(KEYS[0])
    assert page.player.body.visible
    assert not page.player.problem.visible
    store = tiny_store(tmp_path / "tiny.zarr", KEYS)
    (tmp_path / "tiny.zarr" / object_path("texture", 1)).write_bytes(b"damaged")
    damaged = Page(store, None, Thumbnails(store))
    assert "expected" in damaged.gallery.cards.text  # on its card
    damaged.open(KEYS[1])
    assert "mer verify" in damaged.player.problem.text


def test_a_clip_opens_at_its_onset(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "tiny.zarr", KEYS[:2], lengths={KEYS[0]: 40})
    edited = with_column(store, "onset_index", 3)
    player = Player(edited, Clips(edited.manifest, None))
    player.open(edited.entry(KEYS[0]))
    assert player.slider.value == 3
    assert player.curves.data["motion"][3] == 0
    assert not player.frames.data["change"][3].any()


def with_column(store: Store, name: str, position: int) -> Store:
    """The store with another value for the first clip, as if somebody had edited it."""
    path = Path(str(store.path))
    zarr.open_group(path, mode="a")[name][0] = position
    stored = {"bytes": (path / name / "c/0").stat().st_size, "sha256": "0" * 64}
    objects = store.manifest.objects | {f"{name}/c/0": stored}
    return Store(path, store.manifest.model_copy(update={"objects": objects}))


def test_positions_outside_of_a_clip_are_said(tmp_path: Path) -> None:
    """What an edited column makes of a store must not keep the page of all the others from opening."""
    store = tiny_store(tmp_path / "tiny.zarr", KEYS)
    edited = with_column(store, "apex_index", 99)
    page = Page(edited, None, Thumbnails(edited))
    assert "onset or apex of casme2/sub01/EP01" in page.gallery.cards.text
    page.open(KEYS[0])
    assert "at 0 and 99 of" in page.player.problem.text


def test_columns_of_a_table_and_odd_labels_are_shown_as_text(small: Store) -> None:
    entry = small.manifest.clips[0]
    label = entry.label.model_copy(update={"emotion": None, "raw_emotion": "<b>so-so</b>"})
    player = Player(small, Clips(small.manifest, None))
    player.open(entry.model_copy(update={"label": label, "metadata": {"<i>camera": "left<b>"}}))
    text = player.heading.text
    assert "&lt;b&gt;so-so&lt;/b&gt;" in text
    assert "&lt;i&gt;camera (table)" in text
    assert "left&lt;b&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_an_estimated_apex_is_called_one(small: Store) -> None:
    """The apex of a tiny clip is its second frame, number 11; here nobody has annotated it."""
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[0]))
    assert "<dt>apex</dt><dd>11</dd>" in player.heading.text
    player.open(small.entry(KEYS[0]).model_copy(update={"apex": None, "apex_estimated": "motion"}))
    assert "<dt>apex</dt><dd>11 (estimated by motion)</dd>" in player.heading.text


def test_without_texture_there_is_the_rest(small: Store) -> None:
    objects = {"depth": small.entry(KEYS[0]).objects["depth"]}
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[0]).model_copy(update={"objects": objects}))
    assert player.body.visible
    assert {name for name, panel in player.panels.items() if panel.visible} == {"depth"}
    assert not player.gain.visible


def test_next_and_previous_go_through_the_gallery(small: Store) -> None:
    page = Page(small, None, Thumbnails(small))
    page.gallery.descending.active = True
    page.obey(f"1 open {KEYS[1]}")
    page.obey("2 next")
    assert page.player.entry is not None
    assert page.player.entry.key == KEYS[0]
    page.obey("3 next")  # there is none after the last
    assert page.player.entry.key == KEYS[0]
    page.obey("4 previous")
    assert page.player.entry.key == KEYS[1]
    page.obey("5 open a/b/c")  # in no store
    assert page.player.entry.key == KEYS[1]


def test_regions_are_outlined_where_units_rose(small: Store) -> None:
    """AU04 and AU12 rise in every tiny clip: a brow lies above the middle, the corners of a mouth below."""
    player = Player(small, Clips(small.manifest, None))
    player.open(small.entry(KEYS[0]))
    centres: dict[str, list[float]] = {}
    for name, y in zip(player.outlines.data["unit"], player.outlines.data["y"], strict=True):
        centres.setdefault(name, []).append(float(np.mean(y)))
    assert set(centres) == {"AU04", "AU12"}
    assert max(centres["AU04"]) < SIZE / 2 < min(centres["AU12"])
