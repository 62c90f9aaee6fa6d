"""Frames/s of each stage of preprocessing, of the whole, and of a plain per-frame loop, on the same clips and weights.

The neural backends run at full size with random weights (speed does not depend on them). Every stage runs alone on
one thread, then whole runs use as many worker processes as there are cores. The plain loop is what one would write
first: for every frame MTCNN, `transformers.pipeline` on the face, and py-feat's network.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.compute import align, normalised_depth, phase_positions, residual_motion
from pipeline.clip.depth_anything import DepthAnything
from pipeline.clip.faces import locate_face
from pipeline.clip.frames import Frames
from pipeline.datasets import scan_dataset
from pipeline.preprocessing import clip_tasks, cluster
from pipeline.preprocessing.backends import build_processor
from pipeline.preprocessing.plan import Plan, plan_run
from pipeline.preprocessing.process import ClipProcessor
from pipeline.preprocessing.store_arrays import write_clip
from pipeline.synthesis.generator import synthesise
from schemas.config import Device, Execution, PreprocessConfig
from schemas.store.format import create_arrays
from tests.benchmarks.table import Beside, Goal, LeftOut, Row
from tests.pipeline.clip.checkpoints import write_random_depth_anything, write_random_py_feat

NETWORKS = ("depth-anything-v2-small", "py-feat")
ONE_CORE = "stages of one clip do not overlap, and one core gains nothing by it"


class Clips:
    """Synthetic CASME II clips, and a place for stores of them."""

    def __init__(self, folder: Path, *, subjects: int, clips: int, frames: int, depth_size: int = 518) -> None:
        self.folder, self.depth_size = folder, depth_size
        synthesise("casme2", folder / "casme2", subjects=subjects, clips=clips, frames=frames, seed=0)
        self.root, self.scan = scan_dataset(folder / "casme2")

    def plan(self, name: str, depth: str, au: str, device: Device = "cpu") -> tuple[Plan, ClipProcessor]:
        """A run with its models loaded."""
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        config = PreprocessConfig(dataset=self.scan.dataset, depth=depth, au=au, depth_size=self.depth_size)
        plan = plan_run(self.root, out, self.scan, config, Execution(workers=0, device=device))
        create_arrays(plan.out, plan.dimensions)
        return plan, build_processor(plan.backends, plan.root, plan.out)


@dataclass(frozen=True)
class Stages:
    """Frames/s of every stage alone, on one thread."""

    rates: dict[str, float]

    @property
    def slowest(self) -> float:
        """What a whole that overlaps all stages could reach."""
        return min(self.rates.values())

    @property
    def sum(self) -> float:
        """What one core can reach: one that works on a stage works on no other."""
        return 1 / sum(1 / rate for rate in self.rates.values())

    @property
    def profile(self) -> str:
        """Milliseconds a frame, largest first."""
        parts = sorted(self.rates.items(), key=lambda item: item[1])
        return "ms a frame: " + ", ".join(f"{name} {1e3 / rate:.1f}" for name, rate in parts)


def rows(*, short: bool) -> Iterator[Row | LeftOut]:
    """The light backends and the networks, whole runs beside their stages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MER_MODELS"] = str(folder / "models")
        write_random_depth_anything(folder / "models", "small")
        write_random_py_feat(folder / "models")
        size = 126 if short else 518
        clips = Clips(folder, subjects=2, clips=1, frames=8, depth_size=size)
        stages, repeats = time_stages(clips, "mesh", "mesh"), 1 if short else 8
        alone, both = (time_whole(clips, "mesh", "mesh", workers=workers, repeats=repeats) for workers in (0, 2))
        yield Row(
            what="`mesh` preprocessing, one process", unit="frames/s", ours=alone, goal=Goal("≥", 0.9, "limit"),
            limit=Beside(stages.sum, "all stages one after the other"), why=stages.profile,
        )  # fmt: skip
        yield Row(
            what="`mesh` preprocessing, 2 workers", unit="frames/s", ours=both, peer=Beside(alone, "one process"),
            goal=Goal("≥", 1.8, "peer"), why="two workers have as much of a core each as the machine has to give",
        )  # fmt: skip
        stages = time_stages(clips, *NETWORKS)
        whole = time_whole(clips, *NETWORKS, workers=0, repeats=1)
        name = f"Depth Anything Small at {size} px and py-feat, one process"
        yield Row(
            what=name, unit="frames/s", ours=whole, limit=Beside(stages.slowest, "the slowest stage"),
            goal=Goal("≥", 0.9, "limit"), why=f"{stages.profile}; {ONE_CORE}",
        )  # fmt: skip
        plain = time_plain_loop(clips)
        yield Row(
            what=name, unit="frames/s", ours=whole, peer=Beside(plain, "plain loop, one thread"),
            goal=Goal("≥", 2, "peer"), why=f"{stages.profile}. One network in both; the loop's crops are smaller",
        )  # fmt: skip
        if torch.cuda.is_available():
            yield from beside_forward(Clips(folder / "gpu", subjects=2, clips=8, frames=32), "cuda")
        else:
            command = "python -m tests.benchmarks --only throughput"
            yield LeftOut("Depth Anything Small and Base on a GPU", "needs a GPU", command, "≥ 0.8 of the limit")


