"""One fold: interrupted and resumed, the epoch that is chosen, divergence, and what may reach the model."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from schemas.errors import ConfigError, TrainingDivergedError
from schemas.store.reader import Store
from tests.training.small_stores import CLASSES, MODEL, PROTOCOL, relabelled, small_store
from training.data.clips import ClipCache, ClipReader, ClipSource, StoredClip
from training.data.dataset import BatchReader, StoreDataset
from training.data.preparation import measure_normalisation
from training.evaluation.predictions import read_predictions
from training.fit.checkpoint import Checkpoint
from training.fit.epoch_metrics import Metrics
from training.fit.fold import fold_updates
from training.fit.folder import FoldFolder, Run, RunFolder
from training.fit.initial_weights import read_initial_weights
from training.fit.update import alone
from training.models.tensor_file import read_tensors
from training.models.trained_model import TrainedModelHeader, load_trained_model
from training.runs.plan import PlannedRun, plan_training
from training.runs.recipes import resolve

pytestmark = pytest.mark.usefixtures("one_thread")

FIELDS: dict[str, Any] = {
    "model_options": MODEL, "frames": 8, "size": 32, "seeds": [0], "counts": "any",
    "optimisation": {"epochs": 3, "warmup_epochs": 1, "batch_size": 4, "lr": 1e-2, "lr_min": 0},
}  # fmt: skip
BYTES = ("model.safetensors", "metrics.csv", "predictions.csv")


class Interrupted(Exception):
    """Raised by a test in the middle of a fold."""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("protocol") / "two.toml"
    path.write_text(PROTOCOL)
    return str(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("fold") / "casme2.zarr")


@pytest.fixture(scope="module")
def kept(tiny: Store) -> ClipSource:
    """The clips of ``tiny``, decoded once."""
    return source_of(tiny)


def source_of(store: Store) -> ClipSource:
    return ClipCache(ClipReader([store.path], [entry.key for entry in store.manifest.clips], size=32), "cpu")


def planned(store: Store, protocol: str, **fields: Any) -> PlannedRun:
    read = {"protocol": protocol, "motion": "adjacent"}  # the sources of these tests hold texture, not its flow
    return plan_training([store], resolve("paper", FIELDS, read, fields), "cpu")


def first_fold(run: Run, out: Path) -> FoldFolder:
    """The fold that tests sub01."""
    return next(RunFolder(out).folds(run))


def trained(plan: PlannedRun, source: ClipSource, out: Path, **options: Any) -> FoldFolder:
    folder = first_fold(plan.run, out)
    alone(
        fold_updates(plan.run, folder, plan.clips, source, **{"device": torch.device("cpu"), "threads": 1, **options})
    )
    return folder


def contents(folder: FoldFolder) -> dict[str, bytes]:
    return {name: (folder.path / name).read_bytes() for name in BYTES}


def metrics_of(folder: FoldFolder) -> list[dict[str, str]]:
    with folder.metrics.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_everything_that_recipes_have_is_resumed_too(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """Mixed clips, soft labels, slower layers, skipped blocks: equal bytes after a kill, and other ones without."""

    def plan_of(augmentation: dict[str, Any], **optimisation: Any) -> PlannedRun:
        small = {"dim": 12, "heads": 3, "depth": 2, "drop_path": 0.5, "pretrain_epochs": 0}
        own = {"model": "mae-dfer", "model_options": small, "protocol": protocol, "augmentation": augmentation}
        fields = {**FIELDS, **own, "optimisation": {**FIELDS["optimisation"], "epochs": 2, **optimisation}}
        return plan_training([tiny], resolve("paper", fields), "cpu")

    def interrupt(epoch: int, metrics: Metrics) -> None:
        raise Interrupted

    mixing = {"mixup": 0.8, "cutmix": 1.0}
    plan = plan_of(mixing, label_smoothing=0.1, layer_decay=0.5)
    whole = contents(trained(plan, kept, tmp_path / "whole"))
    with pytest.raises(Interrupted):
        trained(plan, kept, tmp_path / "cut", on_epoch=interrupt)
    assert contents(trained(plan, kept, tmp_path / "cut")) == whole
    others = [plan_of({}), plan_of(mixing), plan_of({}, label_smoothing=0.1), plan_of({}, layer_decay=0.5)]
    models = {contents(trained(other, kept, tmp_path / str(i)))[BYTES[0]] for i, other in enumerate(others)}
    assert len(models | {whole[BYTES[0]]}) == 5


def test_a_recipe_that_the_model_cannot_follow_is_not_begun(tiny: Store, protocol: str) -> None:
    """MADV-Net's focal loss knows one class a clip."""
    with pytest.raises(ConfigError, match=r"loss of madv_net needs one class a clip: set augmentation\.mixup to 0"):
        planned(tiny, protocol, augmentation={"mixup": 0.5})


