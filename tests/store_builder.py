"""Stores from clips that are given value by value, written by the arrays' own writer: no dataset, no models."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.finish import write_store
from pipeline.preprocessing.journal import ClipColumns, ClipRecord
from pipeline.preprocessing.store_arrays import write_clip
from schemas.config import PreprocessConfig
from schemas.manifest import ActionUnitColumns, ClipEntry, DepthColumn, Manifest, Provenance
from schemas.store.format import Dimensions, create_arrays
from schemas.store.reader import Store

MESH: dict[str, Any] = {"tool": "mesh", "version": "0"}

DrawnClip = tuple[ClipEntry, Mapping[str, NDArray[Any]], ClipColumns | None]


def build_store(path: Path, clips: Iterable[DrawnClip], manifest: Manifest, *, clip_count: int, frames: int) -> Store:
    """Write a complete store.

    Args:
        path: where to.
        clips: of each its entry without objects, its arrays by name, and its columns; a failed one has neither.
        manifest: all but clips and objects; its config says how large the frames are.
        clip_count: how many clips there are.
        frames: length of the frame axis.
    """
    config, units = manifest.provenance.config, manifest.action_units.names
    dimensions = Dimensions(clip_count, frames, config.size, units, depth=manifest.depth is not None, au_frames=False)
    create_arrays(path, dimensions)
    records = [
        ClipRecord(
            index=index,
            entry=entry if columns is None else entry.model_copy(update={"objects": write_clip(path, index, arrays)}),
            columns=columns,
        )
        for index, (entry, arrays, columns) in enumerate(clips)
    ]
    write_store(path, dimensions, records, manifest)
    return Store.open(path)


def bare_manifest(
    dataset: str,
    *,
    units: Sequence[str],
    config: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    action_units: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Manifest:
    """A manifest without clips.

    Args:
        dataset: of the config.
        units: names of the action units.
        config: its further fields; depth is ``none`` unless one says otherwise.
        provenance: further fields of it.
        action_units: fields of their columns, in place of plain activations of the mesh.
        **fields: of the manifest.
    """
    resolved = PreprocessConfig.model_validate({"dataset": dataset, "depth": "none", "au": "mesh", **(config or {})})
    depth = None if resolved.depth == "none" else DepthColumn(kind="relative depth", unit="px", **MESH)
    made = {"config": resolved, "layout": "raw", "annotation": None, "device": "cpu", "packages": {}, "weights": ()}
    described = {"names": tuple(units), "kind": "activation", "unit": "1", **MESH, **(action_units or {})}
    plain = {"findings": (), "clips": (), "objects": {}, "depth": depth, "config_sha256": resolved.sha256}
    return Manifest(
        provenance=Provenance.model_validate(made | dict(provenance or {})),
        action_units=ActionUnitColumns.model_validate(described),
        **(plain | fields),
    )


def columns_of(n_frames: int, apex: int, au: NDArray[Any], *, first: int = 10, **fields: Any) -> ClipColumns:
    """A clip's columns: its frames count from ``first``, its transform is the identity.

    Args:
        n_frames: how many.
        apex: index of the apex.
        au: action units at onset and apex, ``(2, units)``.
        first: number of the first frame.
        **fields: in place of those.
    """
    plain = {
        "frame_numbers": tuple(range(first, first + n_frames)), "onset_index": 0, "apex_index": apex,
        "transform": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), "au": np.asarray(au).tolist(),
    }  # fmt: skip
    return ClipColumns.model_validate(plain | fields)
