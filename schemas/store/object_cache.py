"""Objects of stores at URLs, kept on this machine under their hash, so that each comes over the network once.

They lie in ``MER_CACHE``, or ``mer`` in the user's cache folder, readable by the user alone, since they show faces.
Delete that folder to empty it, at any time; what is asked for afterwards comes again.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from io import SEEK_END
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from filelock import FileLock
from platformdirs import user_cache_path
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import StoreLike

from schemas.errors import StoreWriteError
from schemas.manifest import StoredObject
from schemas.store.files import FileKind
from schemas.store.remote_files import Remote

_LOCK_DIGITS = 3  # of the hash: objects that share a lock; one process brings an object, the others wait for it


class ObjectCache:
    """The folder of kept objects. Any number of processes may use it at once.

    Args:
        folder: where it is; by default what the module says.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def kept(self, remote: Remote, name: str, expected: StoredObject) -> Path:
        """The file that holds an object, brought now if it was not there; it is never changed.

        Raises:
            FileNotFoundError: the object is not where it was to be.
            StoreDamagedError: its bytes are not those that the manifest lists.
            TransferError: it does not come.
            StoreWriteError: there is no room for it.
        """
        sha256 = expected["sha256"]
        file = self.folder / sha256[:2] / sha256
        try:
            if _is_whole(file, expected):
                return file
            lock = self.folder / "locks" / sha256[:_LOCK_DIGITS]
            for folder in (self.folder, lock.parent, file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(lock):
                if not _is_whole(file, expected):
                    self._bring(remote, name, expected, file)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise StoreWriteError(
                f"{self.folder}: objects cannot be kept there ({error.strerror}); set MER_CACHE to another folder"
            ) from error
        return file

    def _bring(self, remote: Remote, name: str, expected: StoredObject, file: Path) -> None:
        with NamedTemporaryFile(dir=file.parent, prefix="coming-", delete=False) as unfinished:
            coming = Path(unfinished.name)
        try:
            remote.download(name, expected, coming)
            coming.replace(file)
        finally:
            coming.unlink(missing_ok=True)


class Streamed:
    """The files of a store at a URL, each brought to the cache when it is first asked for.

    Args:
        remote: where they come from; it knows what the manifest lists.
        cache: where they are kept.
    """

    def __init__(self, remote: Remote, cache: ObjectCache | None = None) -> None:
        self.remote, self.cache = remote, cache or ObjectCache()

    def names(self) -> Iterator[str]:
        """See ``StoreFiles``."""
        return self.remote.names()

    def kind(self, name: str) -> FileKind:
        """See ``StoreFiles``."""
        return self.remote.kind(name)

    def size(self, name: str) -> int | None:
        """See ``StoreFiles``; a file that the manifest lists is brought for it."""
        try:
            return self.kept(name).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See ``StoreFiles``."""
        return self.kept(name).open("rb")

    def for_zarr(self) -> StoreLike:
        """See ``StoreFiles``."""
        return _KeptObjects(self)

    def at_source(self) -> Remote:
        """See ``StoreFiles``."""
        return self.remote

    def kept(self, name: str) -> Path:
        """The file on this machine that holds one of the manifest's objects; raises as ``ObjectCache.kept``."""
        if (stored := self.remote.objects.get(name)) is None:
            raise FileNotFoundError(f"{self.remote.url}: its manifest lists no {name}")
        return self.cache.kept(self.remote, name, stored)


class _KeptObjects(ZarrStore):
    """What Zarr reads of a streamed store; it asks for parts of objects by name."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, files: Streamed) -> None:
        super().__init__(read_only=True)
        self._files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _KeptObjects) and other._files.remote.url == self._files.remote.url

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        return key in self._files.remote.objects

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()

    async def delete(self, key: str) -> None:
        self._check_writable()

    async def list(self) -> AsyncIterator[str]:
        for name in self._files.remote.objects:
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for name in self._files.remote.objects:
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        below = {name[len(start) :].split("/")[0] for name in self._files.remote.objects if name.startswith(start)}
        for name in sorted(below):
            yield name

    def _read(self, key: str, part: ByteRequest | None) -> bytes | None:
        if key not in self._files.remote.objects:
            return None  # Zarr also asks for files of other formats
        with self._files.open(key) as file:
            if isinstance(part, RangeByteRequest):
                file.seek(part.start)
                return file.read(part.end - part.start)
            if isinstance(part, OffsetByteRequest):
                file.seek(part.offset)
            elif isinstance(part, SuffixByteRequest):
                file.seek(-min(part.suffix, file.seek(0, SEEK_END)), SEEK_END)
            return file.read()


def default_folder() -> Path:
    """``MER_CACHE``, or ``mer`` in the user's cache folder."""
    chosen = os.environ.get("MER_CACHE")
    return Path(chosen) if chosen else user_cache_path("mer")


def _is_whole(file: Path, expected: StoredObject) -> bool:
    try:
        return file.stat().st_size == expected["bytes"]
    except FileNotFoundError:
        return False
