"""A long recording from frames to arrays: the face followed through all of it, texture alone."""

from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.clip.backends import ACTION_UNITS
from pipeline.clip.compute import ComputedClip, Models, residual_motion, stage
from pipeline.clip.faces import MIN_PROBABILITY, MIN_SIDE
from pipeline.clip.frames import Frames, digest
from pipeline.clip.tracking import FollowedFrame, follow
from schemas.clip import Clip
from schemas.config import PreprocessConfig
from schemas.errors import FaceNotFoundError, FrameError, UnusableClipError
from schemas.manifest import Quality, Segment, Source

_GLANCES = 64  # frames, evenly spaced, from which the motion of the crops is judged


def compute_recording(clip: Clip, root: Path, config: PreprocessConfig, models: Models) -> ComputedClip:
    """Decode a long recording and follow its face; source frames are held for a second, crops all at once.

    A recording has no onset and apex of its own: their positions are 0, and the action units there are those of a face
    against itself, which are 0.

    Args:
        clip: the recording.
        root: folder that its paths are relative to.
        config: the run's config.
        models: the models of the config.

    Raises:
        ClipError: the recording cannot be used; the type names the stage.
        OSError: a file cannot be read.
    """
    if clip.source is None or not clip.usable:
        reasons = "; ".join(finding.message for finding in clip.findings if finding.unusable)
        raise UnusableClipError(reasons or "nothing on disk belongs to this recording")
    frames = Frames(root, clip.source, keep_bytes=0)
    with stage(FrameError):
        size_bytes, sha256 = digest(frames.paths)
    texture = np.empty((len(frames), config.size, config.size, 3), np.uint8)
    labels: list[int | None] = []
    first: FollowedFrame | None = None
    with stage(FrameError):
        for position, found in enumerate(follow(frames, models.detector, size=config.size, fps=clip.fps)):
            texture[position] = found.crop
            labels.append(found.segment)
            if first is None and found.segment is not None:
                first = found
    if first is None or first.face is None or first.transform is None:
        raise FaceNotFoundError(
            f"{clip.source.path}: no face found once a second, nor with padding; expected a frontal face of at least "
            f"{MIN_SIDE} px (detector probability >= {MIN_PROBABILITY}): look at these frames"
        )
    face, apart = first.face, max(1, len(frames) // _GLANCES)
    return ComputedClip(
        arrays={"texture": texture},
        source=Source(path=clip.source.path, files=len(frames.paths), bytes=size_bytes, sha256=sha256),
        quality=Quality(
            detected_on="onset",
            detection_probability=round(face.probability, 6),
            faces=face.count,
            padded=face.padded,
            inter_eye_px=round(face.inter_eye, 2),
            residual_motion_px=round(residual_motion(texture[::apart], 0), 3),
        ),
        onset=0,
        apex=0,
        apex_estimated=None,
        transform=first.transform,
        au=np.zeros((2, len(ACTION_UNITS[config.au].names)), np.float32),
        segments=segments_of(labels),
    )


def segments_of(labels: list[int | None]) -> tuple[Segment, ...]:
    """Stretches of equal labels, without those of no face."""
    found = []
    for label, run in groupby(enumerate(labels), key=lambda item: item[1]):
        positions = [position for position, _ in run]
        if label is not None:
            found.append(Segment(start=positions[0], stop=positions[-1] + 1))
    return tuple(found)
