"""Generate a synthetic dataset with its ground truth: ``mer synth``."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar, overload

import numpy as np

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.anatomy import SIDES, Muscles, muscles, smooth_field
from pipeline.synthesis.depth_camera import DepthCamera, Millimetres
from pipeline.synthesis.expression import WOBBLES, Motion, Script, emotion_plan, write_script
from pipeline.synthesis.identities import Identity, identities, load_still
from pipeline.synthesis.layouts import SyntheticClip, write_dataset
from pipeline.synthesis.looks import another_look
from pipeline.synthesis.recording import CAMERAS, Camera, take_portrait
from pipeline.synthesis.rendering import Performance, Stage
from pipeline.synthesis.skin import Skin
from schemas.datasets import SYNTHETIC_MARKER
from schemas.errors import ConfigError
from schemas.output import output_errors, write_text

TRUTH_FORMAT = 1
_SHOWN = 0.05  # activation from which a coder would note an action unit
T = TypeVar("T")
_LETTERS = ((0.12, "A"), (0.24, "B"), (0.4, "C"), (0.7, "D"), (float("inf"), "E"))  # upper bounds


@dataclass(frozen=True)
class SynthesisReport:
    """What was generated.

    Attributes:
        out: root of the dataset.
        truth: folder of the ground truth, beside it.
        keys: ``dataset/subject/clip`` of each clip.
        frames: rendered into recordings, lead-in and lead-out included.
        emotions: class -> clips.
        depth: whether images of measured depth lie beside the frames.
    """

    out: Path
    truth: Path
    keys: tuple[str, ...]
    frames: int
    emotions: dict[str, int]
    depth: bool


def synthesise(
    dataset: str,
    out: Path,
    *,
    subjects: int,
    clips: int,
    frames: int,
    seed: int,
    looks: int = 1,
    macro: bool = False,
    layout: str | None = None,
    quirks: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SynthesisReport:
    """Generate a dataset of micro-expressions on real faces, and what is true about it in ``<out>-truth``.

    The root also holds ``mer-synthetic.json``, by which everything that is made of the clips says that they are
    synthetic. Equal arguments give equal bytes. A subject's clips do not depend on how many subjects come after.

    ``truth.json`` holds ``format``, ``dataset``, ``seed``, ``action_units`` and ``sides`` (the order of axes below)
    and ``clips``: key -> ``file`` (the arrays), ``subject``, ``clip`` and ``look`` (0-based), ``identity``, ``emotion``
    (class), ``member`` (emotion shown), ``onset``, ``apex``, ``offset`` and ``frames`` (positions in, and length of,
    the recording: the file numbered n is position ``n - annotated onset + onset``) and ``au`` (name -> activation at
    the apex, right and left).

    Each ``.npz`` holds, for a recording of ``T`` frames of ``(H, W)`` px:

    - ``au (T, 20, 2) float32``: activations, blinks as AU43.
    - ``vertices (T, 478, 3) float32``: the mesh in px of the frame, z towards the camera.
    - ``flow (H, W, 2) float16``: motion of each pixel of the onset frame until the apex frame, px.
    - ``depth (H, W) float16``: z of the face on the apex frame, px; NaN beside the face.

    Args:
        dataset: ``samm``, ``casme2``, ``casme-sq``, ``casme3`` (with measured depth) or ``smic``.
        out: root of the new dataset; must not exist, or be empty.
        subjects: different people.
        clips: of each subject.
        frames: from onset to offset; each clip has up to a quarter more or less.
        seed: of everything.
        looks: faces made of each subject's photograph, itself first; the clips are dealt to them in turn.
        macro: macro-expressions: stronger ones, which CAS(ME)^2 alone has.
        layout: one of the dataset's layouts on disk.
        quirks: add the oddities of the real distribution.
        progress: called with clips done and clips in all.

    Raises:
        ConfigError: unknown dataset or layout, too many subjects, counts too small, or ``out`` is not empty.
    """
    if clips < 1 or frames < 5:
        raise ConfigError(f"{clips} clips of {frames} frames asked for; at least 1 clip of 5 frames is needed")
    if not 1 <= looks <= clips:
        raise ConfigError(f"{looks} looks asked for, of subjects with {clips} clips each; ask for 1 to {clips}")
    if macro and dataset != "casme-sq":
        raise ConfigError(f"macro-expressions asked for, of which {dataset} has no clips; casme-sq has")
    people = cast_people(dataset, out, subjects)
    truth = out.with_name(f"{out.name}-truth")
    made = {"synthetic": True, "made_by": "mer synth", "dataset": dataset, "subjects": subjects, "clips": clips}
    made |= {"looks": looks} if looks > 1 else {}
    records: list[dict[str, object]] = []
    emotions: dict[str, int] = {}

    def generated() -> Iterator[SyntheticClip]:
        for clip, record, arrays in _clips(dataset, people, clips, frames, seed, looks, macro):
            np.savez_compressed(truth / str(record["file"]), allow_pickle=False, **arrays)
            records.append(record)
            emotions[clip.emotion] = emotions.get(clip.emotion, 0) + 1
            yield clip
            if progress is not None:
                progress(len(records), subjects * clips)

    with output_errors(out):
        for folder in (out, truth):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(out / SYNTHETIC_MARKER, json.dumps({**made, "frames": frames, "seed": seed}) + "\n")
        keys = write_dataset(dataset, out, generated(), layout=layout, quirks=quirks, seed=seed)
        _write_truth(truth / "truth.json", dataset, seed, dict(zip(keys, records, strict=True)))
    rendered = sum(int(str(record["frames"])) for record in records)
    return SynthesisReport(out, truth, tuple(keys), rendered, emotions, depth=(out / "depth").is_dir())


class Rendered(Sequence[T]):
    """Images of a performance, each rendered when it is asked for: a whole dataset does not fit in memory.

    Args:
        length: of the performance, in frames.
        render: makes the image of a position.
    """

    def __init__(self, length: int, render: Callable[[int], T]) -> None:
        self._length, self._render = length, render

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        positions = range(self._length)[index]
        if isinstance(positions, range):
            return [self._render(position) for position in positions]
        return self._render(positions)


@dataclass(frozen=True)
class Actor:
    """A person before a dataset's camera, who plays scripts.

    Attributes:
        stage: everything about the person's portrait and the camera.
        muscles: how the person's skin moves.
        skin: how it looks where it moves.
    """

    stage: Stage
    muscles: Muscles
    skin: Skin

    @classmethod
    def cast(cls, identity: Identity, camera: Camera, rng: np.random.Generator, *, as_is: bool = True) -> Self:
        """Draw what is the person's own: the seat before the camera, muscles, skin; and a look if not ``as_is``."""
        portrait = take_portrait(load_still(identity), camera, rng)
        stage = Stage(portrait if as_is else another_look(portrait, camera, rng), camera)
        return cls(stage, muscles(stage.portrait, rng), Skin(stage.portrait, rng))

    def perform(self, script: Motion, rng: np.random.Generator, seed: tuple[int, ...]) -> Performance:
        """A script played by the person, with smooth motions of the skin that no action unit explains."""
        wobble = smooth_field(self.muscles.place, rng, scale=0.2, columns=3 * WOBBLES)
        wobble = wobble.reshape(-1, WOBBLES, 3).swapaxes(0, 1)
        return Performance(self.stage, self.muscles, self.skin, script, wobble, seed)


