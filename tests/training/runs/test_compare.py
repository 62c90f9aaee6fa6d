"""`mer compare`: many models under one protocol; goes on, goes past failures, and keeps to its budget."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

from schemas.errors import ConfigError
from schemas.weights import Weights
from tests.command_line import Outcome, mer
from tests.training.small_stores import PROTOCOL, small_store
from training.evaluation.comparison import ComparisonResult
from training.fit.folder import RunFolder
from training.models.registry import model_names
from training.protocols.protocol import find_protocol
from training.runs.budget import (
    Budget,
    epochs_within,
    pretraining_epochs,
    updates_per_epoch,
    within_epochs,
)
from training.runs.compare import configs_of
from training.runs.plan import PlannedRun, plan_training
from training.runs.recipes import resolve

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = """
frames = 8
size = 32
seeds = [0, 1]

[optimisation]
batch_size = 4
"""
MODELS = "au-logistic,mae-dfer,madv_net"


class Place:
    """A store without depth, which MADV-Net needs, and the files of the commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = small_store(root / "casme2.zarr", depth=False)
        (root / "two.toml").write_text(PROTOCOL)
        (root / "c.toml").write_text(CONFIG)

    def compare(self, out: str, *more: object, models: str = MODELS) -> Outcome:
        """`mer compare` in this process."""
        fixed = ("--store", self.store.path, "--protocol", self.root / "two.toml", "--config", self.root / "c.toml",
                 "--recipe", "fast", "--device", "cpu", "--workers", 0, "--models", models)  # fmt: skip
        return mer(*map(str, ("compare", *fixed, "--out", self.root / out, *more)))

    def result(self, out: str) -> ComparisonResult:
        """What it left."""
        return ComparisonResult.model_validate_json((self.root / out / "result.json").read_bytes())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("comparison"))


@pytest.fixture(scope="module")
def compared(place: Place) -> Outcome:
    """A comparison of three models, one of which cannot be trained here."""
    return place.compare("all", "--budget", "3")


@pytest.mark.slow
def test_a_model_that_cannot_be_trained_stops_no_other(place: Place, compared: Outcome) -> None:
    """It stands in the result with its reason, and the exit code says that one is missing."""
    assert compared.code == 1
    result = place.result("all")
    assert {model.name for model in result.models} == set(MODELS.split(","))
    assert [model.failure is None for model in result.models] == [True, True, False]
    assert "depth" in (result.models[2].failure or "")
    assert "no result madv_net: " in compared.printed
    assert [(pair.first, pair.second) for pair in result.pairs] == [("au-logistic", "mae-dfer")]
    assert any("No result: madv_net" in caveat for caveat in result.caveats)
    assert (place.root / "all" / "comparison.html").is_file()


@pytest.mark.slow
def test_each_model_is_a_run_of_its_own(place: Place, compared: Outcome) -> None:
    """Whose result is what the comparison says, and which the other commands take."""
    result = place.result("all")
    for model in result.models[:2]:
        folder = RunFolder(place.root / "all" / model.name)
        own = json.loads(folder.result.read_text())
        assert own["groups"]["casme2"]["metrics"]["uf1"]["mean"] == model.headline.metrics["uf1"].mean
        assert own["labels_sha256"] == result.labels_sha256
        assert all(fold.done for fold in folder.folds(folder.read()))
        assert model.cost is not None
        assert model.cost.training_seconds > 0
    report = mer("report", str(place.root / "all" / "mae-dfer"), "--store", str(place.store.path))
    assert report.code == 0, report.error


@pytest.mark.slow
def test_a_budget_gives_every_model_the_same_updates(place: Place, compared: Outcome) -> None:
    """Its own pre-training counts: eight clips in batches of four, three epochs."""
    cost = {model.name: model.cost for model in place.result("all").models}
    costs = [cost["au-logistic"], cost["mae-dfer"]]
    totals = [(c.updates[0] + c.pretraining_updates[0], c.updates[1] + c.pretraining_updates[1]) for c in costs if c]
    assert totals == [(6, 6), (6, 6)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0].pretraining_updates == (0, 0)
    assert costs[1].pretraining_updates == (2, 2)  # 5 of the recipe's 25 epochs


