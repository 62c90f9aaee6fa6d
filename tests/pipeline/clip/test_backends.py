"""Backends of another package are chosen by name, in every process of a run, and the store says what they are."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip.backends import ACTION_UNITS, DEPTH, DETECTORS
from schemas.store.reader import Store

PACKAGE = '''
import numpy as np
from pipeline.clip.backends import ActionUnitBackend, DepthBackend

class Ramp(DepthBackend):
    """Depth that rises by 3 mm a column, 2 m away on the left."""

    package, kind, unit = "ramps", "metric depth", "mm"

    @classmethod
    def load(cls, setup):
        ramp = cls()
        ramp.size = setup.config.size
        return ramp

    def estimate(self, clip):
        for _ in clip.frames:
            yield np.tile(np.arange(self.size, dtype=np.float32) * 3 + 2000, (1, self.size, 1))

class Coder(ActionUnitBackend):
    """AU01 as the frame's number, AU12 always 5."""

    package, names, kind, unit = "ramps", ("AU01", "AU12"), "intensity", "FACS 0-5"

    @classmethod
    def load(cls, setup):
        assert not setup.weights
        return cls()

    def estimate(self, clip, positions):
        return np.array([[clip.frames.numbers[position], 5] for position in positions], np.float32)
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Processes that find the package ``ramps`` as if it were installed."""
    folder = tmp_path / "site"
    record = folder / "ramps-2.5.dist-info"
    record.mkdir(parents=True)
    (folder / "ramps.py").write_text(PACKAGE)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: ramps\nVersion: 2.5\n")
    (record / "entry_points.txt").write_text(
        "[mer.depth]\nramp = ramps:Ramp\n[mer.action_units]\ncoder = ramps:Coder\n"
    )
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_backends_of_another_package(
    shared_casme2: Path, tmp_path: Path, environment: dict[str, str], workers: str
) -> None:
    """The package adds nothing to ours but two entry points; what it computes arrives in the store."""
    out = tmp_path / "out.zarr"
    key = "casme2/sub01/EP02_01"
    options = ["--depth", "ramp", "--au", "coder", "--size", "112", "--device", "cpu", "--workers", workers]
    command = [str(Path(sys.executable).with_name("mer")), "preprocess", str(shared_casme2), "--out", str(out)]
    done = subprocess.run([*command, "--clips", key, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    store = Store.open(out)
    manifest, entry = store.manifest, store.entry(key)
    assert manifest.depth is not None
    assert manifest.depth.model_dump() == {"kind": "metric depth", "unit": "mm", "tool": "ramp", "version": "2.5"}
    assert manifest.action_units.model_dump() == {
        "names": ("AU01", "AU12"), "kind": "intensity", "unit": "FACS 0-5", "tool": "coder", "version": "2.5"
    }  # fmt: skip
    assert manifest.provenance.packages["ramps"] == "2.5"
    np.testing.assert_array_equal(store.action_units(key), [[entry.onset, 5], [entry.apex, 5]])
    row = store.depth(key)[0, 0].astype(float) * store.column("depth_scale")[0] + store.column("depth_offset")[0]
    np.testing.assert_allclose(row, 2000 + 3 * np.arange(112), atol=0.5)


def test_every_backend_of_ours_says_itself() -> None:
    """Names, and what a store's reader has to know of each."""
    assert DETECTORS.names() == ["mtcnn"]
    assert {name: (DEPTH[name].kind, DEPTH[name].prior) for name in DEPTH.names()} == {
        "measured": ("metric depth", False),
        "mesh": ("relative depth", True),
        "depth-anything-v2-small": ("relative inverse depth", False),
        "depth-anything-v2-base": ("relative inverse depth", False),
        "depth-anything-v2-large": ("relative inverse depth", False),
    }
    assert {name: ACTION_UNITS[name].kind for name in ACTION_UNITS.names()} == {
        "mesh": "activation", "py-feat": "activation"
    }  # fmt: skip
