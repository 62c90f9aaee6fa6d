"""The files of a store at a URL, through fsspec: what comes is counted and hashed, and asked for again."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from io import BufferedReader, BytesIO
from itertools import pairwise
from pathlib import Path
from struct import unpack_from
from typing import IO, TYPE_CHECKING, Any, TypeVar
from zipfile import ZipFile, ZipInfo

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from schemas.errors import (
    ConfigError,
    ManifestMissingError,
    MerError,
    ObjectMissingError,
    StoreDamagedError,
    StoreError,
    TransferError,
    hide_credentials,
)
from schemas.manifest import StoredObject
from schemas.output import output_errors
from schemas.store.files import BLOCK, LARGEST_MANIFEST, NO_ZIP, FileKind, is_safe, packed_members
from schemas.store.location import StoreUrl

if TYPE_CHECKING:
    from aiohttp import TraceConfig, TraceRequestRedirectParams
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

UNFINISHED_PUSH = "push.unfinished"  # the folder where a push under way keeps its notes

_Result = TypeVar("_Result")
_TRIES = 5
_WAIT = wait_exponential_jitter(multiplier=0.1, max=2, jitter=0.5)  # s
_REQUEST = 16 * 2**20  # bytes
_LARGEST_FILE = 4 * 2**30  # bytes; nothing of a store comes near
_LARGEST_TAIL = 128 * 2**20  # bytes of a zip file's list of members; some million of them
_TAIL = 2**16  # bytes fetched first of a zip file, from its end; the list of some 500 members
_HEADER = 30  # bytes before a member's name, its extra field, and its content
_STALLED = 60.0  # s without a byte
_SHA256 = re.compile("[0-9a-f]{64}")
_PARTIAL = 206  # HTTP's status of an answer to a request with a range
_HOPELESS = (MerError, IsADirectoryError, NotADirectoryError, PermissionError)


class WrongBytesError(OSError):
    """What came is not what was to come; the next try may fetch it."""


class Remote:
    """The files of a store at a URL, fetched from there each time.

    Args:
        url: of the store.
        objects: what its manifest lists.

    Raises:
        StoreDamagedError: a name, size or hash in the list is one that mer never writes.
    """

    def __init__(self, url: StoreUrl, objects: Mapping[str, StoredObject] | None = None) -> None:
        self.url, self.objects = url, objects or {}
        for name, stored in self.objects.items():
            if not is_safe(name) or not _SHA256.fullmatch(stored["sha256"]) or not 0 < stored["bytes"] < _LARGEST_FILE:
                raise StoreDamagedError(f"{url}: its manifest lists {name!r} as {stored}, which mer never writes")

    def __reduce__(self) -> tuple[type["Remote"], tuple[StoreUrl, Mapping[str, StoredObject]]]:
        return type(self), (self.url, self.objects)  # another process connects itself

    def names(self) -> Iterator[str]:
        """See ``SourceFiles``; nothing where a server lists nothing, as most web servers."""
        yield from sorted(name for name in self.listing() if not name.startswith(f"{UNFINISHED_PUSH}/"))

    def listing(self) -> dict[str, int]:
        """Name -> bytes of every file there."""
        if self.is_web:
            return {}
        try:
            found = self.retried("the list of files", lambda: self.filesystem.find(self._root, detail=True))
        except FileNotFoundError:
            return {}
        cut = len(self._root.rstrip("/")) + 1
        return {path[cut:]: int(info["size"] or 0) for path, info in found.items() if info["type"] == "file"}

    def kind(self, name: str) -> FileKind:
        """See ``SourceFiles``."""
        info = self._info(name)
        return "nothing" if info is None else "folder" if info["type"] == "directory" else "file"

    def size(self, name: str) -> int | None:
        """See ``SourceFiles``; ``None`` too where a web server does not say."""
        info = self._info(name)
        return None if info is None or info["type"] == "directory" else info["size"]

    def open(self, name: str) -> IO[bytes]:
        """See ``SourceFiles``; the bytes as they are there, right or wrong, one too many of a file that is too long."""
        listed = self.objects.get(name)
        limit = LARGEST_MANIFEST + 1 if listed is None else listed["bytes"] + 1
        size = self.size(name) if listed is None else None

        def read() -> bytes:
            data = b"".join(self._blocks(name, limit if size is None else min(size, limit)))
            if listed is None and len(data) == limit:
                raise StoreDamagedError(f"{self.url}/{name}: {limit} bytes or more; no manifest has as many")
            if size is not None and len(data) != size:
                raise WrongBytesError(f"{len(data)} of {size} bytes came")
            return data

        return BufferedReader(BytesIO(self.retried(name, read)))  # a plain one is hashed unread

    def at_source(self) -> "Remote":
        """See ``StoreFiles``."""
        return self

    def download(self, name: str, expected: StoredObject, out: IO[bytes]) -> None:
        """Write one object to a file, every byte checked, never more than was announced.

        Raises:
            ObjectMissingError: it is not there.
            StoreDamagedError: its bytes are not those that the manifest lists, however often it is asked for.
            TransferError: it does not come.
            StoreWriteError: ``out`` cannot be written.
        """
        file = Path(out.name)

        def copy() -> None:
            with output_errors(file):
                out.seek(0)
                out.truncate()
            digest, length = hashlib.sha256(), 0
            for block in self._blocks(name, expected["bytes"]):
                digest.update(block)
                length += len(block)
                with output_errors(file):
                    out.write(block)
            if length != expected["bytes"]:
                raise WrongBytesError(f"{length} of {expected['bytes']} bytes came")
            if digest.hexdigest() != expected["sha256"]:
                raise WrongBytesError("its bytes are not those that the manifest lists")

        try:
            self.retried(name, copy)
        except FileNotFoundError as error:
            raise ObjectMissingError(
                f"{self.url}: {name} is missing there, although the manifest lists it; have the store pushed again "
                "with --overwrite"
            ) from error

    def retried(self, name: str, ask: Callable[[], _Result]) -> _Result:
        """The answer, asked for again after failures that may pass.

        Raises:
            FileNotFoundError: it is not there.
            StoreDamagedError: other bytes come each time.
            TransferError: no answer comes.
        """
        tries = Retrying(
            stop=stop_after_attempt(_TRIES), wait=_WAIT, retry=retry_if_exception(self._may_pass), reraise=True
        )
        try:
            return tries(ask)
        except MerError:
            raise
        except Exception as error:  # the libraries of the file systems have no common base
            if isinstance(error, FileNotFoundError) and not self._is_silence(error):
                raise
            raise self._given_up(name, error) from error

    def at(self, name: str) -> str:
        """What the file system calls a file."""
        return f"{self._root.rstrip('/')}/{name}"

    @property
    def filesystem(self) -> "AbstractFileSystem":
        """What fsspec made of the URL.

        Raises:
            ConfigError: fsspec does not know the URL, or needs a package for it.
        """
        return self._filesystem[0]

    @property
    def is_web(self) -> bool:
        """Whether it is a web server, which lists nothing and cannot be written to."""
        return self.url.scheme in ("http", "https")

    @property
    def _root(self) -> str:
        return self._filesystem[1]

    @cached_property
    def _filesystem(self) -> tuple["AbstractFileSystem", str]:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        options: dict[str, Any] = {"use_listings_cache": False}
        try:
            if self.is_web:
                from aiohttp import ClientTimeout

                timeout = ClientTimeout(total=None, sock_read=_STALLED)
                traces = [_redirects(credentials=self.url.has_credentials)]
                options["client_kwargs"] = {"timeout": timeout, "trace_configs": traces}
            filesystem, path = url_to_fs(self.url.url, **options)
        except ImportError as error:  # which names the package
            of_extra = self.url.scheme in ("s3", "s3a", "http", "https")
            remedy = "`pip install 'madv-mer[s3]'` installs it" if of_extra else "install that package beside mer"
            raise ConfigError(f"{self.url}: {error}; {remedy}") from error
        except ValueError as error:
            raise ConfigError(f"{self.url}: {hide_credentials(str(error))}") from error
        return filesystem, path

    def _info(self, name: str) -> Any:
        """What the server says of a file, or ``None``."""
        try:
            return self.retried(name, lambda: self.filesystem.info(self.at(name)))
        except FileNotFoundError:
            return None

    def _blocks(self, name: str, size: int) -> Iterator[bytes]:
        """The first bytes of a file, at most ``size``."""
        if self.url.scheme == "file" and not self.filesystem.isfile(self.at(name)):  # a pipe would be waited for
            raise FileNotFoundError(f"{self.url}: {name} is no file")
        yield from self._part(self.at(name), 0, size)

    def _part(self, path: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes of what the file system calls ``path``, as far as there are any."""
        if self.url.scheme == "file":
            with self.filesystem.open(path) as stream:
                stream.seek(start)
                yield from _pieces(stream, end - start)
            return
        if not self.is_web:
            for first in range(start, end, _REQUEST):
                yield self.filesystem.cat_file(path, start=first, end=min(first + _REQUEST, end))
            return
        part = {"headers": {"Range": f"bytes={start}-{end - 1}"}} if start else {}  # not all web servers know it
        size = end - start
        with self.filesystem.open(path, block_size=0, size=size, **part) as stream:  # never ahead of the reader
            if start and stream.r.status != _PARTIAL:
                raise ConfigError(
                    f"{self.url}: this web server sends whole files only, so that a zip file there cannot be read in "
                    "place; download it, and read it here"
                )
            yield from _pieces(stream, size)

    def _may_pass(self, error: BaseException) -> bool:
        if isinstance(error, FileNotFoundError):
            return self._is_silence(error) and not isinstance(error.__cause__, MerError)
        return isinstance(error, Exception) and not isinstance(error, _HOPELESS)

    def _is_silence(self, error: FileNotFoundError) -> bool:
        """Whether fsspec's web client calls a file missing only because the server gave no sound answer."""
        cause = error.__cause__
        missing = cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) in (404, 410)
        return self.is_web and not missing

    def _given_up(self, name: str, error: Exception) -> MerError:
        if isinstance(error, WrongBytesError):
            return StoreDamagedError(
                f"{self.url}: {name} cannot be used ({error}, {_TRIES} times); it is damaged there, or somebody is "
                "pushing another version of the store: try again later, or have it pushed again with --overwrite"
            )
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if isinstance(error, MerError):
            return error
        reason = hide_credentials(str(error)).strip().partition("\n")[0] or "no reason given"
        return TransferError(
            f"{self.url}: {name}: {type(error).__name__}: {reason}; "
            "check the URL, your permissions and the network, and type the same command again to go on"
        )


