"""The arrays of a store: names, dimensions, dtypes, chunks, codecs. One Zarr v3 group, nothing proprietary.

Two kinds of array. *Clip arrays* hold pixels or per-frame values: one shard, hence one object, per clip,
written once by the task that owns the clip. *Columns* hold a few numbers per clip and are written once,
at the end, for all clips together, so that a store has few small objects.

A shard is its compressed chunks and then an index of where each lies. The index has room for 1024 frames, 1 kB,
whatever the store's frame axis (a multiple of that, should a clip be longer): the bytes of a clip's object
therefore depend on the clip alone, and stores are divided and combined by copying objects.
"""

from dataclasses import dataclass
from typing import Literal

ClipArrayName = Literal["texture", "depth", "au_frames"]

FRAMES_PER_CHUNK = 16
FRAMES_PER_SHARD = 1024
CLIPS_PER_COLUMN_CHUNK = 1024
PHASES = ("onset", "apex")
NO_FRAME = -1  # pads `frame_number`, and stands for the indices of a failed clip


@dataclass(frozen=True)
class ArraySpec:
    """One array; ``shape`` is given by the store's dimensions, looked up by name.

    ``shuffle`` is the filter of Blosc (zstd, level 1, in blocks of 512 KiB; docs/measured.md holds it against others on
    aligned faces). Every chunk ends in a CRC-32C, because a damaged Blosc
    chunk can crash the process that decodes it.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill_value: int | float | str = 0
    per_clip: bool = False
    shuffle: Literal["bitshuffle", "shuffle", "noshuffle"] = "shuffle"
    unit: str | None = None
    description: str = ""


ARRAYS: tuple[ArraySpec, ...] = (
    ArraySpec(
        "texture", ("clip", "frame", "y", "x", "rgb"), "uint8", per_clip=True, shuffle="bitshuffle",
        description="aligned face, one similarity transform a clip",
    ),
    ArraySpec(
        "depth", ("clip", "frame", "y", "x"), "float16", per_clip=True,
        description="relative depth, larger is nearer, normalised once a clip",
    ),
    ArraySpec(
        "au_frames", ("clip", "frame", "action_unit"), "float32", per_clip=True,
        description="action units of every frame",
    ),
    ArraySpec("clip", ("clip",), "str", "", description="dataset/subject/clip"),
    ArraySpec("subject", ("clip",), "str", "", description="dataset/subject"),
    ArraySpec("emotion", ("clip",), "str", "", description="normalised emotion, empty where there is none"),
    ArraySpec("n_frames", ("clip",), "int32", description="frames of the clip; 0: it failed"),
    ArraySpec("fps", ("clip",), "float32", unit="1/s"),
    ArraySpec("onset_index", ("clip",), "int32", NO_FRAME, description="position of the onset in the clip"),
    ArraySpec("apex_index", ("clip",), "int32", NO_FRAME, description="position of the apex in the clip"),
    ArraySpec("frame_number", ("clip", "frame"), "int32", NO_FRAME, description="as in the file names"),
    ArraySpec("transform", ("clip", "row", "column"), "float64", description="(2, 3) similarity, source px to crop px"),
    ArraySpec("depth_scale", ("clip",), "float32", description="estimate = depth * scale + offset"),
    ArraySpec("depth_offset", ("clip",), "float32", description="estimate = depth * scale + offset"),
    ArraySpec("au", ("clip", "phase", "action_unit"), "float32", description="action units of onset and apex"),
    ArraySpec("phase", ("phase",), "str", "", description="names of the phase axis"),
    ArraySpec("action_unit", ("action_unit",), "str", "", description="names of the action_unit axis"),
)  # fmt: skip
SPECS = {spec.name: spec for spec in ARRAYS}


def object_path(array: str, index: int) -> str:
    """Path inside the store of the object that holds clip ``index`` of a clip array."""
    return f"{array}/c/{index}" + "/0" * (len(SPECS[array].dims) - 1)


def array_names(*, depth: bool, au_frames: bool, texture: bool = True) -> tuple[str, ...]:
    """The arrays of a store with these parts."""
    left_out = set()
    if not texture:
        left_out |= {"texture"}
    if not depth:
        left_out |= {"depth", "depth_scale", "depth_offset"}
    if not au_frames:
        left_out |= {"au_frames"}
    return tuple(spec.name for spec in ARRAYS if spec.name not in left_out)
