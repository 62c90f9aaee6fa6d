"""The training step alone against the whole loop, and epochs as a store grows.

uv run python -m tests.benchmarks.train_loop --store casme2.zarr
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pipeline.preprocessing.finish import records_of, write_store
from schemas.layout import object_path
from schemas.store.format import Dimensions, create_arrays
from schemas.store.reader import Store
from tests.benchmarks.table import Beside, Goal, Row
from tests.tiny_stores import tiny_store
from training.config import Augmentation
from training.data.batch import ClipBatch
from training.data.clips import Clips
from training.data.dataset import BatchReader, ClipDraw, StoreDataset
from training.data.preparation import Augmenter, Normalisation, measure_normalisation
from training.data.sampling import batches
from training.fit.optimisation import autocast_of, build_optimiser
from training.models.registry import create_model, model_facts
from training.runs.recipes import resolve

CPU = torch.device("cpu")
CONFIG = resolve("fast", {"optimisation": {"batch_size": 16}})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=255, help="of the store that is trained on; CASME II has 255")
    parser.add_argument("--grown", type=int, nargs="*", default=[250, 2_500, 25_000])
    parser.add_argument("--skip-step", action="store_true", help="only the growing stores")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.store.parent) as name:  # hard links stay on one drive
        folder, source = Path(name), Store.open(arguments.store)
        if not arguments.skip_step:
            store = grown(source, folder / "store.zarr", arguments.clips)
            loops(store)
            precisions(store)
        growth(source, folder, arguments.grown)


def rows(*, short: bool) -> Iterator[Row]:
    """An epoch beside its updates alone: with the clips in memory, and read by a process beside."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, key = Path(name), "casme2/sub01/EP01"
        source = tiny_store(folder / "one.zarr", [key], lengths={key: 8 if short else 64})
        store = grown(source, folder / "store.zarr", 4 if short else 96)
        for cache, loaders in (("cpu", 0),) if short else (("cpu", 0), (None, 1)):
            spent = spent_on(store, cache, loaders)
            clips, whole = len(store.manifest.clips), sum(spent.values())
            parts = ", ".join(f"{part} {share / whole:.0%}" for part, share in spent.items())
            yield Row(
                what=f"an epoch of `fast`, clips {'in memory' if cache else 'read beside'}", unit="clips/s",
                ours=clips / whole, limit=Beside(clips / spent["update"], "its updates alone"),
                goal=Goal("≥", 0.9, "limit"), why=f"{parts}. Augmentation is on the same core",
            )  # fmt: skip


def grown(source: Store, out: Path, clips: int) -> Store:
    """A store of so many clips, each a hard link to one of the source's."""
    found = list(records_of(source))
    frames = source.array("frame_number").shape[1]
    config, units = source.manifest.provenance.config, source.manifest.action_units.names
    dimensions = Dimensions(clips, frames, config.size, units, depth=True, au_frames=False)
    create_arrays(out, dimensions)
    records = []
    for index in range(clips):
        record = found[index % len(found)]
        for array in record.entry.objects:
            target = out / object_path(array, index)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source.path / object_path(array, record.index), target)
        key = f"{config.dataset}/sub{index % 26:02d}/clip{index:06d}"
        records.append(
            record.model_copy(update={"index": index, "entry": record.entry.model_copy(update={"key": key})})
        )
    write_store(out, dimensions, records, source.manifest)
    return Store.open(out)


def dataset_of(store: Store, cache: str | None) -> StoreDataset:
    """Every clip, with made-up labels."""
    keys = tuple(entry.key for entry in store.manifest.clips)
    source = Clips((store.path,), ("",), keys, (0,) * len(keys), CONFIG.size).open(cache)
    return StoreDataset(source, [index % 5 for index in range(len(keys))], frames=CONFIG.frames)


class Step:
    """Preparation and one update of the fast recipe's MADV-Net."""

    def __init__(self, store: Store, normalisation: Normalisation, amp: str = "off", *, compiled: bool = False) -> None:
        units = store.manifest.action_units.names
        torch.manual_seed(0)
        network = create_model(
            CONFIG.model,
            classes=5,
            frames=CONFIG.frames,
            size=CONFIG.size,
            action_units=len(units),
            **model_facts(CONFIG.model).fast,
        )
        self.optimiser = build_optimiser(network, CONFIG.optimisation)
        self.own, self.network = network, torch.compile(network) if compiled else network
        self.augmenter, self.normalisation = Augmenter(Augmentation(), units), normalisation
        self.autocast = autocast_of(amp, CPU)  # type: ignore[arg-type]
        self.random = torch.Generator().manual_seed(0)

    def prepare(self, raw: ClipBatch) -> ClipBatch:
        """Augmented and normalised."""
        return self.normalisation.apply(self.augmenter.apply(raw, self.random))

    def update(self, batch: ClipBatch) -> None:
        """Forward, backward, step."""
        with self.autocast:
            loss = sum(self.own.loss(self.network(batch), batch).values())
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        self.optimiser.step()


