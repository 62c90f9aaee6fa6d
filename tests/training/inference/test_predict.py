"""Predictions of a finished run on stores: whose models, on what, and what they are not."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from schemas.errors import ConfigError, RunFolderError
from schemas.manifest import Failure, Manifest
from schemas.settings import validated
from schemas.store.reader import Store
from tests.command_line import mer
from training.config import TrainConfig
from training.evaluation.predictions import read_predictions
from training.fit.fold import fold_updates
from training.fit.folder import RunFolder
from training.fit.update import alone
from training.inference.output import prediction_csv, prediction_report, write_prediction
from training.inference.predict import Ensemble, StorePrediction, faces_seen, predict_store, preprocessing_of
from training.models.trained_model import TrainedModel, load_trained_model
from training.runs.plan import plan_training

PROTOCOL = """
[task]
name = "two classes"
title = "two classes"
classes = ["low", "high"]
[[task.datasets]]
dataset = "casme2"
classes = {disgust = "low", fear = "high", others = "low", surprise = "high"}
expected = {low = 2, high = 2}
expected_subjects = 2
[split]
kind = "loso"
"""


@pytest.fixture(scope="module")
def folder(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A small MADV-Net, trained for one epoch with each of two people left out, two seeds. Read only."""
    path = tmp_path_factory.mktemp("runs")
    (path / "protocol.toml").write_text(PROTOCOL)
    small = {"dims": (32, 32, 32), "depths": (1, 1, 1), "stem_width": 4, "au_layers": 1}
    fields = {
        "model_options": small,
        "protocol": str(path / "protocol.toml"),
        "counts": "any",
        "frames": 8,
        "size": 32,
        "seeds": (0, 1),
        "optimisation": {"epochs": 1, "warmup_epochs": 0, "lr": 1e-2},
    }
    plan = plan_training([shared_store], validated(TrainConfig, fields), "cpu")
    source = plan.clips.open(None)
    made = RunFolder(path / "run")
    made.path.mkdir()
    made.write(plan.run)
    for fold in made.folds(plan.run):
        alone(fold_updates(plan.run, fold, plan.clips, source, device=torch.device("cpu"), threads=1))
    return made


Edit = Callable[[TrainedModel], TrainedModel]


def edited(folder: RunFolder, path: Path, edit: Edit) -> RunFolder:
    """The run with its first model changed, and no other model."""
    run, other = folder.read(), RunFolder(path)
    path.mkdir()
    other.write(run)
    old, new = next(folder.folds(run)), next(other.folds(run))
    new.path.mkdir(parents=True)
    edit(load_trained_model(old.model)).save(new.model)
    return other


def with_manifest(store: Store, **update: object) -> Store:
    """The store as another manifest describes it."""
    return Store(store.path, Manifest.model_validate(store.manifest.model_copy(update=update)))


def caveats_of(ensemble: Ensemble, store: Store) -> list[str]:
    """All but those that stand beside everything synthetic."""
    return [caveat for caveat in predict_store(ensemble, store).caveats if "synthetic:" not in caveat]


def test_a_folds_model_repeats_its_test_predictions(folder: RunFolder, shared_store: Store) -> None:
    """New clips are seen as test clips were: the same probabilities come out, and the ensemble is their mean."""
    run = folder.read()
    singles = []
    for fold in folder.folds(run):
        own = predict_store(Ensemble.open(folder, fold=fold.fold.name, seed=fold.seed), shared_store)
        singles.append(own.probabilities)
        tested = read_predictions(fold.predictions)
        rows = [own.clips.index(key) for key in tested.clips]
        np.testing.assert_allclose(own.probabilities[rows], tested.probabilities, atol=1e-6)
        assert own.models == (fold.name,)
    together = predict_store(Ensemble.open(folder), shared_store)
    assert len({array.tobytes() for array in singles}) == len(together.models) == 4
    np.testing.assert_allclose(together.probabilities, np.mean(singles, axis=0), atol=1e-12)
    assert together.clips == tuple(entry.key for entry in shared_store.manifest.clips)
    assert together.predicted == tuple(together.classes[i] for i in together.probabilities.argmax(1))


