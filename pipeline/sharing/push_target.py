"""A URL that a store is pushed to: writing, and the journal of what an unfinished push has overwritten.

Before a push overwrites objects, it notes in the journal which; then, now and then, which of them are there. Whoever
comes after a push that was killed thus knows of every object what it holds, or that nobody knows.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from schemas.errors import ConfigError, TransferError
from schemas.output import output_errors
from schemas.store.location import StoreLocation, StoreUrl, located
from schemas.store.remote_files import JOURNAL_FOLDER, Remote, is_of_push, writing
from schemas.strict_json import strict_json

_NO_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"}  # a file is there whole, or not at all
_FLUSHED = 5.0  # s between notes in the journal, unless there are so many objects to be noted:
_NOTED = 32


class PushTarget(Remote):
    """A URL, or a folder, that can be written to.

    Raises:
        ConfigError: a web server, which can only be read, or the name of a packed store.
    """

    def __init__(self, place: StoreLocation | str) -> None:
        found = located(place)
        super().__init__(StoreUrl(f"file://{found.absolute()}") if isinstance(found, Path) else found)
        if self.url.scheme in ("http", "https"):
            raise ConfigError(f"{self.url}: a web server can be read, not written; push to s3://, gs://, sftp://, ...")
        if self.url.is_packed:
            raise ConfigError(
                f"{self.url}: a name ending in .zip is that of a packed store; push to one ending in .zarr, or copy "
                "there what `mer pack` has written"
            )

    def put(self, name: str, blocks: Iterable[bytes]) -> None:
        """Write a file; in a folder of this machine whole and flushed to disk, or not at all."""
        if not self.is_local:
            self._write(name, b"".join(blocks), "overwrite")
            return
        file = self._folder / name
        coming = self._folder / JOURNAL_FOLDER / f"coming-{hashlib.sha256(name.encode()).hexdigest()}"
        with output_errors(file):
            for folder in (file.parent, coming.parent):
                folder.mkdir(parents=True, exist_ok=True)
            with writing(coming) as write:
                for block in blocks:
                    write(block)
            coming.replace(file)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file that readers see whole, the old one or the new one."""
        if self.is_local or self.url.scheme in _NO_FOLDERS:
            self.put(name, [data])
            return
        coming = f"{JOURNAL_FOLDER}/{name}"
        self.put(coming, [data])
        self.asked(name, lambda: self.filesystem.mv(self.at(coming), self.at(name)))

    def create(self, name: str, data: bytes) -> bool:
        """Write a file if there is none; whether there was none. Atomic where the file system is able to."""
        try:
            self._write(name, data, "create")
        except FileExistsError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Delete a file that may have gone already."""
        try:
            self.asked(name, lambda: self.filesystem.rm_file(self.at(name)))
        except FileNotFoundError:
            return

    def tidy(self) -> None:
        """Delete the journal, and where there are folders, the empty ones."""
        for name in list(self.listing()):
            if name.startswith(f"{JOURNAL_FOLDER}/"):
                self.delete(name)
        if self.is_local:
            for folder in sorted((path for path in self._folder.rglob("*") if path.is_dir()), reverse=True):
                if not any(folder.iterdir()):
                    folder.rmdir()

    @property
    def _folder(self) -> Path:
        return Path(self.url.url.partition("://")[2])

    def _write(self, name: str, data: bytes, mode: Literal["overwrite", "create"]) -> None:
        path = self.at(name)

        def write() -> None:
            if self.url.scheme not in _NO_FOLDERS:
                self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.filesystem.pipe_file(path, data, mode=mode)

        try:
            self.asked(name, write)
        except FileNotFoundError as error:
            raise TransferError(f"{self.url}: {error}; a bucket has to be there before a store is pushed") from error


class PushJournal:
    """What unfinished pushes to a target have overwritten; see the module.

    Args:
        target: that it lies at.
        listing: names of the files there.
    """

    def __init__(self, target: PushTarget, listing: Iterable[str]) -> None:
        self._target = target
        names = sorted(name for name in listing if _is_note(name))
        self.known: dict[str, str | None] = {}
        for name in names:
            self.known |= _note(target, name)
        self._next = 1 + max((int(name.rpartition("/")[2]) for name in names), default=0)
        self._pending: dict[str, str | None] = {}
        self._flushed = time.monotonic()

    def overwriting(self, names: Iterable[str]) -> None:
        """Note that nobody knows any more what these objects hold."""
        self._pending = dict.fromkeys(names)
        self.flush()

    def written(self, name: str, sha256: str) -> None:
        """Note, soon, what an object holds."""
        self._pending[name] = sha256
        if len(self._pending) >= _NOTED or time.monotonic() - self._flushed > _FLUSHED:
            self.flush()

    def flush(self) -> None:
        """Write the notes."""
        if self._pending:
            self._target.put(f"{JOURNAL_FOLDER}/{self._next:09d}", [json.dumps(self._pending).encode()])
            self._next += 1
            self._pending = {}
        self._flushed = time.monotonic()


def what_is_there(
    listing: Mapping[str, int], manifest: Mapping[str, Any], journal: Mapping[str, str | None]
) -> dict[str, str]:
    """Name -> sha256 of the objects of which that is known.

    Args:
        listing: name -> bytes of what is there.
        manifest: what the manifest there lists.
        journal: what was overwritten since.
    """
    known: dict[str, str | None] = {
        name: stored["sha256"] for name, stored in manifest.items() if listing.get(name) == stored["bytes"]
    }
    known |= journal
    return {name: sha256 for name, sha256 in known.items() if sha256 is not None and name in listing}


def _is_note(name: str) -> bool:
    return is_of_push(name) and name.rpartition("/")[2].isdecimal()


def _note(target: PushTarget, name: str) -> dict[str, str | None]:
    """One note; one that was cut off says nothing, and what it would have said was announced by the first."""
    with target.open(name) as file:
        try:
            found = strict_json(file.read())
        except ValueError:
            return {}
    return found if isinstance(found, dict) else {}
