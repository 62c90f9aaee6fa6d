"""Every benchmark, and the table "ours, peer, limit, ratio" of them all.

    uv run python -m tests.benchmarks [--into docs/measured.md] [--only codec_limit,scale]
    uv run python -m tests.benchmarks --short

Every ratio is of one run on one thread, the parts of it in turn where that can be done. ``--short`` runs all of it at
the smallest size, so that it does not rot; its figures mean nothing.
"""

import argparse
import os
import platform
import sys
import time
from importlib import import_module
from pathlib import Path

from tests.benchmarks.table import END, HEAD, START, filled, lines_of

BENCHMARKS = (
    "preprocessing", "depth_runtime", "throughput", "mesh_accuracy", "video_reading", "codecs", "codec_limit", "models",
    "train_loop", "folds", "spotting", "sharing", "scale",
)  # fmt: skip
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Measure, print, and write the table into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="names with commas between them")
    parser.add_argument("--short", action="store_true", help="the smallest size; figures mean nothing")
    parser.add_argument("--into", type=Path, help="page whose table is made again, a benchmark at a time")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"--only {','.join(unknown)}: expected some of {', '.join(BENCHMARKS)}")
    if options.short and options.into:
        parser.error("--into with --short: its figures mean nothing; leave one of them out")
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # before anything that reads it is imported
    here = machine()
    print(f"{here}; load {os.getloadavg()[0]:.1f}\n\n{HEAD}", flush=True)
    if options.into and set(names) == set(BENCHMARKS):
        page = options.into.read_text()
        options.into.write_text(page[: page.index(START) + len(START)] + "\n" + page[page.index(END) :])
    for name in names:
        started = time.perf_counter()
        lines = lines_of(name, list(import_module(f"tests.benchmarks.{name}").rows(short=options.short)))
        print(*lines, sep="\n", flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        if options.into:
            options.into.write_text(filled(options.into.read_text(), here, {name: lines}, BENCHMARKS))


def machine() -> str:
    """What all of it is measured on."""
    import torch

    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(": ")[1] for line in facts.splitlines() if line.startswith("model name")), "")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}"
    return f"{model or platform.machine()}, {os.cpu_count()} logical cores, {gpu}; {versions}"


if __name__ == "__main__":
    main()
