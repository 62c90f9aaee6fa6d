"""A URL or folder that a store is pushed to: writing, and notes of what unfinished pushes have overwritten."""

import json
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from schemas.errors import ConfigError, TransferError
from schemas.manifest import StoredObject
from schemas.output import replacing
from schemas.store.files import hashed
from schemas.store.location import StoreLocation, StoreUrl, located
from schemas.store.remote import UNFINISHED_PUSH, Remote
from schemas.strict_json import strict_json

_NO_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}  # a file is there whole, or not at all


class PushTarget(Remote):
    """A URL, or a folder, that can be written to.

    Raises:
        ConfigError: a web server, which can only be read, or the name of a packed store.
    """

    def __init__(self, place: StoreLocation | str) -> None:
        found = located(place)
        super().__init__(StoreUrl(f"file://{found.absolute()}") if isinstance(found, Path) else found)
        self.folder = found.absolute() if isinstance(found, Path) else None
        if self.is_web:
            raise ConfigError(f"{self.url}: a web server can be read, not written; push to s3://, gs://, sftp://, ...")
        if self.url.is_packed:
            raise ConfigError(
                f"{self.url}: a name ending in .zip is that of a packed store; push to one ending in .zarr, or copy "
                "there what `mer pack` has written"
            )

    def put(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a file; in a folder of this machine whole and flushed to disk, or not at all.

        Raises:
            TransferError: it cannot be written, although it was tried several times.
            StoreWriteError: the folder cannot be written.
        """
        if self.folder is not None:
            with replacing(self.folder / name) as file:
                file.writelines(blocks)
            return
        path, data = self.at(name), b"".join(blocks)

        def write() -> None:
            if self.url.scheme not in _NO_FOLDERS:
                self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.filesystem.pipe_file(path, data)

        try:
            self.retried(name, write)
        except FileNotFoundError as error:
            raise TransferError(f"{self.url}: {error}; a bucket has to be there before a store is pushed") from error

    def replace(self, name: str, data: bytes) -> None:
        """Write a file that readers see whole, the old one or the new one."""
        if self.folder is not None or self.url.scheme in _NO_FOLDERS:
            self.put(name, [data])
            return
        unfinished = f"{UNFINISHED_PUSH}/{name}"
        self.put(unfinished, [data])
        self.retried(name, lambda: self.filesystem.mv(self.at(unfinished), self.at(name)))

    def delete(self, name: str) -> None:
        """Delete a file that may have gone already."""
        try:
            self.retried(name, lambda: self.filesystem.rm_file(self.at(name)))
        except FileNotFoundError:
            return

    def holds(self, name: str, expected: StoredObject) -> bool:
        """Whether a file has these bytes, read back from there if its size is right."""
        if self.size(name) != expected["bytes"]:
            return False
        try:
            with self.open(name) as file:
                return hashed(file) == expected
        except FileNotFoundError:
            return False

    def tidy(self) -> None:
        """Delete what killed writes have left, and empty folders."""
        if self.folder is None:
            return
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.name.startswith(".") and path.suffix == ".partial":
                path.unlink(missing_ok=True)

    def notes(self) -> set[str]:
        """The notes of pushes that have not finished."""
        return {name for name in self.listing() if name.startswith(f"{UNFINISHED_PUSH}/") and name.endswith(".json")}

    def write_note(self, names: Iterable[str]) -> str:
        """Note, before it is done, that objects are overwritten; returns the note's name."""
        note = f"{UNFINISHED_PUSH}/{uuid4().hex}.json"
        self.put(note, [json.dumps(sorted(names)).encode()])
        return note

    def read_note(self, note: str) -> set[str]:
        """Objects that a push has noted; none where the note has gone, or was cut off before anything was written."""
        try:
            with self.open(note) as file:
                found = strict_json(file.read())
        except (FileNotFoundError, ValueError):
            return set()
        return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
