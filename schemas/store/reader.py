"""Read a store: the manifest first, arrays only when asked for."""

import errno
import hashlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from schemas.errors import (
    ClipNotFoundError,
    MerError,
    StoreDamagedError,
    StoreError,
)
from schemas.layout import PHASES, SPECS, ClipArrayName, object_path
from schemas.manifest import ClipEntry, Manifest, StoredObject
from schemas.store.cache import CachedFiles
from schemas.store.files import BLOCK, UNREADABLE, StoreFiles, open_files
from schemas.store.format import array_metadata
from schemas.store.location import StoreLocation, StoreUrl, located
from schemas.store.manifest_file import read_manifest
from schemas.store.remote import remote_files
from schemas.store.shard import ShardLayout, read_frames

_ALL = slice(None)


@dataclass(frozen=True)
class Store:
    """A complete store: a folder or the zip file that ``mer pack`` made of one, on this machine or at a URL.

    Open it with ``Store.open``; nothing is read before it is asked for.

    Reading never crashes the process: every chunk ends in a checksum, and a damaged or missing object
    raises ``StoreDamagedError`` naming clip and array. What is read from a URL is cached
    (``schemas.store.cache``), and checked against the manifest's hashes before it is decoded.
    """

    path: StoreLocation
    manifest: Manifest

    @classmethod
    def open(cls, path: StoreLocation | str, *, edited: bool = False) -> "Store":
        """Open a complete store; a text may be a path or a URL.

        Args:
            path: where it is.
            edited: also open a store whose manifest is not as it was written, to say so or to replace it.

        Raises:
            StoreError: a zip file that ``mer pack`` has not made.
            ManifestMissingError: no store there, or its run has not finished.
            ManifestInvalidError: the manifest is damaged or was edited.
            StoreVersionError: written by a newer version of the format.
            TransferError: a URL that does not answer.
        """
        place = located(path)
        return cls(place, read_manifest(place, edited=edited))

    @cached_property
    def files(self) -> StoreFiles:
        """Its files, wherever they lie; everything that reads a store reads through these or ``group``."""
        if isinstance(self.path, StoreUrl):
            return CachedFiles(remote_files(self.path, self.manifest.all_objects()))
        return open_files(self.path)

    @cached_property
    def group(self) -> zarr.Group:
        """The Zarr group; its arrays are described in ``schemas.layout``."""
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

    def column(self, name: str, rows: Sequence[int] | None = None) -> NDArray[Any]:
        """A column, one row a clip in the order of ``manifest.clips``; or these rows of it alone."""
        if rows is None:
            return self._read(name, ..., "all clips", self._column_objects(name))
        return self._read(name, np.asarray(rows, np.intp), f"{len(rows)} clips", self._column_objects(name))

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
        except UNREADABLE as error:
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

    def row(self, name: str, key: str) -> NDArray[Any]:
        """One clip's row of a column, such as ``frame_number``, without reading those of all clips."""
        return self._read(name, self._index(key), key, self._column_objects(name))

    def frame_numbers(self, key: str) -> NDArray[np.int32]:
        """``(T,) int32``: numbers of one clip's frames, as in the file names."""
        numbers: NDArray[np.int32] = self.row("frame_number", key)[: self.entry(key).n_frames]
        return numbers

    def phases(self, key: str) -> tuple[int, int]:
        """Positions of onset and apex in a clip.

        Raises:
            StoreDamagedError: they lie outside the clip.
        """
        frames = self._good(key).n_frames
        onset, apex = (int(self.row(f"{phase}_index", key)) for phase in PHASES)
        if not (0 <= onset < frames and 0 <= apex < frames):
            raise self._damaged(f"onset or apex of {key}", f"at {onset} and {apex} of {frames} frames")
        return onset, apex

    def clip_array(
        self, name: ClipArrayName, key: str, frames: slice | Sequence[int] | NDArray[np.integer] = _ALL
    ) -> NDArray[Any]:
        """One clip's part of a clip array, ``(T, ...)``.

        Args:
            name: of the array.
            key: of the clip.
            frames: positions of the frames; by default all. Only the chunks that hold them are decoded.

        Raises:
            ClipNotFoundError: no such clip in this store.
            StoreError: the clip failed, or the store was made without this array.
            StoreDamagedError: the object is missing, of another size than was written, or does not decode.
        """
        entry, index = self._good(key), self._index(key)
        if name not in entry.objects:
            how = "shared" if name in self.manifest.left_out else "made"
            raise StoreError(f"{self.path} was {how} without {name}")
        wanted = np.arange(entry.n_frames)[frames]
        path, stored, layout = object_path(name, index), entry.objects[name], self._shards[name]
        what = f"{name} of {key}"
        self._require_size(what, path, stored)
        try:
            with self.files.open(path) as file:
                return read_frames(file, stored["bytes"], wanted, layout)
        except MerError:
            raise
        except Exception as error:  # whatever damaged bytes are
            raise self._damaged(what, error) from error

    @cached_property
    def _shards(self) -> dict[str, ShardLayout]:
        """How the objects of each clip array are laid out; the metadata has been held against the manifest."""
        arrays = {name: self.array(name) for name in self.manifest.arrays if SPECS[name].per_clip}
        return {
            name: ShardLayout(
                chunks=array.shards[1] // array.chunks[1],  # type: ignore[index]
                shape=array.chunks[1:],
                dtype=array.dtype,
                fill=array.fill_value,
            )
            for name, array in arrays.items()
        }

    def prefetch(self, key: str, names: Container[str]) -> None:
        """Fetch a clip's part of clip arrays from a URL into the cache, before it is asked for.

        Raises:
            StoreDamagedError: the bytes at the URL are not those that the manifest lists.
            TransferError: they do not come.
        """
        if isinstance(self.path, StoreUrl):
            for name in self.manifest.rows[self._index(key)].objects:
                if name in names:
                    self.files.size(object_path(name, self._index(key)))

    def _good(self, key: str) -> ClipEntry:
        """The row (``Manifest.rows``) of a clip that did not fail."""
        entry = self.manifest.rows[self._index(key)]
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
            self._require_size(what, path, stored)
        try:
            by_rows = isinstance(selection, np.ndarray)
            value = np.asarray(array.oindex[selection] if by_rows else array[selection])
        except Exception as error:  # whatever a codec makes of damaged bytes
            raise self._damaged(what, error) from error
        if shape is not None and value.shape != shape:
            raise self._damaged(what, f"it decodes to {value.shape}, expected {shape}")
        return value

    def _require_size(self, what: str, path: str, stored: StoredObject) -> None:
        if (found := self.files.size(path)) is None:
            raise self._damaged(what, f"{path} is missing")
        if found != stored["bytes"]:
            raise self._damaged(what, f"{path} has {found} bytes, expected {stored['bytes']}")

    def _damaged(self, what: str, why: Exception | str) -> StoreDamagedError:
        if isinstance(why, OSError) and why.errno in (errno.EMFILE, errno.ENFILE):
            raise why  # no damage of the store
        reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        return StoreDamagedError(
            f"{self.path}: {what} cannot be read ({reason}); `mer verify {self.path}` lists all that is damaged: "
            "copy the store again, or preprocess again with --overwrite"
        )