def cast_people(dataset: str, out: Path, subjects: int) -> tuple[Identity, ...]:
    """The people of a new dataset.

    Raises:
        ConfigError: unknown dataset, too many subjects, or ``out`` is not empty.
    """
    if dataset not in CAMERAS:
        raise ConfigError(f"no synthetic dataset {dataset!r}; known: {', '.join(CAMERAS)}")
    for folder in (out, out.with_name(f"{out.name}-truth")):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: already holds something; name another folder, or remove it first")
    return identities(subjects)


def _clips(
    dataset: str, people: Sequence[Identity], clips: int, frames: int, seed: int, looks: int, macro: bool
) -> Iterator[tuple[SyntheticClip, dict[str, object], dict[str, np.ndarray]]]:
    """Each recording, its entry in ``truth.json`` and its arrays."""
    camera = CAMERAS[dataset]
    for subject, identity in enumerate(people):
        actors = [Actor.cast(identity, camera, np.random.default_rng([seed, 3, subject]))]
        for look in range(1, looks):
            rng = np.random.default_rng([seed, 7, subject, look])
            actors.append(Actor.cast(identity, camera, rng, as_is=False))
        for index, emotion in enumerate(emotion_plan(dataset, subject, clips, seed)):
            rng = np.random.default_rng([seed, 4, subject, index])
            script = write_script(emotion, frames=frames, fps=camera.fps, rng=rng, macro=macro)
            performance = actors[index % looks].perform(script, rng, (seed, 5, subject, index))
            peak = script.au[script.apex]
            clip = SyntheticClip(
                subject=subject,
                index=index,
                emotion=emotion,
                action_units=coded(peak),
                frames=Rendered(len(script), performance.frame),
                onset=script.onset,
                apex=script.apex,
                offset=script.offset,
                depth=_measured(performance, (seed, 6, subject, index)) if camera.depth else None,
                macro=macro,
            )
            record: dict[str, object] = {
                "file": f"subject{subject:02d}_clip{index:03d}.npz",
                "subject": subject,
                "clip": index,
                "look": index % looks,
                "identity": identity.number,
                "emotion": emotion,
                "member": script.member,
                "onset": script.onset,
                "apex": script.apex,
                "offset": script.offset,
                "frames": len(script),
                "au": {n: [round(float(a), 4) for a in peak[i]] for i, n in enumerate(AU_NAMES) if peak[i].any()},
            }
            yield clip, record, _arrays(performance, script)


