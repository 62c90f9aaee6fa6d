"""How well the mesh backend recovers what a synthetic clip was made of.

Run: ``uv run python -m tests.benchmarks.mesh_accuracy [--out DIR] [--clips N] [--frames N] [--seed N]``

Synthetic CASME II clips go through face detection, alignment and the estimators, as in ``mer preprocess``. The
generator's muscles are not the estimator's basis; see ``pipeline.synthesis.anatomy``. Printed: r and mean absolute
error of each action unit at the apex, for the backend and for the plain ridge solve that it started from; error of
the depth in the face against the mean face alone; error of the spotted apex against the middle of the clip; error of
the detector's five points, and how far a subject's crops spread: the root mean square distance of the true vertices
from where they lie in the mean of the subject's crops, all at onset. What the true points give is printed beside.
``crosstalk.png`` shows which unit answers for which.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import similarity, warp
from pipeline.clip.frames import Frames
from pipeline.clip.mesh.estimators import MeshActionUnits, MeshDepth
from pipeline.clip.mesh.facial_motion import largest_motion
from pipeline.clip.mesh.geometry import AU_NAMES, FaceMesh, face_mesh
from pipeline.clip.mesh.raster import MeshRaster
from pipeline.clip.mtcnn import Mtcnn
from pipeline.synthesis.generator import synthesise
from schemas.clip import ImageSequence
from tests.benchmarks.table import Beside, Goal, Row

mpl.use("Agg")

import matplotlib.pyplot as plt

SIZE = 224
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """One clip: what is true at its apex, and what was estimated."""

    truth: Array  # (20,)
    estimate: Array  # (20,)
    baseline: Array  # (20,)
    depth: tuple[float, float]  # MAE px, r
    mean_face: tuple[float, float]
    apex: float  # |spotted - true|, share of the clip
    middle: float
    subject: int
    points: Array  # (5,) distances of the detector's points from the true ones, px of the crop
    crop: Array  # (478, 2) true vertices at onset in the crop
    best_crop: Array  # as cut by the true points


def main() -> None:
    """Generate, estimate, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("mesh_accuracy"), help="folder of crosstalk.png")
    parser.add_argument("--clips", type=int, default=8, help="clips of each of the 11 subjects")
    parser.add_argument("--frames", type=int, default=16, help="frames from onset to offset")
    parser.add_argument("--seed", type=int, default=2024)
    options = parser.parse_args()
    results = made(subjects=11, clips=options.clips, frames=options.frames, seed=options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    report(results)
    draw_crosstalk(results, options.out / "crosstalk.png")
    print(f"\ncrosstalk: {options.out / 'crosstalk.png'}")


def rows(*, short: bool) -> Iterator[Row]:
    """How right action units are, and how still a subject's crops; the figure is drawn and thrown away."""
    results = made(subjects=2 if short else 11, clips=2 if short else 4, frames=8, seed=2024)
    with tempfile.TemporaryDirectory() as folder:
        draw_crosstalk(results, Path(folder) / "crosstalk.png")
    truth, ours, ridge = (
        np.stack([getattr(one, name) for one in results]) for name in ("truth", "estimate", "baseline")
    )
    error, other = (float(np.abs(estimate - truth).mean()) for estimate in (ours, ridge))
    yield Row(
        what="`mesh` action units, mean absolute error", unit="of [0, 1]", ours=error, peer=Beside(other, "ridge fit"),
        goal=Goal("≤", 1, "peer"), why="the generator's muscles are not the estimator's basis",
    )  # fmt: skip
    yield Row(
        what="crops of a subject of 224 px, spread of the true vertices", unit="px", ours=spread(results, "crop"),
        limit=Beside(spread(results, "best_crop"), "cut by the true points"),
    )  # fmt: skip


def made(*, subjects: int, clips: int, frames: int, seed: int) -> list[Result]:
    """Synthesise and estimate."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "casme2"
        synthesise("casme2", out, subjects=subjects, clips=clips, frames=frames, seed=seed)
        return evaluate(out)


def evaluate(root: Path) -> list[Result]:
    """Every clip of a synthetic CASME II with a face that the detector finds."""
    truth_folder = root.with_name(f"{root.name}-truth")
    truth = json.loads((truth_folder / "truth.json").read_text(encoding="utf-8"))
    detector, units, depth, rest = Mtcnn(), MeshActionUnits(SIZE), MeshDepth(SIZE), MeshRaster(SIZE).rest
    results = []
    for key, record in truth["clips"].items():
        frames = clip_frames(root, key)
        face = detector.detect(frames[0])
        if face is None:
            print(f"{key}: no face found, left out")
            continue
        transform = face.transform(SIZE)
        texture = np.stack([warp(frame, transform, SIZE) for frame in frames])
        clip = AlignedClip(texture, transform, face.box, 0, frames)
        apex, onset, last = record["apex"] - record["onset"], record["onset"], len(frames) - 1
        with np.load(truth_folder / record["file"]) as arrays:
            au = np.clip(arrays["au"][record["apex"]].mean(1) - arrays["au"][onset].mean(1), 0, None)
            true_depth = aligned_depth(arrays["depth"].astype(np.float32), transform)
            vertices = arrays["vertices"][onset]
        true_points = five_points(vertices)
        best = similarity(true_points, face_mesh(SIZE).five_points)
        apex_depth = np.concatenate(list(depth.estimate(clip)))[apex]
        results.append(
            Result(
                truth=au.astype(np.float64),
                estimate=units.estimate(clip, [apex])[0].astype(np.float64),
                baseline=ridge_action_units(texture[0], texture[apex]),
                depth=depth_error(apex_depth, true_depth),
                mean_face=depth_error(rest, true_depth),
                apex=abs(largest_motion(texture, 0) - apex) / last,
                middle=abs(last // 2 - apex) / last,
                subject=record["subject"],
                points=np.linalg.norm(placed(face.points, transform) - placed(true_points, transform), axis=1),
                crop=placed(vertices[:, :2], transform),
                best_crop=placed(vertices[:, :2], best),
            )
        )
    return results


def clip_frames(root: Path, key: str) -> Frames:
    """The frames of a clip, onset first: CASME II's selected clips begin there."""
    _, subject, clip = key.split("/")
    (folder,) = (path for path in root.rglob(f"{subject}/{clip}") if path.is_dir())
    files = sorted(folder.iterdir(), key=lambda path: int(path.stem.removeprefix("img")))
    return Frames(
        root,
        ImageSequence(
            folder=folder.relative_to(root).as_posix(),
            names=tuple(path.name for path in files),
            numbers=tuple(int(path.stem.removeprefix("img")) for path in files),
        ),
    )


def five_points(vertices: NDArray[np.float32]) -> Array:
    """The points that a detector finds, of true vertices."""
    mesh = FaceMesh(SIZE, vertices, *(np.empty(0, np.float32),) * 2, np.empty(0, np.int32), {})
    return mesh.five_points.astype(np.float64)


def placed(points: NDArray[np.floating], transform: Array) -> Array:
    """Where points of the frame lie in the crop."""
    return np.asarray(points @ transform[:, :2].T + transform[:, 2])


def spread(results: list[Result], crop: str) -> float:
    """Root mean square distance of a subject's vertices from their mean over the subject's crops, px."""
    squares = []
    for subject in {result.subject for result in results}:
        crops = np.stack([getattr(result, crop) for result in results if result.subject == subject])
        squares.append(((crops - crops.mean(0)) ** 2).sum(2).mean())
    return float(np.sqrt(np.mean(squares)))


def aligned_depth(depth: NDArray[np.float32], transform: Array) -> NDArray[np.float32]:
    """True depth of the frame in the crop, in crop px; NaN beside the face."""
    scale = np.sqrt(np.linalg.det(transform[:, :2]))
    crop = cv2.warpAffine(depth, transform, (SIZE, SIZE), flags=cv2.INTER_NEAREST, borderValue=float("nan"))
    return np.asarray(crop * scale, np.float32)


def depth_error(estimate: NDArray[np.float32], truth: NDArray[np.float32]) -> tuple[float, float]:
    """Mean absolute error (px) and r inside the face, 3 px from the silhouettes of both.

    The zero is the estimator's own, so the best constant offset is taken off first.
    """
    raster = MeshRaster(SIZE)
    both = np.isfinite(truth) & (raster.rest > raster.far)
    inside = cv2.erode(both.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    difference = estimate[inside] - truth[inside]
    error = np.abs(difference - np.median(difference)).mean()
    return float(error), correlation(estimate[inside], truth[inside])


def ridge_action_units(onset: NDArray[np.uint8], apex: NDArray[np.uint8]) -> Array:
    """The baseline: non-negative ridge regression of the flow on the raw mesh model and head motion."""
    mesh = face_mesh(SIZE)
    xy = mesh.vertices[:, :2]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in (onset, apex)]
    flow = cv2.GaussianBlur(dis.calc(*grey, None), (0, 0), 3)  # type: ignore[call-overload]
    moves = cv2.remap(
        flow, np.ascontiguousarray(xy[None, :, 0]), np.ascontiguousarray(xy[None, :, 1]), cv2.INTER_LINEAR
    )
    x, y = (xy - SIZE / 2).T / SIZE
    one, none = np.ones_like(x), np.zeros_like(x)
    similarity = np.array([(one, none), (none, one), (-y, x), (x, y)]).transpose(2, 1, 0)
    head = np.concatenate([similarity, 30 * mesh.pose_moves[:, :, :2].transpose(1, 2, 0)], 2).reshape(-1, 7)
    units = mesh.au_moves[:, :, :2].transpose(1, 2, 0).reshape(-1, 20)
    penalty = np.hstack([0.1 * np.sqrt(len(units)) * np.eye(20), np.zeros((20, 14))])
    solution, _ = nnls(
        np.vstack([np.hstack([units, head, -head]), penalty]), np.concatenate([moves[0].ravel(), np.zeros(20)])
    )
    return np.asarray(solution[:20], np.float64)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's r; 0 where an estimate never fires."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def report(results: list[Result]) -> None:
    """Print the tables."""
    truth, now, before = (
        np.stack([getattr(result, name) for result in results]) for name in ("truth", "estimate", "baseline")
    )
    print(f"{len(results)} clips\n\n{'':6}{'clips':>6}{'r':>8}{'MAE':>8}{'r ridge':>10}{'MAE ridge':>11}")
    shown = (truth > 0.05).sum(0)
    correlations = []
    for i, name in enumerate(AU_NAMES):
        r = [correlation(estimate[:, i], truth[:, i]) for estimate in (now, before)]
        mae = [np.abs(estimate[:, i] - truth[:, i]).mean() for estimate in (now, before)]
        if shown[i] < 3:
            print(f"{name:6}{shown[i]:6}{'-':>8}{mae[0]:8.3f}{'-':>10}{mae[1]:11.3f}")
            continue
        correlations.append(r)
        print(f"{name:6}{shown[i]:6}{r[0]:8.2f}{mae[0]:8.3f}{r[1]:10.2f}{mae[1]:11.3f}")
    mean = np.mean(correlations, 0)
    errors = [np.abs(estimate - truth).mean() for estimate in (now, before)]
    print(f"{'mean':12}{mean[0]:8.2f}{errors[0]:8.3f}{mean[1]:10.2f}{errors[1]:11.3f}")
    for label, estimate in (("mesh", now), ("ridge", before)):
        absent, face = truth < 0.01, slice(0, 19)  # the blink is not part of the ranking
        best = estimate[:, face].argmax(1)
        right = (np.take_along_axis(truth[:, face], best[:, None], 1)[:, 0] > 0.05).mean()
        first = (best == truth[:, face].argmax(1)).mean()
        gain = (estimate * truth).sum() / (truth**2).sum()
        print(
            f"{label:6} strongest unit is the true strongest {first:.0%}, is one that is there {right:.0%}; "
            f"mean of absent units {estimate[absent].mean():.4f}; gain {gain:.2f}"
        )
    for label, name in (("mesh", "depth"), ("mean face", "mean_face")):
        mae, r = np.mean([getattr(result, name) for result in results], 0)
        print(f"depth, {label:9}: MAE {mae:.2f} px of {SIZE}, r {r:.3f}")
    points = np.concatenate([result.points for result in results])
    print(f"five points: rms error {np.sqrt((points**2).mean()):.2f} px of {SIZE}")
    ours, best = (spread(results, crop) for crop in ("crop", "best_crop"))
    print(f"crops of a subject: spread {ours:.2f} px, cut by the true points {best:.2f} px")
    spotted, middle = ([getattr(result, name) for result in results] for name in ("apex", "middle"))
    print(f"apex: mean error {np.mean(spotted):.3f} of the clip (median {np.median(spotted):.3f}); "
          f"taking the middle {np.mean(middle):.3f} (median {np.median(middle):.3f})")  # fmt: skip


def draw_crosstalk(results: list[Result], path: Path) -> None:
    """Response of every estimated unit to one unit of each true one (regression), the mean diagonal being 1."""
    truth = np.stack([result.truth for result in results])
    rows = np.flatnonzero((truth > 0.05).sum(0) >= 3)
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.6), layout="constrained", sharey=True)
    image = None
    for axis, (title, name) in zip(axes, (("ridge (baseline)", "baseline"), ("mesh backend", "estimate")), strict=True):
        estimate = np.stack([getattr(result, name) for result in results])
        present = truth[:, rows]  # lightly regularised: AU05 and AU26 hardly ever come without AU01 and AU02
        response = np.linalg.solve(present.T @ present + 0.1 * np.eye(len(rows)), present.T @ estimate)
        response /= max(float(np.mean(response[np.arange(len(rows)), rows])), 1e-9)
        image = axis.imshow(response, cmap="RdBu_r", vmin=-1.5, vmax=1.5)
        axis.set_xticks(range(20), [unit[2:] for unit in AU_NAMES], fontsize=8)
        axis.set_yticks(range(len(rows)), [AU_NAMES[row][2:] for row in rows], fontsize=8)
        axis.scatter(rows, range(len(rows)), marker="s", s=90, facecolors="none", edgecolors="black", linewidths=0.8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("estimated action unit", fontsize=9)
    axes[0].set_ylabel("true action unit", fontsize=9)
    assert image is not None
    bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01)
    bar.set_label("response, mean of the diagonal = 1", fontsize=9)
    figure.savefig(path, dpi=160)
    plt.close(figure)


if __name__ == "__main__":
    main()
