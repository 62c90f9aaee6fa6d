"""Where shared things are written: under another name until they are whole."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import StoreExistsError
from schemas.output import flush, locked, output_errors, require_path


@contextmanager
def new_output(out: Path) -> Iterator[Path]:
    """A free name beside ``out`` to write a file or folder under; it is renamed when the block ends well.

    What a killed process has left under that name is deleted first.

    Raises:
        StoreExistsError: there is something at ``out``.
        ConfigError: ``out`` is a URL.
        OutputLockedError: another command is writing ``out``.
        StoreWriteError: disk full, read-only, gone.
    """
    require_path(out)
    unfinished = out.with_name(out.name + ".partial")
    with output_errors(out), locked(unfinished):
        _require_free(out)
        _delete(unfinished)
        try:
            yield unfinished
            flush(unfinished)
            _require_free(out)
            unfinished.rename(out)
        except BaseException:
            _delete(unfinished, ignore_errors=True)  # what is left the next run deletes; why this one failed is told
            raise
        flush(out.parent)


def write_durably(file: Path, data: bytes) -> None:
    """Write a file that survives a power cut once the manifest does."""
    write_blocks(file, [data])


def write_blocks(file: Path, blocks: Iterable[bytes]) -> None:
    """The same of a file that comes in pieces."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        for block in blocks:
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())


def _require_free(out: Path) -> None:
    if os.path.lexists(out):
        raise StoreExistsError(f"{out}: exists; choose another name, or delete it first")


def _delete(path: Path, *, ignore_errors: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    else:
        path.unlink(missing_ok=True)
