"""A store to look at: its clips, a table of them, and their arrays with names, units and no padding."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from madv_mer.arrays import clip_dataset, frame_times, store_dataset
from pipeline.sharing.selection import FIELDS, Selection
from pipeline.view.clips import label_of
from pipeline.view.thumbnails import Thumbnails
from schemas.errors import ClipNotFoundError, StoreError
from schemas.labels import Label
from schemas.layout import PHASES
from schemas.manifest import ClipEntry, Manifest
from schemas.rows import rows_of
from schemas.store import reader
from schemas.store.location import StoreLocation
from schemas.words import count

if TYPE_CHECKING:
    import xarray

_SHOWN = 12  # clips of a store in a notebook


def open_store(place: Path | str) -> "Store":
    """Open a store: a folder, the zip file of ``mer pack``, or a URL. No array is read before it is asked for.

    Raises:
        StoreError: there is no complete store, or its manifest was edited.
        TransferError: the URL does not answer.
    """
    opened = reader.Store.open(place)
    return Store(opened, opened.manifest.clips)


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip of a store. What it holds is read when it is first asked for, and then kept with this object.

    Every array raises ``StoreError`` where the clip failed or the store was made without it, and ``StoreDamagedError``
    where it does not decode.

    Attributes:
        entry: what the manifest says of it: label, findings, quality, frame numbers of onset, apex and offset.
    """

    entry: ClipEntry
    _store: reader.Store = field(repr=False)

    @property
    def key(self) -> str:
        """``dataset/subject/clip``."""
        return self.entry.key

    @property
    def subject(self) -> str:
        """The subject, as the dataset names it."""
        return self.entry.subject

    @property
    def label(self) -> Label:
        """All that the annotation says: ``label.emotion``, ``label.action_units``, ..."""
        return self.entry.label

    @property
    def n_frames(self) -> int:
        """T, its frames; 0 for one that failed."""
        return self.entry.n_frames

    def __len__(self) -> int:
        return self.n_frames

    @property
    def fps(self) -> float:
        """Frames per second; the median where the frame rate varies."""
        return self.entry.fps

    @cached_property
    def texture(self) -> NDArray[np.uint8]:
        """``(T, S, S, 3) uint8`` RGB, the aligned face."""
        return self._store.texture(self.key)

    @cached_property
    def depth(self) -> NDArray[np.float16]:
        """``(T, S, S) float16``, larger is nearer, normalised once a clip."""
        return self._store.depth(self.key)

    @cached_property
    def au(self) -> pd.DataFrame:
        """``(2, A) float32``: rows ``onset`` and ``apex``, a column an action unit."""
        names = self._store.manifest.action_units.names
        return pd.DataFrame(self._store.action_units(self.key), index=list(PHASES), columns=list(names))

    @cached_property
    def frame_numbers(self) -> NDArray[np.int32]:
        """``(T,) int32``, as in the file names."""
        return self._store.frame_numbers(self.key)

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """``(T,) float64``, s since the first frame."""
        return frame_times(self.entry)

    @property
    def onset(self) -> int:
        """Position of the onset among the frames, from 0."""
        return self._phases[0]

    @property
    def apex(self) -> int:
        """Position of the apex among the frames, from 0."""
        return self._phases[1]

    @cached_property
    def _phases(self) -> tuple[int, int]:
        return self._store.phases(self.key)

    def to_xarray(self) -> "xarray.Dataset":
        """Its arrays as they are, T frames long, with units and descriptions; read at once. Needs xarray."""
        return clip_dataset(self._store, self.key)

    def __repr__(self) -> str:
        what = f"{count(self.n_frames, 'frame')}, {self.fps:g} fps" if self.entry.failure is None else "failed"
        return f"<Clip {self.key}: {label_of(self.entry)}, {what}>"

    def _repr_html_(self) -> str:
        return f"<table>{_row(self.entry, Thumbnails(self._store))}</table>"


