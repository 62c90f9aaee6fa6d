"""Read a store: the manifest first, arrays only when asked for."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import (
    ClipNotFoundError,
    ManifestInvalidError,
    ManifestMissingError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
)
from schemas.manifest import FORMAT_VERSION, MANIFEST_NAME, ClipEntry, Manifest

JOURNAL_NAME = "journal.jsonl"

_LARGE_MANIFEST = 16 * 2**20  # bytes; some 20,000 clips


@dataclass(frozen=True)
class Store:
    """A complete store on disk. Open it with ``Store.open``; nothing is read before it is asked for.

    Reading never crashes the process: every chunk ends in a checksum, and a damaged or missing object
    raises ``StoreDamagedError`` naming clip and array.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open a complete store.

        Raises:
            ManifestMissingError: no store there, or its run has not finished.
            ManifestInvalidError: the manifest is damaged or edited beyond its schema.
            StoreVersionError: written by a newer version of the format.
        """
        return cls(path, read_manifest(path))

    @cached_property
    def group(self) -> zarr.Group:
        """The Zarr group; its arrays are described in ``schemas.layout``."""
        try:
            return zarr.open_group(self.path, mode="r")
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise StoreDamagedError(
                f"{self.path}: no readable Zarr group ({error}); run `mer verify {self.path}`"
            ) from error

    def array(self, name: str) -> zarr.Array[Any]:
        """One array of the group."""
        try:
            found = self.group[name]
        except (KeyError, FileNotFoundError, ValueError) as error:
            raise StoreDamagedError(
                f"{self.path}: array {name!r} is missing or its metadata is damaged ({error})"
            ) from error
        if not isinstance(found, zarr.Array):
            raise StoreDamagedError(f"{self.path}: {name!r} is not an array")
        return found

    def entry(self, key: str) -> ClipEntry:
        """The manifest's entry of a clip.

        Raises:
            ClipNotFoundError: no such clip in this store.
        """
        return self.manifest.clips[self._index(key)]

    def texture(self, key: str) -> NDArray[np.uint8]:
        """``(T, S, S, 3) uint8`` RGB."""
        texture: NDArray[np.uint8] = self.clip_array("texture", key)
        return texture

    def depth(self, key: str) -> NDArray[np.float16]:
        """``(T, S, S) float16``, larger is nearer, normalised once a clip."""
        depth: NDArray[np.float16] = self.clip_array("depth", key)
        return depth

    def action_units(self, key: str) -> NDArray[np.float32]:
        """``(2, A) float32``: onset and apex, in the order of ``manifest.action_units.names``."""
        au: NDArray[np.float32] = self._read("au", self._index(key), key)
        return au

    def column(self, name: str) -> NDArray[Any]:
        """A whole column, one row a clip in the order of ``manifest.clips``."""
        return np.asarray(self._read(name, ..., "all clips"))

    def _index(self, key: str) -> int:
        index = self.manifest.index.get(key)
        if index is None:
            near = [known for known in self.manifest.index if known.endswith("/" + key.split("/")[-1])]
            hint = f"; did you mean {near[0]}?" if near else f"; `mer inspect {self.path}` lists what there is"
            raise ClipNotFoundError(f"{self.path}: no clip {key!r}{hint}")
        return index

    def clip_array(self, name: str, key: str) -> Any:
        """One clip's part of a clip array, ``(T, ...)``."""
        index = self._index(key)
        entry = self.manifest.clips[index]
        if entry.failure is not None:
            raise StoreError(f"{key} failed at stage {entry.failure.stage}: {entry.failure.message}")
        if name not in entry.objects:
            raise StoreError(f"{self.path} was made without {name}")
        return self._read(name, (index, slice(0, entry.n_frames)), key)

    def _read(self, name: str, selection: Any, key: str) -> Any:
        try:
            return self.array(name)[selection]
        except StoreError:
            raise
        except Exception as error:  # whatever a codec makes of damaged bytes
            raise StoreDamagedError(
                f"{self.path}: {name} of {key} does not decode ({type(error).__name__}: {error}); "
                f"run `mer verify {self.path}`"
            ) from error


def read_manifest(path: Path) -> Manifest:
    """Read and validate ``manifest.json`` of a store; raises as ``Store.open`` does."""
    file = path / MANIFEST_NAME
    try:
        text = file.read_bytes()
    except NotADirectoryError as error:
        raise ManifestMissingError(f"{path}: not a folder; expected a store made by `mer preprocess`") from error
    except FileNotFoundError as error:
        if (path / JOURNAL_NAME).is_file():
            raise ManifestMissingError(
                f"{path}: this run has not finished (no {MANIFEST_NAME} yet); "
                "type the same `mer preprocess` command again to go on"
            ) from error
        raise ManifestMissingError(f"{file}: no such file; expected a store made by `mer preprocess`") from error
    with _collector_paused(len(text)):
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            _check_version(file, text)
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ManifestInvalidError(
                f"{file}: not a valid manifest: {where}: {first['msg']} ({error.error_count()} problems); "
                "it was edited or damaged: restore it, or preprocess again with --overwrite"
            ) from error


def _check_version(file: Path, text: bytes) -> None:
    try:
        found = json.loads(text)["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise StoreVersionError(
            f"{file}: store format {found}, this version of mer reads up to {FORMAT_VERSION}; upgrade mer"
        )


@contextmanager
def _collector_paused(size: int) -> Iterator[None]:
    """A manifest is up to a million small objects, none of them garbage: collecting meanwhile takes four times as long.

    The first collection after a large one would take another second; its objects are therefore frozen,
    which leaves them to reference counting.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if size > _LARGE_MANIFEST:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()
