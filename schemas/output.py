"""The place that a command writes to: lock it, log beside it, write files durably, explain what cannot be written."""

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from filelock import FileLock, Timeout

from schemas.errors import ConfigError, MerError, OutputLockedError, StoreWriteError, hide_credentials

log = logging.getLogger("mer")

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EFBIG: "the file is larger than is allowed there",
    errno.EROFS: "it is read-only: choose another --out",
    errno.EACCES: "no permission to write: choose another --out, or change its permissions",
    errno.EPERM: "no permission to write: choose another --out, or change its permissions",
    errno.EEXIST: "a file is where a folder is needed: choose another --out",
    errno.ENOTDIR: "a file is where a folder is needed: choose another --out",
    errno.ENOLCK: "the file system gives no locks: choose another --out",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`), or take fewer --workers",
    errno.ENFILE: "too many files are open on this machine: end other programs",
}
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:")


def require_path(place: Path) -> None:
    """Refuse a URL that was taken for a path, before a folder named ``s3:`` is made.

    Raises:
        ConfigError: it is a URL; the message says which commands take URLs.
    """
    scheme, *rest = place.parts or (".",)
    if rest and _SCHEME.fullmatch(scheme):
        url = hide_credentials("/".join([scheme, "", *rest]))
        raise ConfigError(
            f"{url}: a URL, where a path is needed; `mer push` writes a store to a URL, `mer pull` fetches one, packed "
            "or not, from a URL to a path"
        )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """One run an output. The lock is the operating system's: it ends with the process, however that ends.

    What a killed run left half written, in the output or in a folder of it, is deleted first.

    Raises:
        ConfigError: a URL, which only `mer push` writes to.
        OutputLockedError: another run holds it.
        StoreWriteError: nothing can be written beside the output, or nothing locked there.
    """
    require_path(out)
    lock = FileLock(out.with_name(out.name + ".lock"), blocking=False)
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise OutputLockedError(
                f"{out}: another run is writing there (it holds {lock.lock_file}); wait for it, or choose another --out"
            ) from error
    try:
        with output_errors(out):
            for leftover in (*out.glob(".*.partial"), *out.glob("*/.*.partial")):  # of a run that was killed
                leftover.unlink(missing_ok=True)
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: who waits for it sees that, and begins again
        lock.release()


class _LogFile(logging.FileHandler):
    """A log. That the disk is full is said by what is written beside it, once, and not by each line of the log."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line."""

    def close(self) -> None:
        """Drop what cannot be written any more."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Everything that a run logs, appended run by run; no file where that is nothing.

    Raises:
        StoreWriteError: the file cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
        with suppress(FileNotFoundError):  # a run that replaces its folder has deleted it
            if not path.stat().st_size:
                path.unlink()


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that is written whole or not at all, and that survives a power cut once this has ended.

    The bytes go to a temporary file beside it, which is flushed to the disk and then renamed; an error in between
    leaves what was there before.

    Raises:
        StoreWriteError: it cannot be written; the message says why, and what to do.
    """
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 as ``replacing`` does."""
    with replacing(path) as file:
        file.write(text.encode())


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut; Windows cannot do that by name, and does not."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn failures of the output into ``StoreWriteError`` with the remedy; the run can be resumed after it."""
    try:
        yield
    except MerError:
        raise  # says already what is to be done
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path | str, error: OSError) -> StoreWriteError:
    """What the system says of an output, with the remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "it cannot be written")
    return StoreWriteError(
        f"{path}: {remedy} ({error.strerror or error}); what is finished is safe: type the same command again to go on"
    )
