"""Depth Anything Small on one core of a CPU by each runtime and input size, beside what people write themselves.

That is `transformers.pipeline` on one crop of 518 px after the other; ours goes from the same crop, cut at its input
size, to a map of 224 px. Random weights of the published size: speed does not depend on them, and neither does how far
runtimes are apart in units of the last digit. CPU seconds, all in turn; the best of the turns counts.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.clip.depth_anything import DepthAnything
from pipeline.clip.openvino_runtime import check_bf16
from pipeline.weights.locate import locate
from schemas.config import DepthRuntime
from schemas.errors import ConfigError
from tests.benchmarks.table import Beside, Goal, LeftOut, Row
from tests.pipeline.clip.checkpoints import write_random_depth_anything, write_small_depth_anything

NAME = "depth-anything-v2-small"
EXACT: tuple[DepthRuntime, ...] = ("torch", "openvino")


def rows(*, short: bool) -> Iterator[Row | LeftOut]:
    """Each runtime at 518 and 252 px; short, of a small model at 126 px."""
    from transformers import pipeline

    torch.set_num_threads(1)
    runtimes, sizes = EXACT, (126,) if short else (518, 252)
    try:
        check_bf16()
    except ConfigError:
        command = "python -m tests.benchmarks --only depth_runtime"
        yield LeftOut("depth by OpenVINO in bf16", "needs a CPU with bf16", command, "≥ 2 of the peer")
    else:
        runtimes = (*EXACT, "openvino-bf16")
    with tempfile.TemporaryDirectory() as folder:
        if short:
            write_small_depth_anything(Path(folder))
        else:
            write_random_depth_anything(Path(folder), "small")
        located = locate(NAME, Path(folder))
        noise = np.random.default_rng(0).integers(0, 256, (sizes[0], sizes[0], 3), np.uint8)
        loop, picture = pipeline("depth-estimation", model=str(located.folder), device="cpu"), Image.fromarray(noise)
        actions: dict[object, Callable[[], object]] = {"loop": lambda: loop(picture)}
        depth: dict[object, torch.Tensor] = {}
        for size in sizes:
            crop = torch.from_numpy(noise[None, :size, :size].copy())
            for runtime in runtimes:
                model = DepthAnything(located, size=224, input_size=size, runtime=runtime)
                actions[size, runtime] = lambda m=model, c=crop: m._forward(c)  # type: ignore[misc]
                depth[size, runtime] = model._forward(crop)
        best = fastest(actions, turns=1 if short else 4)
    for size in sizes:
        eager = depth[size, "torch"]
        for runtime in runtimes:
            error = (depth[size, runtime] - eager).square().mean().sqrt() / eager.std()
            of_eager = best[size, "torch"] / best[size, runtime]
            said = "" if runtime == "torch" else f": {of_eager:.2f} times PyTorch, off by {error:.0e} of its spread"
            yield Row(
                what=f"depth at {size} px, {runtime}{said}", unit="frames/CPU-s", ours=1 / best[size, runtime],
                peer=Beside(1 / best["loop"], f"transformers.pipeline at {sizes[0]} px"),
                goal=None if runtime == "torch" else Goal("≥", 2, "peer"),
                why="matrix products and convolutions in fp32 are the same work by any runtime",
            )  # fmt: skip


def fastest(actions: dict[object, Callable[[], object]], *, turns: int) -> dict[object, float]:
    """CPU seconds of each, the best of turns in which all have one."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(turns):
        for name, action in actions.items():
            started = time.process_time()
            action()
            best[name] = min(best[name], time.process_time() - started)
    return best
