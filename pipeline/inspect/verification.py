"""`mer verify`: is every byte of a store what its manifest says, and does it decode?"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import StoreDamagedError, StoreError
from schemas.layout import NO_FRAME, PHASES, SPECS, object_path
from schemas.manifest import MANIFEST_NAME, ClipEntry, Manifest, StoredObject
from schemas.store.files import UNREADABLE, SourceFiles, hashed
from schemas.store.reader import Store

ProblemKind = Literal["missing", "size", "hash", "unexpected", "harmless", "manifest", "array", "decode", "value"]

# What Finder, Explorer, KDE and network drives drop into folders that they show.
_DROPPED = re.compile(
    r"(.*/)?(\.DS_Store|\._[^/]*|\.localized|\.directory|Thumbs\.db|desktop\.ini|(@eaDir|__MACOSX)/.*)", re.I
)
_THREADS = 8  # hashing releases the GIL and waits for the disk
_PART = 16  # objects that a thread looks at before it asks for others


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a store; ``path`` is relative to it.

    ``harmless`` are files that a file manager drops into the folders that it shows; nothing reads them.
    """

    kind: ProblemKind
    path: str
    message: str


def verify(store: Store, *, deep: bool = False) -> list[Problem]:
    """All problems of a store, none if it is sound.

    Always: the manifest against itself, the arrays against the manifest, every object's presence, size and
    hash, and files that nothing accounts for. ``deep`` also decodes every clip and looks at the values.

    Args:
        store: opened already, so a manifest that cannot be read has raised.
        deep: decode everything.
    """
    arrays = list(_array_problems(store))
    manifest = store.manifest
    problems = [*_contract_problems(manifest), *manifest_problems(manifest), *_object_problems(store), *arrays]
    if deep:
        problems += _value_problems(store, left_out={problem.path for problem in arrays})
    return problems


def _contract_problems(manifest: Manifest) -> Iterator[Problem]:
    """What Pydantic has to say of clips that were read as rows, with the same types and bounds, when it was opened."""
    try:
        for _ in manifest.clips:  # each is validated when it is made
            pass
    except ValidationError as error:
        yield Problem("manifest", MANIFEST_NAME, str(error))


def manifest_problems(manifest: Manifest) -> Iterator[Problem]:
    """What an edit by hand leaves inconsistent in a manifest."""
    messages = []
    if manifest.content_sha256 != (content := manifest.expected_sha256()):
        messages.append(f"content_sha256 is {manifest.content_sha256 or 'missing'}, the content's is {content}: edited")
    if manifest.config_sha256 != (config := manifest.provenance.config.sha256):
        messages.append(f"config_sha256 is {manifest.config_sha256}, the config's is {config}: the config was edited")
    if len(manifest.index) != len(manifest.clips):
        messages.append("two clips have the same key")
    names = manifest.arrays
    for path in manifest.objects:
        if path != "zarr.json" and (path.split("/")[0] not in names or ".." in path.split("/")):
            messages.append(f"lists {path}, which belongs to none of its arrays")
    expected = {name for name in names if SPECS[name].per_clip}
    for entry in manifest.rows:
        if (entry.status == "failed") != (entry.failure is not None):
            messages.append(f"{entry.key}: status {entry.status} contradicts its failure")
        if set(entry.objects) != (expected if entry.status == "ok" else set()):
            messages.append(f"{entry.key}: {entry.status}, and lists the arrays {', '.join(entry.objects) or 'none'}")
    return (Problem("manifest", MANIFEST_NAME, message) for message in messages)


