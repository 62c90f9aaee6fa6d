"""One training step and one prediction of every model, and what `mer compare` adds to the sum of its trainings.

uv run python -m tests.benchmarks.models [--store casme2.zarr] [--recipe paper --batch 4] [--device cuda]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from schemas.config import Device
from tests.benchmarks.table import Beside, Goal, Row
from training.config import TrainConfig
from training.data.batch import ClipBatch
from training.fit.folder import FoldTime
from training.fit.optimisation import autocast_of, build_optimiser
from training.models.base import ClipClassifier
from training.models.registry import create_model, model_names
from training.runs.compare import configs_of

CLASSES, UNITS, REPEATS = 5, 20, 5


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="to compare on; without it only steps are timed")
    parser.add_argument("--models", default="all")
    parser.add_argument("--recipe", choices=("paper", "fast"), default="fast")
    parser.add_argument("--batch", type=int, default=8, help="clips of a step")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--epochs", type=int, default=3, help="of the comparison")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps(arguments.models, arguments.recipe, arguments.batch, arguments.device)
    if arguments.store is not None:
        scheduling(arguments.store, arguments.models, arguments.epochs)


def steps(models: str, recipe: Literal["paper", "fast"], batch: int, device: Device) -> None:
    """Seconds of an update and of a prediction, in one run."""
    title = f"{recipe}, batches of {batch}, {device}, {torch.get_num_threads()} threads"
    table = Table("model", "step, ms", "clips/s in training", "prediction of one clip, ms", title=title)
    for name, config in configs_of(models, recipe).items():
        step, prediction = timed(config, batch, torch.device(device))
        table.add_row(name, f"{1e3 * step:.1f}", f"{batch / step:.1f}", f"{1e3 * prediction:.1f}")
    Console().print(table)


def rows(*, short: bool) -> Iterator[Row]:
    """An update of MADV-Net's published size beside a matrix product, the most that a processor computes."""
    torch.set_num_threads(1)
    name, batch = ("au-logistic", 2) if short else ("madv_net", 4)
    config = configs_of(name, "paper")[name]
    with FlopCounterMode(display=False) as counted:
        update_of(config, batch, torch.device("cpu"))[1]()
    update = update_of(config, batch, torch.device("cpu"))[1]
    matrix, out = torch.rand(2, 1024, 1024), torch.empty(1024, 1024)
    step, product = seconds(update), seconds(lambda: torch.mm(matrix[0], matrix[1], out=out))
    with profile() as kept:
        update()
    spent = sorted(kept.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in spent) / 100
    largest = ", ".join(f"{event.key} {event.self_cpu_time_total / total:.0f} %" for event in spent[:5])
    yield Row(
        what=f"an update of {name}, {config.frames} frames of {config.size} px, {batch} clips: {step:.3g} s",
        unit="Gflop/s", ours=counted.get_total_flops() / step / 1e9,
        limit=Beside(2 * 1024**3 / product / 1e9, "a matrix product"), why=largest, goal=Goal("≥", 0.5, "limit"),
    )  # fmt: skip


def timed(config: TrainConfig, batch: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of one update, and of one prediction of one clip, on noise."""
    network, update = update_of(config, batch, device)
    step = seconds(update)
    one = noise(config, 1, device)
    network.eval()
    with torch.inference_mode():
        return step, seconds(lambda: network(one).logits.sum().item())


def update_of(config: TrainConfig, batch: int, device: torch.device) -> tuple[ClipClassifier, Callable[[], None]]:
    """A network, and one training step of it on noise."""
    clips = noise(config, batch, device)
    options = {"classes": CLASSES, "frames": config.frames, "size": config.size, "action_units": UNITS}
    network = create_model(config.model, **options, **config.model_options).to(device)
    network.on_fold(torch.bincount(clips.targets(), minlength=CLASSES))
    optimiser = build_optimiser(network, config.optimisation)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def update() -> None:
        with autocast_of(config.amp, device):
            loss = torch.stack(list(network.loss(network(clips), clips).values())).sum()
        optimiser.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()
        loss.item()  # waits for a GPU

    network.train()
    return network, update


def noise(config: TrainConfig, clips: int, device: torch.device) -> ClipBatch:
    """Clips as a network reads them."""
    with device:
        return ClipBatch(
            texture=torch.rand(clips, config.frames, 3, config.size, config.size),
            depth=torch.rand(clips, config.frames, 1, config.size, config.size),
            au=torch.rand(clips, UNITS),
            label=torch.arange(clips) % CLASSES,
        )


def seconds(of: Callable[[], object]) -> float:
    """Median of some calls after one that is not timed."""
    taken = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        of()
        taken.append(time.perf_counter() - start)
    return median(taken[1:])


def scheduling(store: Path, models: str, epochs: int) -> None:
    """`mer compare` from start to page, against the seconds that its folds trained."""
    table = Table("workers", "mer compare, s", "sum of its trainings, s", "ratio")
    with tempfile.TemporaryDirectory(dir=store.parent) as scratch:
        for workers in (0, 2):
            out = Path(scratch) / f"workers-{workers}"
            start = time.perf_counter()
            chosen = ("--store", store, "--models", models, "--recipe", "fast", "--protocol", "kfold-3", "--partial")
            limits = ("--seeds", 1, "--budget", epochs, "--workers", workers, "--out", out)
            command = (Path(sys.executable).with_name("mer"), "compare", *chosen, *limits)
            subprocess.run(list(map(str, command)), check=True)
            took = time.perf_counter() - start
            folds = sum(FoldTime(**json.loads(file.read_text())).seconds for file in out.rglob("time.json"))
            table.add_row(str(workers), f"{took:.1f}", f"{folds:.1f}", f"{took / folds:.2f}")
    Console().print(f"{len(model_names()) if models == 'all' else models} models, 3 folds, {epochs} epochs")
    Console().print(table)


if __name__ == "__main__":
    main()