@pytest.mark.parametrize(
    "fields",
    [{}, pytest.param({"validation": 0.5, "sampling": "balanced", "amp": "fp16"}, marks=pytest.mark.slow)],
    ids=["plain", "validation, balanced, scaled"],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """After every epoch, the last included: equal bytes of weights, metrics and predictions, with as many threads."""
    plan = planned(tiny, protocol, **fields)
    whole = contents(trained(plan, kept, tmp_path / "whole"))
    threads: list[int] = []

    def interrupt(epoch: int, metrics: Metrics) -> None:
        threads.append(torch.get_num_threads())
        raise Interrupted

    for attempt in range(3):
        with pytest.raises(Interrupted):
            trained(plan, kept, tmp_path / "cut", on_epoch=interrupt, threads=1 + attempt)
        folder = first_fold(plan.run, tmp_path / "cut")
        assert not folder.done
        assert not folder.model.exists()
        assert read_tensors(folder.checkpoint, Checkpoint)[1].epoch == attempt + 1
    trained(plan, kept, tmp_path / "cut", on_epoch=interrupt, threads=2)
    assert contents(folder) == whole
    assert threads == [1] * 3, "the number that the fold began with is kept"
    assert folder.done
    assert not folder.checkpoint.exists()
    assert torch.get_num_threads() == 1


def test_metrics_are_one_line_an_epoch(tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path) -> None:
    """The loss is the sum of its terms, what there is no validation part for is blank, epochs count from 1."""
    seen: list[tuple[int, Metrics]] = []
    folder = trained(
        planned(tiny, protocol), kept, tmp_path, on_epoch=lambda epoch, metrics: seen.append((epoch, metrics))
    )
    lines = metrics_of(folder)
    assert [line["epoch"] for line in lines] == ["1", "2", "3"] == [str(epoch) for epoch, _ in seen]
    for line, (_, metrics) in zip(lines, seen, strict=True):
        terms = [float(value) for name, value in line.items() if name.startswith("loss_")]
        assert len(terms) >= 2
        assert float(line["loss"]) == pytest.approx(sum(terms)) == metrics["loss"]
        assert line["validation_loss"] == line["validation_accuracy"] == ""
        assert 0 <= float(line["accuracy"]) <= 1
    assert [float(line["lr"]) for line in lines[:2]] == pytest.approx([5e-3, 1e-2 * (1 + 2**-0.5) / 2])


def test_the_chosen_epoch_has_the_lowest_validation_loss(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """Its weights are those that are kept: they give that loss again; other clips than the fold's choose nothing."""
    plan = planned(tiny, protocol, validation=0.5, optimisation={"epochs": 8, "lr": 0.05})
    folder = trained(plan, kept, tmp_path)
    losses = [float(line["validation_loss"]) for line in metrics_of(folder)]
    model = load_trained_model(folder.model)
    assert model.header.epoch == 1 + losses.index(min(losses))
    assert model.header.epoch < 8, "else this test shows nothing: take another lr"
    validation = folder.fold.validation
    assert validation
    assert not set(validation) & {*folder.fold.train, *folder.fold.test}

    data = plan.clips
    dataset = StoreDataset(kept, data.labels, frames=8)
    with BatchReader(dataset, device=torch.device("cpu")) as reader, torch.inference_mode():
        (batch,) = reader.read([data.positions(validation)])
        logits = model.network(model.prepare(batch)).logits
        assert F.cross_entropy(logits, batch.targets()).item() == pytest.approx(min(losses), rel=1e-5)
        (test,) = reader.read([data.positions(folder.fold.test)])
        predictions = read_predictions(folder.predictions)
        torch.testing.assert_close(torch.from_numpy(predictions.probabilities), model.probabilities(test))
    assert predictions.clips == folder.fold.test
    assert set(predictions.folds) == {"casme2/sub01"}


def test_equal_seeds_are_equal_and_other_seeds_differ(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """To the bit, whatever else PyTorch's generator was used for before."""
    plan = planned(tiny, protocol, seeds=[3, 4], optimisation={"epochs": 2})
    results = []
    for name, number in (("a", 0), ("b", 0), ("c", len(plan.run.folds))):
        torch.rand(5)
        folder = list(RunFolder(tmp_path / name).folds(plan.run))[number]
        alone(fold_updates(plan.run, folder, plan.clips, kept, device=torch.device("cpu"), threads=1))
        results.append(folder)
    assert contents(results[0]) == contents(results[1])
    one, other = (load_trained_model(results[i].model) for i in (0, 2))
    assert (one.header.seed, other.header.seed) == (3, 4)
    assert one.header.normalisation == other.header.normalisation
    differing = [
        name for name, value in one.network.named_parameters()
        if not torch.equal(value, other.network.get_parameter(name))
    ]  # fmt: skip
    assert len(differing) == len(list(one.network.parameters()))


class Recorded(ClipSource):
    """A source that remembers what was read."""

    def __init__(self, source: ClipSource) -> None:
        self.source, self.asked = source, list[int]()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> StoredClip:
        self.asked.append(index)
        return self.source[index]


def test_test_clips_are_read_once_when_training_is_over(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """Neither for statistics, nor for training, nor to choose the epoch."""
    plan, source = planned(tiny, protocol, validation=0.5), Recorded(kept)
    before: list[set[int]] = []
    folder = trained(plan, source, tmp_path, on_epoch=lambda epoch, metrics: before.append(set(source.asked)))
    position = {key: index for index, key in enumerate(plan.clips.keys)}
    train, test = ({position[key] for key in keys} for keys in (folder.fold.train, folder.fold.test))
    validation = {position[key] for key in folder.fold.validation or ()}
    assert before == [train | validation] * 3
    assert sorted(source.asked[-len(test) :]) == sorted(test)
    assert not test & set(source.asked[: -len(test)])


def learnt(folder: FoldFolder) -> tuple[dict[str, bytes], TrainedModelHeader]:
    """All that a model's file holds but the hash of the run that it is of."""
    trained = load_trained_model(folder.model)
    weights = {name: value.numpy().tobytes() for name, value in trained.network.state_dict().items()}
    return weights, trained.header.model_copy(update={"history": ()})


@pytest.mark.slow
def test_what_the_test_clips_hold_does_not_reach_the_model(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """Other pixels, action units, lengths or labels of the test clips leave the weights as they are, bit for bit.

    Those of one training clip do not, nor does its label: the check can fail.
    """
    plan = planned(tiny, protocol, optimisation={"epochs": 2})
    expected = learnt(trained(plan, kept, tmp_path / "as is"))
    test = [key for key in tiny.manifest.index if "/sub01/" in key]
    train = next(key for key in tiny.manifest.index if "/sub02/" in key)

    swapped = {key: CLASSES[key.split("/")[-1].startswith(CLASSES[0])] for key in (*test, train)}
    for name, store, equal in (
        ("test pixels", small_store(tmp_path / "a.zarr", redrawn=dict.fromkeys(test, 1)), True),
        ("training pixels", small_store(tmp_path / "b.zarr", redrawn={train: 1}), False),
        ("test labels", relabelled(tiny, tmp_path / "c.zarr", {key: swapped[key] for key in test}), True),
        ("training label", relabelled(tiny, tmp_path / "d.zarr", {train: swapped[train]}), False),
    ):
        other = planned(store, protocol, optimisation={"epochs": 2})
        folder = trained(other, source_of(store), tmp_path / name)
        assert (learnt(folder) == expected) is equal, name
        assert read_predictions(folder.predictions).clips == tuple(test)


def test_statistics_are_of_the_training_clips(tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path) -> None:
    """Of the fold's own, without those that choose the epoch."""
    plan = planned(tiny, protocol, validation=0.5, optimisation={"epochs": 1})
    folder = trained(plan, kept, tmp_path)
    data = plan.clips
    with BatchReader(StoreDataset(kept, data.labels, frames=8), device=torch.device("cpu")) as reader:
        moving: dict[str, Any] = {"motion": "adjacent", "depth_motion": "adjacent"}  # as ``planned`` has it
        expected = measure_normalisation(reader.read([data.positions(folder.fold.train)]), **moving)
        every = measure_normalisation(reader.read([range(len(kept))]), **moving)
    found = load_trained_model(folder.model).header.normalisation
    for name in ("texture", "depth", "au"):
        pairs, reference, others = (torch.tensor(getattr(n, name)) for n in (found, expected, every))
        torch.testing.assert_close(pairs, reference)
        assert not torch.allclose(pairs, others)


def test_a_diverging_fold_stops_with_the_last_good_state(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """The message names epoch, lr and the checkpoint; that one loads, and holds numbers alone."""
    plan = planned(tiny, protocol, optimisation={"lr": 1e30, "batch_size": 64, "epochs": 6})
    folder = first_fold(plan.run, tmp_path)
    with pytest.raises(TrainingDivergedError) as raised:
        trained(plan, kept, tmp_path)
    tensors, state = read_tensors(folder.checkpoint, Checkpoint)
    place = re.escape(f"the last good state, of epoch {state.epoch}, is in {folder.checkpoint}. Lower lr (1e+30) or")
    what = r"the loss is (NaN|inf|.* 100 times that of the first epoch); "
    assert re.match(rf"seed 0, casme2/sub01, epoch {state.epoch + 1}: {what}{place}", str(raised.value))
    assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith("model/"))
    assert len(metrics_of(folder)) == state.epoch >= 1
    assert not folder.done


def test_weights_that_are_no_numbers_are_not_saved(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path
) -> None:
    """A last step that overflows leaves a loss that looks well; the epoch before stays the last good one."""
    plan = planned(tiny, protocol)
    weights = read_initial_weights(trained(plan, kept, tmp_path / "teacher").model, plan.run.config)
    large = {name: 1e4 * value if value.is_floating_point() else value for name, value in weights.state.items()}
    weights = replace(weights, state=large)
    one_step = {"lr": 1e19, "weight_decay": 1e18, "batch_size": 64, "warmup_epochs": 0}
    with pytest.raises(
        TrainingDivergedError, match="epoch 1: the last step left weights that are NaN or infinite; no epoch"
    ):
        trained(planned(tiny, protocol, optimisation=one_step), kept, tmp_path / "run", weights=weights)
    assert not first_fold(plan.run, tmp_path / "run").checkpoint.exists()


def test_weights_of_another_model_are_refused(tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path) -> None:
    """With what must be equal, and the shapes that are not."""
    plan = planned(tiny, protocol)
    weights = read_initial_weights(trained(plan, kept, tmp_path / "teacher").model, plan.run.config)
    wider = planned(tiny, protocol, model_options={"au_width": 16})
    with pytest.raises(
        ConfigError, match=r"do not fit this madv_net; pre-train with the same model, frames and size: "
    ):
        trained(wider, kept, tmp_path / "run", weights=weights)


@pytest.mark.parametrize(("subject", "what"), [("sub02", "the loss is NaN"), ("sub03", "the validation loss is NaN")])
def test_a_clip_that_is_no_number_stops_the_fold(protocol: str, tmp_path: Path, subject: str, what: str) -> None:
    """In the training part or in the validation part; no epoch went well, and the way to find it is named."""
    damaged = small_store(tmp_path / "nan.zarr", damage={f"casme2/{subject}/happiness0": float("nan")})
    plan = planned(damaged, protocol, validation=0.5)
    assert f"casme2/{subject}/happiness0" in ({*plan.run.folds[0].train} if subject == "sub02" else
                                              {*(plan.run.folds[0].validation or ())})  # fmt: skip
    with pytest.raises(TrainingDivergedError, match=rf"epoch 1: {what}; no epoch went well.*mer verify"):
        trained(plan, source_of(damaged), tmp_path / "run")
    assert not first_fold(plan.run, tmp_path / "run").checkpoint.exists()


def test_one_training_clip_is_no_training(tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path) -> None:
    """Refused with the fold's name, before anything is written."""
    plan = planned(tiny, protocol)
    folder = first_fold(plan.run, tmp_path)
    folder.fold = folder.fold.model_copy(update={"train": folder.fold.train[:1]})
    with pytest.raises(ConfigError, match="seed 0, casme2/sub01: 1 training clips; a model needs two or more"):
        alone(fold_updates(plan.run, folder, plan.clips, kept, device=torch.device("cpu"), threads=1))
    assert not folder.path.exists()


@pytest.mark.slow
def test_a_fold_starts_from_pretrained_weights(tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path) -> None:
    """At a learning rate of nothing it ends with them, but for the heads, which are fresh; without, it does not."""
    plan = planned(tiny, protocol)
    teacher = trained(plan, kept, tmp_path / "teacher")
    weights = read_initial_weights(teacher.model, plan.run.config)
    still = planned(tiny, protocol, seeds=[5], optimisation={"lr": 1e-30, "epochs": 1})
    taught, student, fresh = (
        load_trained_model(folder.model).network
        for folder in (
            teacher,
            trained(still, kept, tmp_path / "student", weights=weights),
            trained(still, kept, tmp_path / "fresh"),
        )
    )
    heads = tuple(f"{prefix}." for prefix in taught.head_prefixes)
    matrices = [name for name, value in taught.named_parameters() if value.dim() > 1]
    assert any(name.startswith(heads) for name in matrices)
    for name in matrices:
        values = [network.get_parameter(name) for network in (taught, student, fresh)]
        starts_fresh = name.startswith(heads)
        assert torch.allclose(values[0], values[1], rtol=0, atol=1e-20) is not starts_fresh, name
        assert not torch.allclose(values[0], values[2]), name


def test_what_a_model_asks_for_is_pretrained_first(
    tiny: Store, kept: ClipSource, protocol: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without labels, on the training clips alone; it changes the model, and survives an interruption to the bit."""
    options = {"dim": 12, "heads": 3, "depth": 1, "decoder_dim": 12, "decoder_depth": 1, "decoder_heads": 3}

    def plan_of(pretrain_epochs: int) -> PlannedRun:
        own = {"model": "videomae", "model_options": {**options, "pretrain_epochs": pretrain_epochs}}
        return plan_training([tiny], resolve("paper", {**FIELDS, **own, "protocol": protocol}), "cpu")

    def interrupt(epoch: int, metrics: Metrics) -> None:
        raise Interrupted

    plan = plan_of(2)
    with caplog.at_level("INFO", logger="mer"):
        whole = contents(trained(plan, kept, tmp_path / "whole"))
    assert caplog.text.count("pre-training, epoch") == 2
    assert contents(trained(plan_of(0), kept, tmp_path / "without")) != whole
    with pytest.raises(Interrupted):
        trained(plan, kept, tmp_path / "cut", on_epoch=interrupt)
    caplog.clear()
    assert contents(trained(plan, kept, tmp_path / "cut")) == whole
    assert "pre-training" not in caplog.text, "a fold that goes on has it behind it"
    others = small_store(tmp_path / "casme2.zarr", redrawn={first_fold(plan.run, tmp_path).fold.test[0]: 1})
    assert (
        contents(trained(plan, source_of(others), tmp_path / "others"))["model.safetensors"]
        == (whole["model.safetensors"])
    ), "a test clip's pixels reach nothing"
