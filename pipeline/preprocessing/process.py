"""The way of one clip: decode, align, depth, action units, write. Nothing goes back."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import ActionUnitEstimator, AlignedClip, DepthEstimator
from pipeline.clip.alignment import warp
from pipeline.clip.faces import Face, FaceDetector, Phase, locate_face
from pipeline.clip.frames import Frames, digest
from pipeline.clip.mesh.facial_motion import largest_motion
from pipeline.preprocessing.journal import ClipColumns, ClipRecord, bare_entry, failed_record
from pipeline.preprocessing.store_arrays import write_clip
from schemas.clip import Clip
from schemas.config import ApexMethod, PreprocessConfig
from schemas.errors import (
    ActionUnitError,
    ClipError,
    DepthError,
    FaceNotFoundError,
    FrameError,
    StoreWriteError,
    UnusableClipError,
)
from schemas.manifest import Quality, Source

log = logging.getLogger("mer")

# A flaky network drive; anything else is the data's fault and would fail again.
_TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EAGAIN}
_ATTEMPTS = 3
_FLOAT16_MAX = float(np.finfo(np.float16).max)


@dataclass
class ClipProcessor:
    """Models loaded once, then any number of clips; safe to call from several threads.

    Attributes:
        root: dataset root.
        out: store folder, its arrays already created.
        config: the run's config.
        detector: finds faces.
        depth: depth backend, or ``None`` for ``--depth none``.
        action_units: action unit backend.
    """

    root: Path
    out: Path
    config: PreprocessConfig
    detector: FaceDetector
    depth: DepthEstimator | None
    action_units: ActionUnitEstimator

    def process(self, index: int, clip: Clip) -> ClipRecord:
        """Process and write one clip. A clip at fault comes back as a failed record, never as an exception.

        Raises:
            StoreWriteError: the output cannot be written; no other clip could be either.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._process(index, clip)
            except StoreWriteError:
                raise
            except ClipError as error:
                return failed_record(index, clip, error.stage, self._relative(error))
            except OSError as error:
                if error.errno not in _TRANSIENT or attempt == _ATTEMPTS:
                    return failed_record(index, clip, FrameError.stage, self._relative(_unreadable(error)))
                log.warning("%s: %s; trying again", clip.key, error)
                time.sleep(attempt)
        raise AssertionError("unreachable: the last attempt returns")

    def _process(self, index: int, clip: Clip) -> ClipRecord:
        if clip.source is None or not clip.usable:
            reasons = "; ".join(f.message for f in clip.findings if f.unusable)
            raise UnusableClipError(reasons or "nothing on disk belongs to this clip")
        frames = Frames(self.root, clip.source)
        onset, apex = phase_positions(clip)
        with _stage(FrameError):
            size_bytes, sha256 = digest(frames.paths)
        with _stage(FaceNotFoundError):
            face, found_on = locate_face(self.detector, frames, onset=onset, apex=apex)
        with _stage(FrameError):
            aligned = self._align(frames, face, onset)
            quality = _quality(face, found_on, aligned)
        estimated: ApexMethod | None = None
        if apex is None:
            estimated = self.config.apex
            with _stage(ActionUnitError):
                apex = largest_motion(aligned.texture, onset) if estimated == "motion" else len(frames) // 2
        values: dict[str, NDArray[Any]] = {"texture": aligned.texture}
        scale = offset = 0.0
        if self.depth is not None:
            with _stage(DepthError):
                values["depth"], scale, offset = normalised_depth(self.depth, aligned)
        with _stage(ActionUnitError):
            if self.config.au_frames == "all":
                values["au_frames"] = self.action_units.estimate(aligned, range(len(frames)))
                au = values["au_frames"][[onset, apex]]
            else:
                au = self.action_units.estimate(aligned, [onset, apex])
            if not np.isfinite(au).all():
                raise ActionUnitError("the model gave values that are not finite; look at the clip's onset and apex")
        objects = write_clip(self.out, index, values)
        entry = bare_entry(clip).model_copy(
            update={
                "status": "ok",
                "apex_estimated": estimated,
                "n_frames": len(frames),
                "source": Source(path=clip.source.path, files=len(frames.paths), bytes=size_bytes, sha256=sha256),
                "quality": quality,
                "objects": objects,
            }
        )
        columns = ClipColumns.model_validate(
            {
                "frame_numbers": clip.source.numbers,
                "onset_index": onset,
                "apex_index": apex,
                "transform": aligned.transform.tolist(),
                "au": au.astype(float).tolist(),
                "depth_scale": scale,
                "depth_offset": offset,
            }
        )
        return ClipRecord(index=index, entry=entry, columns=columns)

    def _relative(self, error: Exception) -> Exception:
        """The same error without the path of this machine, which has no place in a manifest."""
        return type(error)(str(error).replace(f"{self.root}{os.sep}", "").replace(str(self.root), self.root.name))

    def _align(self, frames: Frames, face: Face, onset: int) -> AlignedClip:
        transform = face.transform(self.config.size)
        texture = np.stack([warp(frame, transform, self.config.size) for frame in frames])
        return AlignedClip(texture=texture, transform=transform, box=face.box, onset=onset, frames=frames)


def phase_positions(clip: Clip) -> tuple[int, int | None]:
    """Positions of onset and apex among the frames; a missing onset is the first frame, a missing apex ``None``."""
    assert clip.source is not None
    position = {number: i for i, number in enumerate(clip.source.numbers)}
    onset = position.get(clip.onset, 0) if clip.onset is not None else 0
    apex = position.get(clip.apex) if clip.apex is not None else None
    return onset, apex


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


def _quality(face: Face, found_on: Phase, clip: AlignedClip) -> Quality:
    return Quality(
        detected_on=found_on,
        detection_probability=round(face.probability, 6),
        faces=face.count,
        padded=face.padded,
        inter_eye_px=round(face.inter_eye, 2),
        residual_motion_px=round(residual_motion(clip.texture, clip.onset), 3),
    )


def _unreadable(error: OSError) -> FrameError:
    where = f"{error.filename}: " if error.filename else ""
    return FrameError(f"{where}cannot be read ({error.strerror or error}); check the file and its permissions")


@contextmanager
def _stage(error_type: type[ClipError]) -> Iterator[None]:
    """Give an unforeseen failure of a stage its type, so that it fails one clip and not the run."""
    try:
        yield
    except (ClipError, OSError):
        raise
    except Exception as error:
        log.exception("unexpected failure at stage %s", error_type.stage)
        raise error_type(f"{type(error).__name__}: {error}") from error
