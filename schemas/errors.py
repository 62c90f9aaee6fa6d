"""Every error that a user can meet, in one tree.

A message says what happened, to which path or clip, what was expected and found, and what to do.
Each class also derives from the built-in it specialises, so that ``except FileNotFoundError`` works.
"""

import re
from typing import ClassVar, Literal

Stage = Literal["scan", "decode", "face", "depth", "action_units", "write", "worker"]

_CREDENTIALS = re.compile(r"://[^/\s]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*")  # a signed URL that a server redirects to


def hide_credentials(text: str) -> str:
    """A text as it may be shown: URLs in it without user, password, token or signature."""
    return _QUERY.sub(r"\1?***", _CREDENTIALS.sub("://***@", text))


class MerError(Exception):
    """Base of all errors of this project; the message is meant for the user.

    ``exit_code`` is what the command ends with.
    """

    exit_code: ClassVar[int] = 2


class ConfigError(MerError, ValueError):
    """An option or a config file is wrong."""


class DatasetError(MerError, ValueError):
    """A raw dataset cannot be used as it is."""


class DatasetNotFoundError(DatasetError, FileNotFoundError):
    """There is no dataset that we know at the path."""


class AmbiguousDatasetError(DatasetError):
    """More than one dataset matches the path."""


class AnnotationError(DatasetError):
    """The annotation spreadsheet is missing, unreadable, or lacks something."""


class ClipError(MerError):
    """One clip cannot be processed; the others go on. ``stage`` says where it stopped."""

    stage: ClassVar[Stage]


class UnusableClipError(ClipError, ValueError):
    """The scan already found that the clip has nothing to process."""

    stage = "scan"


class FrameError(ClipError, ValueError):
    """A frame is missing, truncated, of another size, or of a pixel format that we refuse."""

    stage = "decode"


class FaceNotFoundError(ClipError, LookupError):
    """No face on any of the frames that were tried."""

    stage = "face"


class DepthError(ClipError, RuntimeError):
    """The depth model failed on a clip."""

    stage = "depth"


class ActionUnitError(ClipError, RuntimeError):
    """The action unit model failed on a clip."""

    stage = "action_units"


class WeightsUnavailableError(MerError, FileNotFoundError):
    """Model weights are neither in the models folder nor reachable."""


class WeightsInvalidError(MerError, ValueError):
    """Model weights are there but are not what was pinned, or cannot be loaded."""


class OutputLockedError(MerError, BlockingIOError):
    """Another run is writing to the same place."""


class StoreError(MerError):
    """Something is wrong with a store."""


class StoreExistsError(StoreError, FileExistsError):
    """The output already holds a store of another config."""


class StoreWriteError(StoreError, OSError):
    """The output cannot be written: disk full, read-only, or gone."""


class TransferError(StoreError, ConnectionError):
    """Something could not be read from, or written to, a URL, although it was tried several times."""


class ManifestMissingError(StoreError, FileNotFoundError):
    """No ``manifest.json``: not a store, or one whose run has not finished."""


class ManifestInvalidError(StoreError, ValueError):
    """``manifest.json`` is not a manifest."""


class StoreVersionError(StoreError, ValueError):
    """The store was written in a format that this version does not read."""


class StoreDamagedError(StoreError, OSError):
    """An object of the store is missing or does not decode."""


class ObjectMissingError(StoreDamagedError, FileNotFoundError):
    """An object that the manifest lists is not there."""


class ClipNotFoundError(StoreError, KeyError):
    """The store has no such clip."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class RunError(MerError, RuntimeError):
    """The run as a whole cannot start or go on (cluster, workers, devices)."""


class ClusterLostError(RunError, ConnectionError):
    """The Dask cluster of a run is lost; what is finished is safe, and the same command goes on."""

    exit_code = 3


class ProtocolError(MerError, ValueError):
    """The clips at hand are not those that a protocol is defined on, or cannot be split or scored as it says."""


class PredictionsError(MerError, ValueError):
    """Predictions that cannot be scored: clips missing, doubled or unknown, or probabilities that are none."""


class RunFolderError(MerError, ValueError):
    """A folder is not the training run that was expected there, or one of another config."""


class TrainingDivergedError(MerError, ArithmeticError):
    """The loss of a fold is no number any more, or has exploded; the other folds go on."""
