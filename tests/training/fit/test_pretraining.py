"""`mer pretrain`, and training from what was learned before: by labels of another dataset, or without any."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from schemas.store.reader import Store
from tests.command_line import Outcome, mer
from tests.training.small_stores import CONFIG, PROTOCOL, small_smic, small_store
from training.fit.folder import Run, RunFolder
from training.models.base import ClipClassifier
from training.models.trained_model import load_trained_model
from training.runs.plan import plan_supervised_pretraining
from training.runs.recipes import resolve

pytestmark = pytest.mark.usefixtures("one_thread")


class Place(NamedTuple):
    """Stores of two datasets, a protocol, a config, and a run of `mer pretrain` on one of them."""

    root: Path
    casme2: Store
    smic: Store
    pretrained: RunFolder

    def run(self, command: str, out: Path | str, store: Store, *more: object) -> Outcome:
        """`mer COMMAND` in this process."""
        fixed = ("--store", store.path, "--config", self.root / "c.toml", "--device", "cpu", "--workers", 0)
        return mer(command, *fixed, "--out", self.root / out, *more)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("pretraining")
    (root / "two.toml").write_text(PROTOCOL.replace('kind = "loso"', 'kind = "holdout"\ntest_fraction = 0.34'))
    (root / "c.toml").write_text(CONFIG)
    found = Place(root, small_store(root / "casme2.zarr"), small_smic(root), RunFolder(root / "pretrained"))
    outcome = found.run("pretrain", "pretrained", found.smic)
    assert outcome.code == 0, outcome.error
    assert "masked frame differences: 6 clips, 2 seeds" in outcome.printed
    assert f"next: mer train --store OTHER.zarr --pretrain {found.pretrained.path}" in outcome.printed
    return found


def backbone(network: ClipClassifier) -> dict[str, torch.Tensor]:
    heads = tuple(f"{prefix}." for prefix in network.head_prefixes)
    return {name: value for name, value in network.named_parameters() if not name.startswith(heads)}


def test_what_pretraining_leaves(place: Place) -> None:
    """A model a seed, without classes; its loss is the reconstruction's alone, no accuracy, no predictions."""
    run = place.pretrained.read()
    assert (run.objective, run.protocol, run.classes) == ("frame_difference", None, ())
    assert [len(fold.train) for fold in run.folds] == [6]
    first, second = place.pretrained.folds(run)
    assert first.model.read_bytes() != second.model.read_bytes()
    assert not first.predictions.exists()
    header = load_trained_model(first.model).header
    assert (header.classes, header.fold, header.epoch) == ((), "all clips", 3)
    lines = first.metrics.read_text().splitlines()
    assert lines[0] == "epoch,lr,loss,loss_reconstruction,accuracy,validation_loss,validation_accuracy"
    assert len(lines) == 4
    assert all(line.endswith(",,,") for line in lines[1:])


def test_labels_are_not_read(place: Place, tmp_path: Path) -> None:
    """A store without a usable label gives the same weights, bit for bit, as does a second run."""
    unlabelled = small_store(tmp_path / "smic.zarr", dataset="smic-hs", subjects=2, clips=3)
    assert unlabelled.manifest.content_sha256 != place.smic.manifest.content_sha256
    outcome = place.run("pretrain", tmp_path / "again", unlabelled, "--seeds", 1)
    assert outcome.code == 0, outcome.error
    again = RunFolder(tmp_path / "again")
    (model,) = (fold.model for fold in again.folds(again.read()))
    expected = next(place.pretrained.folds(place.pretrained.read())).model
    mine, theirs = load_trained_model(model), load_trained_model(expected)
    for name, value in mine.network.state_dict().items():
        assert torch.equal(value, theirs.network.state_dict()[name]), name
    assert mine.header.model_copy(update={"history": ()}) == theirs.header.model_copy(update={"history": ()})
    assert mine.header.history[0].people == theirs.header.history[0].people == ("smic-hs/sub01", "smic-hs/sub02")


@pytest.mark.slow
def test_training_goes_on_from_a_pretrained_run(place: Place) -> None:
    """`mer train --pretrain RUN`: at a learning rate of nothing each seed keeps the weights of its own seed."""
    (place.root / "still.toml").write_text(CONFIG.replace("lr = 1e-3", "lr = 1e-30\nlr_min = 0"))
    outcome = place.run(
        "train", "tuned", place.casme2, "--pretrain", place.pretrained.path, "--protocol", place.root / "two.toml",
        "--partial", "--config", place.root / "still.toml", "--epochs", 1,
    )  # fmt: skip
    assert outcome.code == 0, outcome.error
    tuned = RunFolder(place.root / "tuned")
    run = tuned.read()
    assert run.config.pretrained == place.pretrained.read().sha256
    teachers = list(place.pretrained.folds(place.pretrained.read()))
    for fold, own, other in zip(tuned.folds(run), teachers, reversed(teachers), strict=True):
        trained = load_trained_model(fold.model)
        before, itself = trained.header.history
        assert before.people == ("smic-hs/sub01", "smic-hs/sub02")
        assert set(itself.people) == {"/".join(key.split("/")[:2]) for key in fold.fold.train}
        network = trained.network
        taught, strange = (backbone(load_trained_model(teacher.model).network) for teacher in (own, other))
        for name, value in backbone(network).items():
            assert torch.allclose(value, taught[name], rtol=0, atol=1e-20), name
            assert value.dim() == 1 or not torch.allclose(value, strange[name]), name


