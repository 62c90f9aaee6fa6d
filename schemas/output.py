"""What every run does with the place that it writes to: keep others out, and keep a log beside the result."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from schemas.errors import OutputLockedError
from schemas.store.location import require_path

log = logging.getLogger("mer")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """One run an output. The lock is the operating system's: it ends with the process, however that ends.

    Raises:
        ConfigError: a URL, which only `mer push` writes to.
        OutputLockedError: another run holds it.
        OSError: nothing can be written beside the output.
    """
    require_path(out)
    lock = FileLock(out.with_name(out.name + ".lock"), blocking=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputLockedError(
            f"{out}: another run is writing there (it holds {lock.lock_file}); wait for it, or choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Everything that a run logs, appended run by run.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
