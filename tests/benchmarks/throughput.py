"""Frames/s of each stage, of the whole, and of a plain per-frame loop, in one run on the same clips and weights.

    uv run python -m tests.benchmarks.throughput [--clips N] [--depth-size PX] [--device cpu|cuda]

The neural backends run at full size with random weights (speed does not depend on them). Every stage runs alone on
one thread, then whole runs use as many worker processes as there are cores. The plain loop is what one would write
first: for every frame MTCNN, `transformers.pipeline` on the face, and py-feat's network.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

_REPEATS = {"mesh": 16, "depth-anything-v2-small": 2}  # of all clips, for whole runs long enough to time


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2, help="clips of each of two people")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--depth-size", type=int, default=518)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """Make clips and weights, time everything."""
    from pipeline.datasets import scan_dataset
    from pipeline.synthesis.generator import synthesise
    from tests.pipeline.clip.checkpoints import write_random_depth_anything, write_random_py_feat

    os.environ["MER_MODELS"] = str(folder / "models")
    write_random_depth_anything(folder / "models", "small")
    write_random_py_feat(folder / "models")
    synthesise("casme2", folder / "casme2", subjects=2, clips=options.clips, frames=options.frames, seed=0)
    root, scan = scan_dataset(folder / "casme2")
    for depth, au in (("mesh", "mesh"), ("depth-anything-v2-small", "py-feat")):
        repeats = _REPEATS[depth]
        table = Table("what", "frames/s", "of the slowest stage", "of all stages", title=f"--depth {depth} --au {au}")
        stages = time_stages(folder, root, scan, depth=depth, au=au, options=options)
        # A core that works on one stage works on no other: on a CPU the whole can be no faster than their sum.
        slowest, all_stages = min(stages.values()), 1 / sum(1 / rate for rate in stages.values())
        for name, rate in stages.items():
            table.add_row(f"{name}, one core", f"{rate:.1f}")
        for workers in (0, os.cpu_count() or 1):
            rate = time_whole(folder, root, scan, depth=depth, au=au, workers=workers, options=options, repeats=repeats)
            cores = max(workers, 1)
            name = "whole, in process" if workers == 0 else f"whole, {workers} workers"
            table.add_row(name, f"{rate:.1f}", f"{rate / slowest / cores:.2f}", f"{rate / all_stages / cores:.2f}")
        if depth != "mesh":
            plain = time_plain_loop(folder, root, scan, options=options)
            table.add_row("plain per-frame loop", f"{plain:.2f}")
            table.add_row("whole against plain loop", f"{rate / plain:.1f} x")
        Console().print(table)


def rate_of(action: Callable[[], object], frames: int) -> float:
    """Frames/s of the better of two runs."""
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started)
    return frames / best


def time_stages(folder, root, scan, *, depth, au, options):  # type: ignore[no-untyped-def]
    """Frames/s of every stage alone, on one thread."""
    from pipeline.clip.aligned_clip import AlignedClip
    from pipeline.clip.compute import align, normalised_depth, phase_positions, residual_motion
    from pipeline.clip.faces import locate_face
    from pipeline.clip.frames import Frames
    from pipeline.preprocessing.store_arrays import write_clip
    from schemas.store.format import create_arrays

    plan, processor = _prepare(folder / "stages.zarr", root, scan, depth=depth, au=au, options=options)
    create_arrays(plan.out, plan.dimensions)
    clips = [(clip, *phase_positions(clip)) for clip in plan.clips]
    count = sum(len(clip.source.numbers) for clip in plan.clips)

    def each(action: Callable[[int], object]) -> float:
        return rate_of(lambda: [action(i) for i in range(len(clips))], count)

    def decode(i: int) -> Frames:
        frames = Frames(root, clips[i][0].source)
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
    return {
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


def time_whole(folder, root, scan, *, depth, au, workers, options, repeats):  # type: ignore[no-untyped-def]
    """Frames/s from the first clip begun to the last committed, the loading of models left out."""
    from pipeline.preprocessing import clip_tasks, cluster
    from pipeline.preprocessing.backends import build_processor
    from schemas.config import Execution
    from schemas.store.format import create_arrays

    plan, processor = _prepare(folder / "whole.zarr", root, scan, depth=depth, au=au, options=options)
    create_arrays(plan.out, plan.dimensions)
    tasks = list(enumerate(plan.clips)) * repeats
    count = repeats * sum(len(clip.source.numbers) for clip in plan.clips)
    if workers == 0:
        started = time.perf_counter()
        _drain(processor.process(index, clip) for index, clip in tasks)
        return count / (time.perf_counter() - started)
    from functools import partial

    execution = Execution(workers=workers, device=options.device)
    build = partial(build_processor, plan.backends, plan.root, plan.out)
    with (
        cluster.connect(execution, device=options.device, clips=len(tasks)) as client,
        clip_tasks.on_cluster(build, client, device=options.device) as run_tasks,
    ):
        _drain(run_tasks(tasks[:workers]))  # every worker warm
        started = time.perf_counter()
        _drain(run_tasks(tasks))
        return count / (time.perf_counter() - started)


def time_plain_loop(folder, root, scan, *, options):  # type: ignore[no-untyped-def]
    """Frames/s of the loop that one writes first; PyTorch may use every core."""
    import torch
    from facenet_pytorch import MTCNN
    from feat.multitask.inference import MultitaskModel
    from feat.utils.image_operations import extract_face_square_pad_torch
    from PIL import Image
    from transformers import pipeline

    from pipeline.clip.frames import Frames

    models = folder / "models"
    torch.set_num_threads(os.cpu_count() or 1)
    depth = pipeline("depth-estimation", model=str(models / "depth-anything-v2-small"), device=options.device)
    mtcnn = MTCNN(post_process=False, device=options.device)
    py_feat = MultitaskModel(device=options.device, weights_path=next((models / "py-feat").glob("*.safetensors")))
    clips = [clip for clip in scan.clips if clip.usable][:2]
    count, started = 0, time.perf_counter()
    for clip in clips:
        for frame in Frames(root, clip.source):
            boxes, _ = mtcnn.detect(frame)
            depth(Image.fromarray(frame).crop(tuple(boxes[0])))
            tensor = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
            chips, _ = extract_face_square_pad_torch(tensor, torch.tensor(boxes[:1].astype("float32")))
            py_feat(chips)
            count += 1
    rate = count / (time.perf_counter() - started)
    torch.set_num_threads(1)
    return rate


def _prepare(out, root, scan, *, depth, au, options):  # type: ignore[no-untyped-def]
    from pipeline.preprocessing.backends import build_processor
    from pipeline.preprocessing.plan import plan_run
    from schemas.config import Execution, PreprocessConfig

    shutil.rmtree(out, ignore_errors=True)
    config = PreprocessConfig(dataset=scan.dataset, depth=depth, au=au, depth_size=options.depth_size)
    plan = plan_run(root, out, scan, config, Execution(workers=0, device=options.device))
    return plan, build_processor(plan.backends, plan.root, plan.out)


def _drain(records: Iterable[object]) -> None:
    for record in records:
        assert record.entry.status == "ok", record  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