def beside_forward(clips: Clips, device: Device) -> Iterator[Row]:
    """Whole runs on a GPU beside the forward pass alone, on pixels that are there already."""
    variants: tuple[Literal["small", "base"], ...] = ("small", "base")
    for variant in variants:
        write_random_depth_anything(Path(os.environ["MER_MODELS"]), variant)
        name = f"depth-anything-v2-{variant}"
        _, processor = clips.plan("gpu.zarr", name, "mesh", device)
        depth = processor.models.depth
        assert isinstance(depth, DepthAnything)
        pixels = torch.zeros((depth.batch, depth.input_size, depth.input_size, 3), dtype=torch.uint8, device=device)
        forward = rate_of(lambda d=depth, p=pixels: [d._forward(p).sum().item() for _ in range(8)], 8 * len(pixels))
        whole = time_whole(clips, name, "mesh", workers=0, repeats=1, device=device)
        yield Row(
            what=f"{name} and `mesh` action units, {device}, one process", unit="frames/s", ours=whole,
            limit=Beside(forward, "the forward pass alone"), goal=Goal("≥", 0.8, "limit"), why=ONE_CORE,
        )  # fmt: skip


def rate_of(action: Callable[[], object], frames: int) -> float:
    """Frames/s of the better of two runs."""
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return frames / best


def time_stages(on: Clips, depth: str, au: str) -> Stages:
    """Every stage alone."""
    plan, processor = on.plan("stages.zarr", depth, au)
    clips = [(clip, *phase_positions(clip)) for clip in plan.clips]
    count = sum(len(clip.source.numbers) for clip in plan.clips)

    def each(action: Callable[[int], object]) -> float:
        return rate_of(lambda: [action(i) for i in range(len(clips))], count)

    def decode(i: int) -> Frames:
        frames = Frames(on.root, clips[i][0].source)
        for _ in frames:
            pass
        return frames

    decoded = [decode(i) for i in range(len(clips))]
    detector = processor.models.detector
    faces = [locate_face(detector, f, onset=o, apex=a)[0] for f, (_, o, a) in zip(decoded, clips, strict=True)]
    aligned: list[AlignedClip] = [
        align(f, face, o, plan.provenance.config.size) for f, face, (_, o, _) in zip(decoded, faces, clips, strict=True)
    ]
    depths = [normalised_depth(processor.models.depth, clip)[0] for clip in aligned]
    return Stages(
        {
            "decode": each(decode),
            "find the face (once a clip)": each(
                lambda i: locate_face(detector, decoded[i], onset=clips[i][1], apex=clips[i][2])
            ),
            "align": each(lambda i: align(decoded[i], faces[i], clips[i][1], plan.provenance.config.size)),
            "depth": each(lambda i: normalised_depth(processor.models.depth, aligned[i])),
            "action units (onset, apex)": each(
                lambda i: processor.models.action_units.estimate(aligned[i], [clips[i][1], clips[i][2]])
            ),
            "quality": each(lambda i: residual_motion(aligned[i].texture, clips[i][1])),
            "write": each(lambda i: write_clip(plan.out, i, {"texture": aligned[i].texture, "depth": depths[i]})),
        }
    )


def time_whole(on: Clips, depth: str, au: str, *, workers: int, repeats: int, device: Device = "cpu") -> float:
    """Frames/s from the first clip begun to the last committed, the loading of models left out."""
    plan, processor = on.plan("whole.zarr", depth, au, device)
    tasks = list(enumerate(plan.clips)) * repeats
    count = repeats * sum(len(clip.source.numbers) for clip in plan.clips)
    if workers == 0:
        started = time.perf_counter()
        _drain(processor.process(index, clip) for index, clip in tasks)
        return count / (time.perf_counter() - started)
    build = partial(build_processor, plan.backends, plan.root, plan.out)
    with (
        cluster.connect(Execution(workers=workers, device=device), device=device, clips=len(tasks)) as client,
        clip_tasks.on_cluster(build, client, device=device) as run_tasks,
    ):
        _drain(run_tasks(tasks[:workers]))  # every worker warm
        started = time.perf_counter()
        _drain(run_tasks(tasks))
        return count / (time.perf_counter() - started)


def time_plain_loop(on: Clips) -> float:
    """Frames/s of the loop that one writes first."""
    from facenet_pytorch import MTCNN
    from feat.multitask.inference import MultitaskModel
    from feat.utils.image_operations import extract_face_square_pad_torch
    from PIL import Image
    from transformers import pipeline

    models = on.folder / "models"
    depth = pipeline("depth-estimation", model=str(models / "depth-anything-v2-small"), device="cpu")
    mtcnn = MTCNN(post_process=False, device="cpu")
    py_feat = MultitaskModel(device="cpu", weights_path=next((models / "py-feat").glob("*.safetensors")))
    count, started = 0, time.perf_counter()
    for clip in [clip for clip in on.scan.clips if clip.usable][:1]:
        for frame in Frames(on.root, clip.source):
            boxes, _ = mtcnn.detect(frame)
            depth(Image.fromarray(frame).crop(tuple(boxes[0])))
            tensor = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
            chips, _ = extract_face_square_pad_torch(tensor, torch.tensor(boxes[:1].astype("float32")))
            py_feat(chips)
            count += 1
    return count / (time.perf_counter() - started)


def _drain(records: Iterable[object]) -> None:
    for record in records:
        assert record.entry.status == "ok", record  # type: ignore[attr-defined]
