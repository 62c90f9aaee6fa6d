"""Configs from recipes, files and options, and what is said of those that are none."""

from pathlib import Path

import pytest
import torch

from schemas.errors import ConfigError
from schemas.settings import read_toml
from tests.command_line import mer
from training.config import TrainConfig
from training.models.registry import create_model, model_facts, model_names
from training.runs.recipes import RECIPES, check_recipe, resolve


def test_the_paper_is_the_default() -> None:
    """AdamW 5e-5, weight decay 0.05, batches of 64, 300 epochs, cosine to 1e-6 (the paper's 4.3)."""
    config = resolve("paper")
    assert config == TrainConfig()
    optimisation = config.optimisation
    assert (optimisation.lr, optimisation.weight_decay, optimisation.batch_size) == (5e-5, 0.05, 64)
    assert (optimisation.epochs, optimisation.lr_min) == (300, 1e-6)


def test_later_layers_win_field_by_field(tmp_path: Path) -> None:
    """Recipe < file < options; what a layer does not name stays, also inside a table."""
    file = tmp_path / "c.toml"
    file.write_text("frames = 32\nsize = 96\n[optimisation]\nepochs = 7\nlr = 0.5\n[augmentation]\nflip = 0\n")
    config = resolve("fast", read_toml(file), {"size": 48, "optimisation": {"epochs": 9}})
    assert (config.frames, config.size, config.seeds) == (32, 48, (0,))
    assert (config.optimisation.epochs, config.optimisation.lr) == (9, 0.5)
    assert config.optimisation.batch_size == RECIPES["fast"]["optimisation"]["batch_size"] != 64
    assert (config.augmentation.flip, config.augmentation.crop) == (0, 0.1)


def test_fast_takes_the_models_own_small_options() -> None:
    """And an option beside them survives, or wins over one of them."""
    assert resolve("fast").model_options == model_facts("madv_net").fast
    config = resolve("fast", {"model_options": {"depth": False, "stem_width": 4}})
    assert config.model_options == {**model_facts("madv_net").fast, "depth": False, "stem_width": 4}
    assert resolve("paper", {"model_options": {"depth": False}}).model_options == {"depth": False}


def test_fast_has_a_rate_of_the_models_own_where_the_shared_one_is_too_high() -> None:
    """EST stays at the largest class with the shared one; what is asked for wins over both."""
    shared, own = (resolve("fast", {"model": name}).optimisation for name in ("r3d-18", "est"))
    assert shared.lr == RECIPES["fast"]["optimisation"]["lr"] > 4 * own.lr > 0
    assert own.batch_size == shared.batch_size
    assert resolve("fast", {"model": "est", "optimisation": {"lr": 0.01}}).optimisation.lr == 0.01
    assert resolve("paper", {"model": "est"}).optimisation.lr == resolve("paper").optimisation.lr


def test_masked_autoencoders_are_fine_tuned_as_published() -> None:
    """AdamW 1e-3 a batch of 256, layer decay, stochastic depth, smoothing, mixup, cutmix: on in `native` alone."""
    for name in ("videomae", "mae-dfer"):
        paper, native = resolve("paper", {"model": name}), resolve("native", {"model": name})
        optimisation, augmentation = native.optimisation, native.augmentation
        assert optimisation.lr / optimisation.batch_size == pytest.approx(1e-3 / 256)
        assert (optimisation.weight_decay, optimisation.layer_decay, optimisation.label_smoothing) == (0.05, 0.75, 0.1)
        assert (augmentation.mixup, augmentation.cutmix, native.model_options["drop_path"]) == (0.8, 1, 0.1)
        off = (paper.optimisation.layer_decay, paper.optimisation.label_smoothing, paper.augmentation.mixup,
               paper.augmentation.cutmix, paper.model_options)  # fmt: skip
        assert off == (1, 0, 0, 0, {})


