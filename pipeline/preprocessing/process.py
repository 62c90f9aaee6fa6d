"""What a worker does with a clip: have it computed, write it, and turn errors into failed records."""

import errno
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.clip.compute import ComputedClip, Models, compute_clip
from pipeline.clip.frames import without_damage
from pipeline.clip.kept_frames import with_fewer_frames
from pipeline.clip.recording import compute_recording
from pipeline.preprocessing.journal import ClipColumns, ClipRecord, bare_entry, failed_record
from pipeline.preprocessing.store_arrays import write_clip
from schemas.clip import Clip
from schemas.config import PreprocessConfig
from schemas.errors import ClipError, FrameError, StoreWriteError

log = logging.getLogger("mer")

# A flaky network drive; anything else is the data's fault and would fail again.
_TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR, errno.EAGAIN}
_ATTEMPTS = 3


@dataclass
class ClipProcessor:
    """Models loaded once, then any number of clips; safe to call from several threads.

    Attributes:
        root: dataset root.
        out: store folder, its arrays already created.
        config: the run's config.
        models: the models of the config.
    """

    root: Path
    out: Path
    config: PreprocessConfig
    models: Models

    def process(self, index: int, clip: Clip) -> ClipRecord:
        """Process and write one clip. A clip at fault comes back as a failed record, never as an exception.

        Raises:
            StoreWriteError: the output cannot be written; no other clip could be either.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if self.config.tolerate:
                    clip = without_damage(self.root, clip)
                if self.config.frames is not None:
                    clip = with_fewer_frames(clip, self.config.frames)
                compute = compute_recording if clip.long else compute_clip
                return self._write(index, clip, compute(clip, self.root, self.config, self.models))
            except StoreWriteError:
                raise
            except ClipError as error:
                return failed_record(index, clip, error.stage, self._relative(error))
            except OSError as error:
                if error.errno not in _TRANSIENT or attempt == _ATTEMPTS:
                    return failed_record(index, clip, FrameError.stage, self._relative(_unreadable(error)))
                log.warning("%s: %s; trying again", clip.key, error)
                time.sleep(attempt)
        raise AssertionError("unreachable: the last attempt returns")

    def _write(self, index: int, clip: Clip, computed: ComputedClip) -> ClipRecord:
        assert clip.source is not None, "it was computed"
        entry = bare_entry(clip).model_copy(
            update={
                "status": "ok",
                "apex_estimated": computed.apex_estimated,
                "n_frames": len(computed.arrays["texture"]),
                "source": computed.source,
                "quality": computed.quality,
                "findings": clip.findings + computed.findings,
                "segments": computed.segments,
                "objects": write_clip(self.out, index, computed.arrays),
            }
        )
        columns = ClipColumns.model_validate(
            {
                "frame_numbers": clip.source.numbers,
                "onset_index": computed.onset,
                "apex_index": computed.apex,
                "transform": computed.transform.tolist(),
                "au": computed.au.astype(float).tolist(),
                "depth_scale": computed.depth_scale,
                "depth_offset": computed.depth_offset,
            }
        )
        return ClipRecord(index=index, entry=entry, columns=columns)

    def _relative(self, error: Exception) -> Exception:
        """The same error without the path of this machine, which has no place in a manifest."""
        return type(error)(str(error).replace(f"{self.root}{os.sep}", "").replace(str(self.root), self.root.name))


def _unreadable(error: OSError) -> FrameError:
    where = f"{error.filename}: " if error.filename else ""
    return FrameError(f"{where}cannot be read ({error.strerror or error}); check the file and its permissions")
