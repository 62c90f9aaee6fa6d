"""`mer diff`: what differs between two stores, down to the label, the version and the object."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.preprocessing.finish import MEASURED, records_of
from pipeline.preprocessing.journal import ClipColumns
from schemas.differences import Differences, differing
from schemas.manifest import ClipEntry, Manifest
from schemas.store.reader import Store
from schemas.weights import Weights

DifferenceKind = Literal["config", "version", "store", "clip", "label", "array", "column"]


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        kind: of the thing; ``clip`` if only one store has it, or its annotation differs, ``array`` if bytes do.
        name: of the field, or ``clip: field``.
        mine: the first store's value.
        theirs: the second's.
    """

    kind: DifferenceKind
    name: str
    mine: Any
    theirs: Any


def diff(mine: Store, theirs: Store) -> list[Difference]:
    """All differences, none for stores of equal content.

    Pixels are compared by the hashes in the manifests: nothing is decoded but the columns.
    """
    if mine.manifest == theirs.manifest:
        return []
    found = [*_of_runs(mine.manifest, theirs.manifest), *_of_stores(mine.manifest, theirs.manifest)]
    indices = [store.manifest.index for store in (mine, theirs)]
    doubtful = sorted((indices[0].keys() ^ indices[1].keys()).union(_unequal(mine, theirs)))
    entries, columns = zip(*(_of_keys(store, doubtful) for store in (mine, theirs)), strict=True)
    for key in doubtful:
        one, other = entries[0].get(key), entries[1].get(key)
        if one is None or other is None:
            found.append(Difference("clip", key, *("absent" if e is None else e.status for e in (one, other))))
        else:
            found += _of_clips(key, one, other, columns[0].get(key), columns[1].get(key))
    return found or _of_files(mine.manifest, theirs.manifest)


def _unequal(mine: Store, theirs: Store) -> Iterator[str]:
    """Keys of the clips of both whose entries or values in the columns are not equal."""
    keys = [key for key in mine.manifest.index if key in theirs.manifest.index]
    here, there = ([store.manifest.index[key] for key in keys] for store in (mine, theirs))
    unequal = np.zeros(len(keys), bool)
    for name in MEASURED:
        if (name in mine.manifest.arrays) != (name in theirs.manifest.arrays):
            unequal[:] = True
        elif name in mine.manifest.arrays:
            values, others = mine.column(name)[here], theirs.column(name)[there]
            if values.shape[1:] != others.shape[1:]:  # another number of action units, or the longest clip is another
                unequal[:] = True
            else:
                differ = values != others
                unequal |= differ.any(axis=tuple(range(1, differ.ndim)))
    entries = zip(map(mine.manifest.rows.__getitem__, here), map(theirs.manifest.rows.__getitem__, there), strict=True)
    for key, differs, (one, other) in zip(keys, unequal.tolist(), entries, strict=True):
        if differs or one != other:
            yield key


def _of_keys(store: Store, keys: Iterable[str]) -> tuple[dict[str, ClipEntry], dict[str, ClipColumns | None]]:
    """Entries, and the columns of those that did not fail."""
    rows = [store.manifest.index[key] for key in keys if key in store.manifest.index]
    entries = {entry.key: entry for entry in map(store.manifest.clips.__getitem__, rows)}
    return entries, {record.entry.key: record.columns for record in records_of(store, rows)}


def _of_runs(mine: Manifest, theirs: Manifest) -> Iterator[Difference]:
    """Config and versions of the runs; of merged stores, run by run in their fixed order."""
    for position in range(max(len(mine.provenances), len(theirs.provenances))):
        runs = [dict(enumerate(manifest.provenances)).get(position) for manifest in (mine, theirs)]
        of = f"run {position + 1}: " if position else ""
        for name, pair in differing(*runs).items():
            kind: DifferenceKind = "config" if name.startswith("config.") else "version"
            yield Difference(kind, f"{of}{name.removeprefix('config.')}", *map(_brief, pair))


def _of_stores(mine: Manifest, theirs: Manifest) -> Iterator[Difference]:
    for name in ("action_units", "depth"):
        yield from _listed("version", f"{name}.", differing(getattr(mine, name), getattr(theirs, name)))
    rest = {"left_out", "pseudonyms", "licences", "findings"}
    others = {name for name in Manifest.model_fields if name not in rest}
    yield from _listed("store", "", differing(mine, theirs, without=others))


def _of_clips(
    key: str, mine: ClipEntry, theirs: ClipEntry, values: ClipColumns | None, others: ClipColumns | None
) -> Iterator[Difference]:
    yield from _listed("label", f"{key}: ", differing(mine.label, theirs.label))
    yield from _listed("clip", f"{key}: ", differing(mine, theirs, without=("label", "objects", "made_by")))
    yield from _listed("column", f"{key}: ", differing(values, others))
    for array in dict.fromkeys([*mine.objects, *theirs.objects]):
        hashes = [entry.objects[array]["sha256"] if array in entry.objects else "absent" for entry in (mine, theirs)]
        if hashes[0] != hashes[1]:
            yield Difference("array", f"{key}: {array}", *hashes)


def _of_files(mine: Manifest, theirs: Manifest) -> list[Difference]:
    """Where nothing else differs: files that all clips share, and what only an edit can make differ."""
    hashes = [{name: stored["sha256"] for name, stored in manifest.objects.items()} for manifest in (mine, theirs)]
    pairs = {name: [h.get(name, "absent") for h in hashes] for name in sorted(hashes[0].keys() | hashes[1].keys())}
    found = [Difference("array", name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]
    return found or [Difference("store", "content_sha256", mine.content_sha256, theirs.content_sha256)]


def _listed(kind: DifferenceKind, prefix: str, differences: Differences) -> Iterator[Difference]:
    for name, pair in differences.items():
        yield Difference(kind, prefix + name, *pair)


def _brief(value: Any) -> Any:
    """Weights by name and hash."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"{weights.name} {weights.sha256}" for weights in map(Weights.model_validate, value)]
    return value
