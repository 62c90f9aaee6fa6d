"""The way of one clip from frames to arrays: decode, align, depth, action units. Nothing is written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import ActionUnitEstimator, AlignedClip, DepthEstimator
from pipeline.clip.alignment import warp
from pipeline.clip.backends import ACTION_UNITS, DEPTH
from pipeline.clip.faces import Face, FaceDetector, Phase, locate_face
from pipeline.clip.frames import Frames, digest
from pipeline.clip.mesh.facial_motion import largest_motion
from schemas.clip import Clip, Finding
from schemas.config import ApexMethod, PreprocessConfig
from schemas.errors import ActionUnitError, ClipError, DepthError, FaceNotFoundError, FrameError, UnusableClipError
from schemas.manifest import Quality, Segment, Source

log = logging.getLogger("mer")

SAME_SCENE = 0.85  # correlation of neighbouring crops: of two people it is at most 0.80, of a quickly turned head 0.92
_FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Models:
    """The models of a run, loaded; ``depth`` is ``None`` for ``--depth none``."""

    detector: FaceDetector
    depth: DepthEstimator | None
    action_units: ActionUnitEstimator


@dataclass(frozen=True)
class ComputedClip:
    """What a store holds of a clip.

    Attributes:
        arrays: ``texture (T, S, S, 3) uint8`` and, as configured, ``depth (T, S, S) float16`` and
            ``au_frames (T, A) float32``.
        source: what was read.
        quality: how well the face was found, and how still it stayed.
        onset: position of the onset frame.
        apex: position of the apex frame.
        apex_estimated: how the apex was found, where the annotation has none that can be used.
        transform: ``(2, 3) float64``, source px -> crop px.
        au: ``(2, A) float32``, action units of onset and apex.
        depth_scale: with ``depth_offset``, leads back to the model's depth: ``depth * scale + offset``.
        depth_offset: see ``depth_scale``.
        findings: what makes the clip doubtful, beside what the scan has found.
        segments: of a long recording, where its face was followed.
    """

    arrays: dict[str, NDArray[Any]]
    source: Source
    quality: Quality
    onset: int
    apex: int
    apex_estimated: ApexMethod | None
    transform: NDArray[np.float64]
    au: NDArray[np.float32]
    depth_scale: float = 0.0
    depth_offset: float = 0.0
    findings: tuple[Finding, ...] = ()
    segments: tuple[Segment, ...] = ()


def compute_clip(clip: Clip, root: Path, config: PreprocessConfig, models: Models) -> ComputedClip:
    """Decode a clip, align it, and estimate its depth and action units.

    Args:
        clip: what to read, and where its phases are.
        root: folder that the clip's paths are relative to.
        config: the run's config.
        models: the models of the config.

    Raises:
        ClipError: the clip cannot be used; the type names the stage.
        OSError: a file cannot be read.
    """
    if clip.source is None or not clip.usable:
        reasons = "; ".join(f.message for f in clip.findings if f.unusable)
        raise UnusableClipError(reasons or "nothing on disk belongs to this clip")
    frames = Frames(root, clip.source)
    onset, apex = phase_positions(clip)
    depth_files = _depth_files(clip, root)
    read = list(frames.paths)
    if config.depth != "none" and DEPTH[config.depth].measured:
        read += filter(None, depth_files)
    with stage(FrameError):
        size_bytes, sha256 = digest(read)
    with stage(FaceNotFoundError):
        face, found_on = locate_face(models.detector, frames, onset=onset, apex=apex)
    with stage(FrameError):
        aligned = replace(align(frames, face, onset, config.size), depth_files=depth_files)
        quality = _quality(face, found_on, aligned)
    estimated = config.apex if apex is None else None
    if apex is None:
        with stage(ActionUnitError):
            apex = largest_motion(aligned.texture, onset) if estimated == "motion" else len(frames) // 2
    arrays: dict[str, NDArray[Any]] = {"texture": aligned.texture}
    scale = offset = 0.0
    if models.depth is not None:
        with stage(DepthError):
            arrays["depth"], scale, offset = normalised_depth(models.depth, aligned)
    with stage(ActionUnitError):
        if config.au_frames == "all":
            arrays["au_frames"] = models.action_units.estimate(aligned, range(len(frames)))
            au = arrays["au_frames"][[onset, apex]]
        else:
            au = models.action_units.estimate(aligned, [onset, apex])
        if not np.isfinite(au).all():
            raise ActionUnitError("the model gave values that are not finite; look at the clip's onset and apex")
    return ComputedClip(
        arrays=arrays,
        source=Source(path=clip.source.path, files=len(read), bytes=size_bytes, sha256=sha256),
        quality=quality,
        onset=onset,
        apex=apex,
        apex_estimated=estimated,
        transform=aligned.transform,
        au=au,
        depth_scale=scale,
        depth_offset=offset,
        findings=tuple(_doubts(clip, config, aligned, au[1])),
    )


def _depth_files(clip: Clip, root: Path) -> tuple[Path | None, ...]:
    """Measured depth of each frame."""
    if clip.depth is None or clip.source is None:
        return ()
    files = {n: root / clip.depth.folder / name for n, name in zip(clip.depth.numbers, clip.depth.names, strict=True)}
    return tuple(files.get(number) for number in clip.source.numbers)


def phase_positions(clip: Clip) -> tuple[int, int | None]:
    """Positions of onset and apex among the frames; a missing onset is the first frame, a missing apex ``None``."""
    assert clip.source is not None
    position = {number: i for i, number in enumerate(clip.source.numbers)}
    onset = position.get(clip.onset, 0) if clip.onset is not None else 0
    apex = position.get(clip.apex) if clip.apex is not None else None
    return onset, apex


def align(frames: Frames, face: Face, onset: int, size: int) -> AlignedClip:
    """Cut every frame of a clip to a crop of ``size`` px with the one transform of its face."""
    transform = face.transform(size)
    texture = np.stack([warp(frame, transform, size) for frame in frames])
    return AlignedClip(texture=texture, transform=transform, box=face.box, onset=onset, frames=frames)


def normalised_depth(estimator: DepthEstimator, clip: AlignedClip) -> tuple[NDArray[np.float16], float, float]:
    """Depth ``(T, S, S) float16`` scaled once per clip, with the scale and offset that undo it.

    The 2nd and 98th percentile of the clip go to 0 and 1, without clipping. Scaling each frame by itself
    would flicker, and swamp the motion of a micro-expression.

    Raises:
        DepthError: the estimate is constant, or all but constant, or not finite.
    """
    estimate = np.concatenate(list(estimator.estimate(clip)))
    if not np.isfinite(estimate).all():
        raise DepthError("the model gave depth that is not finite; look at the clip's frames")
    low, high = np.percentile(estimate, [2, 98])
    scale, offset = float(high - low), float(low)
    if np.ptp(estimate) >= _FLOAT16_MAX * scale:
        raise DepthError("the model gave the same depth nearly everywhere; look at the clip's frames")
    depth = ((estimate - np.float32(offset)) / np.float32(scale)).astype(np.float16)
    return depth, scale, offset


def residual_motion(texture: NDArray[np.uint8], onset: int) -> float:
    """95th percentile over frames of the crop's global shift against onset, px of the crop.

    Phase correlation (OpenCV) at half resolution: a share of a pixel when the head is still, and the one
    transform of the clip therefore good for all its frames. Frames of one colour have no shift, and do not count.
    """
    half = texture.shape[1] // 2
    grey = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (half, half), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        for frame in texture
    ]
    window = cv2.createHanningWindow((half, half), cv2.CV_32F)
    seen = [frame for frame in grey if np.ptp(frame) and np.ptp(grey[onset])]
    if not seen:
        return 0.0
    shifts = np.array([cv2.phaseCorrelate(grey[onset], frame, window)[0] for frame in seen])
    return float(np.percentile(np.hypot(*shifts.T), 95) * texture.shape[1] / half)


def glance(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A crop ``(S, S, 3) uint8`` as ``(784,)`` of mean 0 and length 1: products of two are correlations."""
    small = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (28, 28), interpolation=cv2.INTER_AREA)
    view = small.ravel().astype(np.float64) - small.mean()
    return np.asarray(view / max(float(np.linalg.norm(view)), 1e-9), np.float64)


