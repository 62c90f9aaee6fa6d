"""One update of a network; and of many networks at once, when each stands at its next one.

A fold asks for its updates one by one (``training.fit.fold.fold_updates``) and is told what came of each, so that
whoever makes them may make those of several folds in one pass.
"""

import warnings
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from schemas.errors import RunError
from training.data.batch import ClipBatch
from training.models.base import ClipClassifier

Terms = tuple[dict[str, Tensor], Tensor]
_Key = TypeVar("_Key")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Update:
    """A step of the optimiser that a fold waits for.

    What comes of it are the terms of the loss by name, scalars, and the share of the batch that was told right.

    Attributes:
        network: in training mode.
        optimiser: of its weights.
        scaler: of its loss.
        autocast: of the forward pass.
        clip_norm: largest norm of the gradient.
        batch: on the network's device, augmented and normalised.
        architecture: the same for networks that differ in their numbers alone.
    """

    network: ClipClassifier
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    autocast: torch.autocast
    clip_norm: float
    batch: ClipBatch
    architecture: Hashable

    def make(self) -> Terms:
        """Make it, alone."""
        with self.autocast:
            terms, right = _Objective(self.network)(self.batch)
        loss = torch.stack(list(terms.values())).sum()
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.move()
        return {name: term.detach() for name, term in terms.items()}, right

    def move(self) -> None:
        """The optimiser's step, once gradients are there."""
        self.scaler.unscale_(self.optimiser)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    @property
    def kind(self) -> Hashable:
        """Updates of one kind can be made at once: batches of one shape, for networks of one architecture."""
        return self.architecture, *((name, tensor.shape) for name, tensor in self.batch.tensors().items())


Updates = Generator[Update, Terms | None, _Result]


def alone(updates: Updates[_Result]) -> _Result:
    """Make each update by itself; what the generator returns."""
    done: Terms | None = None
    with closing(updates):  # where an update fails, it is not the fold itself that raises
        while True:
            try:
                update = updates.send(done)
            except StopIteration as end:
                result: _Result = end.value
                return result
            done = update.make()


def together(folds: Iterable[tuple[_Key, Updates[None]]], most: int) -> Iterator[tuple[_Key, Exception | None]]:
    """Train folds, so many at a time, those updates in one pass that can be; each that ends, and why if it failed.

    A fold sees the same clips in the same order as alone. Its weights differ from those by rounding, and where the
    network itself draws at random (dropout), by its draws.

    Args:
        folds: what each is called by, and its updates.
        most: folds at a time; when one ends the next joins.
    """
    remaining, numbers = iter(folds), count()
    stacks: dict[Hashable, _Stack] = {}  # of each architecture, the networks that were trained last
    running: dict[int, tuple[_Key, Updates[None]]] = {}
    waiting: dict[int, Update] = {}
    ended: list[tuple[_Key, Exception | None]] = []

    def go_on(number: int, done: Terms | Exception | None) -> None:
        key, updates = running[number]
        try:
            waiting[number] = updates.throw(done) if isinstance(done, Exception) else updates.send(done)
        except StopIteration:
            ended.append((key, None))
        except Exception as error:  # of this fold alone: the others go on
            ended.append((key, error))
        else:
            return
        del running[number]
        waiting.pop(number, None)

    with ExitStack() as opened:
        while True:
            while len(running) < most and (fold := next(remaining, None)) is not None:
                running[number := next(numbers)] = fold
                opened.enter_context(closing(fold[1]))
                go_on(number, None)
            yield from ended
            ended.clear()
            if not running:
                return
            for alike in _alike(waiting):
                updates = [waiting[number] for number in alike]
                results: Sequence[Terms | Exception]
                try:
                    results = [updates[0].make()] if len(updates) == 1 else _stack_of(updates, stacks).make(updates)
                except Exception as error:  # each fold ends with it, and says so
                    results = [error] * len(updates)
                for number, done in zip(alike, results, strict=True):
                    go_on(number, done)


def _stack_of(updates: Sequence[Update], stacks: "dict[Hashable, _Stack]") -> "_Stack":
    networks, architecture = [update.network for update in updates], updates[0].architecture
    if architecture not in stacks or not stacks[architecture].holds(networks):
        stacks[architecture] = _Stack(networks)
    return stacks[architecture]


def _alike(waiting: dict[int, Update]) -> list[list[int]]:
    kinds: dict[Hashable, list[int]] = {}
    for number, update in waiting.items():
        kinds.setdefault(update.kind, []).append(number)
    return list(kinds.values())


class _Stack:
    """Networks whose weights and buffers lie one above the other, so that one pass goes through all of them.

    Those of each network become slices of the stack: its optimiser, validation and checkpoints need not know of it.
    """

    def __init__(self, networks: Sequence[ClipClassifier]) -> None:
        self._networks = tuple(networks)
        objectives = [_Objective(network) for network in networks]
        self._objective = objectives[0]
        self._slices = [dict(objective.named_parameters()) for objective in objectives]
        self._weights = _piled(self._slices)
        self._buffers = _piled([dict(objective.named_buffers()) for objective in objectives])

    def holds(self, networks: Sequence[ClipClassifier]) -> bool:
        """Whether it is of these, in this order."""
        return self._networks == tuple(networks)

    def make(self, updates: Sequence[Update]) -> list[Terms]:
        """Make an update of each network.

        Raises:
            RunError: the networks cannot be computed in one pass, or there is no memory for it.
        """
        batches = [update.batch.tensors() for update in updates]

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], batch: dict[str, Tensor]) -> Terms:
            terms: Terms = functional_call(self._objective, (weights, buffers), (ClipBatch(**batch),))
            return terms

        try:
            # The CPU's fused attention has no rule for many networks at once; those of a GPU have.
            plain = sdpa_kernel(SDPBackend.MATH) if batches[0]["au"].device.type == "cpu" else nullcontext()
            with updates[0].autocast, plain, warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="There is a performance drop")  # of a layer without a rule
                terms, right = vmap(one, randomness="different")(
                    self._weights,
                    self._buffers,
                    {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]},
                )
            losses = torch.stack(list(terms.values())).sum(0)
            scaled = [update.scaler.scale(loss) for update, loss in zip(updates, losses, strict=True)]
            torch.stack(scaled).sum().backward()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise RunError(
                f"{type(self._networks[0]).__name__}: {len(updates)} folds cannot be computed in one pass ({error}); "
                "give --together a smaller number, or leave it out"
            ) from error
        done: list[Terms] = []
        for place, (update, own) in enumerate(zip(updates, self._slices, strict=True)):
            for name, pile in self._weights.items():
                own[name].grad = None if pile.grad is None else pile.grad[place]
            update.move()
            done.append(({name: term[place].detach() for name, term in terms.items()}, right[place]))
        for pile in self._weights.values():
            pile.grad = None
        return done


def _piled(owners: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    piles = {}
    for name in owners[0]:
        own = [tensors[name] for tensors in owners]
        pile = torch.stack([tensor.detach() for tensor in own])
        for tensor, part in zip(own, pile, strict=True):
            tensor.data = part
        piles[name] = pile.requires_grad_(own[0].requires_grad)
    return piles


class _Objective(nn.Module):
    """A network and its loss as one function of weights, buffers and a batch."""

    def __init__(self, network: ClipClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: ClipBatch) -> Terms:
        prediction = self.network(batch)
        terms = self.network.loss(prediction, batch)
        return terms, (prediction.logits.argmax(-1) == batch.classes()).float().mean()