def test_people_that_were_trained_on_are_named(folder: RunFolder, shared_store: Store) -> None:
    """Every subject taught some fold's model; the model of one fold has not seen its own test subject."""
    (caveat,) = caveats_of(Ensemble.open(folder), shared_store)
    assert caveat.startswith("NO TEST RESULT: 2 of 2 subjects were trained on by these models (casme2/sub01, ")
    (caveat,) = caveats_of(Ensemble.open(folder, fold="casme2/sub01"), shared_store)
    assert caveat.startswith("NO TEST RESULT: 1 of 2 subjects were trained on by these models (casme2/sub02)")

    renamed = {key: f"other/{key.split('/', 1)[1]}" for key in shared_store.manifest.index}
    strangers = [entry.model_copy(update={"key": renamed[entry.key]}) for entry in shared_store.manifest.clips]
    ensemble = Ensemble.open(folder, seed=0)
    none_known = with_manifest(shared_store, clips=tuple(entry.model_copy(
        update={"failure": Failure(stage="face", error="E", message="no face"), "status": "failed"}
    ) for entry in strangers))  # fmt: skip
    caveat, *_ = caveats_of(ensemble, none_known)
    assert caveat.startswith("NO TEST RESULT: 4 of 4 clips (other/sub01/")
    assert "files or their pixels are the same" in caveat
    new = {"source": None, "objects": {}}
    unknown = with_manifest(shared_store, clips=tuple(e.model_copy(update=new) for e in none_known.manifest.clips))
    assert caveats_of(ensemble, unknown) == []


def test_synthetic_models_and_clips_are_called_so(folder: RunFolder, shared_store: Store) -> None:
    """Each of them, and not where they are recordings."""
    found = predict_store(Ensemble.open(folder), shared_store).caveats[:2]
    assert [caveat.split(" synthetic:")[0] for caveat in found] == [
        "the models were trained on clips that are",
        "the clips are",
    ]
    real = with_manifest(shared_store, synthetic=False)
    assert sum("synthetic:" in caveat for caveat in predict_store(Ensemble.open(folder), real).caveats) == 1


def test_what_the_models_never_saw_is_said(folder: RunFolder, shared_store: Store) -> None:
    """Other backends, no annotation, missing models: each is a caveat."""
    provenance = shared_store.manifest.provenance
    config = provenance.config.model_copy(update={"au": "py-feat"})
    blank = [e.model_copy(update={"label": type(e.label)()}) for e in shared_store.manifest.clips]
    store = with_manifest(shared_store, clips=tuple(blank), provenance=provenance.model_copy(update={"config": config}))
    ensemble = Ensemble.open(folder, fold="casme2/sub01", seed=0)
    caveats = caveats_of(Ensemble(ensemble.run, ensemble.folders, 3), store)
    assert [caveat.split(":")[0] for caveat in caveats] == [
        "3 models missing",
        "NO TEST RESULT",
        "the models have no class for 'no expression'",
        "the store was made with au py-feat, the run's with mesh",
    ]


def test_failed_clip_is_a_row_with_its_reason(folder: RunFolder, shared_store: Store, tmp_path: Path) -> None:
    """It has no probabilities, its neighbours keep theirs, and the table says why."""
    entries = list(shared_store.manifest.clips)
    failure = Failure(stage="face", error="FaceNotFoundError", message='no face, "none"\nat all')
    entries[1] = entries[1].model_copy(update={"status": "failed", "failure": failure})
    ensemble = Ensemble.open(folder, seed=0)
    whole = predict_store(ensemble, shared_store)
    found = predict_store(ensemble, with_manifest(shared_store, clips=tuple(entries)))
    good = [0, 2, 3]
    np.testing.assert_allclose(found.probabilities[good], whole.probabilities[good], atol=1e-6)
    assert np.isnan(found.probabilities[1]).all()

    table, about = write_prediction(tmp_path / "out", found)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["clip", "predicted", "low", "high", "reason"]
    assert [row["clip"] for row in rows] == [entry.key for entry in entries]
    assert rows[1] | {"clip": ""} == {"clip": "", "predicted": "", "low": "", "high": "", "reason": failure.message}
    assert [float(rows[0]["low"]), float(rows[0]["high"])] == found.probabilities[0].tolist()
    said = json.loads(about.read_text())
    assert said["models"] == list(found.models)
    assert said["caveats"] == list(found.caveats)
    assert said["store_content_sha256"] == shared_store.manifest.content_sha256

    printed = io.StringIO()
    Console(width=200, file=printed).print(prediction_report(found))
    assert "caveat: NO TEST RESULT" in printed.getvalue()