def _object_problems(store: Store) -> Iterator[Problem]:
    objects, files = store.manifest.all_objects(), store.files.at_source()

    def check(items: Sequence[tuple[str, StoredObject]]) -> list[Problem]:
        return [problem for item in items if (problem := _object_problem(files, *item)) is not None]

    listed = list(objects.items())
    parts = [listed[start : start + _PART] for start in range(0, len(listed), _PART)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for problems in pool.map(check, parts):
            yield from problems
    known = {*objects, MANIFEST_NAME}
    for name in files.names():
        if name not in known:
            kind: ProblemKind = "harmless" if _DROPPED.fullmatch(name) else "unexpected"
            yield Problem(kind, name, "belongs to no clip or array of the manifest")


def _object_problem(files: SourceFiles, name: str, expected: StoredObject) -> Problem | None:
    kind = files.kind(name)
    if kind != "file":
        found = {"link": "a link", "folder": "a folder"}.get(kind, "nothing")
        return Problem("missing", name, f"expected a file of {expected['bytes']} bytes, found {found}")
    try:
        with files.open(name) as stream:
            stored = hashed(stream)
    except OSError as error:
        return Problem("missing", name, f"cannot be read: {error.strerror or error}")
    except UNREADABLE as error:
        return Problem("hash", name, f"cannot be read: {type(error).__name__}: {error}")
    if stored["bytes"] != expected["bytes"]:
        return Problem("size", name, f"expected {expected['bytes']} bytes, found {stored['bytes']}")
    if stored["sha256"] != expected["sha256"]:
        return Problem("hash", name, f"expected sha256 {expected['sha256']}, found {stored['sha256']}")
    return None


def _array_problems(store: Store) -> Iterator[Problem]:
    """Arrays against manifest: there, of the right type and dimensions, one row a clip."""
    manifest = store.manifest
    config = manifest.provenance.config
    lengths = {"clip": len(manifest.clips), "x": config.size, "y": config.size, "rgb": 3, "phase": 2, "row": 2,
               "column": 3, "action_unit": len(manifest.action_units.names)}  # fmt: skip
    longest = max((entry.n_frames for entry in manifest.rows), default=0)
    for name in manifest.arrays:
        spec = SPECS[name]
        try:
            array = store.array(name)
        except StoreDamagedError as error:
            yield Problem("array", name, str(error))
            continue
        dims = getattr(array.metadata, "dimension_names", None)
        if dims != spec.dims or (spec.dtype != "str" and array.dtype != np.dtype(spec.dtype)):
            yield Problem("array", name, f"is {array.dtype} {dims}, expected {spec.dtype} {spec.dims}")
            continue
        if not any(path.startswith(f"{name}/c/") for path in manifest.objects) and not spec.per_clip:
            yield Problem("array", name, "the manifest lists no object of it")
        for dim, length in zip(spec.dims, array.shape, strict=True):
            if length != lengths.get(dim, length):
                yield Problem("array", name, f"has {length} along {dim}, the manifest says {lengths[dim]}")
            elif dim == "frame" and length < longest:
                yield Problem("array", name, f"has {length} along {dim}, the longest clip {longest}")


def _value_problems(store: Store, left_out: set[str]) -> Iterator[Problem]:
    """Decode everything, and hold the values against the manifest and against reason; broken arrays are left out."""
    manifest, columns = store.manifest, dict[str, NDArray[Any]]()
    for name in manifest.arrays:
        if not SPECS[name].per_clip and name not in left_out:
            try:
                columns[name] = store.column(name)
            except StoreDamagedError as error:
                yield Problem("decode", name, str(error))
    for name, expected in (("phase", PHASES), ("action_unit", manifest.action_units.names)):
        if name in columns and columns[name].tolist() != list(expected):
            yield Problem("value", name, f"holds {columns[name].tolist()}, expected {list(expected)}")
    for index, entry in enumerate(manifest.clips):
        row = {name: column[index] for name, column in columns.items() if SPECS[name].dims[0] == "clip"}
        for name, message in _row_problems(entry, row):
            yield Problem("value", name, f"{entry.key}: {message}")
        yield from _clip_problems(store, entry, index)


def _row_problems(entry: ClipEntry, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a clip's values in the columns: column and message."""
    for name, expected in (
        ("clip", entry.key),
        ("subject", entry.key.rpartition("/")[0]),
        ("emotion", entry.label.emotion or ""),
        ("n_frames", entry.n_frames),
        ("fps", np.float32(entry.fps)),
    ):
        if name in row and row[name] != expected:
            yield name, f"{row[name]!s}, the manifest says {expected!s}"
    if "frame_number" in row:
        numbers = row["frame_number"]
        taken, rest = numbers[: entry.n_frames], numbers[entry.n_frames :]
        if (taken == NO_FRAME).any() or (np.diff(taken) <= 0).any() or (rest != NO_FRAME).any():
            yield "frame_number", f"not {entry.n_frames} rising numbers"
        if entry.status == "ok":
            yield from _phase_problems(entry, row, taken.tolist())
    if entry.status == "ok":
        for name in ("au", "transform", "depth_scale", "depth_offset"):
            if name in row and not np.isfinite(row[name]).all():
                yield name, "values that are not finite"
        if "transform" in row and not np.linalg.det(row["transform"][:, :2]) > 0:
            yield "transform", "cannot be inverted"


def _phase_problems(entry: ClipEntry, row: dict[str, Any], numbers: list[int]) -> Iterator[tuple[str, str]]:
    apex = None if entry.apex_estimated else entry.apex
    for name, annotated in (("onset_index", entry.onset), ("apex_index", apex)):
        if name not in row:
            continue
        position = int(row[name])
        if not 0 <= position < len(numbers):
            yield name, f"{position} lies outside the clip"
        elif annotated in numbers and numbers[position] != annotated:
            yield name, f"frame {numbers[position]}, the manifest says {annotated}"


def _clip_problems(store: Store, entry: ClipEntry, index: int) -> Iterator[Problem]:
    """What is wrong with a clip's objects once they are decoded."""
    if entry.status != "ok":
        return
    for array in entry.objects:
        path = object_path(array, index)
        try:
            value = store.clip_array(array, entry.key)
        except StoreError as error:
            yield Problem("decode", path, str(error))
            continue
        if not np.isfinite(value).all():
            yield Problem("value", path, f"{entry.key}: values that are not finite")
        elif array == "depth" and (empty := np.flatnonzero(~value.any((1, 2)))).size:
            yield Problem("value", path, f"{entry.key}: no depth on frames {', '.join(map(str, empty))} of the clip")
