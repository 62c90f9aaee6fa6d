"""Every model of the registry: shapes, gradients, learning, checkpoints, cost; and what is special to some."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import ndimage
from skimage.registration import optical_flow_tvl1
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from schemas.errors import ConfigError
from training.data.batch import INPUTS, ClipBatch
from training.data.optical_flow import strain, tv_l1
from training.fit.optimisation import build_optimiser, learning_rate
from training.models.base import ClipClassifier
from training.models.baselines.ec_stfl import clustering_loss
from training.models.frame_difference import FrameDifferencePretraining
from training.models.registry import create_model, model_facts, model_names
from training.runs.recipes import resolve

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, FRAMES, SIZE, UNITS = 3, 8, 32, 20
every_model = pytest.mark.parametrize("name", model_names())


def small(name: str, **shape: int) -> ClipClassifier:
    torch.manual_seed(0)
    shapes = {"classes": CLASSES, "frames": FRAMES, "size": SIZE, "action_units": UNITS, **shape}
    return create_model(name, **shapes, **model_facts(name).fast)


def clips(count: int, *, frames: int = FRAMES, size: int = SIZE) -> ClipBatch:
    g = torch.Generator().manual_seed(1)
    return ClipBatch(
        texture=torch.randn(count, frames, 3, size, size, generator=g),
        depth=torch.randn(count, frames, 1, size, size, generator=g),
        au=torch.randn(count, UNITS, generator=g),
        label=torch.arange(count) % CLASSES,
    )


def step(model: ClipClassifier, batch: ClipBatch, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.stack(list(model.loss(model(batch), batch).values())).sum().backward()
    optimiser.step()


@torch.no_grad()
def answer(model: ClipClassifier, batch: ClipBatch) -> Tensor:
    return model.eval()(batch).logits


@pytest.mark.parametrize(("frames", "size"), [(3, 32), (7, 45), (17, 64)])
@every_model
def test_shapes(name: str, frames: int, size: int) -> None:
    """Clips of any length and side are answered; a model that cannot says so when it is built, not at a batch."""
    with torch.device("meta"):
        try:
            model = small(name, frames=frames, size=size)
        except ConfigError as error:
            assert any(word in str(error) for word in ("frames", "size"))  # noqa: PT017
            return
        batch = ClipBatch(
            texture=torch.empty(2, frames, 3, size, size),
            depth=torch.empty(2, frames, 1, size, size),
            au=torch.empty(2, UNITS),
            label=torch.zeros(2, dtype=torch.int64),
        )
    prediction = model(batch)
    assert prediction.logits.shape == (2, CLASSES)
    assert all(len(value) == 2 for value in prediction.auxiliary.values())
    assert all(term.shape == () for term in model.loss(prediction, batch).values())


@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    """Within two steps (some layers start at zero) the loss moves every weight."""
    model, batch = small(name), clips(3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for epoch in range(2):
        model.on_epoch(epoch, 2)
        step(model, batch, optimiser)
    still = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert still == []


@every_model
def test_a_clip_stands_alone(name: str) -> None:
    """A clip's answer knows nothing of its neighbours in the batch, nor of what its padding or unread inputs hold."""
    model, batch = small(name), clips(3)
    straight = answer(model, batch)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(answer(model, batch.select(order)), straight[order], rtol=1e-4, atol=1e-5)

    unread = INPUTS - model.inputs
    texture = batch.texture[:, :, :0] if "texture" in unread else batch.texture
    depth = batch.depth[:, :, :0] if "depth" in unread else batch.depth
    au = batch.au + 1 if "au" in unread else batch.au
    torch.testing.assert_close(answer(model, ClipBatch(texture=texture, depth=depth, au=au)), straight)

    real = torch.tensor([FRAMES, 5, 2])
    padding = (torch.arange(FRAMES) >= real[:, None])[..., None, None, None]
    padded = replace(
        batch,
        texture=batch.texture.masked_fill(padding, torch.nan),
        depth=batch.depth * (1 - 9.0 * padding),
        n_frames=real,
    )
    held = replace(batch, n_frames=real).held()
    torch.testing.assert_close(answer(model, padded), answer(model, held))
    assert torch.equal(answer(model, held)[1], straight[1]) == (model.inputs == {"au"})


@pytest.mark.slow
@every_model
def test_overfits_eight_random_clips(name: str) -> None:
    """Noise with labels is learned by heart."""
    frames = 8 if name == "madv_net" else 4  # the fewest that it takes
    model, batch = small(name, frames=frames), clips(8, frames=frames)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(100):
        model.train()
        model.on_epoch(epoch, 100)
        step(model, batch, optimiser)
        if epoch % 5 == 4 and torch.equal(answer(model, batch).argmax(1), batch.targets()):
            return
    pytest.fail(f"{answer(model, batch).argmax(1).tolist()} for {batch.targets().tolist()}")


@every_model
def test_checkpoint_gives_identical_logits(name: str, tmp_path: Path) -> None:
    """Saved as safetensors after a step and loaded into fresh weights, the model answers bit for bit the same."""
    model, batch = small(name), clips(2)
    model.on_fold(torch.tensor([1, 1, 0]))
    model.on_epoch(1, 2)
    step(model, batch, torch.optim.AdamW(model.parameters(), lr=1e-3))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = small(name)
    assert not torch.equal(answer(loaded, batch), answer(model, batch))
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(answer(loaded, batch), answer(model, batch))


