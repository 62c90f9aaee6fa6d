"""Small stores to train on: a few people, two classes that move differently, every value known."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.labels import Emotion, Label
from schemas.manifest import MANIFEST_NAME, ClipEntry
from schemas.store.reader import Store
from tests.store_builder import DrawnClip, bare_manifest, build_store, columns_of

SIZE = 112
UNITS = ("AU04", "AU12L", "AU12R", "AU25")
CLASSES: tuple[Emotion, ...] = ("happiness", "surprise")

PROTOCOL = """
[task]
name = "two"
title = "Two classes of a few people"
classes = ["happy", "surprised"]

[[task.datasets]]
dataset = "casme2"
classes = {happiness = "happy", surprise = "surprised"}
expected = {happy = 6, surprised = 6}
expected_subjects = 3

[split]
kind = "loso"
"""

# The model of the tests: MADV-Net without all that takes time.
MODEL: dict[str, Any] = {
    "stem_width": 4, "stem_kernel": [1, 3, 3], "dims": [8, 8, 8], "head_dim": 8, "depths": [1, 1, 1],
    "strides": [4, 1, 1], "mlp_ratio": 1, "au_width": 8,
}  # fmt: skip

# The same for all commands, as a file for --config.
CONFIG = """
frames = 8
size = 32
seeds = [0, 1]

[optimisation]
epochs = 3
warmup_epochs = 1
batch_size = 4
lr = 1e-3

[model_options]
""" + "".join(f"{name} = {value}\n" for name, value in MODEL.items())


def small_store(
    path: Path,
    *,
    dataset: str = "casme2",
    subjects: int = 3,
    clips: int = 4,
    depth: bool = True,
    redrawn: Mapping[str, int] | None = None,
    damage: Mapping[str, float] | None = None,
    **columns: Any,
) -> Store:
    """A complete store of ``dataset/subNN/<emotion><number>``, its clips 5 to 8 frames long.

    Args:
        path: where to write it.
        dataset: first part of the keys.
        subjects: people.
        clips: of each, the classes in turn.
        depth: with depth.
        redrawn: key -> number of another drawing of its pixels.
        damage: key -> a value that its depth holds in one pixel.
        **columns: fields of the manifest's action units.
    """
    keys = sorted(
        f"{dataset}/sub{subject:02d}/{CLASSES[clip % 2]}{clip}"
        for subject in range(1, subjects + 1)
        for clip in range(clips)
    )
    manifest = bare_manifest(
        dataset, units=UNITS, config={"size": SIZE, "depth": "mesh" if depth else "none"}, action_units=columns
    )
    clips = (_drawn(key, depth, (redrawn or {}).get(key, 0), (damage or {}).get(key)) for key in keys)
    return build_store(path, clips, manifest, clip_count=len(keys), frames=8)


def relabelled(store: Store, path: Path, labels: Mapping[str, Emotion]) -> Store:
    """A copy of a store in which some clips have another emotion."""
    shutil.copytree(store.path, path)
    clips = tuple(
        entry.model_copy(update={"label": Label(emotion=labels.get(entry.key, entry.label.emotion))})
        for entry in store.manifest.clips
    )
    edited = store.manifest.model_copy(update={"clips": clips}).sealed()
    (path / MANIFEST_NAME).write_text(edited.model_dump_json(exclude_defaults=True))
    return Store.open(path)


def small_smic(folder: Path) -> Store:
    """Two other people with SMIC's three classes, ``smic.zarr``."""
    raw = small_store(folder / "raw.zarr", dataset="smic-hs", subjects=2, clips=3)
    emotions: tuple[Emotion, ...] = ("negative", "positive", "surprise")
    labels = {key: emotions[index % 3] for index, key in enumerate(raw.manifest.index)}
    return relabelled(raw, folder / "smic.zarr", labels)


def _drawn(key: str, depth: bool, drawing: int, damage: float | None) -> DrawnClip:
    emotion = next(name for name in CLASSES if key.split("/")[-1].startswith(name))
    random = np.random.default_rng([drawing, *key.encode()])
    n_frames = int(random.integers(5, 9))
    apex = n_frames // 2
    texture = _texture(emotion, n_frames, apex, random)
    values: dict[str, NDArray[Any]] = {"texture": texture}
    if depth:
        values["depth"] = (texture[..., 0] / 255 + 0.5).astype(np.float16)
        if damage is not None:
            values["depth"][apex, 50, 50] = damage
    entry = ClipEntry(
        key=key, status="ok", label=Label(emotion=emotion), fps=200.0, onset=10, apex=10 + apex, offset=9 + n_frames,
        n_frames=n_frames,
    )  # fmt: skip
    au = np.stack([np.zeros(len(UNITS)), random.uniform(0, 1, len(UNITS))])
    return entry, values, columns_of(n_frames, apex, au)


def _texture(emotion: Emotion, n_frames: int, apex: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A still face of large blocks; happiness brightens its lower half towards the apex, surprise its upper."""
    face = np.kron(random.uniform(60, 160, (7, 7, 3)), np.ones((16, 16, 1)))
    strength = 1 - np.abs(np.arange(n_frames) - apex) / n_frames
    half = (np.arange(SIZE) >= SIZE // 2) == (emotion == "happiness")
    return (face + 60 * strength[:, None, None, None] * half[:, None, None]).astype(np.uint8)
