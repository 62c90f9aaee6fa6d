"""What is asked of a stranger's store before, and after, its bytes are taken."""

import json
import re
import shutil
from pathlib import Path

from pipeline.inspect.verification import manifest_problems
from schemas.errors import ManifestInvalidError, StoreDamagedError, StoreWriteError
from schemas.layout import SPECS
from schemas.manifest import Manifest
from schemas.store.format import array_metadata
from schemas.store.reader import Store

_METADATA = re.compile(r"(?:(?P<array>[a-z_]+)/)?zarr\.json")
_CHUNK = re.compile(r"(?P<array>[a-z_]+)/c(?:/(?:0|[1-9][0-9]{0,8})){1,5}")
_ROOM = 0.02  # of the free space that a pull leaves


def refuse_foreign(store: Store) -> None:
    """Refuse a manifest that mer has not written, before anything that it lists is fetched.

    Raises:
        ManifestInvalidError: it contradicts itself, or lists what is no file of a store.
    """
    for problem in manifest_problems(store.manifest):
        raise ManifestInvalidError(f"{store.path}: {problem.path}: {problem.message}; nothing was fetched")
    objects, arrays = store.manifest.objects, set(store.manifest.arrays)
    required = {"zarr.json", *(f"{name}/zarr.json" for name in arrays)}
    for name in sorted(objects):
        if not _is_of_arrays(name, arrays):
            raise ManifestInvalidError(
                f"{store.path}: the manifest lists {name!r}, no file of a store; nothing was fetched"
            )
    if missing := required - objects.keys():
        raise ManifestInvalidError(f"{store.path}: the manifest lists no {min(missing)}; nothing was fetched")


def refuse_metadata(place: Store, folder: Path) -> None:
    """Refuse fetched arrays that are not exactly what mer writes; nothing of them has been decoded yet.

    Args:
        place: the store that they are from.
        folder: where they have been fetched to.

    Raises:
        StoreDamagedError: naming what differs.
    """
    described = array_metadata(place.path, (folder / "zarr.json").read_bytes(), place.manifest)
    for name, expected in described.items():
        try:
            found = json.loads((folder / name / "zarr.json").read_bytes())
        except (ValueError, RecursionError):
            found = None
        if found != expected:
            raise StoreDamagedError(f"{place.path}: {name}/zarr.json is not what zarr.json says of {name}: refused")


def refuse_too_large(place: Store, folder: Path, size: int) -> None:
    """Refuse what the disk has no room for.

    Raises:
        StoreWriteError: with both figures.
    """
    free = shutil.disk_usage(folder).free
    if size > free * (1 - _ROOM):
        raise StoreWriteError(
            f"{folder}: {size} bytes of {place.path} are to come, {free} are free: free some space, "
            "or read the store where it is"
        )


def same_clips(mine: Manifest, theirs: Manifest) -> bool:
    """Whether two stores may be versions of one: they share a clip, or one of them has none."""
    return not mine.index.keys().isdisjoint(theirs.index) or not mine.clips or not theirs.clips


def _is_of_arrays(name: str, arrays: set[str]) -> bool:
    if metadata := _METADATA.fullmatch(name):
        return metadata["array"] is None or metadata["array"] in arrays
    chunk = _CHUNK.fullmatch(name)
    return chunk is not None and chunk["array"] in arrays and not SPECS[chunk["array"]].per_clip
