"""A clip as it lies on disk: where its frames are, its phases and labels, and what is odd about it."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.datasets import Licence
from schemas.labels import Label
from schemas.model import Model

FindingKind = Literal[
    "missing_frames",  # numbers between onset and offset that have no file
    "no_frames",  # the clip has a row but no folder, or its folder holds no usable frame
    "single_frame",
    "onset_missing",
    "onset_out_of_range",
    "apex_missing",
    "apex_out_of_range",
    "offset_missing",
    "offset_out_of_range",
    "duplicate_row",
    "duplicate_frame",  # two files with the same frame number
    "unreadable_row",
    "folder_without_row",
    "label_conflict",
    "label_unknown",
    "action_units_unparsed",
    "misplaced_folder",
    "layout_chosen",  # of several image trees; the message names the others
    "annotation_chosen",  # of several spreadsheets
    "annotation_incomplete",
    "duplicate_folder",  # two folders or videos for the same clip
    "unreadable_folder",
    "frame_count_mismatch",  # a video, or a folder numbered anew, that is neither the clip nor the whole recording
    "renumbered",  # the frames of a clip are numbered anew from 1
    "interpolated",  # a clip was brought to a fixed number of frames (TIM)
    "copy",  # made by a file manager of what lies beside it
    "fps_unknown",
    "frame_rate_varies",  # the frame rate is the median; the clip's ``times`` say when each frame was taken
    "frame_rate_differs",  # a video declares another frame rate than its dataset has
    "depth_incomplete",  # frames without measured depth beside them, where others have some
    "depth_filled",  # pixels without measured depth, which were given that of others
    "misnamed",  # names that are not UTF-8
    "damaged_frames",  # frames of a video that cannot be decoded
    "deinterlaced",
    "bit_depth_reduced",  # more than 8 bits a channel
    "no_video",  # files beside videos that are none
    "cut",  # neighbouring frames that do not show the same scene
    "relabelled",  # by `mer relabel`; the message says what, from, to, and by which table
    "full_activation",  # motion as large as an action unit can make it, or larger
]


class Finding(Model):
    """A disagreement between annotation and disk; recorded, never repaired silently.

    ``clip`` is the key of the clip, or the relative path of whatever has none.
    An ``unusable`` finding keeps its clip from being processed.
    """

    kind: FindingKind
    clip: str
    message: str
    unusable: bool = False


class ImageSequence(Model):
    """Frames as image files of one folder, in frame order. Paths are POSIX, relative to the dataset root."""

    kind: Literal["images"] = "images"
    folder: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def path(self) -> str:
        """The folder, relative to the dataset root."""
        return self.folder


class VideoSegment(Model):
    """``count`` frames of a video file from the 0-based frame ``start``; the first is numbered ``first_number``.

    ``left_out`` are frames between that cannot be decoded, 0-based in the file; ``seek`` is a key frame before
    ``start`` and its time stamp, to begin decoding at.
    """

    kind: Literal["video"] = "video"
    path: str
    start: int = 0
    count: int
    first_number: int = 1
    left_out: tuple[int, ...] = ()
    seek: tuple[int, int] | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Frame numbers as the annotation counts them."""
        missing = {position - self.start for position in self.left_out}
        return tuple(self.first_number + i for i in range(self.count) if i not in missing)


FrameSource = Annotated[ImageSequence | VideoSegment, Field(discriminator="kind")]


class ExpressionInterval(Model):
    """An expression in a long recording; onset, apex and offset are inclusive frame numbers, as of a ``Clip``.

    ``label.expression_type`` says whether it is a micro- or a macro-expression.
    """

    onset: int
    apex: int | None = None
    offset: int
    label: Label = Field(default_factory=Label)

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.offset < self.onset:
            raise ValueError(f"offset {self.offset} before onset {self.onset}")
        return self


class Clip(Model):
    """One expression. Onset, apex and offset are inclusive frame numbers as in the file names.

    ``source`` is ``None`` when the annotation has a row that nothing on disk answers to; ``metadata`` is what a table
    of clips says beyond the fields known here, column -> cell. ``times`` are those of its frames, s from the first,
    where the frame rate varies. ``depth`` are images of measured depth under the numbers of its frames, where the
    dataset ships some. ``long``: a whole recording, from its first frame to its last, with the ``intervals`` of the
    expressions in it, sorted by onset.
    """

    dataset: str
    subject: str
    name: str
    source: FrameSource | None
    onset: int | None
    apex: int | None
    offset: int | None
    fps: float
    label: Label
    metadata: dict[str, str] = Field(default_factory=dict)
    times: tuple[float, ...] = ()
    depth: ImageSequence | None = None
    findings: tuple[Finding, ...] = ()
    long: bool = False
    intervals: tuple[ExpressionInterval, ...] = ()

    @cached_property
    def key(self) -> str:
        """``dataset/subject/clip``: unique wherever datasets are mixed."""
        return f"{self.dataset}/{self.subject}/{self.name}"

    @property
    def usable(self) -> bool:
        """Whether there is anything to process."""
        return self.source is not None and not any(f.unusable for f in self.findings)


class DatasetScan(Model):
    """What a dataset adapter found below a root: every clip, usable or not, sorted by key.

    ``expected`` maps a count's name (``clips``, ``subjects``, ``emotion:surprise``, ...) to the
    published figure, so that a scan can show found against expected. ``disagreement`` says why the annotation cannot
    be that of the images, where so much is on one side only; such a dataset is not to be processed. ``synthetic``:
    `mer synth` made some of the clips. ``recordings`` are the whole recordings that the clips are parts of, and those
    without any clip: path of the folder or video -> ``subject/name``.
    """

    dataset: str
    layout: str
    annotation: str | None
    clips: tuple[Clip, ...]
    findings: tuple[Finding, ...] = ()
    expected: dict[str, int] = Field(default_factory=dict)
    licences: tuple[Licence, ...] = ()
    disagreement: str = ""
    synthetic: bool = False
    recordings: dict[str, str] = Field(default_factory=dict)

    @property
    def missing_clips(self) -> int:
        """Published clips that were not found."""
        return max(0, self.expected.get("clips", 0) - len(self.clips))
