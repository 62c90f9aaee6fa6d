"""Preprocessing with the ``mesh`` backends: frames per CPU-second of this checkout against another, in one run.

    git worktree add --detach /tmp/before REVISION
    uv run python -m tests.benchmarks.preprocessing --against /tmp/before [--dataset casme2] [--size 224]

Both process the same synthetic clips in turn, each in a process of its own on one thread, models loaded before the
clock starts; the best of the rounds counts. CPU-seconds, so that other work on the machine does not; the time in which
a disk flushes is therefore not in it, and wall time is printed beside.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Print frames/s of each checkout and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="checkout of another revision")
    parser.add_argument("--dataset", default="casme2", help="synthetic dataset: casme2, samm, casme-sq or smic")
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--clips", type=int, default=3, help="clips of each subject")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        synthesise(Path(folder) / "raw", options)
        checkouts = {"before": options.against.resolve(), "now": HERE}
        best = dict.fromkeys(checkouts, (0.0, 0.0))
        for _ in range(options.rounds):
            for name, checkout in checkouts.items():
                cpu, wall = timed(checkout, Path(folder), options.size)
                best[name] = max(best[name][0], cpu), max(best[name][1], wall)
    for name, (cpu, wall) in best.items():
        print(f"{name}, {checkouts[name]}: {cpu:.1f} frames per CPU-second, {wall:.1f} per second")
    print(f"ratio {best['now'][0] / best['before'][0]:.2f}")


def synthesise(out: Path, options: argparse.Namespace) -> None:
    """The clips that both process."""
    from pipeline.synthesis.generator import synthesise as make

    make(options.dataset, out, subjects=options.subjects, clips=options.clips, frames=options.frames, seed=0)


def timed(checkout: Path, folder: Path, size: int) -> tuple[float, float]:
    """Frames per CPU-second and per second of wall time of a checkout."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    result = subprocess.run(
        [sys.executable, __file__, str(folder), str(size)],
        check=True, cwd=checkout, env={**os.environ, **threads, "PYTHONPATH": str(checkout)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    frames, cpu, wall = json.loads(result.stdout.splitlines()[-1])
    return frames / cpu, frames / wall


def process_all(folder: Path, size: int) -> None:
    """In the checkout's own process: every clip, the first one once more before the clock starts."""
    from pipeline.datasets import scan_dataset
    from pipeline.preprocessing.backends import build_processor
    from pipeline.preprocessing.plan import plan_run
    from schemas.config import Execution, PreprocessConfig
    from schemas.store.format import create_arrays

    root, scan = scan_dataset(folder / "raw")
    config = PreprocessConfig(dataset=scan.dataset, depth="mesh", au="mesh", size=size)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        plan = plan_run(root, Path(out) / "s.zarr", scan, config, Execution(workers=0, device="cpu"))
        create_arrays(plan.out, plan.dimensions)
        processor = build_processor(plan.backends, plan.root, plan.out)
        processor.process(0, plan.clips[0])
        cpu, wall = time.process_time(), time.perf_counter()
        records = [processor.process(index, clip) for index, clip in enumerate(plan.clips)]
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert all(record.entry.status == "ok" for record in records)
    print(json.dumps([sum(record.entry.n_frames for record in records), cpu, wall]))


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):
        process_all(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