def test_windows_in_doubt_get_no_class(folder: RunFolder, shared_store: Store) -> None:
    """The reason stands in place of the probabilities; the neighbours keep theirs."""
    ensemble = Ensemble.open(folder, fold="casme2/sub01", seed=0)
    whole = predict_store(ensemble, shared_store)
    found = predict_store(ensemble, shared_store, left_out={whole.clips[2]: "a cut"})
    assert found.reasons == ("", "", "a cut", "")
    assert found.predicted == (*whole.predicted[:2], "", whole.predicted[3])
    assert np.isnan(found.probabilities[2]).all()
    np.testing.assert_allclose(found.probabilities[[0, 1, 3]], whole.probabilities[[0, 1, 3]], atol=1e-6)


def test_faces_are_counted(folder: RunFolder, shared_store: Store) -> None:
    """In words for every clip, and as a caveat where there are several."""
    entries = list(shared_store.manifest.clips)
    assert entries[1].quality is not None
    entries[1] = entries[1].model_copy(update={"quality": entries[1].quality.model_copy(update={"faces": 3})})
    entries[2] = entries[2].model_copy(update={"quality": None})
    store = with_manifest(shared_store, clips=tuple(entries))
    assert faces_seen(store) == "faces: none in 1 clip, 1 in 2 clips, 3 in 1 clip"
    caveats = predict_store(Ensemble.open(folder, fold="casme2/sub01", seed=0), store).caveats
    assert "up to 3 faces were seen, in 1 of 3 clips; the largest is taken" in caveats


def test_a_runs_own_predictions_are_not_replaced(folder: RunFolder, shared_store: Store) -> None:
    """The folder of a run is no place to write to, however it is spelt."""
    out = folder.path.parent / folder.path.name / "." / ".." / folder.path.name
    refused = mer("predict", folder.path, shared_store.path, "--out", out, "--device", "cpu")
    assert refused.code == 2
    assert "a run, whose own predictions would be replaced; choose another folder" in refused.error


def test_store_that_does_not_fit_is_refused(folder: RunFolder, shared_store: Store, tmp_path: Path) -> None:
    """Frames too small, other action units, no depth for a model that reads it; one that does not is content."""

    def larger(model: TrainedModel) -> TrainedModel:
        header = model.header.model_copy(update={"size": 128})
        return TrainedModel(header, header.build())

    def other_units(model: TrainedModel) -> TrainedModel:
        names = tuple(reversed(model.header.action_units))
        return TrainedModel(model.header.model_copy(update={"action_units": names}), model.network)

    def without_depth(model: TrainedModel) -> TrainedModel:
        options = {**model.header.model_options, "depth": False}
        normalisation = model.header.normalisation.model_copy(update={"depth": ()})
        header = model.header.model_copy(update={"model_options": options, "normalisation": normalisation})
        return TrainedModel(header, header.build().eval())

    with pytest.raises(ConfigError, match="its frames are 112 px, fewer than the model's 128"):
        predict_store(Ensemble.open(edited(folder, tmp_path / "larger", larger)), shared_store)
    with pytest.raises(ConfigError, match=r"its action units are AU01, .*; the model reads AU43, "):
        predict_store(Ensemble.open(edited(folder, tmp_path / "units", other_units)), shared_store)

    provenance = shared_store.manifest.provenance
    config = provenance.config.model_copy(update={"depth": "none"})
    flat = with_manifest(shared_store, provenance=provenance.model_copy(update={"config": config}), depth=None)
    with pytest.raises(ConfigError, match="made without depth, which the model reads"):
        predict_store(Ensemble.open(folder), flat)
    found = predict_store(Ensemble.open(edited(folder, tmp_path / "flat", without_depth)), flat)
    np.testing.assert_allclose(found.probabilities.sum(1), 1)
    assert found.caveats[0].startswith("3 models missing")


def test_models_that_are_not_there_are_named(folder: RunFolder, tmp_path: Path) -> None:
    """A fold, a seed, a run, a trained model."""
    for text in ("sub01", "CASME2/Sub01"):
        assert {each.fold.name for each in Ensemble.open(folder, fold=text).folders} == {"casme2/sub01"}
    with pytest.raises(RunFolderError, match="no fold 'casme2/sub09'; did you mean casme2/sub0"):
        Ensemble.open(folder, fold="casme2/sub09")
    with pytest.raises(RunFolderError, match="no seed 7; there are 0, 1"):
        Ensemble.open(folder, seed=7)
    with pytest.raises(RunFolderError, match="expected a folder made by `mer train`"):
        Ensemble.open(RunFolder(tmp_path))
    empty = RunFolder(tmp_path)
    empty.write(folder.read())
    with pytest.raises(RunFolderError, match="of 4 models none is there; type the same `mer train` command again"):
        Ensemble.open(empty)
    empty.write(folder.read().model_copy(update={"protocol": None, "objective": "frame_difference"}))
    with pytest.raises(RunFolderError, match="pre-trained without labels, it knows no classes"):
        Ensemble.open(empty)


