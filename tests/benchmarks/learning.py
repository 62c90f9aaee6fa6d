"""What MADV-Net learns from which input, beside regressions solved to convergence: UF1 over seeds and subjects.

uv run python -m tests.benchmarks.learning [--store casme2.zarr] [--seeds 3] [--epochs 20] [--rows texture-flow]

Without a store it makes one: 220 synthetic clips of 11 people (`mer synth`, seed 4). Those of CASME II have the depth
of ``mesh``, which is computed from a fit of action units and carries them; those of ``--dataset casme3`` have depth as
a depth camera measures it, which knows of no action unit. Run folders stay in ``--out``, so that the same command goes
on where it was stopped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from training.evaluation.result import EvaluationResult

TEXTURE = ("--set", "model_options.depth=false", "--set", "model_options.au=false")
DEPTH = ("--set", "model_options.texture=false", "--set", "model_options.au=false")
RAW = ("--motion", "none", "--set", "depth_motion=none")
CODED = ("--motion", "flow", "--set", "model_options.weight_coded=1")  # annotated units as a target
ROWS: dict[str, tuple[str, ...]] = {
    "texture-raw": (*TEXTURE, *RAW),
    "texture-onset": (*TEXTURE, "--motion", "onset"),
    "texture-adjacent": (*TEXTURE, "--motion", "adjacent"),
    "texture-flow": (*TEXTURE, "--motion", "flow"),
    "depth-adjacent": DEPTH,
    "texture-depth": ("--motion", "flow", "--set", "model_options.au=false"),
    "texture-au": ("--motion", "flow", "--set", "model_options.depth=false"),
    "depth-au": ("--set", "model_options.texture=false"),
    "everything-raw": RAW,
    "everything": (),
    "everything-flow": ("--motion", "flow"),
    "texture-coded": (*TEXTURE, *CODED),
    "everything-coded": CODED,
    "au-logistic": ("--model", "au-logistic"),
    "flow-logistic": ("--model", "flow-logistic"),
    "au-encoder": ("--model", "au-encoder"),
}


DEPTH_OF = {"casme2": "mesh", "casme3": "measured"}


def main() -> None:
    """Print the table, a row as soon as its runs are done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--dataset", choices=DEPTH_OF, default="casme2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--protocol", default="kfold-3")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--workers", default="0")
    parser.add_argument("--out", type=Path, default=Path("learning"))
    arguments = parser.parse_args()
    store = arguments.store or synthetic_store(arguments.out, arguments.dataset)
    table = Table("input", "UF1, mean ± sd over seeds", "95 % over subjects", "UF1 of each seed")
    for row in arguments.rows.split(","):
        folder = arguments.out / row
        mer(
            "train", "--store", store, "--out", folder, "--recipe", arguments.recipe, "--protocol", arguments.protocol,
            "--seeds", arguments.seeds, "--epochs", arguments.epochs, "--workers", arguments.workers, "--partial",
            *ROWS[row],
        )  # fmt: skip
        group = EvaluationResult.model_validate_json((folder / "result.json").read_bytes()).headline
        uf1 = group.metrics["uf1"]
        seeds = ", ".join(f"{scores.uf1:.3f}" for scores in group.seeds.values())
        table.add_row(row, uf1.mean_sd(), uf1.low_high(), seeds)
        Console().print(table)


def synthetic_store(out: Path, dataset: str = "casme2") -> Path:
    """220 clips of 11 people in the dataset's seven classes, as a store of 112 px."""
    store, raw = out / f"{dataset}.zarr", out / f"raw-{dataset}"
    if not store.exists():
        if not raw.exists():
            mer("synth", dataset, raw, "--subjects", 11, "--clips", 20, "--frames", 16, "--seed", 4)
        mer("preprocess", raw, "--out", store, "--depth", DEPTH_OF[dataset], "--au", "mesh", "--size", 112)
    return store


def mer(*arguments: object) -> None:
    """Run a command of mer, its output beside ours."""
    subprocess.run([sys.executable, "-m", "cli", *map(str, arguments)], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
