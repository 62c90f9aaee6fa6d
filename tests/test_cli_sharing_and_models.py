"""The commands that share stores and use trained models, as a user types them."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.store.reader import Store
from tests.command_line import mer
from tests.training.small_stores import CONFIG, PROTOCOL, small_store
from training.models.madv_net import MADVNet


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_share_a_store(store: Store, tmp_path: Path) -> None:
    """Packed, read in place, unpacked, divided and merged again: the same store; a changed part is said to differ."""
    assert mer("pack", store.path, "a.zip")[:2] == (0, "a.zip\n")
    assert mer("verify", "a.zip", "--deep")[:2] == (0, "a.zip: sound, every clip decodes\n")
    assert mer("inspect", "a.zip")[0] == 0
    assert mer("unpack", "a.zip", "a.zarr")[0] == 0
    assert mer("diff", store.path, "a.zarr")[:2] == (0, "equal: the same content to the byte\n")
    assert "2 of 4 clips" in mer("subset", "a.zarr", "-o", "one.zarr", "--subjects", "sub01").printed
    assert mer("subset", "a.zarr", "-o", "two.zarr", "--subjects", "sub02")[0] == 0
    assert mer("merge", "two.zarr", "one.zarr", "--out", "both.zarr")[0] == 0
    assert mer("diff", "both.zarr", "a.zip")[0] == 0
    code, printed, _ = mer("diff", "one.zarr", "two.zarr", "--json")
    assert code == 1
    assert {row["kind"] for row in json.loads(printed)} == {"clip"}
    assert store.manifest.content_sha256 in mer("cite", "both.zarr").printed
    code, _, error = mer("merge", "one.zarr", "two.zarr", "--out", "both.zarr")
    assert code == 2
    assert "both.zarr" in error


def test_share_no_faces(tmp_path: Path) -> None:
    """Without texture and names, inspect says what is gone, and the trainer what it lacks."""
    small_store(tmp_path / "a.zarr")
    Path("two.toml").write_text(PROTOCOL)
    assert mer("subset", "a.zarr", "-o", "safe.zarr", "--without", "texture", "--anonymise")[0] == 0
    assert "texture" not in Store.open(tmp_path / "safe.zarr").manifest.arrays
    assert "left out" in mer("inspect", "safe.zarr").printed
    assert not any("sub01" in entry.key for entry in Store.open(tmp_path / "safe.zarr").manifest.clips)
    code, _, error = mer("train", "--store", "safe.zarr", "--recipe", "fast", "--protocol", "two.toml")
    assert code == 2
    assert "safe.zarr: made without texture, which the model reads" in error
    code, _, error = mer("subset", "a.zarr", "-o", "x.zarr", "--key", "secret")
    assert code == 2
    assert "only with --anonymise" in error


def test_push_without_faces(store: Store, tmp_path: Path) -> None:
    """Depth and action units go where texture may not, without a question; again, and nothing moves."""
    pushed = mer("push", store.path, tmp_path / "shared.zarr", "--without", "texture")
    assert pushed.code == 0, pushed.error
    shared = Store.open(tmp_path / "shared.zarr").manifest
    assert shared.left_out == ("texture",)
    assert shared.arrays == tuple(name for name in store.manifest.arrays if name != "texture")
    assert [clip.key for clip in shared.clips] == [clip.key for clip in store.manifest.clips]
    again = mer("push", store.path, tmp_path / "shared.zarr", "--without", "texture")
    assert "0.0 MB pushed" in again.printed
    nothing = mer("push", store.path, tmp_path / "x.zarr", "--without", "faces")
    assert "--without 'faces': expected texture, depth" in nothing.error


def test_runs_do_not_write_to_urls(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder named ``s3:`` is made."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for command in (("train", "--store", store.path, "--partial"), ("preprocess", tmp_path)):
        refused = mer(*command, "--out", "s3://team/out")
        assert refused.code == 2
    assert "a URL, where a path is needed" in mer("pack", store.path, "s3://team/out.zip").error
    assert not list(here.iterdir())


def test_a_network_is_counted_and_timed() -> None:
    """Parameters, MACs and latency of one clip; an unknown name is told what it may have meant."""
    info = json.loads(mer("models", "madv_net", "--frames", "8", "--size", "64", "--json").printed)
    assert info["parameters"] > 1e6
    assert info["macs"] > 1e8
    assert info["latency"] > 0
    code, _, error = mer("models", "madv-nut")
    assert code == 2
    assert "no model 'madv-nut'; did you mean madv_net" in error


def test_networks_and_weights_are_two_things() -> None:
    """Each has a list of its own, and the names of the last release still work, with a word."""
    networks = {row["name"]: row for row in json.loads(mer("models", "--json").printed)}
    assert {"madv_net", "ststnet", "c3d"} <= networks.keys()
    assert networks["madv_net"]["inputs"]
    weights = {row["name"] for row in json.loads(mer("weights", "list", "--json").printed)}
    assert {"depth-anything-v2-small", "py-feat"} <= weights
    assert not weights & networks.keys()
    old = mer("models", "list", "--json")
    assert {row["name"] for row in json.loads(old.printed)} == weights
    assert old.error == "`mer models list` is now `mer weights list`\n"
    assert "`mer model info` is now `mer models NAME`" in mer("model", "info", "au-logistic", "--json").error


@pytest.mark.slow
def test_ablate_makes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path off, under the same protocol; the table holds each variant's own result, and the page shows it."""
    one = {"depth": {"depth": False}}  # since each takes its time
    monkeypatch.setattr(MADVNet, "facts", replace(MADVNet.facts, ablations=one))
    small_store(tmp_path / "a.zarr")
    Path("two.toml").write_text(PROTOCOL)
    Path("run.toml").write_text(f"protocol = 'two.toml'\n{CONFIG}".replace("seeds = [0, 1]", "seeds = [0]"))
    done = mer("ablate", "run.toml", "--store", "a.zarr", "--recipe", "fast", "--workers", "0", "--out", "ablation")
    assert done.code == 0, done.error
    table = json.loads(Path("ablation/full/ablation.json").read_text())
    names = [row["name"] for row in table["variants"]]
    assert names[0] == "full"
    assert "no depth" in names
    for row in table["variants"]:
        result = json.loads(Path("ablation", row["name"].replace(" ", "-"), "result.json").read_text())
        (group,) = result["groups"].values()
        assert row["metrics"]["uf1"]["mean"] == group["metrics"]["uf1"]["mean"]
        options = json.loads(Path("ablation", row["name"].replace(" ", "-"), "run.json").read_text())["config"]
        assert row["options"].items() <= options["model_options"].items()
    assert "no depth" in Path("ablation/full/report.html").read_text(encoding="utf-8")

    code, printed, _ = mer("predict", "ablation/full", "a.zarr", "--out", "p")
    assert code == 0
    assert "NO TEST RESULT" in printed
    rows = list(csv.DictReader(Path("p/predictions.csv").read_text().splitlines()))
    assert [row["clip"] for row in rows] == [entry.key for entry in Store.open(tmp_path / "a.zarr").manifest.clips]
    assert all(math.isclose(float(row["happy"]) + float(row["surprised"]), 1, abs_tol=1e-6) for row in rows)
    assert "choose a format: --onnx" in mer("export", "ablation/full").error