@every_model
def test_backbone_loads_below_a_new_head(name: str) -> None:
    """All but what depends on the classes comes from a model of other classes."""
    source, target = small(name), small(name, classes=5)
    fresh = {key: value.clone() for key, value in target.state_dict().items()}
    for value in source.parameters():
        value.data.add_(1)
    target.load_backbone(source.state_dict())
    for key, value in target.state_dict().items():
        head = any(key == prefix or key.startswith(f"{prefix}.") for prefix in target.head_prefixes)
        assert torch.equal(value, fresh[key] if head else source.state_dict()[key]), key


@every_model
def test_pre_training_without_labels(name: str) -> None:
    """A model with feature maps gets gradients from masked frame differences; one without says so."""
    model, batch = small(name), clips(2)
    if model.feature_width is None:
        with pytest.raises(ConfigError, match="has no feature maps"):
            FrameDifferencePretraining(model)
        return
    assert model.feature_maps(batch).shape[:2] == (2, model.feature_width)
    pretraining = FrameDifferencePretraining(model)
    torch.stack(list(pretraining.loss(pretraining(batch), batch).values())).sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in model_names() if model_facts(name).cost is not None])
def test_cost_is_the_published_one(name: str) -> None:
    """Parameters and multiply-accumulates at the published input agree to 10 % with those that are published."""
    published = model_facts(name).cost
    assert published is not None
    frames, size = published.frames, published.size
    with torch.device("meta"), torch.no_grad():
        model = create_model(name, classes=7, frames=frames, size=size, action_units=UNITS).eval()
        clip = ClipBatch(
            texture=torch.empty(1, frames, 3, size, size),
            depth=torch.empty(1, frames, 1, size, size),
            au=torch.empty(1, UNITS),
        )
        with FlopCounterMode(display=False) as counter:
            model(clip)
    found = {"parameters": sum(p.numel() for p in model.parameters()), "macs": counter.get_total_flops() / 2}
    known = {key: value for key in found if (value := getattr(published, key)) is not None}
    assert known
    assert {key: found[key] for key in known} == pytest.approx(known, rel=0.1)


@every_model
def test_native_recipe_is_a_config(name: str) -> None:
    """The authors' recipe resolves, and what is laid over it wins."""
    config = resolve("native", {"model": name})
    for key, value in model_facts(name).native.get("optimisation", {}).items():
        assert getattr(config.optimisation, key) == value
    assert resolve("native", {"model": name, "optimisation": {"epochs": 3}}).optimisation.epochs == 3


def test_native_optimisers_and_steps() -> None:
    """SGD with momentum decays matrices alone, and the learning rate falls by a factor at each step."""
    config = resolve("native", {"model": "resnet18-gru"}).optimisation
    optimiser = build_optimiser(small("au-logistic"), config)
    assert isinstance(optimiser, torch.optim.SGD)
    assert [group["momentum"] for group in optimiser.param_groups] == [0.9, 0.9]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [1e-4, 0]
    rates = [learning_rate(epoch, config) for epoch in (0, 39.9, 40, 79.9, 80)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


def test_clustering_loss_at_known_points() -> None:
    """EC-STFL by hand: two of a class at distance 2, one of another at 4 and 6; and no other class at all."""
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-2.0, -2.0]])
    attraction = np.array([2 / 2, 2 / 2, 0 / 1])  # itself counts
    repulsion = np.array([1 / 4 / 2, 1 / 6 / 2, (1 / 4 + 1 / 6) / 3])
    expected = (attraction * repulsion).mean() / 3
    assert clustering_loss(features, torch.tensor([0, 0, 1])).item() == pytest.approx(expected, rel=1e-5)
    assert clustering_loss(features, torch.tensor([2, 2, 2])) == 0


def test_clustering_gathers_and_parts() -> None:
    """Following its slope brings a class together and the classes apart; where points coincide it stays finite."""
    target = torch.arange(8) % 2
    features = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def ratio() -> float:
        distance = torch.cdist(features.detach(), features.detach(), p=1)
        same = target[:, None] == target
        return (distance[same].mean() / distance[~same].mean()).item()

    before = ratio()
    optimiser = torch.optim.Adam([features], lr=0.05)
    for _ in range(40):
        optimiser.zero_grad()
        clustering_loss(features, target).backward()
        optimiser.step()
    assert ratio() < 0.5 * before
    same_place = torch.zeros(4, 3, requires_grad=True)
    clustering_loss(same_place, torch.tensor([0, 0, 1, 1])).backward()
    assert same_place.grad is not None
    assert same_place.grad.isfinite().all()


