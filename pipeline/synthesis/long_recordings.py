"""Generate long recordings with known expressions: ``mer synth --layout long``."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.anatomy import SIDES
from pipeline.synthesis.generator import (
    TRUTH_FORMAT,
    Actor,
    Rendered,
    SynthesisReport,
    cast_people,
    coded,
)
from pipeline.synthesis.layouts.casme_sq import CasmeSqWriter
from pipeline.synthesis.layouts.writer import SyntheticExpression, SyntheticRecording
from pipeline.synthesis.long_script import LongScript, write_long_script
from pipeline.synthesis.recording import CAMERAS
from schemas.datasets import SYNTHETIC_MARKER
from schemas.errors import ConfigError
from schemas.output import output_errors, write_text

LONG_LAYOUT = "long"
_LEAST_SECONDS = 5.0


def synthesise_long(
    dataset: str,
    out: Path,
    *,
    subjects: int,
    recordings: int,
    seconds: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> SynthesisReport:
    """Generate long videos as CAS(ME)^2 has them in ``rawvideo``, and what is true about them in ``<out>-truth``.

    ``truth.json`` holds ``format``, ``dataset``, ``seed``, ``action_units``, ``sides`` and ``recordings``: key ->
    ``file``, ``subject``, ``identity``, ``fps``, ``frames`` and ``events``. Each event has its ``kind`` (micro, macro,
    talk, turn, blink) and the positions ``onset``, ``apex`` and ``offset``, 0-based and inclusive; an expression also
    has ``emotion`` and ``member``. Each ``.npz`` holds ``au (T, 20, 2) float32``.

    Args:
        dataset: ``casme-sq``.
        out: root of the new dataset; must not exist, or be empty.
        subjects: different people.
        recordings: of each subject, 9 at most.
        seconds: length of each.
        seed: of everything; equal arguments give equal bytes.
        progress: called with recordings done and recordings in all.

    Raises:
        ConfigError: another dataset, too short, too many, or ``out`` is not empty.
    """
    if dataset != "casme-sq":
        raise ConfigError(f"long recordings are written as CAS(ME)^2 has them, not {dataset}: mer synth casme-sq OUT")
    if seconds < _LEAST_SECONDS:
        raise ConfigError(f"recordings of {seconds:g} s asked for; at least {_LEAST_SECONDS:g} s are needed")
    people, camera, truth = cast_people(dataset, out, subjects), CAMERAS[dataset], out.with_name(f"{out.name}-truth")
    records: dict[str, dict[str, object]] = {}
    emotions: dict[str, int] = {}
    with output_errors(out):
        for folder in (out, truth):
            folder.mkdir(parents=True, exist_ok=True)
        made = {"synthetic": True, "made_by": "mer synth", "dataset": dataset, "subjects": subjects}
        about = {"recordings": recordings, "seconds": seconds, "seed": seed}
        write_text(out / SYNTHETIC_MARKER, json.dumps({**made, **about}) + "\n")
        writer = CasmeSqWriter(out, "rawvideo", quirks=False, seed=seed)
        for subject, identity in enumerate(people):
            rng = np.random.default_rng([seed, 3, subject])
            actor = Actor.cast(identity, camera, rng)
            for index in range(recordings):
                rng = np.random.default_rng([seed, 6, subject, index])
                script = write_long_script(dataset, seconds=seconds, fps=camera.fps, rng=rng)
                performance = actor.perform(script, rng, (seed, 7, subject, index))
                expressions = tuple(_expressions(script))
                rendered = Rendered(len(script), performance.frame)
                key = writer.write_recording(SyntheticRecording(subject, index, rendered, expressions))
                file = f"subject{subject:02d}_recording{index:03d}.npz"
                np.savez_compressed(truth / file, allow_pickle=False, au=script.au.astype(np.float32))
                facts = {"file": file, "subject": subject, "identity": identity.number, "fps": camera.fps}
                records[key] = {**facts, "frames": len(script), "events": _events(script)}
                for one in expressions:
                    emotions[one.emotion] = emotions.get(one.emotion, 0) + 1
                if progress is not None:
                    progress(len(records), subjects * recordings)
        writer.close()
        axes = {"action_units": AU_NAMES, "sides": SIDES}
        whole = {"format": TRUTH_FORMAT, "dataset": dataset, "seed": seed, **axes, "recordings": records}
        write_text(truth / "truth.json", json.dumps(whole, indent=1) + "\n")
    frames = sum(int(str(record["frames"])) for record in records.values())
    return SynthesisReport(out, truth, tuple(records), frames, emotions, depth=False)


def _expressions(script: LongScript) -> list[SyntheticExpression]:
    return [
        SyntheticExpression(
            "micro" if event.kind == "micro" else "macro",
            event.emotion,
            {} if event.au is None else coded(event.au),
            event.onset,
            event.apex,
            event.offset,
        )
        for event in script.expressions
    ]


def _events(script: LongScript) -> list[dict[str, object]]:
    found = []
    for event in script.events:
        facts: dict[str, object] = {"kind": event.kind, "onset": event.onset, "apex": event.apex}
        facts["offset"] = event.offset
        found.append(facts | ({"emotion": event.emotion, "member": event.member} if event.emotion else {}))
    return found
