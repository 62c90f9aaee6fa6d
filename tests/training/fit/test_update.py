"""Folds whose updates are made in one pass: each as if it were alone."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from schemas.errors import RunError
from training.data.batch import ClipBatch
from training.fit.update import Update, Updates, alone, together
from training.models.base import ClipClassifier
from training.models.registry import create_model, model_facts, model_names

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, FRAMES, SIZE, UNITS = 3, 8, 32, 20
RECURRENT = ("resnet18-lstm", "resnet18-gru")  # torch.func has no rule for their layers
GRADIENT = [name for name in model_names() if not name.endswith("-logistic")]  # those are solved
BATCHES = (4, 4, 3)  # the last of an epoch is smaller


class Fold:
    """A network, and the batches that it is trained on, both of one number."""

    def __init__(self, name: str, number: int) -> None:
        torch.manual_seed(number)
        shape = {"classes": CLASSES, "frames": FRAMES, "size": SIZE, "action_units": UNITS}
        self.network = create_model(name, **shape, **model_facts(name).fast)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # what is drawn at random differs
        self.network.on_fold(torch.tensor([3, 1 + number, 2]))
        self.passes = 0
        self.network.register_forward_pre_hook(self._count)
        self.losses: list[float] = []
        self.number = number

    def _count(self, *_: object) -> None:
        self.passes += 1

    def updates(self, batches: tuple[int, ...] = BATCHES) -> Updates[None]:
        """Plain gradient descent."""
        optimiser, scaler = torch.optim.SGD(self.network.parameters(), lr=0.01), torch.amp.GradScaler(enabled=False)
        off = torch.autocast("cpu", enabled=False)
        for epoch, count in enumerate(batches):
            self.network.train()
            self.network.on_epoch(epoch, len(batches))
            batch = clips(count, seed=10 * self.number + epoch)
            done = yield Update(self.network, optimiser, scaler, off, 1.0, batch, type(self.network))
            assert done is not None
            self.losses.append(float(sum(done[0].values())))

    def state(self) -> dict[str, torch.Tensor]:
        """Weights and buffers."""
        return {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


def clips(count: int, *, seed: int) -> ClipBatch:
    g = torch.Generator().manual_seed(seed)
    return ClipBatch(
        texture=torch.randn(count, FRAMES, 3, SIZE, SIZE, generator=g),
        depth=torch.randn(count, FRAMES, 1, SIZE, SIZE, generator=g),
        au=torch.randn(count, UNITS, generator=g),
        label=torch.randint(0, CLASSES, (count,), generator=g),
        apex=torch.randint(1, FRAMES, (count,), generator=g),
    )


@pytest.mark.parametrize("name", ["madv_net", "r3d-18", "nr-dfernet"])
def test_each_fold_is_as_if_it_were_alone(name: str) -> None:
    """Weights, batch norm's statistics and losses to 1e-5, in a third of the passes; folds come and go meanwhile."""
    by_themselves, at_once = ([Fold(name, number) for number in range(4)] for _ in range(2))
    lengths = (BATCHES, BATCHES, BATCHES[:1], BATCHES)  # the third ends early, and the fourth joins
    for fold, batches in zip(by_themselves, lengths, strict=True):
        alone(fold.updates(batches))
    folds = ((fold.number, fold.updates(batches)) for fold, batches in zip(at_once, lengths, strict=True))
    ended = dict(together(folds, 3))
    assert ended == dict.fromkeys(range(4))
    for fold, expected in zip(at_once, by_themselves, strict=True):
        assert fold.losses == pytest.approx(expected.losses, abs=1e-5)
        for weight, tensor in expected.state().items():
            torch.testing.assert_close(fold.state()[weight], tensor, rtol=1e-5, atol=1e-5, msg=weight)
    assert sum(fold.passes for fold in by_themselves) == 10
    assert sum(fold.passes for fold in at_once) == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in GRADIENT if name not in RECURRENT])
def test_every_model_can_be_trained_so(name: str) -> None:
    """Those that draw at random learn other numbers; all take their step."""
    folds = [Fold(name, number) for number in range(2)]
    before = [fold.state() for fold in folds]
    assert dict(together(((fold.number, fold.updates()) for fold in folds), 2)) == {0: None, 1: None}
    for fold, state in zip(folds, before, strict=True):
        assert all(bool(tensor.isfinite().all()) for tensor in fold.state().values())
        assert any(not torch.equal(fold.state()[name], tensor) for name, tensor in state.items())
    assert sum(fold.passes for fold in folds) == len(BATCHES)


@pytest.mark.parametrize("name", RECURRENT)
def test_what_cannot_be_computed_in_one_pass_says_what_to_do(name: str) -> None:
    """Each of the folds ends with the error."""
    ended = dict(together(((number, Fold(name, number).updates()) for number in range(2)), 2))
    assert list(ended) == [0, 1]
    for error in ended.values():
        assert isinstance(error, RunError)
        assert "2 folds cannot be computed in one pass" in str(error)
        assert "leave it out" in str(error)


def test_a_fold_that_fails_leaves_the_others() -> None:
    """Whatever it fails of."""
    good, bad = Fold("madv_net", 0), Fold("madv_net", 1)

    def failing() -> Iterator[object]:
        yield from bad.updates(BATCHES[:1])
        raise ValueError("torn")

    started: list[Callable[[], object]] = [good.updates, failing]
    ended = dict(together(enumerate(start() for start in started), 2))  # type: ignore[arg-type]
    assert ended[0] is None
    assert str(ended[1]) == "torn"
    assert len(good.losses) == len(BATCHES)


@pytest.mark.parametrize("most", [1, 2])
def test_a_fold_whose_update_fails_is_closed_and_leaves_the_others(most: int) -> None:
    """As where memory runs out: what the fold has opened is closed at once."""
    good, bad = Fold("madv_net", 0), Fold("madv_net", 1)
    closed = []

    def failing() -> Iterator[object]:
        try:
            for update in bad.updates(BATCHES[:1]):
                yield replace(update, architecture="another", clip_norm="none")
        finally:
            closed.append(bad)

    started: list[Callable[[], object]] = [good.updates, failing]
    ended = dict(together(enumerate(start() for start in started), most))  # type: ignore[arg-type]
    assert ended[0] is None
    assert isinstance(ended[1], TypeError | ValueError)
    assert closed == [bad]
    with pytest.raises((TypeError, ValueError)):
        alone(failing())  # type: ignore[arg-type]
    assert closed == [bad, bad]


def test_a_batch_is_told_from_another_by_its_shape() -> None:
    """All that a batch can hold counts."""
    fold = Fold("madv_net", 0)
    first = next(iter(fold.updates()))
    tensors = {field.name: getattr(first.batch, field.name) for field in fields(ClipBatch)}
    held = ClipBatch(**{name: tensor for name, tensor in tensors.items() if name != "apex"})
    other = Update(first.network, first.optimiser, first.scaler, first.autocast, 1.0, held, first.architecture)
    assert first.kind != other.kind
    assert isinstance(first.network, ClipClassifier)