def cut(texture: NDArray[np.uint8]) -> int | None:
    """Position of the frame that differs most from the one before it, if they do not show the same scene.

    Judged by the correlation of the grey crops at 28 px, which brightness does not change.

    Args:
        texture: ``(T, S, S, 3) uint8`` RGB crops.
    """
    views = np.stack([glance(frame) for frame in texture])
    together = (views[1:] * views[:-1]).sum(1)
    if not len(together) or together.min() >= SAME_SCENE:
        return None
    return int(together.argmin()) + 1


def _doubts(clip: Clip, config: PreprocessConfig, aligned: AlignedClip, apex: NDArray[np.float32]) -> Iterator[Finding]:
    if (position := cut(aligned.texture)) is not None:
        number = aligned.frames.numbers[position]
        yield Finding(
            kind="cut",
            clip=clip.key,
            message=f"frame {number} does not show what the frame before it shows: motion across it means nothing",
        )
    for kind, message in aligned.notes:
        yield Finding(kind=kind, clip=clip.key, message=message)
    backend = ACTION_UNITS[config.au]
    full = [name for name, value in zip(backend.names, apex, strict=True) if value >= 1]
    if backend.kind == "activation" and full:
        yield Finding(
            kind="full_activation",
            clip=clip.key,
            message=f"{', '.join(full)} fully active at the apex: more than a micro-expression moves",
        )


def _quality(face: Face, found_on: Phase, clip: AlignedClip) -> Quality:
    return Quality(
        detected_on=found_on,
        detection_probability=round(face.probability, 6),
        faces=face.count,
        padded=face.padded,
        inter_eye_px=round(face.inter_eye, 2),
        residual_motion_px=round(residual_motion(clip.texture, clip.onset), 3),
    )


@contextmanager
def stage(error_type: type[ClipError]) -> Iterator[None]:
    """Give an unforeseen failure of a stage its type, so that it fails one clip and not the run."""
    try:
        yield
    except (ClipError, OSError):
        raise
    except Exception as error:
        log.exception("unexpected failure at stage %s", error_type.stage)
        raise error_type(f"{type(error).__name__}: {error}") from error
