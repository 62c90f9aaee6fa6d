"""Stores of a few smooth frames, written by the arrays' own writer: no dataset, no models, a few kB a clip."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.clip import ExpressionInterval, Finding
from schemas.config import PreprocessConfig
from schemas.datasets import licences
from schemas.labels import ActionUnit, ActionUnitCode, Emotion, Label
from schemas.manifest import ClipEntry, Failure, Quality, Segment, Source
from schemas.store.reader import Store
from tests.store_builder import DrawnClip, bare_manifest, build_store, columns_of

SIZE = 112
UNITS = ("AU04", "AU12")
EMOTIONS: tuple[Emotion, ...] = ("happiness", "surprise", "disgust")


def tiny_store(
    path: Path,
    keys: Iterable[str],
    *,
    depth: bool = True,
    frames: int | None = None,
    lengths: dict[str, int] | None = None,
    failed: Iterable[str] = (),
    change: dict[str, int] | None = None,
    intervals: Mapping[str, Sequence[ExpressionInterval]] | None = None,
    **provenance: Any,
) -> Store:
    """A complete store. A clip's values follow from its key, so that clips of one key are equal in all stores.

    Args:
        path: where to write it.
        keys: of its clips.
        depth: with depth.
        frames: length of the frame axis; the longest clip's by default.
        lengths: of clips, in frames; 3 to 5 by default.
        failed: those of the keys that failed.
        change: key -> a number that makes its pixels others.
        intervals: of the keys, which are then long recordings at 10 frames per second; the frames count from 10.
        **provenance: fields of the provenance, or of its config.
    """
    keys, failed = sorted(keys), set(failed)
    length = {key: (lengths or {}).get(key, 3 + _seed(key) % 3) for key in keys}
    axis = frames or max(length.values())
    config = {name: provenance.pop(name) for name in list(provenance) if name in PreprocessConfig.model_fields}
    config = {"size": SIZE, "depth": "mesh" if depth else "none", **config}
    provenance = {"annotation": "coding.xlsx", "packages": {"zarr": "3"}, **provenance}
    dataset = config.pop("dataset", keys[0].split("/")[0])
    manifest = bare_manifest(
        dataset, units=UNITS, provenance=provenance, config=config, action_units={"unit": "in [0, 1]"},
        findings=(Finding(kind="folder_without_row", clip="sub99", message="no row names it"),),
        licences=licences([dataset]),
    )  # fmt: skip
    clips: Iterable[DrawnClip] = (
        _failed(key)
        if key in failed
        else _drawn(key, length[key], depth=depth, seed=_seed(key) + (change or {}).get(key, 0))
        for key in keys
    )
    if intervals is not None:
        clips = (_long(clip, intervals.get(clip[0].key, ())) for clip in clips)
    return build_store(path, clips, manifest, clip_count=len(keys), frames=axis)


def _drawn(key: str, n_frames: int, *, depth: bool, seed: int) -> DrawnClip:
    values: dict[str, NDArray[Any]] = {"texture": _texture(n_frames, seed)}
    if depth:
        values["depth"] = (values["texture"][..., 0] / 255 + 0.5).astype(np.float16)
    emotion = EMOTIONS[_seed(key) % len(EMOTIONS)]
    entry = ClipEntry(
        key=key,
        status="ok",
        label=Label(
            raw_emotion=emotion.title(), emotion=emotion,
            action_units=ActionUnitCode(raw="4+12", units=(ActionUnit(number=4), ActionUnit(number=12))),
        ),
        fps=200.0,
        onset=10,
        apex=11,
        offset=9 + n_frames,
        n_frames=n_frames,
        source=Source(path=f"raw/{key}", files=n_frames, bytes=1, sha256="0" * 64),
        findings=(Finding(kind="layout_chosen", clip=key, message=f"{key} has two layouts"),),
        quality=Quality(
            detected_on="onset", detection_probability=1, faces=1, padded=False, inter_eye_px=60, residual_motion_px=0.1
        ),
    )  # fmt: skip
    columns = columns_of(
        n_frames, 1, np.array([[0, 0.1], [0.5, 0.25]], np.float32),
        transform=((1.0, 0.0, float(seed)), (0.0, 1.0, 0.1)), depth_scale=2.0 if depth else 0.0,
    )  # fmt: skip
    return entry, values, columns


def _long(clip: DrawnClip, intervals: Sequence[ExpressionInterval]) -> DrawnClip:
    entry, values, columns = clip
    whole = (Segment(start=0, stop=entry.n_frames),)
    update = {"label": Label(), "fps": 10.0, "segments": whole, "intervals": tuple(intervals)}
    return entry.model_copy(update=update), values, columns


def _failed(key: str) -> DrawnClip:
    failure = Failure(stage="face", error="FaceNotFoundError", message=f"no face in {key}")
    entry = ClipEntry(key=key, status="failed", label=Label(), fps=200.0, onset=1, apex=None, offset=9, failure=failure)
    return entry, {}, None


def _texture(n_frames: int, seed: int) -> NDArray[np.uint8]:
    """A gradient that moves."""
    ramp = np.arange(SIZE)
    moved = ramp[None, None, :] + np.arange(n_frames)[:, None, None] + np.zeros((1, SIZE, 1), int)
    return np.stack([moved, moved + seed % 50, moved + 7], axis=-1).astype(np.uint8)


def _seed(key: str) -> int:
    return sum(key.encode())
