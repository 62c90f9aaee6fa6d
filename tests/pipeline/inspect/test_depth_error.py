"""An estimator against measured depth: the formulas by hand, and stores from one end to the other."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.inspect.depth_error import judge
from schemas.errors import ConfigError
from schemas.store.reader import Store
from tests.command_line import mer
from tests.conftest import run_preprocess
from tests.tiny_stores import tiny_store


def test_the_error_by_hand() -> None:
    """Two pixels, estimated a factor e^0.1 too far and too near: mean of squares 0.01, mean 0, root 0.1."""
    distance = np.array([800.0, 1000.0])
    _, error = judge("metric depth", -distance * np.exp([0.1, -0.1]), distance)
    assert error == pytest.approx(0.1)
    _, error = judge("metric depth", -distance * np.exp([0.3, 0.1]), distance)  # the same, and all too far
    assert error == pytest.approx(0.1)


def test_a_wrong_scale_is_no_error() -> None:
    """Metric depth may be in another unit, relative depth has neither scale nor offset, nor has inverse depth."""
    distance = np.linspace(700, 900, 50)
    for kind, estimate in (
        ("metric depth", -distance / 1000),
        ("relative depth", 12 - 0.003 * distance),
        ("relative inverse depth", 40 / distance - 7),
    ):
        correlation, error = judge(kind, estimate, distance)  # type: ignore[arg-type]
        assert correlation == pytest.approx(1)
        assert error == pytest.approx(0, abs=1e-9)


def test_a_fit_by_hand() -> None:
    """Distances 900, 1000, 1100 and estimates 3, 2, 2: slope 150, hence 900, 1050, 1050; r = 100 / sqrt(2/3 20000)."""
    correlation, error = judge("relative depth", np.array([3.0, 2, 2]), np.array([900.0, 1000, 1100]))
    assert correlation == pytest.approx(math.sqrt(3) / 2)
    d = [0, math.log(1050 / 1000), math.log(1050 / 1100)]
    assert error == pytest.approx(math.sqrt(sum(x * x for x in d) / 3 - (sum(d) / 3) ** 2))


def test_an_inverted_estimate_correlates_negatively() -> None:
    distance = np.linspace(700, 900, 50)
    with pytest.raises(ConfigError, match="expected minus the distance from the camera"):
        judge("metric depth", distance, distance)
    assert judge("relative depth", distance, distance)[0] == pytest.approx(-1)
    assert judge("relative depth", np.ones(50), distance)[0] is None


def test_from_frames_of_depth_to_the_table(shared_casme2: Path, tmp_path: Path) -> None:
    """A ball of known millimetres where the face is: in the store in mm, and the mesh, a face, is judged by it."""
    folder = sorted((shared_casme2 / "CASME2_RAW_selected").glob("*/*"))[0]
    images = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem.removeprefix("img")))[:4]
    onset, offset = (path.stem.removeprefix("img") for path in (images[0], images[-1]))
    with Image.open(images[0]) as image:
        width, height = image.size
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - width / 2, y - height / 2)
    distance = (700 + away**2 / 400).round().astype(np.uint16)
    (tmp_path / "depth").mkdir()
    for image_file in images[:-1]:
        Image.fromarray(distance).save(tmp_path / "depth" / f"{image_file.stem}.png")
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        header = ["subject", "clip", "path", "depth_path", "onset", "offset"]
        csv.writer(file).writerows([header, ["ann", "a", folder, "depth", onset, offset]])
    for name, depth in (("measured", "measured"), ("mesh", "mesh")):
        assert run_preprocess(tmp_path / "clips.csv", tmp_path / f"{name}.zarr", depth=depth) == 0
    store = Store.open(tmp_path / "measured.zarr")
    entry = store.entry("clips/ann/a")
    assert entry.source is not None
    assert entry.source.files == 2 * len(images) - 1
    assert {finding.kind for finding in entry.findings} >= {"depth_incomplete", "depth_filled"}
    assert store.manifest.depth is not None
    assert (store.manifest.depth.kind, store.manifest.depth.unit[:3]) == ("metric depth", "mm,")
    scale, offset = (float(store.column(name)[0]) for name in ("depth_scale", "depth_offset"))
    millimetres = store.depth("clips/ann/a")[0].astype(float) * scale + offset
    transform = store.column("transform")[0].astype(float)
    source = np.linalg.solve(transform[:, :2], np.array([56, 56]) - transform[:, 2]).round().astype(int)
    assert millimetres[56, 56] == pytest.approx(-float(distance[source[1], source[0]]), abs=1.5)

    code, printed, _ = mer("inspect", tmp_path / "mesh.zarr", "--depth-error", tmp_path / "measured.zarr", "--json")
    [judged] = json.loads(printed)
    assert code == 0
    assert 0.3 < judged["correlation"] < 1
    assert 0 < judged["error"] < 0.1
    own = mer("inspect", tmp_path / "measured.zarr", "--depth-error", tmp_path / "measured.zarr").printed
    assert [line.split()[1:] for line in own.splitlines() if "clips/ann/a" in line] == [["1.000", "0.0000"]]


@pytest.mark.parametrize(
    ("depth", "keys", "message"),
    [
        (True, ["casme2/s/a"], "has no metric depth to judge by; make it with --depth measured"),
        (False, ["casme2/s/a"], "has no depth to judge"),
    ],
)
def test_stores_that_cannot_be_judged(tmp_path: Path, depth: bool, keys: list[str], message: str) -> None:
    tiny_store(tmp_path / "a.zarr", keys, depth=depth)
    tiny_store(tmp_path / "b.zarr", keys)
    code, _, error = mer("inspect", tmp_path / "a.zarr", "--depth-error", tmp_path / "b.zarr")
    assert code == 2
    assert message in error
