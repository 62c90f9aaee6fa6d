"""MADV-Net as a whole: gradients, discarding, symmetry, learning, checkpoints, shapes, switches."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.data.batch import ClipBatch
from training.models.madv_net import MADVNet

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, FRAMES, SIZE, UNITS = 3, 8, 32, 5
SWITCHES = ("depth", "au", "discard", "stage_heads", "frame_difference")
SMALLEST: dict[str, object] = {"strides": (2, 1, 1), "depths": (1, 1, 1)}
ABLATIONS = (*({switch: False} for switch in SWITCHES), dict.fromkeys(SWITCHES, False))


def tiny(**options: object) -> MADVNet:
    torch.manual_seed(0)
    small: dict[str, object] = {
        "stem_width": 8,
        "dims": (16, 16, 32),
        "head_dim": 8,
        "strides": (1, 2, 1),
        "depths": (1, 2, 1),
        "au_width": 16,
    }
    return MADVNet.build(classes=CLASSES, frames=FRAMES, size=SIZE, action_units=UNITS, **(small | options))


def clips(count: int, *, frames: int = FRAMES, size: int = SIZE, dtype: torch.dtype = torch.float32) -> ClipBatch:
    g = torch.Generator().manual_seed(1)
    return ClipBatch(
        texture=torch.randn(count, frames, 3, size, size, generator=g, dtype=dtype),
        depth=torch.randn(count, frames, 1, size, size, generator=g, dtype=dtype),
        au=torch.randn(count, UNITS, generator=g, dtype=dtype),
        label=torch.arange(count) % CLASSES,
    )


def total(model: MADVNet, batch: ClipBatch) -> Tensor:
    return torch.stack(list(model.loss(model(batch), batch).values())).sum()


def fit(model: MADVNet, batch: ClipBatch, *, epochs: int, amp: bool = False) -> list[float]:
    """Plain full-batch training, as the trainer does it; the loss of each epoch."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for epoch in range(epochs):
        model.train()
        model.on_epoch(epoch, epochs)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            loss = total(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(model: MADVNet, batch: ClipBatch) -> float:
    return (model.eval()(batch).logits.argmax(-1) == batch.targets()).float().mean().item()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"frequency_split": "dct"},
        {"kv_stride": 2, "au_classifier": "categorical", "focal_mu": "inverse_frequency"},
        *ABLATIONS,
    ],
    ids=str,
)
def test_gradients_reach_every_parameter(options: dict[str, object]) -> None:
    """With every path on, with each off and with all off, the loss moves every weight that the model has.

    A path that is off has no weights. The first step is not looked at: the last layer of the adaptive factor
    starts at zero, so the layer before it moves from the second step on.
    """
    model, batch = tiny(**options).double(), clips(4, dtype=torch.float64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for epoch in range(2):
        model.on_epoch(epoch, 2)
        optimiser.zero_grad(set_to_none=True)
        total(model, batch).backward()
        optimiser.step()
    still = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12]
    assert still == []


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("level", [1, 2])
def test_discarded_blocks_have_no_influence(level: int, training: bool) -> None:
    """Whatever a discarded token holds, every output of the model is the same; a kept one does matter."""
    model, batch = tiny().double().train(training), clips(2, dtype=torch.float64)
    model.on_epoch(9, 10)
    block = model.stages[level].blocks[0]

    def with_noise_on(which: str) -> dict[str, Tensor]:
        def disturb(_: torch.nn.Module, inputs: tuple[Tensor, tuple[int, ...], Tensor, Tensor]) -> tuple[object, ...]:
            tokens, grid, au_tokens, kept = inputs
            assert kept[..., 1:].float().mean() == pytest.approx(0.7, abs=0.02)
            chosen = {"none": torch.zeros_like(kept), "discarded": ~kept, "kept": kept}[which]
            noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(2), dtype=tokens.dtype)
            return tokens + 10 * chosen[..., None] * noise, grid, au_tokens, kept

        hook = block.register_forward_pre_hook(disturb)
        with torch.no_grad():
            prediction = model(batch)
        hook.remove()
        return {"logits": prediction.logits, **prediction.auxiliary}

    plain, discarded, kept = (with_noise_on(which) for which in ("none", "discarded", "kept"))
    for name, value in plain.items():
        torch.testing.assert_close(discarded[name], value, msg=lambda m, name=name: f"{name}: {m}")
    assert (kept["logits"] - plain["logits"]).abs().max() > 1e-3


