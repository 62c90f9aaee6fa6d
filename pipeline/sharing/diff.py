"""`mer diff`: what differs between two stores, down to the label, the version and the object."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.preprocessing.finish import records_of
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
    entries = [{entry.key: entry for entry in store.manifest.clips} for store in (mine, theirs)]
    columns = [{record.entry.key: record.columns for record in records_of(store)} for store in (mine, theirs)]
    for key in sorted(entries[0].keys() | entries[1].keys()):
        one, other = entries[0].get(key), entries[1].get(key)
        if one is None or other is None:
            found.append(Difference("clip", key, *("absent" if e is None else e.status for e in (one, other))))
        else:
            found += _of_clips(key, one, other, columns[0].get(key), columns[1].get(key))
    return found or _of_files(mine.manifest, theirs.manifest)


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
