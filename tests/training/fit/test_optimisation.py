"""Learning rate, weight decay, precision."""

import math
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from tests.training.small_stores import MODEL
from training.config import Amp, Optimisation
from training.fit.optimisation import autocast_of, build_optimiser, learning_rate, set_learning_rate
from training.models.registry import create_model


def test_learning_rate_at_known_points() -> None:
    """0 at the start, lr after the warm-up, half way between lr and lr_min in the middle, lr_min at the end."""
    config = Optimisation(epochs=30, warmup_epochs=10, lr=1e-3, lr_min=1e-5)
    expected = {0: 0, 5: 5e-4, 10: 1e-3, 20: (1e-3 + 1e-5) / 2, 30: 1e-5}
    assert {epoch: learning_rate(epoch, config) for epoch in expected} == pytest.approx(expected)
    assert learning_rate(15, config) == pytest.approx(1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate(0, config.model_copy(update={"warmup_epochs": 0})) == 1e-3


def test_learning_rate_never_jumps() -> None:
    """Up in the warm-up, down after it, also where the warm-up is longer than the run."""
    for warmup, peak in ((0, 0), (2.5, 2.5), (50, 3)):
        config = Optimisation(epochs=6, warmup_epochs=warmup, lr=1e-3, lr_min=0)
        epochs = [step / 10 for step in range(61)]
        rates = [learning_rate(epoch, config) for epoch in epochs]
        rising = [a < b for a, b in pairwise(rates)]
        assert rising == [epoch < peak for epoch in epochs[:-1]]
        assert max(abs(a - b) for a, b in pairwise(rates)) < 1e-4


def test_the_end_of_the_cosine_is_not_above_its_start() -> None:
    """A config that would make the rate rise is refused."""
    with pytest.raises(ValidationError, match=r"lr_min 0\.001 is above lr 0\.0001"):
        Optimisation(lr=1e-4, lr_min=1e-3)


def test_vectors_are_not_decayed() -> None:
    """With zero gradients a step shrinks matrices by lr times weight decay, and leaves biases and norms as they are."""
    torch.manual_seed(0)
    network = create_model("madv_net", classes=2, frames=8, size=32, action_units=4, **MODEL)
    optimiser = build_optimiser(network, Optimisation(lr=0.1, weight_decay=0.5))
    before = {name: value.clone() for name, value in network.named_parameters()}
    for value in network.parameters():
        value.grad = torch.zeros_like(value)
    optimiser.step()
    assert {value.dim() for value in before.values()} >= {1, 2}
    for name, value in network.named_parameters():
        shrunk = before[name] * (0.95 if value.dim() > 1 else 1)
        torch.testing.assert_close(value.detach(), shrunk, msg=lambda m, name=name: f"{name}: {m}")


def test_frozen_weights_are_not_trained() -> None:
    """What does not require a gradient is none of the optimiser's."""
    network = create_model("madv_net", classes=2, frames=8, size=32, action_units=4, **MODEL)
    frozen = next(network.parameters()).requires_grad_(False)
    held = [value for group in build_optimiser(network, Optimisation()).param_groups for value in group["params"]]
    assert len(held) == len(list(network.parameters())) - 1
    assert all(value is not frozen for value in held)


@pytest.mark.parametrize("name", ["videomae", "mae-dfer"])
def test_lower_layers_move_slower(name: str) -> None:
    """Each layer by the decay less than the one above it, the embedding least, what is behind the last by all of it."""
    torch.manual_seed(0)
    small = {"patch": 8, "dim": 12, "heads": 3, "depth": 2}
    network = create_model(name, classes=2, frames=4, size=32, action_units=4, **small)
    config = Optimisation(optimiser="sgd", lr=1e-2, weight_decay=0.1, layer_decay=0.5)
    optimiser = build_optimiser(network, config)
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(network.parameters()))
    before = {key: value.clone() for key, value in network.named_parameters()}
    for value in network.parameters():
        value.grad = torch.ones_like(value)
    set_learning_rate(optimiser, 4e-3)
    optimiser.step()
    expected = {"embedding": 1 / 8, "representatives": 1 / 8, "0": 1 / 4, "1": 1 / 2, "head": 1, "norm": 1,
                "fc_norm": 1, "classifier": 1}  # fmt: skip
    seen = set()
    for key, value in network.named_parameters():
        words = key.removeprefix("model.").removeprefix("videomae.").replace("embeddings", "embedding").split(".")
        layer = next(word for word in words if word in expected)
        decay = 0.1 * before[key] if value.dim() > 1 else 0
        moved = before[key] - 4e-3 * expected[layer] * (1 + decay)
        torch.testing.assert_close(value.detach(), moved, msg=lambda m, key=key: f"{key}: {m}")
        seen.add(expected[layer])
    assert seen == {1 / 8, 1 / 4, 1 / 2, 1}


def test_without_decay_all_layers_move_alike() -> None:
    """Two groups, as ever: matrices and vectors."""
    network = create_model("videomae", classes=2, frames=4, size=32, action_units=4, dim=12, heads=3, depth=1)
    optimiser = build_optimiser(network, Optimisation())
    set_learning_rate(optimiser, 0.5)
    assert [(group["weight_decay"], group["lr"]) for group in optimiser.param_groups] == [(0.05, 0.5), (0, 0.5)]


@pytest.mark.parametrize(
    ("amp", "device", "dtype"),
    [
        ("auto", "cpu", torch.float32),
        ("off", "cpu", torch.float32),
        ("fp16", "cpu", torch.float16),
        ("bf16", "cpu", torch.bfloat16),
        ("auto", "cuda", torch.float16),
        ("off", "cuda", torch.float32),
        ("fp16", "cuda", torch.float16),
        ("bf16", "cuda", torch.bfloat16),
    ],
)
@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
def test_autocast(amp: Amp, device: str, dtype: torch.dtype) -> None:
    """A product of float32 matrices comes out in the precision that was asked for; auto is the paper's fp16 on a GPU.

    Without a GPU the setting alone is looked at: PyTorch then switches autocast off.
    """
    autocast = autocast_of(amp, torch.device(device))
    if device == "cuda" and not torch.cuda.is_available():
        assert autocast.device == "cuda"
        assert autocast.fast_dtype == (dtype if amp != "off" else torch.bfloat16)
        return
    matrix = torch.eye(2, device=device)
    with autocast:
        assert (matrix @ matrix).dtype == dtype