def test_every_model_can_be_trained_as_its_authors_do() -> None:
    """No native recipe, and neither of the two others, asks a model for what it has not."""
    for name in model_names():
        with torch.device("meta"):
            network = create_model(name, classes=3, frames=16, size=64, action_units=20, **model_facts(name).fast)
        for recipe in RECIPES:
            check_recipe(resolve(recipe, {"model": name}), network)


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        ("madv_net", {"augmentation": {"mixup": 0.8}}, "loss of madv_net needs one class a clip: set augmentation.mix"),
        ("stt", {"augmentation": {"cutmix": 1}}, "loss of stt needs one class a clip: set augmentation.cutmix to 0"),
        (
            "ec-stfl",
            {"augmentation": {"mixup": 1}, "optimisation": {"label_smoothing": 0.1}},
            "loss of ec-stfl needs .*: set augmentation.mixup and optimisation.label_smoothing to 0",
        ),
        (
            "c3d",
            {"optimisation": {"layer_decay": 0.75}},
            "c3d does not say what its layers are: set .*layer_decay to 1",
        ),
        ("ststnet", {"motion": "flow"}, "ststnet finds motion itself, in raw frames: --motion flow is none for it"),
    ],
)
def test_what_a_model_cannot_do_is_refused(model: str, fields: dict[str, object], message: str) -> None:
    """One class a clip, layers that nobody has put in order, motion of motion; another model takes the recipe."""
    networks = {}
    for name in (model, "mae-dfer"):
        with torch.device("meta"):
            networks[name] = create_model(name, classes=3, frames=16, size=64, action_units=4, **model_facts(name).fast)
    with pytest.raises(ConfigError, match=message):
        check_recipe(resolve("paper", {"model": model}, fields), networks[model])
    check_recipe(resolve("paper", {"model": "mae-dfer"}, fields), networks["mae-dfer"])


@pytest.mark.parametrize(
    ("recipe", "fields", "message"),
    [
        ("quick", {}, "no recipe 'quick'; known: paper, fast"),
        ("paper", {"epochs": 3}, r"epochs: Extra inputs are not permitted, got 3"),
        ("paper", {"optimisation": {"epoch": 3}}, r"optimisation\.epoch: Extra inputs are not permitted"),
        ("paper", {"optimisation": 3}, r"optimisation: Input should be a valid dictionary.*got 3"),
        ("paper", {"seeds": (1, 1)}, "a seed stands there twice"),
        ("paper", {"seeds": ()}, "seeds: Tuple should have at least 1 item"),
        ("paper", {"optimisation": {"batch_size": 1}}, "optimisation.batch_size: Input should be greater than or"),
        ("fast", {"model": 3}, "model: Input should be a valid string, got 3"),
        ("fast", {"model": "madvnat"}, r"no model 'madvnat'; did you mean madv_net"),
    ],
)
def test_what_is_no_config(recipe: str, fields: dict[str, object], message: str) -> None:
    """Every problem is named with its field and value."""
    with pytest.raises(ConfigError, match=message):
        resolve(recipe, fields)


def test_all_problems_are_said_at_once() -> None:
    """Nobody wants to meet them one by one."""
    with pytest.raises(ConfigError, match=r"frames: .*; size: .*; sampling: "):
        resolve("paper", {"frames": 1, "size": 8, "sampling": "odd"})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, not TOML, not text; no file means no fields."""
    assert read_toml(None) == {}
    with pytest.raises(ConfigError, match=r"--config .*none.toml: no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=rf"--config {tmp_path}: cannot be read \(Is a directory\)"):
        read_toml(tmp_path)
    bad = tmp_path / "bad.toml"
    for content in (b"lr = ", b"\xff\xfe"):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=r"--config .*bad.toml: not TOML \("):
            read_toml(bad)


def test_options_of_the_command(tmp_path: Path) -> None:
    """Wrong ones end with exit code 2 and their names, before any store is opened."""
    none = tmp_path / "none.zarr"
    for option, value, message in (
        ("--size", 8, "greater than or equal to 32"),
        ("--sampling", "odd", "'shuffled'"),
        ("--set", "optimisation.epochs=0", "optimisation.epochs: Input should be greater than or equal to 1, got 0"),
        ("--no-discard", "", "--no-discard is now: --set model_options.discard=false"),
    ):
        outcome = mer("train", "--store", none, option, value)
        assert outcome.code == 2
        assert message in outcome.error
    outcome = mer("train", "--store", none)
    assert outcome.code == 2
    assert f"{none}: no such folder; expected a store made by `mer preprocess`" in outcome.error
