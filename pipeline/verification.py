"""`mer verify`: is every byte of a store what its manifest says, and does it decode?"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.store_arrays import stored_object
from schemas.errors import StoreDamagedError
from schemas.layout import NO_FRAME, SPECS, array_names
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.store import Store

ProblemKind = Literal["missing", "size", "hash", "unexpected", "manifest", "array", "decode", "value"]

_THREADS = 8  # hashing releases the GIL and waits for the disk


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store; ``path`` is relative to it."""

    kind: ProblemKind
    path: str
    message: str


def verify(store: Store, *, deep: bool = False, progress: Callable[[int, int], None] | None = None) -> list[Problem]:
    """All problems of a store, none if it is sound.

    Always: the manifest against itself, the arrays against the manifest, every object's presence, size and
    hash, and files that nothing accounts for. ``deep`` also decodes every clip and looks at the values.

    Args:
        store: opened already, so a manifest that cannot be read has raised.
        deep: decode everything.
        progress: called with (checked, total) objects.
    """
    problems = [*_manifest_problems(store.manifest), *_object_problems(store, progress), *_array_problems(store)]
    if deep:
        problems += _value_problems(store)
    return problems


def _manifest_problems(manifest: Manifest) -> Iterator[Problem]:
    """What an edit by hand leaves inconsistent."""
    found = manifest.provenance.config.sha256
    if found != manifest.config_sha256:
        message = f"config_sha256 is {manifest.config_sha256}, the config's is {found}: the config was edited"
        yield Problem("manifest", MANIFEST_NAME, message)
    if len(manifest.index) != len(manifest.clips):
        yield Problem("manifest", MANIFEST_NAME, "two clips have the same key")
    expected = {name for name in _names(manifest) if SPECS[name].per_clip}
    for entry in manifest.clips:
        if (entry.status == "failed") != (entry.failure is not None):
            yield Problem("manifest", MANIFEST_NAME, f"{entry.key}: status {entry.status} contradicts its failure")
        if set(entry.objects) != (expected if entry.status == "ok" else set()):
            listed = ", ".join(sorted(entry.objects)) or "none"
            yield Problem("manifest", MANIFEST_NAME, f"{entry.key}: lists the arrays {listed}")


def _object_problems(store: Store, progress: Callable[[int, int], None] | None) -> Iterator[Problem]:
    objects = store.manifest.all_objects()

    def check(item: tuple[str, StoredObject]) -> Problem | None:
        return _object_problem(store.path, *item)

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, problem in enumerate(pool.map(check, objects.items()), 1):
            if progress is not None:
                progress(done, len(objects))
            if problem is not None:
                yield problem
    known = {*objects, MANIFEST_NAME}
    for file in sorted(store.path.rglob("*")):
        name = file.relative_to(store.path).as_posix()
        if (file.is_file() or file.is_symlink()) and name not in known:
            yield Problem("unexpected", name, "belongs to no clip or array of the manifest")


def _object_problem(root: Path, name: str, expected: StoredObject) -> Problem | None:
    file = root / name
    if file.is_symlink() or not file.is_file():
        return Problem("missing", name, f"expected a file of {expected['bytes']} bytes")
    try:
        found = stored_object(file)
    except OSError as error:
        return Problem("missing", name, f"cannot be read: {error.strerror}")
    if found["bytes"] != expected["bytes"]:
        return Problem("size", name, f"expected {expected['bytes']} bytes, found {found['bytes']}")
    if found["sha256"] != expected["sha256"]:
        return Problem("hash", name, f"expected sha256 {expected['sha256']}, found {found['sha256']}")
    return None


def _array_problems(store: Store) -> Iterator[Problem]:
    """Arrays against manifest: there, of the right type and dimensions, one row a clip."""
    manifest, lengths = store.manifest, {}
    for name in _names(manifest):
        spec = SPECS[name]
        try:
            array = store.array(name)
        except StoreDamagedError as error:
            yield Problem("array", name, str(error))
            continue
        metadata = array.metadata
        dims = getattr(metadata, "dimension_names", None)
        if dims != spec.dims or (spec.dtype != "str" and array.dtype != np.dtype(spec.dtype)):
            yield Problem("array", name, f"is {array.dtype} {dims}, expected {spec.dtype} {spec.dims}")
            continue
        lengths[name] = dict(zip(spec.dims, array.shape, strict=True))
    config = manifest.provenance.config
    expected = {"clip": len(manifest.clips), "x": config.size, "y": config.size, "rgb": 3,
                "phase": 2, "action_unit": len(manifest.action_units.names)}  # fmt: skip
    for name, length in lengths.items():
        for dim, value in length.items():
            if dim in expected and value != expected[dim]:
                yield Problem("array", name, f"has {value} along {dim}, the manifest says {expected[dim]}")


def _value_problems(store: Store) -> Iterator[Problem]:
    """Decode everything, and hold the values against the manifest."""
    columns = [name for name in _names(store.manifest) if not SPECS[name].per_clip]
    values: dict[str, Any] = {}
    for name in columns:
        try:
            values[name] = store.column(name)
        except StoreDamagedError as error:
            yield Problem("decode", name, str(error))
    for index, entry in enumerate(store.manifest.clips):
        for name, expected in (
            ("clip", entry.key),
            ("n_frames", entry.n_frames),
            ("emotion", entry.label.emotion or ""),
        ):
            if name in values and values[name][index] != expected:
                yield Problem("value", name, f"{entry.key}: {values[name][index]!r}, the manifest says {expected!r}")
        for array in entry.objects:
            try:
                value = store.clip_array(array, entry.key)
            except StoreDamagedError as error:
                yield Problem("decode", array, str(error))
                continue
            if len(value) != entry.n_frames or not np.isfinite(value).all():
                yield Problem("value", array, f"{entry.key}: values that are not finite, or frames missing")
        if entry.status == "ok" and {"onset_index", "apex_index", "frame_number"} <= values.keys():
            numbers = values["frame_number"][index]
            if (numbers[: entry.n_frames] == NO_FRAME).any() or (numbers[entry.n_frames :] != NO_FRAME).any():
                yield Problem("value", "frame_number", f"{entry.key}: not {entry.n_frames} frames")
            for name in ("onset_index", "apex_index"):
                if not 0 <= values[name][index] < entry.n_frames:
                    yield Problem("value", name, f"{entry.key}: {values[name][index]} lies outside the clip")


def _names(manifest: Manifest) -> tuple[str, ...]:
    config = manifest.provenance.config
    return array_names(depth=config.depth != "none", au_frames=config.au_frames == "all")
