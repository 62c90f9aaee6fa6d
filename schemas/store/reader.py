"""Read a store: the manifest first, arrays only when asked for."""

import gc
import hashlib
import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from schemas.errors import (
    ClipNotFoundError,
    ManifestInvalidError,
    ManifestMissingError,
    MerError,
    StoreDamagedError,
    StoreError,
    StoreVersionError,
)
from schemas.layout import PHASES, SPECS, ClipArrayName, object_path
from schemas.manifest import FORMAT_VERSION, MANIFEST_NAME, ClipEntry, Manifest, StoredObject
from schemas.store.files import BLOCK, StoreFiles, is_strangers, open_files, read_file
from schemas.store.format import array_metadata
from schemas.store.location import StoreLocation, StoreUrl, located
from schemas.store.object_cache import Streamed
from schemas.store.remote_zip import remote_files
from schemas.strict_json import strict_json

JOURNAL_NAME = "journal.jsonl"

_LARGE_MANIFEST = 16 * 2**20  # bytes; some 20,000 clips


@dataclass(frozen=True)
class Store:
    """A complete store: a folder or the zip file that ``mer pack`` made of one, on this machine or at a URL.

    Open it with ``Store.open``; nothing is read before it is asked for.

    Reading never crashes the process: every chunk ends in a checksum, and a damaged or missing object
    raises ``StoreDamagedError`` naming clip and array. What is read from a URL is kept on this machine
    (``schemas.store.object_cache``), and checked against the manifest's hashes before it is decoded.
    """

    path: StoreLocation
    manifest: Manifest

    @classmethod
    def open(cls, path: StoreLocation | str) -> "Store":
        """Open a complete store; a text may be a path or a URL.

        Raises:
            StoreError: a zip file that ``mer pack`` has not made.
            ManifestMissingError: no store there, or its run has not finished.
            ManifestInvalidError: the manifest is damaged or edited beyond its schema.
            StoreVersionError: written by a newer version of the format.
            TransferError: a URL that does not answer.
        """
        place = located(path)
        return cls(place, read_manifest(place))

    @cached_property
    def files(self) -> StoreFiles:
        """Its files, wherever they lie; everything that reads a store reads through these or ``group``."""
        if isinstance(self.path, StoreUrl):
            return Streamed(remote_files(self.path, self.manifest.all_objects()))
        return open_files(self.path)

    @cached_property
    def group(self) -> zarr.Group:
        """The Zarr group; its arrays are described in ``schemas.layout``."""
        if is_strangers(self.path):
            array_metadata(self.path, self.object_bytes("zarr.json", self._listed("zarr.json")), self.manifest)
        try:
            return zarr.open_group(self.files.for_zarr(), mode="r")
        except Exception as error:  # whatever Zarr makes of damaged metadata
            raise self._damaged("the Zarr group", error) from error

    def array(self, name: str) -> zarr.Array[Any]:
        """One array of the group.

        Raises:
            StoreDamagedError: it is missing, or its metadata is damaged.
        """
        try:
            found = self.group[name]
        except MerError:
            raise
        except Exception as error:  # whatever Zarr makes of damaged metadata
            raise self._damaged(f"the array {name!r}", error) from error
        if not isinstance(found, zarr.Array):
            raise self._damaged(f"the array {name!r}", "it is a group")
        return found

    def entry(self, key: str) -> ClipEntry:
        """The manifest's entry of a clip.

        Raises:
            ClipNotFoundError: no such clip in this store.
        """
        return self.manifest.clips[self._index(key)]

    def texture(self, key: str) -> NDArray[np.uint8]:
        """``(T, S, S, 3) uint8`` RGB."""
        return self.clip_array("texture", key)

    def depth(self, key: str) -> NDArray[np.float16]:
        """``(T, S, S) float16``, larger is nearer, normalised once a clip."""
        return self.clip_array("depth", key)

    def action_units(self, key: str) -> NDArray[np.float32]:
        """``(2, A) float32``: onset and apex, in the order of ``manifest.action_units.names``."""
        self._good(key)
        shape = (len(PHASES), len(self.manifest.action_units.names))
        return self._read("au", self._index(key), key, self._column_objects("au"), shape)

    def column(self, name: str) -> NDArray[Any]:
        """A whole column, one row a clip in the order of ``manifest.clips``."""
        return self._read(name, ..., "all clips", self._column_objects(name))

    def object_bytes(self, name: str, expected: StoredObject) -> bytes:
        """One file of the store as it is, checked against what the manifest says of it; raises as ``object_blocks``."""
        return b"".join(self.object_blocks(name, expected))

    def object_blocks(self, name: str, expected: StoredObject) -> Iterator[bytes]:
        """The same piece by piece; that they are the right ones shows when the last has come.

        Raises:
            StoreDamagedError: it is missing, or has not the size or hash that was written.
        """
        digest = hashlib.sha256()
        if (found := self.files.size(name)) != expected["bytes"]:
            missing = "it is missing" if found is None else f"it has {found} bytes, expected {expected['bytes']}"
            raise self._damaged(name, missing)
        try:
            with self.files.open(name) as file:
                while block := file.read(BLOCK):
                    digest.update(block)
                    yield block
        except (OSError, BadZipFile) as error:
            raise self._damaged(name, error) from error
        if digest.hexdigest() != expected["sha256"]:
            raise self._damaged(name, "its bytes are not those that were written")

    def _listed(self, name: str) -> StoredObject:
        if (stored := self.manifest.objects.get(name)) is None:
            raise self._damaged(name, "the manifest does not list it")
        return stored

    def _index(self, key: str) -> int:
        index = self.manifest.index.get(key)
        if index is None:
            near = [known for known in self.manifest.index if known.endswith("/" + key.split("/")[-1])]
            hint = f"; did you mean {near[0]}?" if near else f"; `mer inspect {self.path}` lists what there is"
            raise ClipNotFoundError(f"{self.path}: no clip {key!r}{hint}")
        return index

    def clip_array(self, name: ClipArrayName, key: str) -> NDArray[Any]:
        """One clip's part of a clip array, ``(T, ...)``.

        Raises:
            ClipNotFoundError: no such clip in this store.
            StoreError: the clip failed, or the store was made without this array.
            StoreDamagedError: the object is missing, of another size than was written, or does not decode.
        """
        entry, index = self._good(key), self._index(key)
        if name not in entry.objects:
            how = "shared" if name in self.manifest.left_out else "made"
            raise StoreError(f"{self.path} was {how} without {name}")
        objects = {object_path(name, index): entry.objects[name]}
        lengths = {"y": self.manifest.provenance.config.size, "x": self.manifest.provenance.config.size, "rgb": 3,
                   "action_unit": len(self.manifest.action_units.names)}  # fmt: skip
        shape = (entry.n_frames, *(lengths[dim] for dim in SPECS[name].dims[2:]))
        return self._read(name, (index, slice(0, entry.n_frames)), key, objects, shape)

    def bring(self, key: str, names: Container[str]) -> None:
        """Have a clip's part of clip arrays on this machine before it is asked for.

        Raises:
            StoreDamagedError: the bytes at the URL are not those that the manifest lists.
            TransferError: they do not come.
        """
        if isinstance(self.path, StoreUrl):
            for name in self.entry(key).objects:
                if name in names:
                    self.files.size(object_path(name, self._index(key)))

    def _good(self, key: str) -> ClipEntry:
        """The entry of a clip that did not fail."""
        entry = self.entry(key)
        if entry.failure is not None:
            raise StoreError(f"{key} is not in the store: it failed ({entry.failure.stage}): {entry.failure.message}")
        return entry

    def _column_objects(self, name: str) -> dict[str, StoredObject]:
        return {path: stored for path, stored in self.manifest.objects.items() if path.startswith(f"{name}/c/")}

    def _read(
        self,
        name: str,
        selection: Any,
        key: str,
        objects: dict[str, StoredObject],
        shape: tuple[int, ...] | None = None,
    ) -> NDArray[Any]:
        """Part of an array; its objects are looked at first, since Zarr reads a missing one as fill values."""
        what = f"{name} of {key}"
        array = self.array(name)
        if not objects:
            raise self._damaged(what, "the manifest lists no object of it")
        for path, stored in objects.items():
            if (found := self.files.size(path)) is None:
                raise self._damaged(what, f"{path} is missing")
            if found != stored["bytes"]:
                raise self._damaged(what, f"{path} has {found} bytes, expected {stored['bytes']}")
        try:
            value = np.asarray(array[selection])
        except Exception as error:  # whatever a codec makes of damaged bytes
            raise self._damaged(what, error) from error
        if shape is not None and value.shape != shape:
            raise self._damaged(what, f"it decodes to {value.shape}, expected {shape}")
        return value

    def _damaged(self, what: str, why: Exception | str) -> StoreDamagedError:
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        return StoreDamagedError(
            f"{self.path}: {what} cannot be read ({reason}); `mer verify {self.path}` lists all that is damaged: "
            "copy the store again, or preprocess again with --overwrite"
        )


def read_manifest(place: StoreLocation) -> Manifest:
    """Read and validate ``manifest.json`` of a store; raises as ``Store.open`` does."""
    try:
        text = read_file(place, MANIFEST_NAME)
    except ManifestMissingError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        if missing and isinstance(place, Path) and (place / JOURNAL_NAME).is_file():
            raise ManifestMissingError(
                f"{place}: this run has not finished (no {MANIFEST_NAME} yet); "
                "type the same `mer preprocess` command again to go on"
            ) from error
        raise
    return parsed_manifest(place, text)


def parsed_manifest(place: StoreLocation, text: bytes) -> Manifest:
    """The manifest in the text of a ``manifest.json``; one from a URL or a zip file is taken for a stranger's.

    Raises:
        ManifestInvalidError: it is none.
        StoreVersionError: written by a newer version of the format.
    """
    file = f"{place}/{MANIFEST_NAME}"
    if is_strangers(place):
        try:
            strict_json(text)
        except ValueError as error:
            raise ManifestInvalidError(f"{file}: not a manifest: {error}; ask whoever made the store") from error
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


def _check_version(file: str, text: bytes) -> None:
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
