"""The command line as a user meets it: what it prints, and how it exits."""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from schemas.store.reader import Store
from tests.command_line import mer
from tests.pipeline.clip.checkpoints import write_small_models
from tests.tree_hash import tree_hash

MESH = ("--depth", "mesh", "--au", "mesh", "--size", "112", "--device", "cpu", "--workers", "0")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_imports_nothing_heavy() -> None:
    """What ``mer --help`` loads before it prints decides whether it answers at once."""
    done = subprocess.run([Path(sys.executable).with_name("mer"), "--help"], capture_output=True, text=True, check=True)
    assert "preprocess" in done.stdout
    program = "import cli, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "zarr", "dask", "cv2", "pydantic"} & set(loaded)


def test_the_whole_way(shared_casme2: Path, tmp_path: Path) -> None:
    """scan, preprocess, again, inspect, verify, show: each says what the next one needs."""
    code, printed, _ = mer("scan", shared_casme2)
    assert code == 1
    assert "4 of 4 clips can be processed; 251 of the 255 published ones were not found" in " ".join(printed.split())
    assert len(json.loads(mer("scan", shared_casme2, "--json")[1])["clips"]) == 4

    code, printed, _ = mer("preprocess", shared_casme2, *MESH)
    assert code == 0
    assert "casme2.zarr: complete, 4 clips" in printed
    assert (tmp_path / "casme2.zarr.log").is_file()
    before = tree_hash(tmp_path / "casme2.zarr")
    code, printed, _ = mer("preprocess", shared_casme2, *MESH)
    assert code == 0
    assert "complete, 4 clips" in printed
    assert tree_hash(tmp_path / "casme2.zarr") == before

    assert "4 of 2 subjects, 0 failed" in mer("inspect", "casme2.zarr")[1]
    summary = json.loads(mer("inspect", "casme2.zarr", "--json")[1])
    assert summary["clips"] == {"ok": 4, "failed": 0}
    assert mer("verify", "casme2.zarr", "--deep")[:2] == (0, "casme2.zarr: sound, every clip decodes\n")

    key = Store.open(tmp_path / "casme2.zarr").manifest.clips[0].key
    assert mer("show", "casme2.zarr", key, "--out", "clip.png")[0] == 0
    picture = cv2.imread(str(tmp_path / "clip.png"))
    assert picture is not None
    assert min(picture.shape[:2]) > 500
    assert picture.std() > 20, "not a blank page"


def test_another_config_is_refused_unless_told_to_overwrite(shared_casme2: Path, tmp_path: Path) -> None:
    """The differing fields are named, nothing is touched; ``--overwrite`` replaces the store."""
    assert mer("preprocess", shared_casme2, *MESH, "--limit", 1)[0] == 0
    before = tree_hash(tmp_path / "casme2.zarr")
    code, _, error = mer("preprocess", shared_casme2, *MESH, "--limit", 1, "--depth", "none")
    assert code == 2
    assert "depth: now 'none', there 'mesh'" in error
    assert "--overwrite" in error
    assert tree_hash(tmp_path / "casme2.zarr") == before
    assert mer("preprocess", shared_casme2, *MESH, "--limit", 1, "--depth", "none", "--overwrite")[0] == 0
    assert Store.open(tmp_path / "casme2.zarr").manifest.depth is None
    assert not (tmp_path / "casme2.zarr" / "depth").exists()


def test_overwrite_deletes_no_folder_that_is_not_a_store(shared_casme2: Path, tmp_path: Path) -> None:
    """A typing error in ``--out`` must not cost anybody their thesis."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("...")
    code, _, error = mer("preprocess", shared_casme2, *MESH, "--out", "thesis", "--overwrite")
    assert code == 2
    assert "not a store of mer" in error
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "..."


def test_selection_and_config_file(shared_casme2: Path, tmp_path: Path) -> None:
    """A TOML file sets the fields that options set; options win; every frame's action units on request."""
    (tmp_path / "run.toml").write_text('depth = "none"\nau = "mesh"\nsize = 112\nau_frames = "all"\nlimit = 2\n')
    words = ("preprocess", shared_casme2, "--config", "run.toml", "--workers", 0, "--subjects", "sub01", "--limit", 1)
    assert mer(*words)[0] == 0
    store = Store.open(tmp_path / "casme2.zarr")
    (entry,) = store.manifest.clips
    assert entry.subject == "sub01"
    every = store.clip_array("au_frames", entry.key)
    apex = int(store.column("apex_index")[0])
    assert every.shape == (entry.n_frames, 20)
    np.testing.assert_array_equal(every[apex], store.action_units(entry.key)[1])