@pytest.mark.slow
def test_the_same_command_trains_only_what_is_missing(place: Place, compared: Outcome) -> None:
    """A fold that fails costs its model alone, and is tried again; a model can be added to those that are there."""
    first = place.result("all")
    before = {path: path.stat().st_mtime_ns for path in (place.root / "all").rglob("model.safetensors")}
    folder = RunFolder(place.root / "all" / "mae-dfer")
    fold = list(folder.folds(folder.read()))[1]
    fold.record.unlink()
    fold.predictions.unlink()
    fold.checkpoint.write_bytes(b"torn")
    models = f"nr-dfernet,{MODELS}"
    failing = place.compare("all", "--budget", "3", models=models)
    assert failing.code == 1
    assert "going on: 8 of 15 folds are done" in failing.printed
    (failed,) = (model for model in place.result("all").models if model.name == "mae-dfer")
    assert "1 of 6 folds failed; seed 0, casme2/sub02: RunFolderError" in (failed.failure or "")
    assert [pair.second for pair in place.result("all").pairs] == ["au-logistic"]

    fold.checkpoint.unlink()
    assert "going on: 14 of 15 folds are done" in place.compare("all", "--budget", "3", models=models).printed
    second = place.result("all")
    groups = {model.name: model.groups for model in second.models}
    assert groups.pop("nr-dfernet")
    assert groups == {model.name: model.groups for model in first.models}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if before[path] != after[path]} == {fold.model}


@pytest.mark.slow
def test_a_budget_of_time_is_settled_once(place: Place) -> None:
    """What it came to is written down and stands when the command is typed again."""
    assert place.compare("timed", "--budget", "1s", models="au-logistic").code == 0
    record = place.root / "timed" / "comparison.json"
    settled = json.loads(record.read_text())
    assert settled["epochs"] >= 1
    assert settled["seconds_per_epoch"]["au-logistic"] > 0
    settled["epochs"] = 2
    record.write_text(json.dumps(settled))
    refused = place.compare("timed", "--budget", "1s", models="au-logistic")
    assert refused.code == 2
    assert "config.optimisation.epochs" in refused.error
    too_little = place.compare("little", "--budget", "0.001s", models="au-logistic")
    assert too_little.code == 2
    assert "one epoch of 1 model takes about" in too_little.error


@pytest.mark.slow
def test_models_start_from_published_weights_where_they_can(place: Place) -> None:
    """Those found in the folder of weights; which ones stands in the result, and the run's record has their hash."""
    source = place.root / "models" / "resnet18-imagenet"
    source.mkdir(parents=True)
    torch.manual_seed(0)
    theirs = resnet18().state_dict()
    save_file(theirs, source / "model.safetensors")
    sha256 = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    record = Weights(name=source.name, repository="me/mine", revision=None, file="model.safetensors", sha256=sha256)
    (source / "weights.json").write_text(record.model_dump_json())
    weights = ("--weights", "resnet18-imagenet", "--models-dir", source.parent)
    small = place.compare("small", *weights, models="resnet18-gru")  # as --recipe fast makes it
    assert small.code == 2
    assert "resnet18-imagenet is of its full size" in small.error

    once = ("--recipe", "paper", "--budget", 1, "--seeds", 1)
    started = place.compare("started", *weights, *once, models="au-logistic,resnet18-gru")
    assert started.code == 0, started.error
    assert [model.weights for model in place.result("started").models] == [None, "resnet18-imagenet"]
    folder = RunFolder(place.root / "started" / "resnet18-gru")
    assert folder.read().config.published == record
    first = load_file(next(folder.folds(folder.read())).model)["backbone.0.weight"]
    assert (first - theirs["conv1.weight"]).abs().max() < 1e-3  # one epoch at 5e-5 is not far