def test_discarding_changes_the_answer_and_shows_which_blocks() -> None:
    """From 1 to 0.7 the later stages lose blocks, the first has nothing to rank by; attention sums to CLS's rest."""
    model, batch = tiny().eval(), clips(2)
    before = model(batch)
    model.on_epoch(9, 10)
    after = model(batch)
    assert not torch.allclose(before.logits, after.logits)
    assert all(before.auxiliary[f"kept_{level}"].all() for level in ("low", "mid", "high"))
    shares = [after.auxiliary[f"kept_{level}"].float().mean().item() for level in ("low", "mid", "high")]
    assert shares == pytest.approx([1, 0.7, 0.7], abs=0.02)
    for level in ("mid", "high"):
        attention, kept = after.auxiliary[f"attention_{level}"], after.auxiliary[f"kept_{level}"]
        assert attention.shape == kept.shape == (2, 4, 2, 4, 4)
        assert (attention[~kept] == 0).all()
        assert (attention[kept] > 0).all()
        assert (attention.sum((2, 3, 4)) < 1).all()


def test_permuting_clips_permutes_outputs() -> None:
    """In eval mode a clip's answer knows nothing of its neighbours in the batch."""
    model, batch = tiny().eval(), clips(4)
    model.on_epoch(9, 10)
    order = torch.tensor([2, 0, 3, 1])
    straight, permuted = model(batch), model(batch.select(order))
    torch.testing.assert_close(permuted.logits, straight.logits[order])
    for name, value in straight.auxiliary.items():
        torch.testing.assert_close(permuted.auxiliary[name], value[order])


@pytest.mark.slow
@pytest.mark.parametrize(("au", "amp"), [(True, True), (False, False)], ids=["all_paths-bfloat16", "video_alone"])
def test_overfits_eight_random_clips(au: bool, amp: bool) -> None:
    """Noise with labels is learned by heart, also without the AU vector, also in autocast; finite throughout."""
    model, batch = tiny(au=au, **SMALLEST), clips(8)
    losses = fit(model, batch, epochs=25, amp=amp)
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert accuracy(model, batch) == 1.0


@pytest.mark.parametrize(
    "options",
    [*(pytest.param({switch: False}, marks=pytest.mark.slow) for switch in SWITCHES), dict.fromkeys(SWITCHES, False)],
    ids=str,
)
def test_each_switch_off_trains(options: dict[str, object]) -> None:
    """An ablated model learns, has fewer loss terms or weights, and does not read what it lost."""
    model, batch = tiny(**options, **SMALLEST), clips(6)
    losses = fit(model, batch, epochs=10)
    assert losses[-1] < 0.8 * losses[0]
    model.eval()
    logits = model(batch).logits
    for switch, changed in (
        ("depth", ClipBatch(texture=batch.texture, depth=batch.depth + 1, au=batch.au)),
        ("au", ClipBatch(texture=batch.texture, depth=batch.depth, au=batch.au + 1)),
    ):
        assert torch.equal(model(changed).logits, logits) == (switch in options)
    terms = set(model.loss(model(batch), batch))
    frequency, au = {"frequency_low", "frequency_mid", "frequency_high"}, {"au_bottleneck", "au_class"}
    assert terms == {"multiclass"} | (set() if "stage_heads" in options else frequency) | (
        set() if "au" in options else au
    )
    fewer_weights = sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in tiny(**SMALLEST).parameters())
    assert fewer_weights == (options != {"discard": False})
    assert (model.keep.item() == 1) == ("discard" in options)


def test_checkpoint_gives_identical_logits(tmp_path: Path) -> None:
    """A state saved as safetensors after training, discarding ratio included, answers bit for bit the same."""
    model, batch = tiny(focal_mu="inverse_frequency"), clips(4)
    model.on_fold(torch.tensor([2, 1, 1]))
    fit(model, batch, epochs=3)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = tiny(focal_mu="inverse_frequency")
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert loaded.keep.item() == pytest.approx(0.7)
    expected = model.eval()(batch)
    found = loaded.eval()(batch)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(total(loaded, batch), total(model, batch))


