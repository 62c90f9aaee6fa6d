"""The config of a preprocessing run: every choice that changes the bytes of a store, and nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from schemas.differences import Differences, differing
from schemas.model import Model

# Which names there are is known where a run is planned: other packages add backends of their own.
BackendName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ApexMethod = Literal["motion", "middle"]
ActionUnitFrames = Literal["apex", "all"]
Device = Literal["cpu", "cuda"]
DepthRuntime = Literal["auto", "torch", "openvino", "openvino-bf16"]


class PreprocessConfig(Model):
    """Where a run executes (workers, devices, paths) is not in here: it must not change the result."""

    dataset: str = Field(description="Name of the dataset, where its content is ambiguous.")
    size: int = Field(224, ge=112, le=518, description="Side of the aligned crops, px.")
    detector: BackendName = Field("mtcnn", description="Face detector.")
    depth: BackendName = Field(
        "depth-anything-v2-small",
        description="Depth backend: depth-anything-v2-small, -base or -large, mesh, one of another package, measured "
        "for the depth that the dataset ships, or none.",
    )
    depth_size: int = Field(518, ge=126, le=1036, description="Input side of the depth model, px, a multiple of 14.")
    depth_runtime: DepthRuntime = Field(
        "torch",
        description="What computes Depth Anything on a CPU: torch, openvino (extra cpu; faster, equal but for "
        "rounding), openvino-bf16 (coarser, for processors with bf16), or auto: openvino where it is installed.",
    )
    au: BackendName = Field("py-feat", description="Action unit backend: py-feat, mesh, or one of another package.")
    au_frames: ActionUnitFrames = Field(
        "apex", description="Store action units of onset and apex alone, or of all frames too."
    )
    apex: ApexMethod = Field(
        "motion", description="Estimate a missing or unusable apex by the largest motion, or take the middle."
    )
    frames: int | None = Field(
        None, ge=3, description="Keep N frames a clip, evenly from onset to offset, with the apex; by default all."
    )
    tolerate: bool = Field(False, description="Leave damaged frames out, with a finding, instead of failing the clip.")
    long: bool = Field(False, description="Keep whole recordings and the intervals of their expressions, for spotting.")
    subjects: tuple[str, ...] = Field((), description="Process these subjects alone, separated by commas.")
    clips: tuple[str, ...] = Field((), description="Process these clips alone, names or keys, separated by commas.")
    limit: int | None = Field(None, ge=1, description="Process the first N of the selected clips alone.")

    @field_validator("depth_size")
    @classmethod
    def _multiple_of_patch(cls, value: int) -> int:
        if value % 14:
            raise ValueError(f"{value} is not a multiple of 14, the patch of Depth Anything")
        return value

    @model_validator(mode="after")
    def _long_is_texture_alone(self) -> Self:
        if self.long and (self.depth != "none" or self.au != "mesh" or self.au_frames == "all"):
            raise ValueError(
                "long recordings are stored as texture alone: --depth none --au mesh, without --au-frames all; depth "
                "and action units are of clips"
            )
        if self.long and self.frames is not None:
            raise ValueError("--frames is of clips, and --long keeps whole recordings; leave one of them out")
        return self

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON form; a field that older stores lack counts where it is not the default."""
        fields = type(self).model_fields
        later = ("detector", "frames", "tolerate", "long", "depth_runtime")
        young = {name for name in later if getattr(self, name) == fields[name].default}
        return canonical_sha256(self.model_dump(mode="json", exclude=young))

    def differences(self, other: "PreprocessConfig") -> Differences:
        """Field -> (this value, the other's), for the fields that differ."""
        return differing(self, other)


class Execution(Model):
    """Where a run executes. Of these only the device changes the bytes of a store, and the manifest records it."""

    workers: int | None = Field(
        None, ge=0, description="Worker processes; 0: none, work in this one. By default as cores and memory allow."
    )
    scheduler: str | None = Field(
        None, description="Address of a running Dask scheduler, tcp:// or tls://, instead of local workers."
    )
    tls_ca: Path | None = Field(
        None, description="Certificate that signed the scheduler's; Dask's own config can name these three files too."
    )
    tls_cert: Path | None = Field(None, description="Certificate to show to the scheduler.")
    tls_key: Path | None = Field(None, description="Key of that certificate.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where networks run; auto takes GPUs where there are any."
    )
    models_dir: Path | None = Field(None, description="Folder of weights, for machines without a network (MER_MODELS).")

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        keys = {self.tls_ca is not None, self.tls_cert is not None, self.tls_key is not None}
        if len(keys) > 1 or (self.tls_ca is not None and self.scheduler is None):
            raise ValueError("--tls-ca, --tls-cert and --tls-key go together, and with --scheduler")
        return self


def canonical_json(value: object) -> bytes:
    """A JSON value with sorted keys, no spaces, in UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def canonical_sha256(value: object) -> str:
    """sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
