"""Clips as a recording of Rerun (``.rrd``), for its viewer: ``mer view STORE --rerun FILE.rrd``."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.view.frames import ClipFrames
from pipeline.view.predictions import ClipAnswers, RunPredictions
from schemas.errors import ConfigError
from schemas.manifest import ClipEntry
from schemas.output import output_errors
from schemas.store.reader import Store

_QUALITY = 95  # of JPEG; a store's pixels are exact, a picture of them need not be


def write_rerun(store: Store, run: RunPredictions | None, file: Path) -> int:
    """Write every clip that did not fail, each below its key, on the timelines ``frame`` (of the clip) and ``time``.

    ``texture`` is an image a frame, ``depth`` a depth image, ``motion`` the mean change of grey levels against onset,
    ``depth_of/AU12`` the mean depth of the region of an action unit against onset, ``au/AU12`` an activation (at onset
    and apex, or at each frame where the store has those), ``phase`` the words onset and apex at their frames, and
    ``about`` the label, the findings, and what a run answered.

    Args:
        store: to write of.
        run: what a run answered on its clips.
        file: to write; one that is there is replaced.

    Returns:
        How many clips were written.

    Raises:
        ConfigError: the package rerun-sdk is missing.
        StoreError: a clip is damaged.
    """
    if find_spec("rerun") is None:
        raise ConfigError("--rerun: the package rerun-sdk is missing; pip install 'madv-mer[rerun]'")
    import rerun as rr

    answers = {} if run is None else run.clips
    clips = [entry for entry in store.manifest.clips if entry.status == "ok"]
    with output_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("wb").close()  # Rerun itself says nothing of where it cannot write
        with rr.RecordingStream("mer", recording_id=store.manifest.content_sha256) as recording:
            recording.save(str(file))
            for entry in clips:
                _write(recording, store, entry, _about(entry, run, answers))
            recording.flush()
    return len(clips)


def _write(recording: Any, store: Store, entry: ClipEntry, about: str) -> None:
    import rerun as rr

    frames, key = ClipFrames(store, entry), entry.key
    curves, size = frames.curves(), store.manifest.provenance.config.size

    def at(position: int) -> None:
        recording.set_time("frame", sequence=position)
        recording.set_time("time", duration=float(curves.times[position]))

    recording.log(f"{key}/about", rr.TextDocument(about), static=True)
    for block in range(-(-entry.n_frames // frames.block)):
        found = frames.read(block)
        for row, position in enumerate(found["position"].tolist()):
            at(position)
            if "texture" in found:
                image = rr.Image(found["texture"][row].reshape(size, size, 3))
                recording.log(f"{key}/texture", image.compress(jpeg_quality=_QUALITY))
                recording.log(f"{key}/motion", rr.Scalars(curves.motion[position]))
            for name, values in curves.depth.items():
                recording.log(f"{key}/depth_of/{name}", rr.Scalars(values[position]))
    if "depth" in entry.objects:
        for position, depth in enumerate(store.clip_array("depth", key)):
            at(position)
            recording.log(f"{key}/depth", rr.DepthImage(depth.astype(np.float32)))
    for position, units in _units(store, entry, frames).items():
        at(position)
        for name, value in zip(store.manifest.action_units.names, units.tolist(), strict=True):
            recording.log(f"{key}/au/{name}", rr.Scalars(value))
    for phase, position in (("onset", frames.onset), ("apex", frames.apex)):
        at(position)
        recording.log(f"{key}/phase", rr.TextLog(phase))


def _units(store: Store, entry: ClipEntry, frames: ClipFrames) -> dict[int, NDArray[Any]]:
    """Position -> action units there."""
    if "au_frames" in entry.objects:
        return dict(enumerate(store.clip_array("au_frames", entry.key)))
    onset, apex = store.row("au", entry.key)
    return {frames.onset: onset, frames.apex: apex}


def _about(entry: ClipEntry, run: RunPredictions | None, answers: Mapping[str, ClipAnswers]) -> str:
    label = entry.label
    units = "" if label.action_units is None else f", AU {label.action_units.raw}"
    lines = [f"{entry.key}: {label.emotion or 'no emotion'}{units}", f"{entry.n_frames} frames at {entry.fps:g} fps"]
    lines += [f"{finding.kind}: {finding.message}" for finding in entry.findings]
    if run is not None and (answer := answers.get(entry.key)) is not None:
        said = ", ".join(f"{name} {share:.2f}" for name, share in zip(run.classes, answer.mean, strict=True))
        lines.append(f"{run.title}: {said}; true: {run.classes[answer.truth]}")
    return "\n".join(lines)
