"""Folds of one run whose updates are made in one pass (`mer train --together`), beside one after the other."""

import time
from collections.abc import Iterator

import torch

from tests.benchmarks.table import Beside, Goal, LeftOut, Row
from training.data.batch import ClipBatch
from training.fit.optimisation import autocast_of, build_optimiser
from training.fit.update import Update, Updates, together
from training.models.registry import create_model, model_facts
from training.runs.recipes import resolve

CONFIG = resolve("fast", {"optimisation": {"batch_size": 16}})
SUBJECTS, UNITS, CLASSES = 26, 20, 5  # of CASME II, of the AU columns, of its task


def rows(*, short: bool) -> Iterator[Row | LeftOut]:
    """MADV-Net of the `fast` recipe: all folds of CASME II on a GPU; on a CPU a few, which only informs."""
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        goal = Goal("≥", 5, "peer")
        yield measured(torch.device("cuda"), folds=2 if short else SUBJECTS, updates=1 if short else 20, goal=goal)
        return
    yield measured(torch.device("cpu"), folds=2 if short else 4, updates=1 if short else 4, goal=None)
    command = "python -m tests.benchmarks --only folds"
    yield LeftOut(
        f"updates of {SUBJECTS} folds in one pass, `fast`, on a GPU", "needs a GPU", command, "≥ 5 of the peer"
    )


def measured(device: torch.device, *, folds: int, updates: int, goal: Goal | None) -> Row:
    """Updates a second of both, after some that warm up."""
    made = [Fold(number, device) for number in range(folds)]
    for most in (1, folds):
        rate(made, 1, most)
    serial, at_once = rate(made, updates, 1), rate(made, updates, folds)
    return Row(
        what=f"updates of {folds} folds in one pass, `fast`, on a {device.type.upper()}", unit="updates/s",
        ours=at_once, peer=Beside(serial, "one fold after the other"), goal=goal,
    )  # fmt: skip


class Fold:
    """A network, its optimiser, and one batch, of which every update is made."""

    def __init__(self, number: int, device: torch.device) -> None:
        torch.manual_seed(number)
        shape = {"classes": CLASSES, "frames": CONFIG.frames, "size": CONFIG.size, "action_units": UNITS}
        self.network = create_model(CONFIG.model, **shape, **model_facts(CONFIG.model).fast).to(device).train()
        self.optimiser = build_optimiser(self.network, CONFIG.optimisation)
        self.autocast = autocast_of(CONFIG.amp, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast.fast_dtype is torch.float16)
        clips, frames, side = CONFIG.optimisation.batch_size, CONFIG.frames, CONFIG.size
        self.batch = ClipBatch(
            texture=torch.randn(clips, frames, 3, side, side),
            depth=torch.randn(clips, frames, 1, side, side),
            au=torch.randn(clips, UNITS),
            label=torch.randint(0, CLASSES, (clips,)),
        ).to(device)

    def updates(self, count: int) -> Updates[None]:
        """So many."""
        norm, kind = CONFIG.optimisation.clip_norm, type(self.network)
        for _ in range(count):
            yield Update(self.network, self.optimiser, self.scaler, self.autocast, norm, self.batch, kind)


def rate(folds: list[Fold], updates: int, most: int) -> float:
    """Updates a second, so many folds at a time."""
    started = time.perf_counter()
    assert all(error is None for _, error in together(((fold, fold.updates(updates)) for fold in folds), most))
    if folds[0].batch.au.device.type == "cuda":
        torch.cuda.synchronize()
    return len(folds) * updates / (time.perf_counter() - started)
