"""How a store is read: by `Store`, by a few lines of plain Zarr, by xarray; none of them warns."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from schemas.errors import ClipNotFoundError, ManifestMissingError, StoreError
from schemas.layout import PHASES, SPECS
from schemas.manifest import MANIFEST_NAME, Failure
from schemas.store.manifest_file import JOURNAL_NAME
from schemas.store.reader import Store

KEY = "casme2/sub02/EP02_01"


def test_plain_zarr(shared_store: Store) -> None:
    """The clip's row is found by its key; its frames are the first ``n_frames``."""
    group = zarr.open_group(shared_store.path, mode="r")
    index = list(group["clip"][:]).index(KEY)
    n = group["n_frames"][index]
    np.testing.assert_array_equal(group["texture"][index, :n], shared_store.texture(KEY))
    np.testing.assert_array_equal(group["depth"][index, :n], shared_store.depth(KEY))
    np.testing.assert_array_equal(group["au"][index], shared_store.action_units(KEY))
    assert not group["texture"][index, n:].any(), "past its frames a clip is empty"
    assert group["texture"].metadata.dimension_names == ("clip", "frame", "y", "x", "rgb")
    assert set(group.array_keys()) == set(shared_store.manifest.arrays)


def test_xarray(shared_store: Store) -> None:
    """Named dimensions; clips, phases and action units are coordinates, to select by."""
    dataset = xarray.open_zarr(shared_store.path)
    assert dict(dataset.sizes) == {"clip": 4, "frame": 12, "y": 112, "x": 112, "rgb": 3, "phase": 2, "action_unit": 20,
                                   "row": 2, "column": 3}  # fmt: skip
    for name in shared_store.manifest.arrays:
        assert dataset[name].dims == SPECS[name].dims
    clip = dataset.sel(clip=KEY)
    frames = slice(int(clip.n_frames))
    np.testing.assert_array_equal(clip.texture[frames], shared_store.texture(KEY))
    np.testing.assert_array_equal(clip.depth[frames], shared_store.depth(KEY))
    names = list(shared_store.manifest.action_units.names)
    np.testing.assert_array_equal(
        clip.au.sel(phase="apex", action_unit=["AU12", "AU04"]),
        shared_store.action_units(KEY)[1, [names.index("AU12"), names.index("AU04")]],
    )
    assert dataset.phase.values.tolist() == list(PHASES)
    assert (dataset.emotion == "surprise").sum() == 1


def test_shapes_and_types(shared_store: Store) -> None:
    """As the docstrings say."""
    for entry in shared_store.manifest.clips:
        texture, depth = shared_store.texture(entry.key), shared_store.depth(entry.key)
        assert (texture.shape, texture.dtype) == ((entry.n_frames, 112, 112, 3), np.dtype("uint8"))
        assert (depth.shape, depth.dtype) == ((entry.n_frames, 112, 112), np.dtype("float16"))
        assert shared_store.action_units(entry.key).shape == (2, 20)
    assert shared_store.column("n_frames").tolist() == [entry.n_frames for entry in shared_store.manifest.clips]
    assert shared_store.column("clip").tolist() == [entry.key for entry in shared_store.manifest.clips]


def test_a_clip_that_is_not_there(shared_store: Store) -> None:
    """The name alone is met with the key; a stranger with where to look."""
    with pytest.raises(ClipNotFoundError, match=r"no clip 'EP02_01'; did you mean casme2/sub01/EP02_01\?"):
        shared_store.texture("EP02_01")
    with pytest.raises(ClipNotFoundError, match=r"no clip 'x'; `mer inspect .*casme2.zarr` lists what there is"):
        shared_store.action_units("x")
    with pytest.raises(StoreError, match=r"casme2.zarr was made without au_frames"):
        shared_store.clip_array("au_frames", KEY)


def test_a_failed_clip_has_no_values(shared_store: Store) -> None:
    """Neither pixels nor action units, which would read as zeros."""
    failure = Failure(stage="face", error="FaceNotFoundError", message="no face")
    failed = shared_store.manifest.clips[0].model_copy(update={"failure": failure, "status": "failed"})
    broken = Store(
        shared_store.path,
        shared_store.manifest.model_copy(update={"clips": (failed, *shared_store.manifest.clips[1:])}),
    )
    for read in (broken.texture, broken.depth, broken.action_units):
        with pytest.raises(StoreError, match=r"casme2/sub01/EP02_01 is not in the store: it failed \(face\): no face"):
            read(failed.key)


@pytest.mark.parametrize("number", [5e-05, 1e22, 0.1])
def test_a_sealed_manifest_opens_whatever_is_in_it(store: Store, number: float) -> None:
    """Numbers with exponents, and letters beyond ASCII, which encoders of JSON write in several ways."""
    entry = store.manifest.clips[0]
    assert entry.quality is not None
    quality = entry.quality.model_copy(update={"residual_motion_px": number})
    label = entry.label.model_copy(update={"raw_emotion": "fröhlich \u2028 \x7f \\ 😀"})
    clips = (entry.model_copy(update={"quality": quality, "label": label}), *store.manifest.clips[1:])
    manifest = store.manifest.model_copy(update={"clips": clips}).sealed()
    (store.path / MANIFEST_NAME).write_text(manifest.model_dump_json(exclude_defaults=True), encoding="utf-8")
    assert Store.open(store.path).manifest == manifest


@pytest.mark.parametrize("kind", ["nothing", "a file", "a foreign folder", "an unfinished run", "too long"])
def test_what_is_no_store(tmp_path: Path, kind: str) -> None:
    """Each with its own words."""
    path, expected = tmp_path / "x.zarr", ""
    if kind == "nothing":
        expected = f"{path}: no such folder; expected a store made by `mer preprocess`"
    elif kind == "a file":
        path.touch()
        expected = f"{path}: not a folder; expected a store made by `mer preprocess`"
    elif kind == "a foreign folder":
        path.mkdir()
        expected = f"{path}/manifest.json: no such file; expected a store made by `mer preprocess`"
    elif kind == "an unfinished run":
        path.mkdir()
        (path / JOURNAL_NAME).touch()
        expected = f"{path}: this run has not finished (no manifest.json yet); type the same `mer preprocess` command"
    else:
        path = tmp_path / ("x" * 300)
        expected = f"{path}/manifest.json: cannot be read (File name too long)"
    with pytest.raises(ManifestMissingError, match=re.escape(expected)):
        Store.open(path)
