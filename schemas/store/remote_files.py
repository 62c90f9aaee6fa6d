"""The files of a store at a URL, through fsspec: what comes is counted and hashed, and asked for again."""

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from schemas.errors import ConfigError, MerError, StoreDamagedError, StoreWriteError, TransferError
from schemas.manifest import StoredObject
from schemas.store.files import BLOCK, FileKind, is_safe
from schemas.store.location import StoreUrl

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

LOCK_NAME = "push.lock"
JOURNAL_FOLDER = "push.journal"

_Result = TypeVar("_Result")
_PAUSES = (0.1, 0.4, 1.0, 2.0)  # s, between the tries
_REQUEST = 16 * 2**20  # bytes
_LOCAL = ("file", "local")
_OF_EXTRA = ("s3", "s3a", "http", "https")  # what the extra `s3` brings
_LARGEST_FILE = 4 * 2**30  # bytes; nothing of a store comes near
_LARGEST_UNLISTED = 512 * 2**20  # bytes; that of manifests
_STALLED = 60.0  # s without a byte
_SHA256 = re.compile("[0-9a-f]{64}")
_PARTIAL = 206  # HTTP's status of an answer to a request with a range
_HOPELESS = (IsADirectoryError, NotADirectoryError, PermissionError)


class WrongBytesError(OSError):
    """What came is not what was to come; the next try may bring it."""


