"""Depth Anything through OpenVINO: the values of PyTorch, chosen on purpose, recorded, and never mixed in one store."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.clip.depth_anything import DepthAnything
from pipeline.datasets import scan_dataset
from pipeline.preprocessing.journal import ClipRecord, Journal
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from pipeline.weights.locate import locate
from schemas.config import DepthRuntime, Execution, PreprocessConfig
from schemas.errors import ConfigError, StoreExistsError
from schemas.manifest import Provenance
from schemas.rows import table_of
from schemas.store.reader import Store
from tests.conftest import run_preprocess
from tests.pipeline.clip.checkpoints import write_small_depth_anything
from tests.pipeline.clip.real_clip import real_clip

NAME = "depth-anything-v2-small"
HERE = Execution(workers=0, device="cpu")
# As Linux names the units: of Intel and AMD servers, of laptops, of ARM.
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_small_depth_anything(folder)
    return folder


def depth_of(models: Path, runtime: DepthRuntime) -> np.ndarray:
    model = DepthAnything(locate(NAME, models), size=112, input_size=126, runtime=runtime)
    return np.concatenate(list(model.estimate(real_clip())))


def test_openvino_gives_what_pytorch_gives(models: Path) -> None:
    """Frame by frame of a real clip, but for rounding."""
    eager, ours = depth_of(models, "torch"), depth_of(models, "openvino")
    assert ours.dtype == np.float32
    assert ours.shape == eager.shape == (5, 112, 112)
    assert np.abs(np.diff(eager, axis=0)).max() > 0.1  # a frame out of order would show
    assert np.sqrt(np.mean((ours - eager) ** 2)) < 1e-4 * eager.std()


def test_bf16_is_coarser_and_only_for_processors_that_have_it(models: Path) -> None:
    """The processor's own list of what it has decides which half of this test a machine runs."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    if not words & BF16_FLAGS:
        with pytest.raises(
            ConfigError, match=r"openvino-bf16: this processor has no units for bf16.*runtime openvino$"
        ):
            depth_of(models, "openvino-bf16")
        return
    eager, ours = depth_of(models, "torch"), depth_of(models, "openvino-bf16")
    assert 1e-4 < np.sqrt(np.mean((ours - eager) ** 2)) / eager.std() < 0.05


@pytest.fixture
def made(
    shared_casme2: Path,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., tuple[Provenance, list[str]]]:
    """Makes a store of three frames; what its manifest says, and the notes on the error stream."""
    monkeypatch.setenv("MER_MODELS", str(models))

    def preprocessed(**options: Any) -> tuple[Provenance, list[str]]:
        assert run_preprocess(shared_casme2, tmp_path / "s.zarr", depth=NAME, limit=1, frames=3, **options) == 0
        notes = [line for line in capfd.readouterr().err.splitlines() if "note:" in line]
        return Store.open(tmp_path / "s.zarr").manifest.provenance, notes

    return preprocessed


@pytest.mark.slow
def test_the_manifest_records_the_runtime_and_its_version(
    made: Callable[..., tuple[Provenance, list[str]]],
) -> None:
    """``auto`` is settled before it is written; who has chosen gets no advice."""
    provenance, notes = made(depth_size=518, depth_runtime="auto")
    assert provenance.config.depth_runtime == "openvino"
    assert provenance.packages["openvino"] >= "2025"
    assert not notes


def test_a_slow_run_on_a_cpu_is_told_what_is_faster(made: Callable[..., tuple[Provenance, list[str]]]) -> None:
    """Once, on the error stream, and it runs all the same."""
    provenance, (note,) = made()
    assert "--depth-size 252" in note
    assert "--depth-runtime openvino" in note
    assert provenance.config.depth_runtime == "torch"
    assert "openvino" not in provenance.packages


def test_a_store_begun_with_another_runtime_is_refused(shared_casme2: Path, models: Path, tmp_path: Path) -> None:
    """An unfinished store, gone on with by PyTorch."""
    root, scan = scan_dataset(shared_casme2)
    execution = HERE.model_copy(update={"models_dir": models})
    begun, other = (
        plan_run(
            root, tmp_path / "s.zarr", scan,
            PreprocessConfig(dataset=scan.dataset, depth=NAME, depth_runtime=runtime, au="mesh"), execution,
        )
        for runtime in ("openvino", "torch")
    )  # fmt: skip
    begun.out.mkdir()
    journal = Journal(begun.out)
    journal.begin(begun.header, table_of(ClipRecord, ()))
    journal.close()
    with pytest.raises(StoreExistsError, match=r"made otherwise:\n.*depth_runtime"):
        execute(other, execution, Console(file=StringIO()))


@pytest.mark.parametrize(
    ("runtime", "depth", "expected"),
    [
        ("openvino", NAME, "openvino: OpenVINO is not installed here; `uv sync --extra cpu`"),
        ("openvino", "mesh", "openvino: not for --depth mesh; choose torch"),
        ("auto", NAME, None),
        ("auto", "mesh", None),
    ],
)
def test_without_openvino(
    shared_casme2: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    runtime: DepthRuntime, depth: str, expected: str | None,
) -> None:  # fmt: skip
    """Who asks for it is told how to get it, before anything is written; ``auto`` is PyTorch then."""
    monkeypatch.setattr("pipeline.preprocessing.backends.find_spec", lambda name: None)
    root, scan = scan_dataset(shared_casme2)
    config = PreprocessConfig(dataset=scan.dataset, depth=depth, depth_runtime=runtime, au="mesh")
    execution = HERE.model_copy(update={"models_dir": models})
    if expected is None:
        plan = plan_run(root, tmp_path / "s.zarr", scan, config, execution)
        assert plan.provenance.config.depth_runtime == "torch"
        return
    with pytest.raises(ConfigError, match=expected):
        plan_run(root, tmp_path / "s.zarr", scan, config, execution)
    assert not (tmp_path / "s.zarr").exists()