def coded(peak: np.ndarray) -> dict[str, str]:
    """What a coder would write: unit with its side -> FACS intensity letter, from the activations ``(20, 2)``."""
    units: dict[str, str] = {}
    for name, (right, left) in zip(AU_NAMES, peak, strict=True):
        strongest = max(right, left)
        if strongest < _SHOWN or name == "AU43":  # a blink is no expression
            continue
        side = "R" if left < 0.3 * right else "L" if right < 0.3 * left else ""
        units[f"{side}{int(name[2:])}"] = next(letter for bound, letter in _LETTERS if strongest < bound)
    return units


def _measured(performance: Performance, seed: tuple[int, ...]) -> Rendered[Millimetres]:
    """What a depth camera beside the colour camera sees of it; like the frames, they can be rendered in any order."""
    stage = performance.stage
    camera = DepthCamera(stage.camera.width, stage.portrait.face_width)
    return Rendered(
        len(performance.script),
        lambda position: camera.measure(performance.depth(position), np.random.default_rng([*seed, position])),
    )


def _arrays(performance: Performance, script: Script) -> dict[str, np.ndarray]:
    stage = performance.stage
    vertices = np.stack([performance.vertices(position) for position in range(len(script))])
    start, end = performance.forward(script.onset), performance.forward(script.apex)
    return {
        "au": script.au.astype(np.float32),
        "vertices": vertices.astype(np.float32),
        "flow": stage.flow(start, end),
        "depth": performance.depth(script.apex),
    }


def _write_truth(path: Path, dataset: str, seed: int, clips: dict[str, dict[str, object]]) -> None:
    truth = {"format": TRUTH_FORMAT, "dataset": dataset, "seed": seed, "action_units": AU_NAMES, "sides": SIDES}
    path.write_text(json.dumps({**truth, "clips": clips}, indent=1) + "\n", encoding="utf-8")