class Remote:
    """The files of a store at a URL, read from there each time.

    Args:
        url: of the store.
        objects: what its manifest lists.

    Raises:
        StoreDamagedError: the list is one that leads elsewhere.
    """

    def __init__(self, url: StoreUrl, objects: Mapping[str, StoredObject] | None = None) -> None:
        self.url, self.objects = url, objects or {}
        for name, stored in self.objects.items():
            if not is_safe(name) or not _SHA256.fullmatch(stored["sha256"]) or not 0 < stored["bytes"] < _LARGEST_FILE:
                raise StoreDamagedError(f"{url}: its manifest lists {name!r} as {stored}, which mer never writes")

    def __reduce__(self) -> tuple[type["Remote"], tuple[StoreUrl, Mapping[str, StoredObject]]]:
        return Remote, (self.url, self.objects)  # another process connects itself

    def names(self) -> Iterator[str]:
        """See ``StoreFiles``; nothing where a server lists nothing, as most web servers."""
        yield from sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file there, but what a push leaves while it is under way."""
        return {name: size for name, size in self.listing().items() if not is_of_push(name)}

    def listing(self) -> dict[str, int]:
        """Name -> bytes of every file there."""
        if self._is_web:
            return {}
        found = self.asked("the list of files", lambda: self._filesystem[0].find(self._filesystem[1], detail=True))
        cut = len(self._filesystem[1].rstrip("/")) + 1
        return {path[cut:]: int(info["size"] or 0) for path, info in found.items() if info["type"] == "file"}

    def kind(self, name: str) -> FileKind:
        """See ``StoreFiles``."""
        info = self._info(name)
        return "nothing" if info is None else "folder" if info["type"] == "directory" else "file"

    def size(self, name: str) -> int | None:
        """See ``StoreFiles``; ``None`` too where a web server does not say."""
        info = self._info(name)
        return None if info is None or info["type"] == "directory" else info["size"]

    def open(self, name: str) -> IO[bytes]:
        """See ``StoreFiles``; as it is there, right or wrong, of one that is too long a byte too many."""

        def read() -> bytes:
            if (listed := self.objects.get(name)) is not None:
                return b"".join(self._blocks(name, listed["bytes"] + 1))
            said = self._said(name)
            too_many = _LARGEST_UNLISTED + 1
            data = b"".join(self._blocks(name, too_many if said is None else min(said, too_many)))
            if len(data) == too_many:
                raise StoreDamagedError(f"{self.url}/{name}: {too_many} bytes or more; no manifest has as many")
            if said is not None and len(data) != said:
                raise WrongBytesError(f"{len(data)} of {said} bytes came")
            return data

        return BufferedReader(BytesIO(self.asked(name, read)))  # a plain one is hashed unread

    def at_source(self) -> "Remote":
        """See ``StoreFiles``."""
        return self

    def download(self, name: str, expected: StoredObject, file: Path) -> None:
        """Write one file to disk, every byte checked; never more than was announced.

        Raises:
            FileNotFoundError: it is not there.
            StoreDamagedError: its bytes are others, however often it is asked for.
            TransferError: it does not come.
            StoreWriteError: the disk is full, ...
        """

        def copy() -> None:
            digest, length = hashlib.sha256(), 0
            with writing(file) as out:
                for block in self._blocks(name, expected["bytes"]):
                    digest.update(block)
                    length += len(block)
                    out(block)
            if length != expected["bytes"]:
                raise WrongBytesError(f"{length} of {expected['bytes']} bytes came")
            if digest.hexdigest() != expected["sha256"]:
                raise WrongBytesError("its bytes are not those that the manifest lists")

        self.asked(name, copy)

    def asked(self, name: str, ask: Callable[[], _Result]) -> _Result:
        """The answer, asked for again after failures that may pass.

        Raises:
            FileNotFoundError: it is not there.
            StoreDamagedError: other bytes come each time.
            TransferError: no answer comes.
        """
        for pause in (*_PAUSES, None):
            try:
                return ask()
            except (FileExistsError, MerError):
                raise
            except Exception as error:  # the libraries of the file systems have no common base
                if isinstance(error, FileNotFoundError) and not self._is_silence(error):
                    raise
                if pause is None or isinstance(error, _HOPELESS):
                    raise self._given_up(name, error) from error
                time.sleep(pause * random.uniform(0.5, 1.5))
        raise AssertionError("the last try returns or raises")

    def at(self, name: str) -> str:
        """What the file system calls a file."""
        return f"{self._filesystem[1].rstrip('/')}/{name}"

    @property
    def filesystem(self) -> "AbstractFileSystem":
        """What fsspec made of the URL.

        Raises:
            ConfigError: fsspec does not know the URL, or needs a package for it.
        """
        return self._filesystem[0]

    @cached_property
    def _filesystem(self) -> tuple["AbstractFileSystem", str]:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        options: dict[str, Any] = {"use_listings_cache": False}
        try:
            if self._is_web:
                from aiohttp import ClientTimeout

                options["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_read=_STALLED)}
            filesystem, path = url_to_fs(self.url.url, **options)
        except ImportError as error:  # which names the package
            extra = self.url.scheme in _OF_EXTRA
            remedy = "`pip install 'madv-mer[s3]'` brings it" if extra else "install that package beside mer"
            raise ConfigError(f"{self.url}: {error}; {remedy}") from error
        except ValueError as error:
            raise ConfigError(f"{self.url}: {error}") from error
        return filesystem, path

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.url.scheme in _LOCAL

    @property
    def _is_web(self) -> bool:
        return self.url.scheme in ("http", "https")

    def _is_silence(self, error: FileNotFoundError) -> bool:
        """Whether fsspec's web client calls a file missing only because the server gave no sound answer."""
        cause = error.__cause__
        missing = cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410)
        return self._is_web and not missing

    def _said(self, name: str) -> int | None:
        """Bytes of a file, if the server says."""
        size: int | None = self.filesystem.info(self.at(name))["size"]
        return size

    def _info(self, name: str) -> Any:
        try:
            return self.asked(name, lambda: self.filesystem.info(self.at(name)))
        except FileNotFoundError:
            return None

    def _blocks(self, name: str, size: int) -> Iterator[bytes]:
        """The first bytes of a file, at most ``size``."""
        yield from self._part(self.at(name), 0, size)

    def _part(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes of what the file system calls ``path``, as far as there are any."""
        if not self._is_web:
            step = BLOCK if self.is_local else _REQUEST
            for first in range(start, end, step):
                yield self.filesystem.cat_file(path, start=first, end=min(first + step, end))
            return
        part = {"headers": {"Range": f"bytes={start}-{end - 1}"}} if start else {}  # not all web servers know it
        size = end - start
        with self.filesystem.open(path, block_size=0, size=size, **part) as stream:  # never ahead of the reader
            if start and stream.r.status != _PARTIAL:
                raise ConfigError(
                    f"{self.url}: this web server sends whole files only, so that a zip file there cannot be read in "
                    "place; download it, and read it here"
                )
            while size > 0 and (block := stream.read(min(size, BLOCK))):
                size -= len(block)
                yield block

    def _given_up(self, name: str, error: Exception) -> MerError:
        if isinstance(error, WrongBytesError):
            return StoreDamagedError(
                f"{self.url}: {name} cannot be used ({error}, {len(_PAUSES) + 1} times); it is damaged there, or "
                "somebody is pushing another version of the store: try again later, or have it pushed again"
            )
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        return TransferError(
            f"{self.url}: {name}: {type(error).__name__}: {reason}; "
            "check the URL, your permissions and the network, and type the same command again to go on"
        )


def is_of_push(name: str) -> bool:
    """Whether a file belongs to a push under way, and not to the store."""
    return name == LOCK_NAME or name.startswith(f"{JOURNAL_FOLDER}/")


@contextmanager
def writing(file: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that writes to a new file, which is on the disk when the block ends.

    Raises:
        StoreWriteError: here trying again is of no use.
    """

    def write(block: bytes) -> None:
        try:
            out.write(block)
        except OSError as error:
            raise _unwritable(file, error) from error

    try:
        out = file.open("wb")
    except OSError as error:
        raise _unwritable(file, error) from error
    with out:
        yield write
        try:
            out.flush()
            os.fsync(out.fileno())
        except OSError as error:
            raise _unwritable(file, error) from error


def _unwritable(file: Path, error: OSError) -> StoreWriteError:
    return StoreWriteError(
        f"{file}: cannot be written ({error.strerror or error}); free some space or check permissions, "
        "and type the same command again to go on"
    )
