"""One push a URL at a time: a lock beside the manifest that says whose it is, renewed while its push lives.

A lock is over when it was not renewed for ten minutes (the clocks of those who push must agree to within some), or
when its process was on this machine and is no more. A push looks at its lock again before it writes the manifest.
"""

import getpass
import hashlib
import logging
import platform
import threading
import uuid
from datetime import UTC, datetime, timedelta
from types import TracebackType

import psutil
from pydantic import ValidationError

from pipeline.sharing.push_target import PushTarget
from schemas.errors import MerError, OutputLockedError
from schemas.model import Model
from schemas.store.remote_files import LOCK_NAME

log = logging.getLogger("mer")

_RENEWED = 60.0  # s
_STALE = timedelta(minutes=10)


class _Owner(Model):
    """Who pushes. ``machine`` tells machines apart without saying more about them than their name."""

    name: str
    machine: str
    process: int
    started: float
    token: str
    time: datetime

    def is_gone(self) -> bool:
        """Whether it will not come back."""
        if datetime.now(UTC) - self.time > _STALE:
            return True
        return self.machine == _machine() and not _lives(self.process, self.started)


class PushLock:
    """The lock of a target, held within a ``with`` block.

    Raises:
        OutputLockedError: on entry, if somebody else is pushing there.
    """

    def __init__(self, target: PushTarget) -> None:
        self._target = target
        process = psutil.Process()
        self._owner = _Owner(
            name=f"{_user()}@{platform.node()}", machine=_machine(), process=process.pid,
            started=process.create_time(), token=uuid.uuid4().hex, time=datetime.now(UTC),
        )  # fmt: skip
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="push-lock", daemon=True)

    def __enter__(self) -> "PushLock":
        if not self._target.create(LOCK_NAME, self._text()):
            other = self._holder()
            if other is None or other.is_gone():
                self._target.delete(LOCK_NAME)
                self._target.create(LOCK_NAME, self._text())
            self.require()  # it is ours too where only the answer to its creation was lost
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._heart.join()
        try:
            holder = self._holder()
            if holder is not None and holder.token == self._owner.token:
                self._target.delete(LOCK_NAME)
        except MerError as failure:  # the push itself is over; the lock ends by its age
            log.warning("%s", failure)

    def require(self) -> None:
        """Make sure that nobody has taken the lock away.

        Raises:
            OutputLockedError: somebody has, since this push gave no sign of life for long.
        """
        holder = self._holder()
        if holder is None or holder.token != self._owner.token:
            raise self._taken(holder)

    def _beat(self) -> None:
        while not self._stop.wait(_RENEWED):
            try:
                self.require()
                self._target.replace(LOCK_NAME, self._text())
            except OutputLockedError:
                return  # the push finds out itself
            except MerError as error:
                log.warning("%s", error)

    def _text(self) -> bytes:
        return self._owner.model_copy(update={"time": datetime.now(UTC)}).model_dump_json().encode()

    def _holder(self) -> _Owner | None:
        try:
            with self._target.open(LOCK_NAME) as file:
                return _Owner.model_validate_json(file.read())
        except (FileNotFoundError, ValidationError):
            return None

    def _taken(self, other: _Owner | None) -> OutputLockedError:
        who = f"{other.name} ({other.time:%Y-%m-%d %H:%M} UTC)" if other is not None else "somebody else"
        return OutputLockedError(
            f"{self._target.url}: {who} is pushing there; wait for it: a push that was killed is over ten minutes "
            "after its last sign of life"
        )


def _machine() -> str:
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()}".encode()).hexdigest()[:16]


def _lives(process: int, started: float) -> bool:
    try:
        return bool(abs(psutil.Process(process).create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "somebody"