@pytest.mark.slow
def test_neural_backends_from_a_models_folder(shared_casme2: Path, tmp_path: Path) -> None:
    """Depth Anything and py-feat through their real loaders; the manifest says which weights made the store."""
    write_small_models(tmp_path / "models")
    words = ("preprocess", shared_casme2, "--limit", 1, "--size", 112, "--depth-size", 126, "--workers", 0)
    code, _, error = mer(*words, "--device", "cpu", "--models-dir", tmp_path / "models")
    assert code == 0, error
    store = Store.open(tmp_path / "casme2.zarr")
    weights = {weights.name: weights for weights in store.manifest.provenance.weights}
    assert set(weights) == {"depth-anything-v2-small", "py-feat"}
    assert all(len(w.sha256) == 64 for w in weights.values())
    (entry,) = store.manifest.clips
    assert np.isfinite(store.depth(entry.key)).all()
    units = store.action_units(entry.key)
    assert units.min() >= 0
    assert units.max() <= 1
    assert store.manifest.action_units.tool == "py-feat"
    assert "absent" not in mer("weights", "path", "py-feat", "--models-dir", tmp_path / "models")[1]


def test_unreachable_weights_are_told_before_any_work(
    shared_casme2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No network, no weights: exit 2 within 10 s, with the file, the command, the folder and the way without."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.perf_counter()
    code, _, error = mer("preprocess", shared_casme2, "--workers", 0)
    assert time.perf_counter() - started < 10
    assert code == 2
    for part in (
        "model.safetensors",
        "mer weights fetch depth-anything-v2-small",
        "--models-dir",
        "--depth mesh --au mesh",
    ):
        assert part in error
    assert not (tmp_path / "casme2.zarr").exists()


def test_synth_refuses_to_write_over_anything(tmp_path: Path) -> None:
    """A folder with files in it is left alone."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "mine.txt").write_text("mine")
    code, _, error = mer("synth", "samm", "raw", "--subjects", 1, "--clips", 1)
    assert code == 2
    assert "raw" in error
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["mine.txt"]


def test_synth_says_how_far_it_is(tmp_path: Path) -> None:
    printed = mer("synth", "smic", "raw", "--subjects", 1, "--clips", 2, "--frames", 8).printed
    assert "2/2 clips" in printed
    assert "raw: 2 clips of 1 subject; truth in raw-truth" in printed


@pytest.mark.slow
def test_a_single_video_needs_no_dataset(tmp_path: Path) -> None:
    """A smile from neutral: the apex is found where the smile is, and the smiling units are on top."""
    from pipeline.clip.mesh.geometry import py_feat_folder

    video = py_feat_folder() / "tests" / "data" / "single_face.mp4"
    assert mer("preprocess", video, *MESH, "--out", "smile.zarr")[0] == 0
    store = Store.open(tmp_path / "smile.zarr")
    (entry,) = store.manifest.clips
    assert entry.apex_estimated == "motion"
    assert 20 <= int(store.column("apex_index")[0]) <= 66, "the smile lasts from about frame 20 to frame 66"
    units = dict(zip(store.manifest.action_units.names, store.action_units(entry.key)[1], strict=True))
    assert set(sorted(units, key=units.__getitem__)[-2:]) == {"AU06", "AU12"}


def test_the_longest_clip_can_be_mended(casme2: Path, shared_store: Store, tmp_path: Path) -> None:
    """The store has room for what is incomplete today: ``--retry-failed`` then gives the bytes of an undamaged run."""
    longest = max(shared_store.manifest.clips, key=lambda entry: entry.n_frames)
    _, subject, name = longest.key.split("/")
    (folder,) = (path for path in casme2.rglob(name) if path.parent.name == subject)
    taken = sorted(folder.iterdir())[1:]
    for path in taken:
        path.rename(tmp_path / path.name)
    assert mer("preprocess", casme2, *MESH)[0] == 1
    for path in taken:
        (tmp_path / path.name).rename(path)
    code, printed, error = mer("preprocess", casme2, *MESH, "--retry-failed")
    assert (code, error) == (0, "")
    assert "complete, 4 clips" in printed
    assert tree_hash(tmp_path / "casme2.zarr") == tree_hash(shared_store.path)
