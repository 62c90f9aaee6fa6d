"""Synthetic depth is what a stereo camera measures: its noise by the maker's formula, its shape that of the truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from pipeline.inspect.figures import depth_source
from pipeline.synthesis.depth_camera import DepthCamera
from schemas.store.reader import Store
from tests.command_line import mer

CAMERA = DepthCamera(width=1280, face_width=270)


def test_the_distance_follows_from_the_size_of_the_face() -> None:
    """A head of 145 mm that takes 270 of 1280 px of a view of 69 degrees is half a metre away: by the rule of three."""
    seen = 2 * CAMERA.distance * np.tan(np.deg2rad(69 / 2))  # mm that the frame is wide at that distance
    assert 145 / seen == pytest.approx(270 / 1280)
    assert CAMERA.distance == pytest.approx(500, abs=5)


@pytest.mark.parametrize("face_width", [270, 135])
def test_noise_is_that_of_the_maker(face_width: float) -> None:
    """RMS error = distance² · subpixel / (focal length · baseline): four times as much at twice the distance."""
    camera = DepthCamera(width=1280, face_width=face_width)
    measured = camera.measure(np.zeros((400, 400)), np.random.default_rng(0))
    valid = measured[measured > 0].astype(float)
    focal = 1280 / 2 / np.tan(np.deg2rad(69 / 2))
    expected = camera.distance**2 * 0.08 / (focal * 55)
    assert valid.mean() == pytest.approx(camera.distance, abs=0.05)
    assert valid.std() == pytest.approx(np.hypot(expected, 1 / np.sqrt(12)), rel=0.08)  # whole mm add their own


def test_beside_the_face_and_in_holes_nothing_is_measured() -> None:
    """Zero beside it and along its rim; few and small holes within."""
    height = np.full((300, 300), np.nan)
    height[50:250, 50:250] = 40.0
    measured = CAMERA.measure(height, np.random.default_rng(1))
    assert measured.dtype == np.uint16
    assert not measured[np.isnan(height)].any()
    assert not measured[50:54, 50:250].any()
    assert 0.0005 < (measured[60:240, 60:240] == 0).mean() < 0.01
    assert np.median(measured[60:240, 60:240]) == round(CAMERA.distance - 40 * 145 / 270)


@pytest.mark.slow
def test_measured_depth_of_a_synthetic_dataset_is_the_truth_and_noise(tmp_path: Path) -> None:
    """`mer synth casme3`, then what it says: at the apex depth differs from the truth by the noise alone."""
    raw = tmp_path / "casme3"
    made = mer("synth", "casme3", raw, "--subjects", 1, "--clips", 1, "--frames", 8, "--seed", 1)
    following = made.printed.splitlines()[-1].removeprefix("next: mer ").split()
    done = mer(*following, "--out", tmp_path / "casme3.zarr", "--size", 112, "--workers", 0)
    assert done.code == 0, done.error
    store = Store.open(tmp_path / "casme3.zarr")
    [entry], [key] = store.manifest.clips, store.manifest.index
    assert depth_source(store.manifest) == "measured depth"
    folder = tmp_path / "casme3-truth"
    truth = json.loads((folder / "truth.json").read_text())["clips"][key]
    height = np.load(folder / truth["file"])["depth"].astype(float)
    assert entry.apex is not None
    assert entry.onset is not None
    measured = store.array("depth")[0, entry.apex - entry.onset].astype(float)
    measured = measured * store.array("depth_scale")[0] + store.array("depth_offset")[0]
    linear = np.linalg.inv(np.vstack([store.array("transform")[0], [0, 0, 1]]))  # crop px to source px
    y, x = np.mgrid[24:88, 32:80]  # the face, without its rim
    at = linear @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    true = map_coordinates(height, at[1::-1], order=1) * 145 / 270  # mm; the portrait is 270 px wide within 6 %
    found = measured[24:88, 32:80].ravel()
    known = np.isfinite(true)
    assert known.mean() > 0.9
    true, found = true[known], found[known]
    scale, offset = np.polyfit(true, found, 1)
    assert scale == pytest.approx(1, abs=0.08)
    assert np.corrcoef(true, found)[0, 1] > 0.995
    assert np.std(found - scale * true - offset) < 1.0
