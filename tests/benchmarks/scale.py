"""Peak memory of runs of 50 and 500 clips, and the time to open a manifest of 100,000 clips.

uv run python -m tests.benchmarks.scale
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from schemas.manifest import MANIFEST_NAME, Manifest

FRAMES = 12


def main() -> None:
    """Print the tables."""
    from pipeline.datasets import scan_dataset
    from pipeline.synthesis.generator import synthesise

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        synthesise("casme2", folder / "raw", subjects=1, clips=1, frames=FRAMES, seed=0)
        root, scan = scan_dataset(folder / "raw")
        table = Table(
            "clips", "peak of `mer` itself, MB", "peak of a worker, MB", "clips/s", title="2 workers, mesh, 112 px"
        )
        for count in (50, 500):
            manifest, peak, seconds = run(root, folder / f"{count}.zarr", scan, count)
            table.add_row(
                str(count), f"{peak['main'] / 1e6:.0f}", f"{peak['worker'] / 1e6:.0f}", f"{count / seconds:.1f}"
            )
        Console().print(table)
        times, size = open_many(folder, manifest)
        print(f"manifest of 100,000 clips, {size / 1e6:.0f} MB: opened in {min(times):.2f} to {max(times):.2f} s")


def run(root: Path, out: Path, scan: object, count: int) -> tuple[Manifest, dict[str, int], float]:
    """Process ``count`` copies of one clip; returns manifest, peak resident bytes, seconds."""
    from pipeline.preprocessing.plan import plan_run
    from pipeline.preprocessing.run import execute
    from schemas.clip import DatasetScan
    from schemas.config import Execution, PreprocessConfig

    assert isinstance(scan, DatasetScan)
    clip = scan.clips[0]
    clips = tuple(clip.model_copy(update={"name": f"clip{i:05d}"}) for i in range(count))
    execution = Execution(workers=2, device="cpu")
    config = PreprocessConfig(dataset=scan.dataset, depth="mesh", au="mesh", size=112)
    plan = plan_run(root, out, scan.model_copy(update={"clips": clips}), config, execution)
    started = time.perf_counter()
    with peak_memory() as peak:
        manifest = execute(plan, execution, Console(quiet=True))
    return manifest, peak, time.perf_counter() - started


@contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """Largest resident size of this process and of any child, sampled ten times a second."""
    peak, done, me = {"main": 0, "worker": 0}, threading.Event(), psutil.Process()

    def sample() -> None:
        while not done.wait(0.1):
            peak["main"] = max(peak["main"], me.memory_info().rss)
            for child in me.children(recursive=True):
                try:
                    peak["worker"] = max(peak["worker"], child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def open_many(folder: Path, manifest: Manifest) -> tuple[list[float], int]:
    """Seconds to read and validate a manifest of 100,000 clips, five times, and its bytes."""
    entries = tuple(
        manifest.clips[0].model_copy(update={"key": f"casme2/sub{i // 100:04d}/clip{i:06d}"}) for i in range(100_000)
    )
    store = folder / "many.zarr"
    store.mkdir()
    text = manifest.model_copy(update={"clips": entries}).sealed().model_dump_json(exclude_defaults=True)
    (store / MANIFEST_NAME).write_text(text)
    times = []
    for _ in range(5):  # each in a fresh process, as a user's is
        program = f"""
import time, pathlib
started = time.perf_counter()
assert len(read_manifest(pathlib.Path({str(store)!r})).clips) == 100_000
print(time.perf_counter() - started)
"""
        times.append(float(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout))
    return times, len(text)


if __name__ == "__main__":
    main()
