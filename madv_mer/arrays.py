"""Clips as xarray datasets: named dimensions, units, descriptions, and nothing that is no frame."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from schemas.layout import PHASES, SPECS, ClipArrayName
from schemas.manifest import ClipEntry, Manifest
from schemas.store.reader import Store

if TYPE_CHECKING:
    import xarray

_CLIP_ARRAYS: tuple[ClipArrayName, ...] = ("texture", "depth", "au_frames")


def frame_times(entry: ClipEntry) -> NDArray[np.float64]:
    """``(T,) float64``, s since the first frame of a clip; NaN where nobody knows the frame rate."""
    return np.array(entry.seconds or (np.nan,) * entry.n_frames, np.float64)


def clip_dataset(store: Store, key: str) -> "xarray.Dataset":
    """One clip: ``texture`` (frame, y, x, rgb), ``depth``, ``au`` (phase, action_unit), as stored.

    Raises:
        StoreError: the clip failed, or is damaged.
        ConfigError: xarray is not installed.
    """
    entry, attributes = store.entry(key), _attributes(store.manifest)
    variables: dict[str, Any] = {
        name: (SPECS[name].dims[1:], store.clip_array(name, key), attributes[name])
        for name in _CLIP_ARRAYS
        if name in store.manifest.arrays
    }
    variables["au"] = (SPECS["au"].dims[1:], store.action_units(key), attributes["au"])
    coordinates = {
        "frame_number": ("frame", store.frame_numbers(key), attributes["frame_number"]),
        "time": ("frame", frame_times(entry), attributes["time"]),
        **_names(store.manifest),
    }
    about: dict[str, object] = {"clip": key, "emotion": entry.label.emotion or "", "fps": entry.fps}
    about |= dict(zip(("onset_index", "apex_index"), store.phases(key), strict=True))
    about["store"] = store.manifest.content_sha256
    found: xarray.Dataset = _xarray().Dataset(variables, coordinates, about)
    return found


def store_dataset(store: Store, keys: Sequence[str]) -> "xarray.Dataset":
    """Clips that did not fail; NaN where there is no frame.

    Raises:
        StoreDamagedError: a column does not decode; pixels raise when they are computed.
        ConfigError: xarray is not installed.
    """
    manifest, entries = store.manifest, [store.entry(key) for key in keys]
    rows = [manifest.index[key] for key in keys]
    lengths = np.array([entry.n_frames for entry in entries], np.int32)
    longest = int(lengths.max(initial=0))
    is_frame = np.arange(longest) < lengths[:, None]
    time = np.full(is_frame.shape, np.nan)
    time[is_frame] = np.concatenate([np.empty(0), *map(frame_times, entries)])
    attributes = _attributes(manifest)
    variables: dict[str, Any] = {
        "is_frame": (("clip", "frame"), is_frame, attributes["is_frame"]),
        "time": (("clip", "frame"), time, attributes["time"]),
    }
    for name in manifest.arrays:
        dims = SPECS[name].dims
        if name in _CLIP_ARRAYS:
            variables[name] = (dims, _pixels(store, name, keys, longest), attributes[name])
        elif dims[0] == "clip" and name != "clip":
            values = store.column(name)[rows]
            if name == "frame_number":
                values = np.where(is_frame, values[:, :longest], np.nan)
            variables[name] = (dims, values, attributes[name])
    coordinates = {"clip": list(keys), **_names(manifest)}
    about = {"store": manifest.content_sha256, "datasets": ", ".join(manifest.datasets)}
    found: xarray.Dataset = _xarray().Dataset(variables, coordinates, about)
    return found.set_coords(["subject", "emotion", "n_frames", "is_frame", "frame_number", "time"])


def _pixels(store: Store, name: ClipArrayName, keys: Sequence[str], longest: int) -> Any:
    """``(clip, frame, ...) float32``, a Dask chunk a clip, read and checked by the store's own reader."""
    import dask.array as da

    size, units = store.manifest.provenance.config.size, len(store.manifest.action_units.names)
    lengths = {"y": size, "x": size, "rgb": 3, "action_unit": units}
    inner = tuple(lengths[dim] for dim in SPECS[name].dims[2:])

    def read(block: NDArray[np.int64]) -> NDArray[np.float32]:
        padded = np.full((1, longest, *inner), np.nan, np.float32)
        values = store.clip_array(name, keys[int(block[0])])
        padded[0, : len(values)] = values
        return padded

    return da.arange(len(keys), chunks=1).map_blocks(
        read,
        dtype=np.float32,
        chunks=((1,) * len(keys), (longest,), *((length,) for length in inner)),
        new_axis=list(range(1, 2 + len(inner))),
        meta=np.empty((0,) * (2 + len(inner)), np.float32),
    )


def _names(manifest: Manifest) -> dict[str, list[str]]:
    return {"phase": list(PHASES), "action_unit": list(manifest.action_units.names)}


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("to_xarray needs xarray, not installed here; `pip install xarray`") from error
    return xarray


def _attributes(manifest: Manifest) -> Mapping[str, dict[str, str]]:
    """Array -> its description, and its units where it has some."""
    found: dict[str, dict[str, str]] = {}
    for spec in SPECS.values():
        words = {"description": spec.description, "units": spec.unit}
        found[spec.name] = {key: value for key, value in words.items() if value}
    units, depth = manifest.action_units, manifest.depth
    for name in ("au", "au_frames"):
        found[name] |= {"units": units.unit, "kind": units.kind, "tool": f"{units.tool} {units.version}"}
    if depth is not None:
        found["depth"] |= {"units": "1", "kind": depth.kind, "tool": f"{depth.tool} {depth.version}"}
        for name in ("depth_scale", "depth_offset"):
            found[name]["units"] = depth.unit
    found["texture"]["units"] = "1"
    found["is_frame"] = {"description": "whether the clip has this frame; elsewhere values are NaN"}
    found["time"] = {"description": "time since the first frame of the clip", "units": "s"}
    return found
