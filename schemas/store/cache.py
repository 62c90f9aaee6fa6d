"""Objects of stores at URLs, kept on this machine under their hash, so that each comes over the network once.

They are in ``MER_CACHE``, or ``mer`` in the user's cache folder, readable by the user alone, since they show faces.
The least recently used are deleted when there are more than ``MER_CACHE_SIZE`` bytes (``50GB`` by default). The folder
may be deleted at any time.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from io import SEEK_END
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import StoreLike

from schemas.errors import ConfigError, StoreWriteError
from schemas.manifest import StoredObject
from schemas.output import replacing
from schemas.store.files import FileKind
from schemas.store.remote import Remote

_LOCK_DIGITS = 3  # of the hash: objects that share a lock; one process fetches an object, the others wait for it
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kMGT]?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SPARE = 0.1  # of the size limit, freed beyond what is necessary, so that not every object has to look for room


class ObjectCache:
    """The folder of cached objects. Any number of processes may use it at once.

    Args:
        folder: where it is; by default what the module says.
        limit: bytes; by default what the module says.

    Raises:
        ConfigError: ``MER_CACHE_SIZE`` is no size.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = folder or Path(os.environ.get("MER_CACHE") or user_cache_path("mer"))
        self.limit = size_limit() if limit is None else limit
        self._unlooked: int | None = None  # bytes cached since this process has last looked how many there are

    def open(self, remote: Remote, name: str, expected: StoredObject) -> IO[bytes]:
        """An object to read, fetched now if it was not there; it stays readable if it is deleted meanwhile.

        Raises:
            ObjectMissingError: the object is not at its URL.
            StoreDamagedError: its bytes are not those that the manifest lists.
            TransferError: it does not come.
            StoreWriteError: there is no room for it.
        """
        sha256 = expected["sha256"]
        file = self.folder / sha256[:2] / sha256
        try:
            if (found := _opened(file, expected)) is not None:
                return found
            lock = self.folder / "locks" / sha256[:_LOCK_DIGITS]
            for folder in (self.folder, lock.parent, file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(lock):
                if (found := _opened(file, expected)) is None:
                    with replacing(file) as out:
                        remote.download(name, expected, out)
                    found = file.open("rb")
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise StoreWriteError(
                f"{self.folder}: objects cannot be cached there ({error.strerror}); set MER_CACHE to another folder"
            ) from error
        self._make_room(expected["bytes"])
        return found

    def _make_room(self, added: int) -> None:
        """Delete the least recently used objects, if there may be too many bytes."""
        if self._unlooked is not None and self._unlooked + added < self.limit * _SPARE:
            self._unlooked += added
            return
        try:
            with FileLock(self.folder / "locks" / "size", blocking=False):
                files = sorted((stat.st_mtime, stat.st_size, file) for file, stat in _stats(self.folder))
                total = sum(size for _, size, _ in files)
                target = total if total <= self.limit else self.limit * (1 - _SPARE)
                for _, size, file in files[:-1]:  # the last is about to be read, part by part
                    if total <= target:
                        break
                    file.unlink(missing_ok=True)
                    total -= size
        except Timeout:
            return  # another process is at it
        self._unlooked = 0 if total < self.limit * (1 - _SPARE) else None


class CachedFiles:
    """The files of a store at a URL, each fetched when it is first asked for, and cached.

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
        """See ``StoreFiles``; a file that the manifest lists is fetched for it."""
        try:
            with self.open(name) as file:
                return file.seek(0, SEEK_END)
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """See ``StoreFiles``; raises as ``ObjectCache.open``."""
        if (stored := self.remote.objects.get(name)) is None:
            raise FileNotFoundError(f"{self.remote.url}: its manifest lists no {name}")
        return self.cache.open(self.remote, name, stored)

    def for_zarr(self) -> StoreLike:
        """See ``StoreFiles``."""
        return _ZarrView(self)

    def at_source(self) -> Remote:
        """See ``StoreFiles``."""
        return self.remote


class _ZarrView(ZarrStore):
    """What Zarr reads of a cached store; every byte has been hashed before it comes here."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, files: CachedFiles) -> None:
        super().__init__(read_only=True)
        self._files = files

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ZarrView) and other._files.remote.url == self._files.remote.url

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if not await self.exists(key):
            return None  # Zarr also asks for files of other formats
        data = await asyncio.to_thread(self._read, key, byte_range)
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

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
        async for name in self.list():
            if name.startswith(prefix):
                yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        start = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        for name in sorted({name[len(start) :].split("/")[0] async for name in self.list_prefix(start)}):
            yield name

    def _read(self, key: str, part: ByteRequest | None) -> bytes:
        with self._files.open(key) as file:
            if isinstance(part, RangeByteRequest):
                file.seek(part.start)
                return file.read(part.end - part.start)
            if isinstance(part, OffsetByteRequest):
                file.seek(part.offset)
            elif isinstance(part, SuffixByteRequest):
                file.seek(-min(part.suffix, file.seek(0, SEEK_END)), SEEK_END)
            return file.read()


def size_limit() -> int:
    """Bytes that the cache may take, as ``MER_CACHE_SIZE`` says: a number of bytes, or one like ``50GB``.

    Raises:
        ConfigError: it says something else.
    """
    text = os.environ.get("MER_CACHE_SIZE") or "50GB"
    if (match := _SIZE.fullmatch(text.strip())) is None:
        raise ConfigError(f"MER_CACHE_SIZE is {text!r}: expected a number of bytes, or a size like 50GB or 500MB")
    return int(float(match[1]) * 1000 ** _POWERS[match[2].upper()])


def _opened(file: Path, expected: StoredObject) -> IO[bytes] | None:
    """A cached object, which is then the last to be deleted; ``None`` where there is none, or a torn one."""
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(stream.fileno()).st_size != expected["bytes"]:
        stream.close()
        return None
    if os.utime in os.supports_fd:
        os.utime(stream.fileno())
    return stream


def _stats(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every cached object; one that another process deletes meanwhile is left out."""
    for file in folder.glob("[0-9a-f][0-9a-f]/*"):
        try:
            yield file, file.stat()
        except FileNotFoundError:
            continue