def test_a_run_goes_on_under_another_revision(place: Place) -> None:
    """What is recorded of the pre-training is what was run, not which commit it was run from."""
    run = place.pretrained.read()
    assert run.sha256 == run.model_copy(update={"git": "0" * 40}).sha256
    assert run.sha256 != run.model_copy(update={"device": "cuda"}).sha256


def test_people_under_test_may_not_have_been_seen(place: Place, tmp_path: Path) -> None:
    """Not even without their labels: the result would be inflated."""
    one = small_store(tmp_path / "one.zarr", subjects=1, clips=2)
    protocol = ("--protocol", place.root / "two.toml", "--partial")
    assert place.run("pretrain", tmp_path / "seen", one, "--seeds", 1, "--epochs", 1).code == 0
    outcome = place.run("train", tmp_path / "run", place.casme2, *protocol, "--pretrain", tmp_path / "seen")
    assert outcome.code == 2
    assert "pre-training has seen 1 of the people who are under test, among them casme2/sub01" in outcome.error
    assert "pre-train on another dataset" in outcome.error
    seen = RunFolder(tmp_path / "seen")
    hidden = seen.read().model_dump_json().replace("casme2/sub01", "casme2/sub09")
    seen.write(Run.model_validate_json(hidden).model_copy(update={"pixels": {}}))
    outcome = place.run("train", tmp_path / "run", place.casme2, *protocol, "--pretrain", tmp_path / "seen")
    assert outcome.code == 2, "the weights say themselves whom they have seen"
    assert "pre-training has seen 1 of the people who are under test, among them casme2/sub01" in outcome.error
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_started_from(place: Place, tmp_path: Path) -> None:
    """No run, a run of several folds, one that is not finished, one without the seed: before anything is trained."""
    protocol = ("--protocol", place.root / "two.toml", "--partial")

    def refused(pretrain: Path, *more: object) -> str:
        outcome = place.run("train", tmp_path / "run", place.casme2, *protocol, "--pretrain", pretrain, *more)
        assert outcome.code == 2
        return outcome.error

    assert f"--pretrain {tmp_path / 'none'}: neither a run of `mer pretrain` nor a store" in refused(tmp_path / "none")

    run = place.pretrained.read()
    RunFolder(tmp_path / "begun").path.mkdir()
    RunFolder(tmp_path / "begun").write(run)
    assert "model.safetensors: no such file; type the command of that run again" in refused(tmp_path / "begun")

    RunFolder(tmp_path / "folds").path.mkdir()
    RunFolder(tmp_path / "folds").write(run.model_copy(update={"folds": run.folds * 3}))
    assert f"{tmp_path / 'folds'}: a run of 3 folds; expected one of `mer pretrain`" in refused(tmp_path / "folds")

    assert "pre-trained seeds [0, 1], none for seed 2" in refused(place.pretrained.path, "--seeds", 3)
    assert not (tmp_path / "run").exists()


def test_another_config_is_refused_and_overwrite_replaces(place: Place, tmp_path: Path) -> None:
    """Of `mer pretrain` too; nothing of the old run is left beside the new one."""
    out = tmp_path / "run"
    assert place.run("pretrain", out, place.smic, "--epochs", 1).code == 0
    before = {path.relative_to(out) for path in out.rglob("*.safetensors")}
    assert len(before) == 2
    refused = place.run("pretrain", out, place.smic, "--epochs", 1, "--seeds", 1)
    assert refused.code == 2
    assert "  config.seeds: now [0], there [0, 1]" in refused.error
    assert place.run("pretrain", out, place.smic, "--epochs", 1, "--seeds", 1, "--overwrite").code == 0
    assert {path.relative_to(out) for path in out.rglob("*.safetensors")} == {min(before)}
    assert RunFolder(out).read().config.seeds == (0,)
    assert place.run("pretrain", out, place.smic, "--epochs", 1, "--seeds", 1).code == 0, "a finished run is no error"


def test_one_clip_in_two_stores_is_refused(place: Place, tmp_path: Path) -> None:
    """It would count twice."""
    outcome = place.run("pretrain", tmp_path / "run", place.smic, "--store", place.root / "raw.zarr")
    assert outcome.code == 2
    assert f"{min(place.smic.manifest.index)} is in two of the stores; give one store a dataset" in outcome.error


def test_supervised_pretraining_is_one_fold_with_labels(place: Place) -> None:
    """On every labelled clip of the other dataset, with its classes, nothing held back and nothing tested."""
    config = resolve("paper", {"counts": "any", "validation": 0.3, "size": 32})
    plan = plan_supervised_pretraining([place.smic], config, "cpu")
    (fold,) = plan.run.folds
    assert (len(fold.train), fold.validation, fold.test) == (6, None, ())
    assert plan.run.config.validation is None
    assert plan.run.protocol is not None
    assert set(plan.run.classes) == {"negative", "positive", "surprise"}
    emotions = {entry.key: entry.label.emotion for entry in place.smic.manifest.clips}
    named = [plan.run.classes[label] for label in plan.clips.labels]
    assert named == [emotions[key] for key in plan.clips.keys]
