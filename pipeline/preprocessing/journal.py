"""The journal of a run under way: one fsynced line a clip, so that a killed run loses only what was in flight."""

import os
from pathlib import Path
from typing import IO

import msgspec
from pydantic import ValidationError

from schemas.clip import Clip
from schemas.errors import ManifestInvalidError, Stage
from schemas.manifest import ClipEntry, Failure, Provenance
from schemas.model import Model
from schemas.output import output_errors, replacing
from schemas.rows import Table, read_lines
from schemas.store.manifest_file import JOURNAL_NAME


class ClipColumns(Model):
    """The clip's values in the columns, kept here until all clips are done."""

    frame_numbers: tuple[int, ...]
    onset_index: int
    apex_index: int
    transform: tuple[tuple[float, float, float], tuple[float, float, float]]
    au: tuple[tuple[float, ...], tuple[float, ...]]
    depth_scale: float = 0.0
    depth_offset: float = 0.0


class ClipRecord(Model):
    """What a worker returns for one clip; ``columns`` is ``None`` when it failed."""

    index: int
    entry: ClipEntry
    columns: ClipColumns | None = None


class JournalHeader(Model):
    """First line: what the run is. A journal is resumed only by a run that says the same."""

    provenance: Provenance
    keys_sha256: str
    frames: int


class Journal:
    """Append-only; a torn last line, which a kill can leave, is cut off when it is opened again."""

    def __init__(self, store: Path) -> None:
        self._path = store / JOURNAL_NAME
        self._file: IO[bytes] | None = None

    def read(self) -> tuple[JournalHeader, Table[ClipRecord]] | None:
        """Header and records, or ``None`` where no run was begun.

        Raises:
            ManifestInvalidError: a line in the middle is damaged.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        header, _, records = data[: data.rfind(b"\n") + 1].partition(b"\n")
        if not header:
            return None
        try:
            return JournalHeader.model_validate_json(header), read_lines(ClipRecord, records)
        except (ValidationError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ManifestInvalidError(
                f"{self._path}: damaged, or written by another version of mer; begin anew with --overwrite"
            ) from error

    def begin(self, header: JournalHeader, records: Table[ClipRecord]) -> None:
        """Write a fresh journal with the records that still hold, atomically, and open it for appending."""
        with replacing(self._path) as file:
            file.writelines([_line(header), records.lines()])
        with output_errors(self._path.parent):
            self._file = self._path.open("ab")

    def append(self, record: ClipRecord) -> None:
        """Add one clip; on return it survives a power cut."""
        assert self._file is not None, "begin() first"
        with output_errors(self._path.parent):
            self._file.write(_line(record))
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; the journal stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Delete the journal, after the manifest is in place."""
        self.close()
        self._path.unlink(missing_ok=True)


def failed_record(index: int, clip: Clip, stage: Stage, error: BaseException) -> ClipRecord:
    """The record of a clip that is not in the store, and why."""
    failure = Failure(stage=stage, error=type(error).__name__, message=str(error))
    return ClipRecord(index=index, entry=bare_entry(clip).model_copy(update={"failure": failure}))


def bare_entry(clip: Clip) -> ClipEntry:
    """What the scan knows of a clip; failed until something else is known."""
    return ClipEntry(
        key=clip.key,
        status="failed",
        label=clip.label,
        fps=clip.fps,
        onset=clip.onset,
        apex=clip.apex,
        offset=clip.offset,
        findings=clip.findings,
        times=clip.times,
        metadata=clip.metadata,
        intervals=clip.intervals,
    )


def _line(model: Model) -> bytes:
    return model.model_dump_json(exclude_defaults=True).encode() + b"\n"