@pytest.mark.parametrize("frames", [8, 16, 32, 64])
def test_any_number_of_frames_with_the_same_weights(frames: int) -> None:
    """A model built for 8 frames answers clips of 8 to 64, with T / 2 tokens in time."""
    prediction = tiny().eval()(clips(2, frames=frames))
    assert prediction.logits.shape == (2, CLASSES)
    assert torch.isfinite(prediction.logits).all()
    assert prediction.auxiliary["attention_high"].shape[1] == frames // 2


@pytest.mark.parametrize("size", [112, pytest.param(224, marks=pytest.mark.slow)])
@pytest.mark.parametrize("frames", [8, 16, 32, 64])
def test_default_shapes(size: int, frames: int) -> None:
    """The default model has patches of 1/8, 1/16 and 1/32 of the side, at every supported size and length."""
    with torch.device("meta"):
        model = MADVNet.build(classes=7, frames=frames, size=size, action_units=20)
        batch = ClipBatch(
            texture=torch.empty(2, frames, 3, size, size),
            depth=torch.empty(2, frames, 1, size, size),
            au=torch.empty(2, 20),
            label=torch.zeros(2, dtype=torch.int64),
        )
    prediction = model(batch)
    sides = {112: (14, 7, 4), 224: (28, 14, 7)}[size]
    for level, side in zip(("low", "mid", "high"), sides, strict=True):
        assert prediction.auxiliary[f"attention_{level}"].shape == (2, frames // 2, 2, side, side)
        assert prediction.auxiliary[level].shape == prediction.logits.shape == (2, 7)
    assert all(term.shape == () for term in model.loss(prediction, batch).values())


def test_another_size_is_refused() -> None:
    """Frames of another side than the config's stop with both sizes named."""
    with pytest.raises(ValueError, match=r"frames are 48x48 px, this model was built for 32x32"):
        tiny()(clips(1, size=48))


def test_backbone_of_another_shape_is_refused() -> None:
    """A pre-trained model of another width is an error that names the weight, not a silent part-load."""
    with pytest.raises(RuntimeError, match=r"size mismatch for stems\.0\.0\.weight"):
        tiny().load_backbone(tiny(stem_width=4).state_dict())


def test_class_balance_is_an_option() -> None:
    """Eq. 19's mu stays 1 by default and is the inverse class frequency on request."""
    counts = torch.tensor([6, 3, 0])
    plain, balanced = tiny(), tiny(focal_mu="inverse_frequency")
    for model in (plain, balanced):
        model.on_fold(counts)
    assert plain.class_weight.tolist() == [1, 1, 1]
    assert balanced.class_weight.tolist() == [0.75, 1.5, 0]


@pytest.mark.slow
def test_annealing_does_not_recompile() -> None:
    """The model is one graph without breaks, and a new discarding ratio is not a new graph."""
    model, batch = tiny(**SMALLEST), clips(2)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    compiled(batch)
    with torch.compiler.set_stance("fail_on_recompile"):
        for epoch in range(3):
            model.on_epoch(epoch, 3)
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            found = compiled(batch)
            model.load_state_dict(state)  # batch norm has moved
            torch.testing.assert_close(found.logits, model(batch).logits)


@pytest.mark.slow
def test_compiled_training_agrees() -> None:
    """The traced graphs, there and back, give the eager model's logits and gradients.

    Generating code for them takes minutes, and is PyTorch's to get right.
    """
    model, batch = tiny(depths=(1, 1, 1), dims=(8, 8, 8)), clips(2)
    model.on_epoch(2, 3)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    logits, gradients = [], []
    for run in (torch.compile(model, fullgraph=True, backend="aot_eager"), model):
        model.load_state_dict(state)  # batch norm has moved
        model.zero_grad()
        prediction = run(batch)
        torch.stack(list(model.loss(prediction, batch).values())).sum().backward()
        logits.append(prediction.logits.detach())
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(
            gradients[0][name], gradient, rtol=1e-2, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
