"""Preprocessing with the ``mesh`` backends: frames per CPU-second of this checkout against an earlier revision.

Both process the same synthetic clips in turn, each in a process of its own on one thread, models loaded before the
clock starts; the best of the rounds counts. CPU-seconds, so that other work on the machine does not; the time in which
a disk flushes is therefore not in it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.table import Beside, Goal, LeftOut, Row

HERE = Path(__file__).resolve().parents[2]
BEFORE = "ee3c15381d"  # before the face was found on a small frame and followed by the fast flow for depth
WHAT, GOAL = "`mesh` preprocessing, crops of 224 px, one thread", Goal("≥", 1.9, "peer")


# In the checkout's own process: every clip, the first one once more before the clock starts.
PROGRAM = """
import sys, tempfile, time
from pathlib import Path
from pipeline.datasets import scan_dataset
from pipeline.preprocessing.backends import build_processor
from pipeline.preprocessing.plan import plan_run
from schemas.config import Execution, PreprocessConfig
from schemas.store.format import create_arrays

root, scan = scan_dataset(Path(sys.argv[1]) / "casme2")
config = PreprocessConfig(dataset=scan.dataset, depth="mesh", au="mesh")
with tempfile.TemporaryDirectory(dir=sys.argv[1]) as out:
    plan = plan_run(root, Path(out) / "s.zarr", scan, config, Execution(workers=0, device="cpu"))
    create_arrays(plan.out, plan.dimensions)
    processor = build_processor(plan.backends, plan.root, plan.out)
    processor.process(0, plan.clips[0])
    started = time.process_time()
    records = [processor.process(index, clip) for index, clip in enumerate(plan.clips)]
    seconds = time.process_time() - started
assert all(record.entry.status == "ok" for record in records)
print(sum(record.entry.n_frames for record in records) / seconds)
"""


def rows(*, short: bool) -> Iterator[Row | LeftOut]:
    """Now against before; short, against ourselves."""
    from tests.benchmarks.throughput import Clips, time_stages

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = HERE if short else unpacked(folder / "before")
        if before is None:
            yield LeftOut(WHAT, f"a clone that has {BEFORE}", "git fetch --unshallow", "≥ 1.9 of the peer")
            return
        clips = Clips(folder, subjects=1 if short else 2, clips=1 if short else 2, frames=8 if short else 24)
        turns = [[timed(checkout, folder) for checkout in (HERE, before)] for _ in range(1 if short else 3)]
        ours, other = (max(column) for column in zip(*turns, strict=True))
        stages = "" if short else time_stages(clips, "mesh", "mesh").profile
    why = f"{stages}. Depth follows the face by optical flow in every frame; of the rest no stage stands out"
    yield Row(what=WHAT, unit="frames/CPU-s", ours=ours, peer=Beside(other, f"revision {BEFORE}"), goal=GOAL, why=why)


def unpacked(out: Path) -> Path | None:
    """The revision's files, unless this clone lacks it."""
    archive = subprocess.run(["git", "-C", HERE, "archive", BEFORE], capture_output=True)
    if archive.returncode:
        return None
    out.mkdir()
    subprocess.run(["tar", "-x", "-C", out], input=archive.stdout, check=True)
    return out


def timed(checkout: Path, folder: Path) -> float:
    """Frames per CPU-second of a checkout."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], check=True, cwd=checkout, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(checkout)},
    )  # fmt: skip
    return float(result.stdout.splitlines()[-1])
