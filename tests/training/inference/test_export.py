"""ONNX export: what the file holds, that onnxruntime alone can use it, and that a wrong graph is never written."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from schemas.errors import ConfigError, RunFolderError
from training.config import TrainConfig
from training.data.batch import INPUTS, ClipBatch
from training.data.preparation import Normalisation
from training.fit.folder import Run, RunFolder
from training.inference.export import export_onnx, largest_difference, onnx_graph
from training.models import registry
from training.models.base import ClipClassifier, Prediction
from training.models.trained_model import TrainedModel, TrainedModelHeader
from training.protocols.protocol import find_protocol
from training.protocols.splits import Fold

FRAMES, SIZE, UNITS = 3, 32, ("AU01", "AU12")
CLASSES = find_protocol("casme2-5").task.classes


class Tiny(ClipClassifier):
    """Sorted means of what it reads, then a linear map; with ``lies`` it computes something else while exported."""

    head_prefixes = ("head",)

    def __init__(self, *, classes: int, action_units: int, reads: tuple[str, ...], lies: bool) -> None:
        super().__init__()
        self.inputs, self.lies = frozenset(name for name in INPUTS if name in reads), lies
        widths = {"texture": 3 * FRAMES, "depth": FRAMES, "au": action_units}
        self.head = nn.Linear(sum(widths[name] for name in self.inputs), classes)

    @classmethod
    def build(cls, **fields: Any) -> "Tiny":  # noqa: D102
        return tiny(**fields)

    def forward(self, batch: ClipBatch) -> Prediction:  # noqa: D102
        batch = batch.held()
        parts = {"texture": batch.texture.mean((3, 4)), "depth": batch.depth.mean((3, 4)), "au": batch.au}
        means = torch.cat([parts[name].flatten(1) for name in sorted(self.inputs)], 1)
        ranked = means.gather(1, means.round().argsort(dim=1, descending=True, stable=True))
        logits = self.head(ranked)
        return Prediction(logits + 0.01 if self.lies and torch.compiler.is_exporting() else logits)


class Ranks(Tiny):
    """Where each action unit stands when they are sorted, down and up."""

    def forward(self, batch: ClipBatch) -> Prediction:  # noqa: D102
        down = batch.au.round().argsort(dim=1, descending=True, stable=True)
        up = batch.au.round().sort(dim=1, stable=True).indices
        return Prediction((down + 100 * up).float())


def tiny(
    *, classes: int, frames: int, size: int, action_units: int, reads: tuple[str, ...] = (), lies: bool = False
) -> Tiny:
    return Tiny(classes=classes, action_units=action_units, reads=reads or tuple(INPUTS), lies=lies)


@pytest.fixture(autouse=True)
def _known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS._loaded, "tiny", Tiny)


def header(**fields: object) -> TrainedModelHeader:
    about = {
        "model": "tiny",
        "model_options": {},
        "classes": CLASSES,
        "frames": FRAMES,
        "size": SIZE,
        "action_units": UNITS,
        "normalisation": Normalisation(
            texture=((0.5, 0.2), (0.4, 0.3), (0.3, 0.1)), depth=((0.4, 0.3),), au=((0.1, 0.5), (0.2, 0.01))
        ),
        "fold": "casme2/sub01",
        "seed": 0,
        "epoch": 7,
        "threads": 1,
    }
    return TrainedModelHeader.model_validate({**about, **fields})


def trained(**fields: object) -> TrainedModel:
    about = header(**fields)
    torch.manual_seed(about.seed)
    return TrainedModel(about, about.build().eval())


def run_folder(path: Path, *models: TrainedModel) -> RunFolder:
    """A finished run of one fold for each model, in this order."""
    run = Run(
        config=TrainConfig(model="tiny", frames=FRAMES, size=SIZE, seeds=(0,)),
        protocol=find_protocol("casme2-5"),
        stores=(),
        action_units=UNITS,
        folds=tuple(
            Fold(name=model.header.fold, train=("casme2/a/1",), validation=None, test=("casme2/b/1",))
            for model in models
        ),
        device="cpu",
        packages={},
        git=None,
    )
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.write(run)
    for model, fold in zip(models, folder.folds(run), strict=True):
        fold.path.mkdir(parents=True)
        model.save(fold.model)
    return folder


def test_file_alone_gives_the_models_probabilities(tmp_path: Path) -> None:
    """Raw clips, any number of them, through onnxruntime and nothing else; names and origin are in the file."""
    first, second = trained(), trained(fold="casme2/sub02", seed=0, epoch=9)
    second.network.load_state_dict({n: -v for n, v in second.network.state_dict().items()})
    done = export_onnx(run_folder(tmp_path / "run", first, second), tmp_path / "m" / "a.onnx", fold="casme2/sub02")
    assert done.model == "seed 0, casme2/sub02"
    assert done.difference <= 1e-4
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(5)
    for count in (1, 2, 5):
        texture = torch.randint(256, (count, FRAMES, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
        depth = torch.rand((count, FRAMES, 1, SIZE, SIZE), generator=random)
        au = torch.rand((count, len(UNITS)), generator=random)
        probabilities, logits = session.run(
            ["probabilities", "logits"], {"texture": texture.numpy(), "depth": depth.numpy(), "au": au.numpy()}
        )
        expected = second.probabilities(ClipBatch(texture=texture, depth=depth, au=au)).numpy()
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), expected, atol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(CLASSES)
    assert json.loads(about["action_units"]) == list(UNITS)
    assert (about["fold"], about["epoch"], about["frames"], about["size"]) == ("casme2/sub02", "9", "3", "32")
    assert not list((tmp_path / "m").glob("*.part"))


@pytest.mark.slow
def test_graph_of_other_weights_is_seen() -> None:
    """The check is on the numbers: other weights differ, and NaN differs from anything."""
    graph = onnx_graph(trained())
    assert largest_difference(graph, trained()) <= 1e-5
    assert largest_difference(graph, trained(seed=1)) > 1e-2
    broken = trained()
    broken.network.load_state_dict({n: v * torch.nan for n, v in broken.network.state_dict().items()})
    assert np.isnan(largest_difference(graph, broken))


@pytest.mark.slow
def test_graph_that_disagrees_is_not_written(tmp_path: Path) -> None:
    """A model that is another one while it is exported leaves no file."""
    folder = run_folder(tmp_path / "run", trained(model_options={"lies": True, "reads": ("texture", "au")}))
    with pytest.raises(RunFolderError, match=r"differ by 0\.01, more than 0\.0001; .*m\.onnx is not written"):
        export_onnx(folder, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_ties_keep_their_order_and_unread_inputs_are_gone() -> None:
    """PyTorch's exporter has no stable sort: ours leaves equal values as they are, both ways."""
    units = tuple(f"AU{i:02d}" for i in range(40))
    network = Ranks(classes=2, action_units=40, reads=("au",), lies=False).eval()
    plain = Normalisation(texture=(), depth=(), au=((0.0, 1.0),) * 40)
    graph = onnx_graph(TrainedModel(header(action_units=units, normalisation=plain), network))
    ties = torch.randint(3, (4, 40), generator=torch.Generator().manual_seed(0)).float()
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["au"]
    (found,) = session.run(["logits"], {"au": ties.numpy()})
    np.testing.assert_array_equal(found, network(ClipBatch(texture=ties, depth=ties, au=ties)).logits.numpy())


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional packages nothing is tried, and the message says how to get them."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="needs onnxruntime, not installed here; `uv sync --extra onnx`"):
        export_onnx(run_folder(tmp_path / "run", trained()), tmp_path / "m.onnx")
