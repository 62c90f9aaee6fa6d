"""Turn the records of a finished run into columns and a manifest; the manifest, written last, makes the store."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.journal import ClipColumns, ClipRecord
from pipeline.preprocessing.store_arrays import write_columns
from schemas.layout import PHASES, SPECS, object_path
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.output import output_errors, write_text
from schemas.store.files import stored_object
from schemas.store.format import Dimensions
from schemas.store.reader import Store

if TYPE_CHECKING:  # which imports Dask
    from pipeline.preprocessing.plan import Plan

# The columns whose values stand in no entry of the manifest.
MEASURED = ("frame_number", "onset_index", "apex_index", "transform", "au", "depth_scale", "depth_offset")


def finish_store(plan: "Plan", records: Sequence[ClipRecord]) -> Manifest:
    """Write the columns, then the manifest, atomically.

    Args:
        plan: the run's.
        records: one for every clip of the plan, in its order.
    """
    dimensions = plan.dimensions
    for record in records:
        if record.columns is None:  # what a killed attempt may have left of a clip that then failed
            for array in dimensions.names:
                if SPECS[array].per_clip:
                    (plan.out / object_path(array, record.index)).unlink(missing_ok=True)
    manifest = Manifest(
        provenance=plan.provenance,
        config_sha256=plan.provenance.config.sha256,
        action_units=plan.backends.action_units,
        depth=plan.backends.depth,
        findings=plan.scan.findings,
        licences=plan.scan.licences,
        synthetic=plan.scan.synthetic,
        clips=(),
        objects={},
    )
    return write_store(plan.out, dimensions, records, manifest)


def write_store(path: Path, dimensions: Dimensions, records: Sequence[ClipRecord], manifest: Manifest) -> Manifest:
    """Write the columns of a store whose clips' objects are there, then its manifest, atomically.

    Args:
        path: the store, its arrays already created.
        dimensions: that they were created with.
        records: one for every clip.
        manifest: all but clips and objects.

    Returns:
        The manifest as it was written.
    """
    write_columns(path, _columns(records, dimensions))
    clips = tuple(record.entry for record in records)
    complete = manifest.model_copy(update={"clips": clips, "objects": dict(_shared_objects(path, dimensions))}).sealed()
    write_text(path / MANIFEST_NAME, complete.model_dump_json(exclude_defaults=True) + "\n")
    return complete


def records_of(store: Store, rows: Sequence[int] | None = None) -> Iterator[ClipRecord]:
    """The records that the good clips of a complete store were made of; the inverse of ``finish_store``.

    Args:
        store: that they are in.
        rows: positions of the clips; by default all.
    """
    # All columns are read, also those that the manifest repeats: a damaged one must not pass unseen.
    names = [name for name, spec in SPECS.items() if spec.dims[0] == "clip" and not spec.per_clip]
    values = {name: store.column(name, rows) for name in names if name in store.manifest.arrays}
    measured = [name for name in MEASURED if name in values]
    clips = store.manifest.clips
    for row, index in enumerate(range(len(clips)) if rows is None else rows):
        if (entry := clips[index]).status == "ok":
            columns = {name: values[name][row].tolist() for name in measured}
            columns["frame_numbers"] = columns.pop("frame_number")[: entry.n_frames]
            yield ClipRecord(index=index, entry=entry, columns=ClipColumns.model_validate(columns))


def sweep_partial_files(store: Path, rows: Iterable[int]) -> None:
    """Delete what a killed write leaves: Zarr writes ``NAME.<random>.partial`` beside an object, and renames.

    Args:
        store: where it was killed.
        rows: positions of the clips that may have been written; to walk through all of a large store takes minutes.
    """
    clip_arrays = [name for name, spec in SPECS.items() if spec.per_clip]
    folders = {(store / object_path(name, row)).parent for row in rows for name in clip_arrays}
    folders |= {store, *(store / name for name in clip_arrays)}
    with output_errors(store):
        for name in SPECS.keys() - set(clip_arrays):
            folders |= {path.parent for path in (store / name).rglob("*.partial")}
        for folder in folders:
            for path in folder.glob("*.partial"):
                path.unlink(missing_ok=True)


def _columns(records: Sequence[ClipRecord], dimensions: Dimensions) -> dict[str, NDArray[Any] | Sequence[str]]:
    columns: dict[str, Any] = {}
    for name in dimensions.names:
        spec = SPECS[name]
        if not spec.per_clip and spec.dtype != "str":
            columns[name] = np.full(dimensions.shape(spec), spec.fill_value, spec.dtype)
    for record in records:
        columns["fps"][record.index] = record.entry.fps
        if record.columns is not None:
            _fill_row(columns, record.index, record.columns)
    entries = [record.entry for record in records]
    return columns | {
        "clip": [entry.key for entry in entries],
        "subject": [entry.key.rpartition("/")[0] for entry in entries],
        "emotion": [entry.label.emotion or "" for entry in entries],
        "phase": PHASES,
        "action_unit": dimensions.action_units,
    }


def _fill_row(columns: dict[str, NDArray[Any]], index: int, row: ClipColumns) -> None:
    n_frames = len(row.frame_numbers)
    columns["n_frames"][index] = n_frames
    columns["frame_number"][index, :n_frames] = row.frame_numbers
    for name in ("onset_index", "apex_index", "transform", "au"):
        columns[name][index] = getattr(row, name)
    for name in ("depth_scale", "depth_offset"):
        if name in columns:
            columns[name][index] = getattr(row, name)


def _shared_objects(store: Path, dimensions: Dimensions) -> Iterable[tuple[str, StoredObject]]:
    """Every file of the store that is no clip's own: metadata, and the chunks of the columns."""
    files = [store / "zarr.json"]
    for name in dimensions.names:
        files.append(store / name / "zarr.json")
        if not SPECS[name].per_clip:
            files += sorted(path for path in (store / name).rglob("*") if path.is_file() and path.name != "zarr.json")
    return ((file.relative_to(store).as_posix(), stored_object(file)) for file in files)
