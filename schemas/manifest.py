"""``manifest.json``: the commit record of a store, written last. A store without one is unfinished."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from schemas.clip import ExpressionInterval, Finding
from schemas.config import ApexMethod, PreprocessConfig, canonical_json
from schemas.datasets import Licence
from schemas.errors import Stage
from schemas.labels import Label
from schemas.layout import ClipArrayName, array_names, object_path
from schemas.model import Model
from schemas.rows import Table, rows_of, table_of
from schemas.weights import Weights

DepthKind = Literal["relative inverse depth", "relative depth", "metric depth"]
ActionUnitKind = Literal["activation", "intensity"]

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"


@with_config(ConfigDict(extra="forbid"))
class StoredObject(TypedDict):
    """One file of the store.

    A typed dict rather than a model: there are several per clip, and a manifest of 100,000 clips opens
    a fifth faster for it.
    """

    bytes: int
    sha256: str


class Source(Model):
    """What a clip was read from.

    ``path`` is the folder or video, relative to the dataset root. ``sha256`` is what
    ``sha256sum FILE... | sha256sum`` prints over the frame files in frame order, names without folder,
    and then over those of measured depth where they were read.
    """

    path: str
    files: int
    bytes: int
    sha256: str


class Quality(Model):
    """How well the face was found, and how still it stayed.

    Attributes:
        detected_on: the frame that the face was found on.
        detection_probability: the detector's, in [0, 1].
        faces: faces on that frame; the largest was taken.
        padded: found on the padded frame, since it is not found, or reaches the edge, on the frame itself.
        inter_eye_px: distance of the eyes in the source, px.
        residual_motion_px: 95th percentile over frames of the crop's global shift against onset, px.
    """

    detected_on: Literal["onset", "apex", "middle", "offset"]
    detection_probability: FiniteFloat
    faces: int
    padded: bool
    inter_eye_px: FiniteFloat
    residual_motion_px: FiniteFloat


class Failure(Model):
    """Why a clip is not in the store."""

    stage: Stage
    error: str
    message: str


class Segment(Model):
    """Frames ``start`` to ``stop - 1``, by position, in which one face was followed without a cut."""

    start: NonNegativeInt
    stop: NonNegativeInt


class ClipEntry(Model):
    """One clip of a store; its position in ``Manifest.clips`` is its index in every array.

    Onset, apex and offset are frame numbers as in the file names; the arrays ``onset_index`` and
    ``apex_index`` hold the first two as positions in the clip. ``apex_estimated`` names the
    method when the annotation had no usable apex. ``objects`` maps an array's name to the file that holds
    this clip of it (``schemas.layout.object_path``). ``made_by`` is a position in ``Manifest.provenances``. ``times``
    are those of the frames, s from the first, of a clip whose frame rate varies; ``fps`` is then the median.
    ``metadata`` are the columns of a table of clips that mean nothing to us, as they are written there.

    A long recording (`mer preprocess --long`) has ``segments``, the stretches in which its face was followed, and the
    ``intervals`` of its expressions; its onset and offset are its first and last frame. Stores of clips have neither,
    and readers of before there were any refuse a manifest with them.
    """

    key: Annotated[str, Field(pattern=r"^[^/]+/[^/]+/[^/]+$")]
    status: Literal["ok", "failed"]
    label: Label
    fps: FiniteFloat
    onset: int | None
    apex: int | None
    offset: int | None
    apex_estimated: ApexMethod | None = None
    n_frames: NonNegativeInt = 0
    source: Source | None = None
    findings: tuple[Finding, ...] = ()
    quality: Quality | None = None
    failure: Failure | None = None
    objects: dict[ClipArrayName, StoredObject] = Field(default_factory=dict)
    made_by: NonNegativeInt = 0
    times: tuple[FiniteFloat, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    intervals: tuple[ExpressionInterval, ...] = ()

    @property
    def subject(self) -> str:
        """The middle of the key."""
        return self.key.split("/")[1]

    @property
    def seconds(self) -> tuple[float, ...]:
        """When each frame was taken, s since the first; empty where nobody knows the frame rate."""
        return self.times or (tuple(index / self.fps for index in range(self.n_frames)) if self.fps else ())


class ActionUnitColumns(Model):
    """What the ``au`` axis holds. ``kind`` and ``unit`` say that a predicted activation is no FACS intensity."""

    names: tuple[str, ...]
    kind: ActionUnitKind
    unit: str
    tool: str
    version: str


class DepthColumn(Model):
    """What ``depth`` holds: per clip ``(estimate - offset) / scale``; the arrays keep both numbers."""

    kind: DepthKind
    unit: str
    tool: str
    version: str


class Provenance(Model):
    """All that decides the bytes besides the raw data; a resumed run must have the same.

    Attributes:
        config: the run's config.
        layout: of the dataset on disk.
        annotation: the sheet's name.
        device: where networks ran.
        packages: distribution -> version.
        weights: of the networks.
        revisions: field of the config -> revision of the backend that it names, where that is not the first.
    """

    config: PreprocessConfig
    layout: str
    annotation: str | None
    device: Literal["cpu", "cuda"]
    packages: dict[str, str]
    weights: tuple[Weights, ...]
    revisions: dict[str, int] = Field(default_factory=dict)

    def differences(self, other: "Provenance") -> dict[str, tuple[object, object]]:
        """Dotted field -> (this value, the other's), for what differs."""
        found: dict[str, tuple[object, object]] = {
            f"config.{name}": pair for name, pair in self.config.differences(other.config).items()
        }
        for name in ("layout", "annotation", "device", "weights", "revisions"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                found[name] = (mine, theirs)
        for package in sorted(self.packages.keys() | other.packages.keys()):
            mine, theirs = self.packages.get(package), other.packages.get(package)
            if mine != theirs:
                found[f"packages.{package}"] = (mine, theirs)
        return found


def _as_tuple(clips: Sequence[ClipEntry], write: SerializerFunctionWrapHandler) -> Any:
    return write(tuple(clips))


class Manifest(Model):
    """Everything there is to know about a store without reading an array.

    No wall-clock time, host or absolute path is in it: the same input gives the same bytes.
    ``content_sha256`` is the hash of all the rest, so that an edited label is noticed; see ``sealed``.
    It is the store's content id: equal ids mean equal clips, labels and bytes.

    What only shared or synthetic stores have:

    Attributes:
        clips: of a manifest that was read from a file, a ``Table``, which behaves as the tuple; see ``rows``.
        further_provenances: of a merged store, the other runs that made clips of it.
        left_out: clip arrays that were left out for sharing, although the run had made them.
        pseudonyms: where subjects and clips were renamed, the fingerprint of the secret that named them.
        licences: terms of the datasets that the clips are from, sorted.
        synthetic: `mer synth` made some of the clips.
    """

    format: Literal["mer-store"] = "mer-store"
    format_version: Literal[1] = 1
    provenance: Provenance
    config_sha256: str
    action_units: ActionUnitColumns
    depth: DepthColumn | None
    findings: tuple[Finding, ...]
    clips: Annotated[tuple[ClipEntry, ...], WrapSerializer(_as_tuple)]
    objects: dict[str, StoredObject]
    further_provenances: tuple[Provenance, ...] = ()
    left_out: tuple[ClipArrayName, ...] = ()
    pseudonyms: str = ""
    licences: tuple[Licence, ...] = ()
    synthetic: bool = False
    content_sha256: str = ""

    @model_validator(mode="after")
    def _made_by_somebody(self) -> Self:
        runs = len(self.provenances)
        if any(entry.made_by >= runs for entry in self.clips):
            raise ValueError(f"a clip is made by a run beyond the {runs} that are listed")
        return self

    def sealed(self) -> "Manifest":
        """The same manifest with the hash of its content; `mer verify` calls one without, or with another, edited."""
        return self.model_copy(update={"content_sha256": self.expected_sha256()})

    def expected_sha256(self) -> str:
        """What ``content_sha256`` has to be: the hash of everything else, in canonical JSON without defaults."""
        clips = self.clips if isinstance(self.clips, Table) else table_of(ClipEntry, self.clips)
        quick = self._hashed_with(clips.canonical(exact=False))
        return quick if quick == self.content_sha256 else self._hashed_with(clips.canonical())

    def _hashed_with(self, clips: bytes) -> str:
        """The hash of the content, of which the clips are in canonical JSON already."""
        rest = self.model_copy(update={"clips": ()})
        parts = rest.model_dump(mode="json", exclude_defaults=True, exclude={"content_sha256", "clips"})
        texts = {name: canonical_json(value) for name, value in parts.items()} | {"clips": clips}
        digest = hashlib.sha256(b"{")
        for position, name in enumerate(sorted(texts)):
            digest.update(b"," * bool(position) + canonical_json(name) + b":")
            digest.update(texts[name])
        digest.update(b"}")
        return digest.hexdigest()

    @property
    def rows(self) -> Sequence[ClipEntry]:
        """The clips as ``schemas.rows.rows_of`` gives them: fields alone, but fast."""
        return rows_of(self.clips)

    @property
    def provenances(self) -> tuple[Provenance, ...]:
        """The runs that made the clips; ``ClipEntry.made_by`` counts in here."""
        return (self.provenance, *self.further_provenances)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets that the clips are from, sorted."""
        return tuple(sorted({entry.key.split("/")[0] for entry in self.rows}))

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that the store has."""
        config = self.provenance.config
        return array_names(
            texture="texture" not in self.left_out,
            depth=config.depth != "none" and "depth" not in self.left_out,
            au_frames=config.au_frames == "all" and "au_frames" not in self.left_out,
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Clip key -> position in ``clips`` and in every array."""
        return {entry.key: i for i, entry in enumerate(self.rows)}

    def all_objects(self) -> dict[str, StoredObject]:
        """Path inside the store -> size and hash, for every file but the manifest itself."""
        merged = dict(self.objects)
        for index, entry in enumerate(self.rows):
            for array, stored in entry.objects.items():
                merged[object_path(array, index)] = stored
        return merged