def test_clustering_is_a_weighted_term() -> None:
    """Its weight is 10, as published, and an option."""
    terms = {}
    for weight in (10, 5, 0):
        torch.manual_seed(0)
        shape = {"classes": CLASSES, "frames": FRAMES, "size": SIZE, "action_units": UNITS}
        options = {"clustering_weight": weight} if weight != 10 else {}
        model = create_model("ec-stfl", **shape, **model_facts("ec-stfl").fast, **options)
        batch = clips(4)
        terms[weight] = model.loss(model(batch), batch)
    assert terms[10]["clustering"] > 0
    torch.testing.assert_close(terms[10]["clustering"], 2 * terms[5]["clustering"])
    assert terms[0]["clustering"] == 0
    torch.testing.assert_close(terms[10]["cross_entropy"], terms[0]["cross_entropy"])


def bump(side: int, amplitude: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Reference, moving image, and the flow between them: a smooth push to the right and up in the middle."""
    texture = np.random.default_rng(0).random((side, side))
    moving = ndimage.gaussian_filter(texture, 1.5)
    moving = (moving - moving.min()) / np.ptp(moving)
    y, x = np.mgrid[:side, :side].astype(float)
    right = amplitude * np.exp(-((x - side / 2) ** 2 + (y - side / 2) ** 2) / (side / 6) ** 2)
    reference = ndimage.map_coordinates(moving, [y - right / 2, x + right], order=3, mode="nearest")
    return reference, moving, right, -right / 2


@pytest.mark.parametrize("amplitude", [0.4, 1.5])
def test_flow_is_that_of_scikit_image(amplitude: float) -> None:
    """TV-L1 finds a known motion below and above a pixel, as the library does on each pair by itself."""
    reference, moving, right, down = bump(56, amplitude)
    pairs = (
        torch.tensor(np.stack([reference, reference, moving]))[:, None],
        torch.tensor(np.stack([moving] * 3))[:, None],
    )
    flow = tv_l1(*pairs).numpy()
    error = np.hypot(flow[0, 0] - right, flow[0, 1] - down).mean()
    assert error < 0.4 * np.hypot(right, down).mean()
    vertical, horizontal = optical_flow_tvl1(reference, moving, dtype=np.float64)
    assert error < 1.05 * np.hypot(horizontal - right, vertical - down).mean()
    assert np.abs(flow[0] - np.stack([horizontal, vertical])).mean() < 0.005 * amplitude
    np.testing.assert_array_equal(flow[0], flow[1])
    assert np.abs(flow[2]).max() < 1e-9


def test_strain_of_simple_fields() -> None:
    """A shift and a turn strain nothing; a stretch by a strains a, a shear by s strains s / sqrt(2)."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    zero = torch.zeros_like(x)
    fields = [(zero + 3, zero - 1), (-0.2 * y, 0.2 * x), (0.5 * x, zero), (0.3 * y, zero)]
    found = strain(torch.stack([torch.stack(field) for field in fields]))
    expected = torch.tensor([0, 0, 0.5, 0.3 / 2**0.5]).view(4, 1, 1, 1).expand(4, 1, 6, 8)
    torch.testing.assert_close(found, expected)


def test_apex_is_the_frame_that_differs_most() -> None:
    """STSTNet reads the flow from the first frame to the one farthest from it; a clip that is still has none."""
    reference, moving, right, _ = bump(56, 1.0)
    still = torch.tensor(np.stack([reference] * 6), dtype=torch.float32)
    moved = still.clone()
    moved[3] = torch.tensor(moving)
    moved[4] = torch.tensor((moving + reference) / 2)
    texture = torch.stack([moved, still])[:, :, None].expand(2, 6, 3, 56, 56) * 2 - 5
    batch = ClipBatch(texture=texture, depth=texture[:, :, :0], au=torch.zeros(2, UNITS))
    auxiliary = small("ststnet", size=56).eval()(batch).auxiliary
    assert auxiliary["apex"][0] == 3
    flow = auxiliary["flow"][0]
    assert flow.shape == (3, 28, 28)
    torch.testing.assert_close(flow.abs().amax((1, 2)), torch.ones(3))
    assert np.corrcoef(flow[0].numpy().ravel(), ndimage.zoom(right, 0.5, order=1).ravel())[0, 1] > 0.9
    assert (auxiliary["flow"][1] == 0).all()


@pytest.mark.parametrize("name", ["au-logistic", "flow-logistic"])
def test_regressions_are_at_the_optimum(name: str) -> None:
    """No gradient is left of the penalised likelihood, |w|^2 / 2 + sum of cross entropies; the bias has no penalty."""
    batch, model = clips(30), small(name)
    model.solve(batch)
    loss = 30 * model.loss(model(batch), batch)["cross_entropy"] + model.head.weight.square().sum() / 2
    loss.backward()
    assert model.head.weight.abs().max() > 0.05
    assert all(parameter.grad.abs().max() < 0.02 for parameter in model.parameters())


def test_regression_of_classes_that_training_lacks() -> None:
    """Two of three classes: the third is never the answer."""
    batch, model = clips(30), small("au-logistic")
    two = batch.select(torch.tensor([i for i in range(30) if i % 3 != 1]))
    model.solve(two)
    probabilities = answer(model, batch).softmax(1)
    assert (probabilities[:, 1] < 1e-6).all()
    assert (answer(model, two).argmax(1) == two.targets()).float().mean() > 0.8
