"""A packed store at a URL: a zip file of which only the list of members, and those that are wanted, are fetched."""

import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase
from itertools import pairwise
from struct import unpack_from
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

from schemas.errors import ManifestMissingError, MerError, StoreError
from schemas.manifest import StoredObject
from schemas.store.files import NO_ZIP, FileKind, packed_members
from schemas.store.location import StoreUrl
from schemas.store.remote_files import Remote, WrongBytesError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_TAIL = 2**16  # bytes fetched at first, from the end; the list of some 500 members
_LONGEST_LIST = 128 * 2**20  # bytes; some million members
_HEADER = 30  # bytes before a member's name, what else its writer notes, and its content
_LONGEST_HEADER = _HEADER + 2 * 0xFFFF


def remote_files(url: StoreUrl, objects: Mapping[str, StoredObject] | None = None) -> Remote:
    """The files of whatever store is at a URL; a name that ends in ``.zip`` is that of a packed one."""
    return RemoteZip(url, objects) if url.is_packed else Remote(url, objects)


class RemoteZip(Remote):
    """The files of a store in a zip file as ``mer pack`` writes it, each one request for a part of that file.

    Args:
        url: of the zip file.
        objects: what the store's manifest lists.

    Raises:
        StoreDamagedError: the list is one that leads elsewhere.
        StoreError: on first use, if ``mer pack`` has not written the zip file.
        ManifestMissingError: on first use, if there is none.
    """

    def __reduce__(self) -> tuple[type["RemoteZip"], tuple[StoreUrl, Mapping[str, StoredObject]]]:
        return RemoteZip, (self.url, self.objects)

    def listing(self) -> dict[str, int]:
        """Name -> bytes of every member."""
        return {name: member.file_size for name, (member, _) in self._members.items()}

    def kind(self, name: str) -> FileKind:
        """See ``StoreFiles``."""
        return "file" if name in self._members else "nothing"

    def size(self, name: str) -> int | None:
        """See ``StoreFiles``."""
        return self._members[name][0].file_size if name in self._members else None

    def _said(self, name: str) -> int:
        return self._member(name)[0].file_size

    def _blocks(self, name: str, size: int) -> Iterator[bytes]:
        member, end = self._member(name)
        record = b"".join(self._part(self._path, member.header_offset, end))
        yield _content(record, member)[:size]

    def fetched(self, start: int, end: int) -> bytes:
        """A part of the zip file; raises as ``asked``."""

        def fetch() -> bytes:
            data = b"".join(self._part(self._path, start, end))
            if len(data) != end - start:
                raise WrongBytesError(f"{len(data)} of {end - start} bytes came")
            return data

        return self.asked("the list of its members", fetch)

    @property
    def _path(self) -> str:
        return self.at("").rstrip("/")

    def _member(self, name: str) -> tuple[ZipInfo, int]:
        if name not in self._members:
            raise FileNotFoundError(f"{self.url}: holds no {name}")
        return self._members[name]

    @cached_property
    def _members(self) -> dict[str, tuple[ZipInfo, int]]:
        """Name -> member, and where in the zip file it has ended."""
        try:
            size = self.asked("its size", lambda: self.filesystem.info(self._path)["size"])
        except FileNotFoundError as error:
            raise ManifestMissingError(f"{self.url}: no such file; expected one made by `mer pack`") from error
        if size is None:
            raise StoreError(f"{self.url}: the server does not say how long it is; download it, and read it here")
        try:
            with ZipFile(_Listed(self, size)) as archive:
                members, end = packed_members(self.url, archive, size), archive.start_dir
        except MerError:
            raise
        except NO_ZIP as error:
            if isinstance(error.__context__, MerError):
                raise error.__context__ from None  # nothing came, which zipfile takes for a bad file
            raise StoreError(f"{self.url}: not a zip file that can be read ({error}); have it copied again") from error
        starts = sorted({member.header_offset for member in members.values()})
        if starts and not 0 <= starts[0] <= starts[-1] < end:
            raise StoreError(f"{self.url}: lists members that lie outside of it; it is no work of `mer pack`")
        next_start = dict(pairwise([*starts, end]))

        def end_of(member: ZipInfo) -> int:
            longest = member.header_offset + _LONGEST_HEADER + member.file_size
            return min(longest, next_start[member.header_offset])

        return {name: (member, end_of(member)) for name, member in members.items()}


class _Listed(RawIOBase):
    """The zip file for ``ZipFile``, which reads the list at its end and nothing else."""

    def __init__(self, remote: RemoteZip, size: int) -> None:
        self._remote, self._size, self._position = remote, size, 0
        self._tail_start = max(0, size - _TAIL)
        self._tail = remote.fetched(self._tail_start, size) if size else b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        position = offset + {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError("before the start of the file")
        self._position = position
        return position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        start, end = self._position, min(self._position + len(view), self._size)
        if end - start > _LONGEST_LIST:
            raise StoreError(f"{self._remote.url}: a list of {end - start} bytes; no packed store has as long a one")
        if start >= self._tail_start:
            data = self._tail[start - self._tail_start : end - self._tail_start]
        else:
            data = self._remote.fetched(start, end)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def _content(record: bytes, member: ZipInfo) -> bytes:
    """The bytes of a member out of all that the zip file has of it."""
    if len(record) < _HEADER or not record.startswith(b"PK\x03\x04"):
        raise WrongBytesError("no member begins where the zip file's list says")
    start = _HEADER + sum(unpack_from("<HH", record, 26))
    content = record[start : start + member.file_size]
    if len(content) != member.file_size or zlib.crc32(content) != member.CRC:
        raise WrongBytesError("its bytes are not those that were packed")
    return content