@dataclass(frozen=True, eq=False, repr=False)
class Store:
    """Clips of a store: all, or those that ``where`` has left.

    Its length, ``keys`` and iteration are of the clips that can be read; those that failed stand in ``to_pandas`` with
    the reason.

    Attributes:
        entries: what the manifest says of each clip.
    """

    _store: reader.Store
    entries: tuple[ClipEntry, ...]

    @property
    def path(self) -> StoreLocation:
        """Where it lies."""
        return self._store.path

    @property
    def manifest(self) -> Manifest:
        """How the whole store was made: config, versions, weights, every clip; ``content_sha256`` is its id."""
        return self._store.manifest

    def keys(self) -> list[str]:
        """Keys of the clips, ``dataset/subject/clip``, in the order of the store."""
        return [key for key, good in self._by_key.items() if good]

    @cached_property
    def _by_key(self) -> dict[str, bool]:
        """Key -> whether the clip can be read."""
        return {entry.key: entry.failure is None for entry in rows_of(self.entries)}

    def __len__(self) -> int:
        return sum(self._by_key.values())

    def __iter__(self) -> Iterator[Clip]:
        return (Clip(entry, self._store) for entry in self.entries if entry.failure is None)

    def __contains__(self, key: object) -> bool:
        return self._by_key.get(str(key), False)

    def __getitem__(self, key: str) -> Clip:
        """The clip of a key.

        Raises:
            ClipNotFoundError: it is not in the store, or not among the selected clips.
        """
        entry = self._store.entry(key)
        if key not in self._by_key:
            raise ClipNotFoundError(f"{key}: in {self.path}, but not among the {len(self.entries)} clips selected here")
        return Clip(entry, self._store)

    def where(self, *conditions: str) -> "Store":
        """Only the clips that meet all conditions.

        Args:
            conditions: as of ``--where``: ``subject=sub01``, ``emotion=happiness|surprise``, ``fps>=100``; the columns
                of ``to_pandas`` are the fields.

        Raises:
            ConfigError: it is no condition, or on a field that clips do not have.
        """
        chosen = Selection.parse(where=",".join(conditions))
        return Store(self._store, tuple(entry for entry in self.entries if chosen.takes(entry)))

    def to_pandas(self) -> pd.DataFrame:
        """The manifest as a table, one row a clip by its key, failed ones too.

        ``onset``, ``apex`` and ``offset`` are frame numbers as in the file names, ``failure`` says why a clip has no
        arrays; the other columns are the fields of ``where``.
        """
        rows = [
            {
                **{name: value(entry) for name, value in FIELDS.items()},
                **{name: getattr(entry, name) for name in (*PHASES, "offset")},
                "failure": None if entry.failure is None else f"{entry.failure.stage}: {entry.failure.message}",
                **{f"metadata.{name}": value for name, value in entry.metadata.items()},
            }
            for entry in self.entries
        ]
        columns = [*FIELDS, *PHASES, "offset", "failure"]
        table = pd.DataFrame(rows, columns=list(dict.fromkeys([*columns, *(name for row in rows for name in row)])))
        return table.astype(dict.fromkeys((*PHASES, "offset", "objective_class"), "Int64")).set_index("key")

    def to_xarray(self) -> "xarray.Dataset":
        """All clips, with units and descriptions. Needs xarray; pixels are read when they are computed.

        Clips differ in length: beyond the last frame of a clip every value is NaN, hence ``texture`` is float32
        ``(clip, frame, y, x, rgb)``; ``is_frame`` (clip, frame) says where there is a frame. ``store[key].to_xarray()``
        has one clip as it is stored, without padding.
        """
        return store_dataset(self._store, self.keys())

    def __repr__(self) -> str:
        return f"<Store {self.path}: {self._counts()}>"

    def _repr_html_(self) -> str:
        pictures = Thumbnails(self._store)
        rows = "".join(_row(entry, pictures) for entry in self.entries[:_SHOWN])
        more = f"<p>... and {len(self.entries) - _SHOWN} more</p>" if len(self.entries) > _SHOWN else ""
        head = "<tr><th>onset, apex</th><th>clip</th><th>label</th><th>frames</th></tr>"
        return f"<p>{escape(str(self.path))}: {self._counts()}</p><table>{head}{rows}</table>{more}"

    def _counts(self) -> str:
        subjects = len({entry.key.rpartition("/")[0] for entry in rows_of(self.entries)})
        failed = len(self.entries) - len(self)
        counts = f"{count(len(self), 'clip')} of {count(subjects, 'subject')}"
        return counts + (f", {failed} failed" if failed else "")


def _row(entry: ClipEntry, pictures: Thumbnails) -> str:
    """A clip as a row of an HTML table, with thumbnails of onset and apex where they can be read."""
    try:
        shown = "".join(f'<img src="{url}" width="64" height="64">' for url in pictures.of(entry.key))
    except StoreError:
        shown = "none"
    cells = (escape(entry.key), escape(label_of(entry)), str(entry.n_frames))
    return f"<tr><td>{shown}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