def loops(store: Store) -> None:
    """Where the time of one epoch goes. Shares hold on a busy machine too."""
    table = Table("", "clips/s", "waiting", "augmentation", "update", title=f"{len(store.manifest.clips)} clips, fast")
    for cache, loaders in (("cpu", 0), (None, 0), (None, 1)):
        spent = spent_on(store, cache, loaders)
        total = sum(spent.values())
        name = f"--cache {'ram' if cache else 'none'}" + (f", {loaders} loader" if loaders else "")
        shares = (f"{part / total:.1%}" for part in spent.values())
        table.add_row(name, f"{len(store.manifest.clips) / total:.1f}", *shares)
    Console().print(table)


def spent_on(store: Store, cache: str | None, loaders: int) -> dict[str, float]:
    """Seconds of an epoch by what they are spent on."""
    dataset = dataset_of(store, cache)
    parts = list(batches(np.random.default_rng(0).permutation(len(dataset)), CONFIG.optimisation.batch_size))
    with BatchReader(dataset, device=CPU, loaders=loaders) as reader:
        step = Step(store, measure_normalisation(reader.read(parts[:2])))  # its processes start
        return epoch(step, reader.read(parts, jitter=0))


def epoch(step: "Step", raw: Iterator[ClipBatch]) -> dict[str, float]:
    """Seconds by what they are spent on."""
    spent = {"waiting": 0.0, "augmentation": 0.0, "update": 0.0}
    times = [time.perf_counter()]
    while True:
        batch = next(raw, None)
        times.append(time.perf_counter())
        spent["waiting"] += times[-1] - times[-2]
        if batch is None:
            return spent
        batch = step.prepare(batch)
        times.append(time.perf_counter())
        spent["augmentation"] += times[-1] - times[-2]
        step.update(batch)
        times.append(time.perf_counter())
        spent["update"] += times[-1] - times[-2]


def precisions(store: Store) -> None:
    """Clips/s of one update: float32, bfloat16 autocast, compiled."""
    cached = dataset_of(store, "cpu")
    with BatchReader(cached, device=CPU) as reader:
        raw = next(reader.read([np.arange(CONFIG.optimisation.batch_size)]))
        normalisation = measure_normalisation([raw])
    for name, amp, compiled in (("float32", "off", False), ("bf16 autocast", "bf16", False), ("compiled", "off", True)):
        step = Step(store, normalisation, amp, compiled=compiled)
        batch = step.prepare(raw)
        step.update(batch)
        print(f"{name}: {rate(lambda s=step, b=batch: s.update(b), len(batch)):.1f} clips/s")  # type: ignore[misc]


def growth(source: Store, folder: Path, sizes: list[int]) -> None:
    """Time to read one epoch without a cache, as the store grows."""
    table = Table("clips", "opening, s", "an epoch's reading, s", "ms a clip", title="no cache, no loaders, one core")
    for clips in sizes:
        path = grown(source, folder / f"{clips}.zarr", clips).path
        started = time.perf_counter()
        dataset = dataset_of(Store.open(path), None)
        dataset[ClipDraw(0)]
        opened = time.perf_counter()
        with BatchReader(dataset, device=CPU) as reader:
            each(lambda b: None, reader.read(batches(np.random.default_rng(0).permutation(clips), 16), jitter=0))
        seconds = time.perf_counter() - opened
        table.add_row(str(clips), f"{opened - started:.2f}", f"{seconds:.1f}", f"{seconds / clips * 1e3:.2f}")
    Console().print(table)


def each(act: Callable[[ClipBatch], object], on: Iterator[ClipBatch] | list[ClipBatch]) -> None:
    """Act on every batch."""
    for batch in on:
        act(batch)


def rate(run: Callable[[], object], clips: int) -> float:
    """Clips a second of this process' CPU time, the best of three; one thread, so that it is wall time when alone."""
    times = []
    for _ in range(3):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return clips / min(times)


if __name__ == "__main__":
    main()
