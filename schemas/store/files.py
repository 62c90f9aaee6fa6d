"""The files of a store on this machine: in a folder, or packed in one zip file."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from struct import error as StructError
from typing import IO, Literal, Protocol, Self
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

from zarr.storage import StoreLike, ZipStore

from schemas.errors import StoreError
from schemas.manifest import StoredObject
from schemas.store.location import StoreLocation

FileKind = Literal["file", "link", "folder", "nothing"]
_KINDS: dict[int, FileKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder"}
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)

BLOCK = 2**20  # bytes copied at once; much larger ones, never in a cache, take three times as long

LARGEST_MANIFEST = 512 * 2**20  # bytes; some 600,000 clips
_LOCKED = 0x1 | 0x20 | 0x40  # flags of members that are encrypted or patched
NO_ZIP = (BadZipFile, OSError, ValueError, NotImplementedError)  # what zipfile makes of a damaged list of members
UNREADABLE = (BadZipFile, OSError, EOFError, StructError)  # and of a damaged member


class SourceFiles(Protocol):
    """The files below a store, as they are. Names are relative, with forward slashes."""

    def names(self) -> Iterator[str]:
        """Every file and link, sorted."""

    def kind(self, name: str) -> FileKind:
        """What is there under a name, links not followed."""

    def size(self, name: str) -> int | None:
        """Bytes of a file, or ``None`` where there is none to be read."""

    def open(self, name: str) -> IO[bytes]:
        """A file to read; raises ``OSError`` where there is none, or it does not hold what was packed."""


class StoreFiles(SourceFiles, Protocol):
    """The files below a store, for its reader."""

    def for_zarr(self) -> StoreLike:
        """What ``zarr.open_group`` takes."""

    def at_source(self) -> SourceFiles:
        """The same files, none of them read from the cache."""


class Folder:
    """A store as ``mer preprocess`` writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[str]:
        """See ``StoreFiles``."""
        found, folders = [], [("", str(self.path))]
        while folders:
            prefix, folder = folders.pop()
            with os.scandir(folder) as entries:  # a store of 100,000 clips has a million folders: Path takes a minute
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((f"{prefix}{entry.name}/", entry.path))
                    else:
                        found.append(prefix + entry.name)
        yield from sorted(found)

    def kind(self, name: str) -> FileKind:
        """See ``StoreFiles``."""
        found = self._stat(name, os.lstat)
        if found is not None and stat.S_ISLNK(found.st_mode):
            return "link"
        return "nothing" if found is None else _KINDS.get(stat.S_IFMT(found.st_mode), "nothing")

    def size(self, name: str) -> int | None:
        """See ``StoreFiles``."""
        found = self._stat(name, os.stat)
        return found.st_size if found is not None and stat.S_ISREG(found.st_mode) else None

    def open(self, name: str) -> IO[bytes]:
        """See ``StoreFiles``."""
        found = self._stat(name, os.stat)
        if found is not None and stat.S_IFMT(found.st_mode) not in _KINDS:  # a pipe would be waited for
            raise OSError(errno.EINVAL, "neither a file nor a folder", self._at(name))
        return open(self._at(name), "rb")  # noqa: PTH123

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}"  # a Path takes longer to make than the file to look at

    def _stat(self, name: str, look: Callable[[str], os.stat_result]) -> os.stat_result | None:
        """What the system says of a file, or ``None`` where there is none."""
        try:
            return look(self._at(name))
        except ValueError:  # a name that no file can have
            return None
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise
            return None

    def for_zarr(self) -> StoreLike:
        """See ``StoreFiles``."""
        return self.path

    def at_source(self) -> Self:
        """See ``StoreFiles``."""
        return self


class Packed:
    """A store in a zip file as ``mer pack`` writes it, members stored and not deflated: read where it lies.

    Raises:
        StoreError: on first use, if the zip file is not such a one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Iterator[str]:
        """See ``StoreFiles``."""
        yield from sorted(self._members)

    def kind(self, name: str) -> FileKind:
        """See ``StoreFiles``."""
        return "file" if name in self._members else "nothing"

    def size(self, name: str) -> int | None:
        """See ``StoreFiles``."""
        member = self._members.get(name)
        return None if member is None else member.file_size

    def open(self, name: str) -> IO[bytes]:
        """See ``StoreFiles``."""
        try:
            return self._zip.open(self._members[name])
        except KeyError as error:
            raise FileNotFoundError(f"{self.path}: holds no {name}") from error
        except (BadZipFile, ValueError) as error:  # the latter of a name that is no UTF-8
            raise OSError(f"{self.path}: {name}: {error}") from error

    def for_zarr(self) -> StoreLike:
        """See ``StoreFiles``."""
        assert self._members is not None, "checked before Zarr reads"
        return ZipStore(self.path, mode="r")

    def at_source(self) -> Self:
        """See ``StoreFiles``."""
        return self

    def __reduce__(self) -> tuple[type["Packed"], tuple[Path]]:
        return Packed, (self.path,)  # another process opens the file itself

    @cached_property
    def _zip(self) -> ZipFile:
        try:
            return ZipFile(self.path)
        except NO_ZIP as error:
            raise StoreError(f"{self.path}: not a zip file that can be read ({error}); copy it again") from error

    @cached_property
    def _members(self) -> dict[str, ZipInfo]:
        return packed_members(self.path, self._zip, self.path.stat().st_size)


def packed_members(place: StoreLocation, archive: ZipFile, size: int) -> dict[str, ZipInfo]:
    """Name -> member of a packed store, of which so far only the list of members is read.

    Args:
        place: of the zip file, to be named in errors.
        archive: the zip file.
        size: of it, bytes.

    Raises:
        StoreError: ``mer pack`` has not written such a list.
    """
    members: dict[str, ZipInfo] = {}
    for member in archive.infolist():
        if (fault := _fault(member)) or member.filename in members:
            raise StoreError(
                f"{place}: {member.orig_filename!r} {fault or 'is in it twice'}; "
                "expected a zip file made by `mer pack`: nothing was unpacked"
            )
        members[member.filename] = member
    if sum(member.file_size for member in members.values()) > size:
        raise StoreError(f"{place}: declares more bytes than the file has; it is no work of `mer pack`")
    return members


def _fault(member: ZipInfo) -> str | None:
    """What makes a member one that ``mer pack`` has not written."""
    if member.orig_filename != member.filename or not is_safe(member.filename):
        return "is no name inside a store"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device"
    if member.flag_bits & _LOCKED:
        return "is encrypted or patched"
    if member.compress_type != ZIP_STORED or member.compress_size != member.file_size:
        return "is compressed"
    return None


def stored_object(file: Path) -> StoredObject:
    """Size and hash of a file."""
    with file.open("rb") as stream:
        return hashed(stream)


def hashed(stream: IO[bytes]) -> StoredObject:
    """Size and hash of what is left of a stream."""
    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    return {"bytes": stream.tell(), "sha256": sha256}


def is_safe(name: str) -> bool:
    """Whether a relative name stays inside the folder that it is joined to, on every system."""
    return name.isprintable() and not set(name) & set('\\:*?"<>|') and not set(name.split("/")) & {"", ".", ".."}


def open_files(path: Path) -> StoreFiles:
    """The files of whatever store lies at a path."""
    return Packed(path) if is_zipfile(path) else Folder(path)


def is_foreign(place: StoreLocation) -> bool:
    """Whether a store may have come from anybody: it is at a URL, or a zip file. Folders are our own."""
    return not isinstance(place, Path) or is_zipfile(place)