@pytest.mark.slow
def test_what_is_refused(place: Place, compared: Outcome) -> None:
    """Each with what to do instead."""
    (place.root / "mine").mkdir()
    (place.root / "mine" / "thesis.tex").write_text("years of work")
    (place.root / "one.toml").write_text("[model_options]\nwidth = 8\n")
    for arguments, message in (
        (("mine",), "holds thesis.tex and no comparison; choose another --out"),
        (("x", "--models", "c3d,r3d"), "no model 'r3d'; did you mean r3d-18"),
        (("x", "--models", "c3d,c3d"), "a model stands there twice"),
        (("x", "--models", "madv_net"), "no model can be trained; madv_net: "),
        (("x", "--budget", "soon"), "expected a number of epochs (20) or a time (90s, 45m, 2h)"),
        (("x", "--budget", "3", "--recipe", "native"), "native trains each model as long as its authors do"),
        (("x", "--config", place.root / "one.toml"), "sets model_options, but a comparison is of several models"),
        (("x", "--weights", "py-feat"), "--weights py-feat: au-logistic, mae-dfer, madv_net cannot start from them"),
        (("all", "--budget", "2"), "config.optimisation.epochs"),
    ):
        refused = place.compare(*arguments)
        assert refused.code == 2, refused.printed
        assert message in refused.error
    assert (place.root / "mine" / "thesis.tex").is_file()
    assert not (place.root / "x").exists()


@pytest.mark.parametrize(
    ("text", "kind", "amount"), [("20", "epochs", 20), ("90s", "seconds", 90), ("1.5h", "seconds", 5400)]
)
def test_budgets_in_words(text: str, kind: str, amount: float) -> None:
    """Epochs, or seconds, minutes and hours."""
    budget = Budget.parse(text)
    assert (budget.kind, budget.amount) == (kind, amount)


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "2d", "1e3", "ten"])
def test_budgets_that_are_none(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError, match="--budget"):
        Budget.parse(text)


def test_pretraining_has_its_share_of_a_budget() -> None:
    """As in the recipe: 5 of 25 epochs. One epoch is for the labels."""
    config = resolve("fast", {"model": "mae-dfer"})
    assert (pretraining_epochs(config, action_units=20), config.optimisation.epochs) == (5, 20)
    for epochs, before in ((50, 10), (5, 1), (1, 0)):
        limited = within_epochs(config, epochs, action_units=20)
        assert pretraining_epochs(limited, action_units=20) == before
        assert limited.optimisation.epochs == epochs - before
    plain = resolve("fast", {"model": "nr-dfernet"})
    assert within_epochs(plain, 7, action_units=20) == plain.model_copy(
        update={"optimisation": plain.optimisation.model_copy(update={"epochs": 7})}
    )


def test_a_time_is_shared_by_all_updates(place: Place) -> None:
    """Twice the time is twice the epochs; the slower model takes its part of it."""
    plans = {name: the_plan(place, name) for name in ("au-encoder", "nr-dfernet")}
    assert [updates_per_epoch(plan) for plan in plans.values()] == [[2, 2, 2], [2, 2, 2]]
    taken = {"au-encoder": 0.1, "nr-dfernet": 0.9}
    assert epochs_within(100.0, plans, taken) == 15  # 90 s for epochs; one is 6 s, of three folds and two seeds
    assert epochs_within(200.0, plans, taken) == 30


def the_plan(place: Place, model: str) -> PlannedRun:
    layers = {"frames": 8, "size": 32, "seeds": (0, 1), "optimisation": {"batch_size": 4}}
    config = configs_of(model, "fast", layers)[model]
    return plan_training([place.store], config, "cpu", protocol=find_protocol(str(place.root / "two.toml")))


def test_all_models_are_all() -> None:
    """In the order of the tables."""
    assert tuple(configs_of("all", "paper")) == model_names()
