"""A model of another package, found by its entry point, is listed, built and trained like ours."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import mer
from tests.other_packages import installed
from tests.training.small_stores import CONFIG, PROTOCOL, small_store
from training.models.registry import MODELS, ModelRow, model_rows

CODE = """
import torch

from training.data.batch import ClipBatch
from training.models.base import ClipClassifier, Prediction
from training.models.config import ModelConfig
from training.models.registry import model


class MeanColourConfig(ModelConfig):
    bias: bool = True


@model("mean-colour", title="Mean colour", paper="Nobody, 2026", config=MeanColourConfig, fast={"bias": False})
class MeanColour(ClipClassifier):
    inputs = frozenset({"texture"})

    def __init__(self, config: MeanColourConfig) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3, config.classes, bias=config.bias)

    def forward(self, batch: ClipBatch) -> Prediction:
        return Prediction(self.head(batch.held().texture.mean((1, 3, 4))))
"""


@pytest.fixture(name="installed")
def installed_package(tmp_path: Path) -> Iterator[None]:
    """The package ``colours``."""
    with installed(MODELS, tmp_path / "site", "mean-colour = colours:MeanColour", CODE):
        yield


@pytest.mark.slow
def test_it_is_listed_and_trained(installed: None, tmp_path: Path) -> None:
    """Its row, between the baselines and the floors; one epoch of each fold with its ``fast`` options."""
    rows = model_rows()
    names = [row.name for row in rows]
    assert names[0] == "madv_net"
    assert names.index("mae-dfer") + 1 == names.index("mean-colour") == names.index("ststnet") - 1
    assert rows[names.index("mean-colour")] == ModelRow(
        "mean-colour", "Mean colour", 3 * 7 + 7, ("texture",), "Nobody, 2026"
    )

    store = small_store(tmp_path / "casme2.zarr")
    (tmp_path / "two.toml").write_text(PROTOCOL)
    config = CONFIG[: CONFIG.index("[model_options]")].replace("epochs = 3", "epochs = 1").replace("[0, 1]", "[0]")
    (tmp_path / "c.toml").write_text(config)
    trained = mer(
        "train", "--model", "mean-colour", "--recipe", "fast", "--store", store.path, "--protocol",
        tmp_path / "two.toml", "--config", tmp_path / "c.toml", "--partial", "--device", "cpu", "--workers", 0,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert trained.code == 0, trained.error
    with (tmp_path / "run" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 12  # three people, four clips each
    assert 'bias":false' in (tmp_path / "run" / "run.json").read_text().replace(" ", "")
