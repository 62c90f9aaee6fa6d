"""`mer merge`: one store out of several, nothing recompressed.

A merged store is a set of clips, so it does not matter which store is named first, which are merged first, or how
often a clip comes: dividing a store and merging its parts gives the store itself, to the byte.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.sharing.clip_copies import Part, assemble, canonical, frames_of, parts_of
from schemas.clip import Finding
from schemas.differences import Differences, differing, listed
from schemas.errors import StoreError
from schemas.manifest import Manifest
from schemas.store.reader import Store

_SELECTION = {"dataset", "subjects", "clips", "limit"}  # fields of a config that say which clips, not how
_SHOWN = 20


def merge(stores: Sequence[Store], out: Path) -> Manifest:
    """Write a store with the clips of all of them.

    Clips that several have must be equal: labels, values and bytes. Runs that differ in their versions or device are
    kept apart in the manifest; of equal clips the run is named that comes first in an order of its own.

    Args:
        stores: made with the same config, but for the choice of clips; datasets may differ.
        out: where nothing may be yet.

    Raises:
        StoreError: they were made in ways that do not go together, or have clips that differ; all are listed.
        StoreDamagedError: an object is not what its manifest says.
    """
    for store in stores[1:]:
        _refuse_incompatible(stores[0], store)
    frames = max(map(frames_of, stores))
    manifests = [store.manifest for store in stores]
    parts = _united([part for store in stores for part in parts_of(store)], frames)
    licences = {licence.model_dump_json(): licence for manifest in manifests for licence in manifest.licences}
    template = manifests[0].model_copy(
        update={
            "findings": _all_findings(manifests),
            "licences": tuple(licences[text] for text in sorted(licences)),
            "synthetic": any(manifest.synthetic for manifest in manifests),
            "clips": (),
            "objects": {},
        }
    )
    return assemble(out, parts, template, frames=frames)


def _united(parts: Iterable[Part], frames: int) -> list[Part]:
    united: dict[str, Part] = {}
    conflicts = []
    for part in parts:
        other = united.setdefault(part.entry.key, part)
        if differences := _clip_differences(other, part, frames):
            conflicts.append(f"  {part.entry.key}: {listed(differences)} ({other.store.path} / {part.store.path})")
        elif canonical(part.provenance) < canonical(other.provenance):
            united[part.entry.key] = part
    if conflicts:
        more = f"\n  and {len(conflicts) - _SHOWN} more" if len(conflicts) > _SHOWN else ""
        raise StoreError(
            f"{len(conflicts)} clips are in several stores and differ:\n" + "\n".join(conflicts[:_SHOWN]) + more + "\n"
            "choose for each of them one store: `mer subset STORE --where ...` leaves clips out"
        )
    return list(united.values())


def _clip_differences(mine: Part, theirs: Part, frames: int) -> Differences:
    if mine is theirs:
        return {}
    found = differing(mine.entry, theirs.entry, without=("made_by", "objects"))
    found |= {f"columns.{name}": pair for name, pair in differing(mine.columns, theirs.columns).items()}
    if mine.entry.objects.keys() == theirs.entry.objects.keys():
        bytes_here, bytes_there = mine.objects(frames), theirs.objects(frames)
        for name, stored in bytes_here.items():
            if stored != bytes_there[name]:
                found[name] = (stored["sha256"][:12], bytes_there[name]["sha256"][:12])
    return found


def _refuse_incompatible(first: Store, store: Store) -> None:
    mine, theirs = first.manifest, store.manifest
    found: Differences = {}
    for run in mine.provenances:
        for other in theirs.provenances:
            found |= {f"config.{n}": p for n, p in differing(run.config, other.config, without=_SELECTION).items()}
            if run.weights != other.weights:
                found["weights"] = tuple([weights.sha256[:12] for weights in one.weights] for one in (run, other))  # type: ignore[assignment]
    for name in ("action_units", "depth"):
        found |= {f"{name}.{n}": p for n, p in differing(getattr(mine, name), getattr(theirs, name)).items()}
    for name in ("left_out", "pseudonyms"):
        if getattr(mine, name) != getattr(theirs, name):
            found[name] = (getattr(mine, name), getattr(theirs, name))
    if found:
        raise StoreError(
            f"{first.path} and {store.path} do not go together: {listed(found)}; preprocess both in the same way"
        )


def _all_findings(manifests: Sequence[Manifest]) -> tuple[Finding, ...]:
    """As they are where all say the same, which keeps the order of the scan; otherwise each once, sorted."""
    if len({manifest.findings for manifest in manifests}) == 1:
        return manifests[0].findings
    united = {finding.model_dump_json(): finding for manifest in manifests for finding in manifest.findings}
    return tuple(united[text] for text in sorted(united))
