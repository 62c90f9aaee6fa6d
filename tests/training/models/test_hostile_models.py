"""A file of weights whose header lies: refused at once, in one line, before memory is taken for it."""

import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from schemas.errors import RunFolderError
from tests.training.small_stores import MODEL, UNITS
from training.data.preparation import Normalisation
from training.models.registry import model_names
from training.models.trained_model import TrainedModel, TrainedModelHeader, _refuse_others, load_trained_model

FACTS: dict[str, Any] = {
    "model": "madv_net", "model_options": MODEL, "classes": ("happy", "surprised"), "frames": 8, "size": 32,
    "action_units": UNITS, "fold": "casme2/sub01", "seed": 0, "epoch": 3, "threads": 1,
    "normalisation": Normalisation(texture=((0.5, 0.2),) * 3, depth=((0.5, 0.2),), au=((0.0, 1.0),) * 4),
}  # fmt: skip


def write(path: Path, **lies: Any) -> None:
    """The weights of a small MADV-Net under a header with some other fields, bounds or not."""
    network = TrainedModelHeader(**FACTS).build()
    TrainedModel(TrainedModelHeader.model_construct(**{**FACTS, **lies}), network).save(path)


def with_options(**options: object) -> dict[str, Any]:
    return {"model_options": {**MODEL, **options}}


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a million blocks": (with_options(depths=[10**6, 1, 1]), "far more parts than there are weights in the file"),
    "wide": (with_options(dims=[8, 8, 2**20]), "far larger than the weights in the file"),
    "wider than memory": (with_options(dims=[8, 8, 2**40]), "describes no madv_net that it could be"),
    "wide action units": (with_options(au_width=2**28), "far larger than the weights in the file"),
    "frames": ({"frames": 10**9}, "frames: Input should be less than or equal to 1024"),
    "pixels": ({"size": 10**6}, "size: Input should be less than or equal to 1024"),
    "one block more": (with_options(depths=[2, 1, 1]), "is missing, expected"),
    "other width": (with_options(dims=[8, 8, 16]), ", expected "),
    "other classes": ({"classes": ("a", "b", "c")}, "expected 3"),
    "no option of it": (with_options(colour="red"), "colour"),
    "another model": ({"model": "ststnet", "model_options": {}}, "its weights are not those of its ststnet"),
    "no model": ({"model": "../evil"}, "../evil"),
    "a sign": (with_options(dims=[8, -8, 8]), "describes no madv_net that it could be"),
}  # fmt: skip


@pytest.mark.parametrize(("lies", "message"), LIES.values(), ids=LIES)
def test_a_header_that_lies_is_refused_at_once(tmp_path: Path, lies: dict[str, Any], message: str) -> None:
    """Within seconds, and without the memory that it asks for."""
    path = tmp_path / "model.safetensors"
    write(path, **lies)
    before, started = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(RunFolderError) as error:
        load_trained_model(path)
    assert time.monotonic() - started < 10
    assert psutil.Process().memory_info().rss - before < 500e6
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_model_of_other_classes_than_its_run_is_refused(tmp_path: Path) -> None:
    """As many, and in another order: the probabilities would stand under the wrong names."""
    write(tmp_path / "model.safetensors")
    assert load_trained_model(tmp_path / "model.safetensors", classes=("happy", "surprised")).header.seed == 0
    with pytest.raises(RunFolderError, match="a model of the classes happy, surprised; its run has surprised, happy"):
        load_trained_model(tmp_path / "model.safetensors", classes=("surprised", "happy"))


@pytest.mark.parametrize("name", model_names())
def test_no_sound_model_is_refused(name: str) -> None:
    """Whatever a model makes and throws away as it is built; here without values, since the largest take a minute."""
    header = TrainedModelHeader(**{**FACTS, "model": name, "model_options": {}, "frames": 16, "size": 112})
    with torch.device("meta"):
        state = header.build().state_dict()
    _refuse_others(Path("model.safetensors"), header, state)
