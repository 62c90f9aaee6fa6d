"""Train, look at a run, and evaluate in Python: what comes out is what the command writes."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import madv_mer
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError, RunFolderError
from tests.training.small_stores import MODEL, PROTOCOL, small_store
from training.config import TrainConfig

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

FIELDS = {
    "model_options": MODEL, "frames": 8, "size": 32, "seeds": (3,), "workers": 0, "device": "cpu", "counts": "any",
    "optimisation": {"epochs": 1, "warmup_epochs": 0, "batch_size": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three people with four clips each, a protocol of two classes, and a run. Read only."""
    root = tmp_path_factory.mktemp("library")
    small_store(root / "casme2.zarr")
    (root / "two.toml").write_text(PROTOCOL)
    madv_mer.train(root / "casme2.zarr", root / "run", protocol=str(root / "two.toml"), **FIELDS)
    return root


@pytest.fixture
def run(place: Path) -> madv_mer.Run:
    return madv_mer.open_run(place / "run")


def test_a_run_is_what_its_files_say(run: madv_mer.Run, place: Path) -> None:
    assert run.config.optimisation.epochs == 1
    assert run.classes == ("happy", "surprised")
    assert run.folds == ("casme2/sub01", "casme2/sub02", "casme2/sub03")
    table = run.predictions
    written = pd.read_csv(place / "run" / "predictions.csv")
    pd.testing.assert_frame_equal(table, written, check_dtype=False, check_exact=False)
    assert len(table) == 12
    result = json.loads((place / "run" / "result.json").read_text())
    uf1 = result["groups"]["casme2"]["metrics"]["uf1"]
    row = run.metrics.loc[("casme2", "uf1")]
    assert row["mean"] == uf1["mean"]
    assert row["low"] == uf1["interval"]["low"]
    assert row["majority class"] == pytest.approx(1 / 3)  # half of all clips right: F1 of 2/3 and 0
    assert run.evaluation.caveats == tuple(result["caveats"])
    assert "One seed" in run._repr_html_()
    assert repr(run) == f"<Run {place / 'run'}: madv_net, {run.record.protocol.name}, 1 seed>"  # type: ignore[union-attr]


def test_a_model_with_its_input_repeats_the_folds_test(run: madv_mer.Run, place: Path) -> None:
    """Logits of the clips that a fold was tested on are those that the run wrote down, whoever prepares them."""
    store = madv_mer.open_store(place / "casme2.zarr")
    model = run.model("casme2/sub02", 3)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    with torch.no_grad():
        found = model(model.prepare(store.where("subject=sub02"))).double().softmax(-1)
    written = run.predictions.query("fold == 'casme2/sub02'")
    assert list(written["clip"]) == store.where("subject=sub02").keys()
    np.testing.assert_allclose(found, written[["happy", "surprised"]], atol=1e-6)
    with pytest.raises(RunFolderError, match=r"no fold 'sub09'; did you mean casme2/sub0"):
        run.model("sub09")


def test_a_run_predicts_a_store(run: madv_mer.Run, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One fold alone answers as in its test; that the other clips taught it is said."""
    table = run.predict(place / "casme2.zarr", fold="casme2/sub01", device="cpu")
    own = run.predictions.set_index("clip").query("fold == 'casme2/sub01'")
    np.testing.assert_allclose(table.loc[own.index, "happy"], own["happy"], atol=1e-6)
    assert set(table["predicted"]) <= {"happy", "surprised"}
    assert any(caveat.startswith("NO TEST RESULT") for caveat in table.attrs["caveats"])
    assert "caveat: NO TEST RESULT" in capsys.readouterr().out


def test_tables_are_evaluated_like_files(run: madv_mer.Run, place: Path) -> None:
    """A table that says the truth of every clip scores 1; the run's own scores as the run."""
    store, two = madv_mer.open_store(place / "casme2.zarr"), str(place / "two.toml")
    again = madv_mer.evaluate(run.predictions, store, protocol=two)
    pd.testing.assert_frame_equal(again.metrics, run.metrics)
    truth = run.predictions
    truth["happy"] = [1.0 if "happiness" in key else 0.0 for key in truth["clip"]]
    truth["surprised"] = 1 - truth["happy"]
    assert madv_mer.evaluate(truth, [store], protocol=two).metrics.loc["casme2", "mean"].tolist() == pytest.approx(
        [1.0] * len(again.metrics)
    )
    with pytest.raises(madv_mer.MerError, match="no column fold"):
        madv_mer.evaluate(truth.drop(columns="fold"), store, protocol=two)


def test_an_unfinished_run_says_so(run: madv_mer.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    unfinished = madv_mer.open_run(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"result\.json: no such file; train the run again"):
        _ = unfinished.metrics
    assert "unfinished" in unfinished._repr_html_()
    with pytest.raises(RunFolderError, match="expected a folder made by `mer train`"):
        madv_mer.open_run(tmp_path)


def test_arguments_are_the_fields_of_the_configs(tmp_path: Path) -> None:
    """Their defaults too; what is none is refused with the nearest name, before anything is read."""
    shown = inspect.signature(madv_mer.train).parameters
    assert shown["frames"].default == TrainConfig().frames
    assert TrainConfig.model_fields["frames"].description in (inspect.getdoc(madv_mer.train) or "")
    shown = inspect.signature(madv_mer.preprocess).parameters
    fields = {**PreprocessConfig.model_fields, **Execution.model_fields}
    assert fields.keys() <= shown.keys()
    with pytest.raises(ConfigError, match="dept: no such argument; did you mean depth"):
        madv_mer.preprocess(tmp_path, tmp_path / "s.zarr", dept="mesh")
    with pytest.raises(ConfigError, match=r"optimisation\.epochs: Input should be greater"):
        madv_mer.train(tmp_path, tmp_path / "run", optimisation={"epochs": 0})
