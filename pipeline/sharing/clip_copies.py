"""Put a store together out of clips of other stores: objects are copied, columns written anew, the manifest last."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.preprocessing.finish import records_of, write_store
from pipeline.preprocessing.journal import ClipColumns, ClipRecord
from pipeline.preprocessing.store_arrays import resized_shard
from pipeline.sharing.output import new_output, write_durably
from schemas.config import canonical_sha256
from schemas.errors import StoreDamagedError
from schemas.layout import FRAMES_PER_CHUNK, SPECS, ClipArrayName, object_path
from schemas.manifest import ClipEntry, Manifest, Provenance, StoredObject
from schemas.store.format import Dimensions, create_arrays, shard_frames
from schemas.store.reader import Store

_THREADS = 8  # hashing releases the GIL and waits for the disk


@dataclass(frozen=True)
class Part:
    """One clip of a store, as it shall be in another.

    Attributes:
        store: where its objects are.
        index: its row there.
        entry: to be written; its ``objects`` are those to be copied.
        columns: its values in the columns; ``None`` when it failed.
        provenance: the run that made it.
        room: frames that the index of its objects has room for, by array.
    """

    store: Store
    index: int
    entry: ClipEntry
    columns: ClipColumns | None
    provenance: Provenance
    room: Mapping[str, int]

    def objects(self, frames: int) -> dict[ClipArrayName, StoredObject]:
        """Size and hash of its objects in a store with so many frames."""
        return {
            name: stored if self._fits(name, frames) else _described(self.object(name, frames))
            for name, stored in self.entry.objects.items()
        }

    def object(self, name: ClipArrayName, frames: int) -> bytes:
        """One of its objects for a store with so many frames: the same chunks, and the index in its length.

        Raises:
            StoreDamagedError: its bytes are not what its manifest says.
        """
        path = object_path(name, self.index)
        data = self.store.object_bytes(path, self.store.manifest.rows[self.index].objects[name])
        if self._fits(name, frames):
            return data
        chunks, room = (length // FRAMES_PER_CHUNK for length in (self.room[name], shard_frames(frames)))
        try:
            return resized_shard(data, chunks=chunks, room=room)
        except ValueError as error:
            raise StoreDamagedError(f"{self.store.path}: {path}: {error}") from error

    def copied(self, path: Path, index: int, frames: int) -> dict[ClipArrayName, StoredObject]:
        """Write its objects as those of row ``index`` of another store; returns size and hash of each."""
        objects = {}
        for name, stored in self.entry.objects.items():
            data = self.object(name, frames)
            write_durably(path / object_path(name, index), data)
            objects[name] = stored if self._fits(name, frames) else _described(data)
        return objects

    def _fits(self, name: str, frames: int) -> bool:
        return self.room[name] == shard_frames(frames)


def parts_of(store: Store, rows: Sequence[int] | None = None) -> list[Part]:
    """Clips of a store: at these positions, or all."""
    room = {name: _room(store, name) for name in store.manifest.arrays if SPECS[name].per_clip}
    columns = {record.index: record.columns for record in records_of(store, rows)}
    runs, clips = store.manifest.provenances, store.manifest.clips
    return [
        Part(store, index, clips[index], columns.get(index), runs[clips[index].made_by], room)
        for index in (range(len(clips)) if rows is None else rows)
    ]


def assemble(out: Path, parts: Iterable[Part], manifest: Manifest, *, frames: int) -> Manifest:
    """Write a store of these clips, sorted by key; all of it or nothing.

    Args:
        out: where nothing may be yet.
        parts: the clips, each key once.
        manifest: what does not follow from the clips; ``left_out`` decides on the arrays.
        frames: length of the frame axis.

    Raises:
        StoreDamagedError: an object is not what its manifest says; nothing is written.
    """
    chosen = sorted(parts, key=lambda part: part.entry.key)
    dimensions = Dimensions.of(manifest, clips=len(chosen), frames=frames)
    runs = sorted({canonical(part.provenance): part.provenance for part in chosen}.items())
    number = {name: position for position, (name, _) in enumerate(runs)}
    template = manifest.model_copy(
        update={
            "provenance": runs[0][1],
            "further_provenances": tuple(provenance for _, provenance in runs[1:]),
            "config_sha256": runs[0][1].config.sha256,
        }
    )
    with new_output(out) as path:
        create_arrays(path, dimensions)

        def written(item: tuple[int, Part]) -> ClipRecord:
            index, part = item
            objects = part.copied(path, index, dimensions.frames)
            entry = part.entry.model_copy(update={"objects": objects, "made_by": number[canonical(part.provenance)]})
            return ClipRecord(index=index, entry=entry, columns=part.columns)

        with ThreadPoolExecutor(_THREADS) as pool:
            records = list(pool.map(written, enumerate(chosen)))
        return write_store(path, dimensions, records, template)


def without_arrays(parts: Iterable[Part], left_out: Sequence[ClipArrayName]) -> Iterator[Part]:
    """The same clips without some of their arrays."""
    for part in parts:
        kept = {name: stored for name, stored in part.entry.objects.items() if name not in left_out}
        yield replace(part, entry=part.entry.model_copy(update={"objects": kept}))


def frames_of(store: Store) -> int:
    """Length of a store's frame axis."""
    return int(store.array("frame_number").shape[1])


def canonical(provenance: Provenance) -> str:
    """Equal for equal runs, and an order of runs that does not depend on who merges what first."""
    return canonical_sha256(provenance.model_dump(mode="json"))


def _room(store: Store, name: str) -> int:
    """Frames that the index of an array's objects has room for."""
    shards = store.array(name).shards
    assert shards is not None, "the store's metadata is what mer writes"
    return shards[1]


def _described(data: bytes) -> StoredObject:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