def _pieces(stream: IO[bytes], size: int) -> Iterator[bytes]:
    """The next bytes of a stream, at most ``size``, in pieces that are hashed and written while a cache holds them."""
    while size > 0 and (block := stream.read(min(size, BLOCK))):
        size -= len(block)
        yield block


class RemoteZip(Remote):
    """The files of a store in a zip file at a URL, each fetched by one request for a part of that file.

    fsspec's own ``ZipFileSystem`` reads ahead, one member after the other for all threads: for 24 members of 1.5 MB in
    random order it moves 163 MB instead of 36, in half as much time again where an answer takes 0.2 s.

    Raises:
        StoreDamagedError: a name, size or hash in the manifest is one that mer never writes.
        StoreError: on first use, if ``mer pack`` has not written the zip file.
        ManifestMissingError: on first use, if there is none.
    """

    def listing(self) -> dict[str, int]:
        """Name -> bytes of every member."""
        return {name: member.file_size for name, (member, _) in self._members.items()}

    def _info(self, name: str) -> Any:
        return {"type": "file", "size": self._members[name][0].file_size} if name in self._members else None

    def _blocks(self, name: str, size: int) -> Iterator[bytes]:
        if name not in self._members:
            raise FileNotFoundError(f"{self.url}: holds no {name}")
        member, end = self._members[name]
        data = self._fetched(member.header_offset, end)
        if len(data) < _HEADER or not data.startswith(b"PK\x03\x04"):
            raise WrongBytesError("no member begins where the zip file's list says")
        start = _HEADER + sum(unpack_from("<HH", data, 26))
        content = data[start : start + member.file_size]
        if len(content) != member.file_size or zlib.crc32(content) != member.CRC:
            raise WrongBytesError("its bytes are not those that were packed")
        yield content[:size]

    def _fetched(self, start: int, end: int) -> bytes:
        data = b"".join(self._part(self._root, start, end))
        if len(data) != end - start:
            raise WrongBytesError(f"{len(data)} of {end - start} bytes came")
        return data

    @cached_property
    def _members(self) -> dict[str, tuple[ZipInfo, int]]:
        """Name -> member, and where in the zip file it has ended at the latest."""
        try:
            size = self.retried("its size", lambda: self.filesystem.info(self._root)["size"])
        except FileNotFoundError as error:
            raise ManifestMissingError(f"{self.url}: no such file; expected one made by `mer pack`") from error
        if size is None:
            raise StoreError(f"{self.url}: the server does not say how long it is; download it, and read it here")
        members, end = self._list_of_members(size)
        starts = sorted({member.header_offset for member in members.values()})
        if starts and not 0 <= starts[0] <= starts[-1] < end:
            raise StoreError(f"{self.url}: lists members that lie outside of it; it is no work of `mer pack`")
        next_start = dict(pairwise([*starts, end]))
        longest = _HEADER + 2 * 0xFFFF  # bytes before a member's content
        return {
            name: (member, min(member.header_offset + longest + member.file_size, next_start[member.header_offset]))
            for name, member in members.items()
        }

    def _list_of_members(self, size: int) -> tuple[dict[str, ZipInfo], int]:
        """The members, and where their list starts; it is at the end, which is fetched in longer and longer parts."""
        length = min(_TAIL, size)
        while True:
            tail = self.retried("the list of its members", partial(self._fetched, size - length, size))
            try:
                with ZipFile(BytesIO(tail)) as archive:
                    for member in archive.infolist():  # ZipFile takes the tail for all of the file
                        member.header_offset += size - length
                    return packed_members(self.url, archive, size), archive.start_dir + size - length
            except NO_ZIP as error:
                if length == size or length >= _LARGEST_TAIL:
                    raise StoreError(
                        f"{self.url}: not a zip file that can be read ({error}); have it copied again"
                    ) from error
                length = min(16 * length, size)


@lru_cache(maxsize=2)  # one for all file systems: fsspec keeps those that were made with the same options
def _redirects(*, credentials: bool) -> "TraceConfig":
    """Follow no redirect to another scheme, and with credentials in the URL none to another host."""
    from aiohttp import TraceConfig
    from yarl import URL

    async def look(session: object, context: object, redirect: "TraceRequestRedirectParams") -> None:
        here = redirect.url
        there = here.join(URL(redirect.response.headers.get("Location", "")))
        same_host = (there.host, there.port) == (here.host, here.port)
        if there.scheme == here.scheme and (same_host or not credentials):
            return
        raise ConfigError(
            f"{here.scheme}://{here.host}: redirects to {there.scheme}://{there.host}, which is not followed: it is "
            "another scheme, or another host, which would get your credentials. Use that address itself if you trust it"
        )

    trace = TraceConfig()
    trace.on_request_redirect.append(look)
    return trace


def remote_files(url: StoreUrl, objects: Mapping[str, StoredObject] | None = None) -> Remote:
    """The files of whatever store is at a URL; a name that ends in ``.zip`` is that of a packed one."""
    return RemoteZip(url, objects) if url.is_packed else Remote(url, objects)