def test_windows_show_faces_and_stay_only_where_asked(folder: RunFolder, shared_casme2: Path, tmp_path: Path) -> None:
    """Neither they nor a lock or log are left; what is left says that the recording was synthetic."""
    recording = next(path.parent for path in sorted(shared_casme2.rglob("*.jpg")) if "sub01" in str(path))
    here = ("--fps", "200", "--window", "32f", "--workers", "0", "--device", "cpu", "--fold", "SUB01", "--seed", "0")
    for words, expected in (((), False), (("--keep-windows",), True)):
        out = tmp_path / f"{expected}"
        assert mer("predict", folder.path, recording, "--out", out, *here, *words).code == 0
        names = {path.name for path in out.iterdir()}
        assert names - {path.name for path in out.glob("*.png")} == {
            "predictions.csv",
            "predictions.json",
            "predictions.html",
        } | ({"windows.zarr"} if expected else set())
        assert "the clips are synthetic: " in (out / "predictions.json").read_text()


def test_new_videos_are_preprocessed_as_the_runs_stores(folder: RunFolder, shared_store: Store) -> None:
    """One config comes back; where the stores differ in what matters there is none."""
    run = folder.read()
    assert preprocessing_of(run) == shared_store.manifest.provenance.config
    (trained,) = run.stores
    for update in ({"depth": "none"}, {"size": 224}, {"apex": "middle"}):
        other = trained.model_copy(update={"preprocess": trained.preprocess.model_copy(update=update)})
        with pytest.raises(ConfigError, match=f"differ in {next(iter(update))} "):
            preprocessing_of(run.model_copy(update={"stores": (trained, other)}))
    harmless = trained.model_copy(update={"preprocess": trained.preprocess.model_copy(update={"limit": 3})})
    assert preprocessing_of(run.model_copy(update={"stores": (trained, harmless)})).size == 112


def test_windows_are_drawn_over_time(tmp_path: Path) -> None:
    """A picture a video, rows named by video and time; only a video with failures has grey in it."""
    keys = tuple(f"windows/{video}/{number}" for video in "ab" for number in range(4))
    spans = {key: (f"talks/{key.split('/')[1]} $x_1$.mp4", i % 4 / 4, i % 4 / 4 + 0.5) for i, key in enumerate(keys)}
    probabilities = np.array([[0.25, 0.75]] * 8)
    probabilities[6] = np.nan
    reasons = tuple("no face" if row == 6 else "" for row in range(8))
    prediction = StorePrediction(("low", "high"), keys, probabilities, reasons, ("one",), (), "run", "store")
    _, _, _, *pictures = write_prediction(tmp_path, prediction, spans)
    assert [picture.name for picture in pictures] == ["001-a $x_1$.png", "002-b $x_1$.png"]
    grey = []
    for picture in pictures:
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape[1] > 1000
        share = (pixels == round(0.9 * 255)).all(-1)
        grey.append(share[:, : pixels.shape[1] // 2 + 200].mean())  # beside the legend
    assert grey[0] < 0.001
    assert grey[1] > 0.05
    rows = list(csv.reader(prediction_csv(prediction, spans).splitlines()))
    assert rows[0] == ["video", "start_s", "end_s", "predicted", "low", "high", "reason"]
    assert rows[2] == ["talks/a $x_1$.mp4", "0.250", "0.750", "high", "0.25", "0.75", ""]
    assert rows[7] == ["talks/b $x_1$.mp4", "0.500", "1.000", "", "", "", "no face"]


def test_a_long_name_is_shortened(tmp_path: Path) -> None:
    """File systems count bytes, of which a character may have several; none is cut in two."""
    spans = {"windows/a/1": ("\u20ac" * 83 + ".mp4", 0.0, 0.5)}
    prediction = StorePrediction(("low", "high"), tuple(spans), np.array([[0.5, 0.5]]), ("",), ("one",), (), "run", "s")
    *_, picture = write_prediction(tmp_path, prediction, spans)
    assert picture.is_file()
    assert picture.name == "001-" + "\u20ac" * 66 + ".png"
