"""From the names in a config to the models behind them, and what a manifest says of them."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.clip.aligned_clip import ActionUnitEstimator, DepthEstimator
from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.weights.locate import LocatedWeights, locate
from schemas.config import Device, PreprocessConfig
from schemas.errors import WeightsInvalidError
from schemas.manifest import ActionUnitColumns, DepthColumn

if TYPE_CHECKING:
    from pipeline.preprocessing.process import ClipProcessor

_PACKAGES = (
    "madv-mer", "numpy", "opencv-python-headless", "pillow", "torch", "facenet-pytorch", "zarr", "numcodecs", "py-feat",
)  # fmt: skip


@dataclass(frozen=True)
class Backends:
    """The models of a run: their weights found and hashed, not yet loaded.

    Attributes:
        config: says which.
        device: where they run.
        weights: weights on this machine, by model name; the mesh backend needs none.
        models_dir: where a worker on another machine looks for the same weights.
    """

    config: PreprocessConfig
    device: Device
    weights: dict[str, LocatedWeights]
    models_dir: Path | None

    @cached_property
    def packages(self) -> dict[str, str]:
        """Distribution -> version of all that decides the bytes of a store; a resumed run must have the same."""
        names = _PACKAGES + (("transformers",) if self.config.depth.startswith("depth-anything") else ())
        return {name: version(name) for name in names}

    @property
    def action_units(self) -> ActionUnitColumns:
        """What the manifest says of the ``au`` columns."""
        if self.config.au == "mesh":
            unit, tool = (
                "activation of py-feat's linear face mesh model against onset (0 to about 1), not FACS 0-5",
                "mesh",
            )
            return ActionUnitColumns(
                names=AU_NAMES, kind="activation", unit=unit, tool=tool, version=self.packages["madv-mer"]
            )
        return ActionUnitColumns(
            names=AU_NAMES, kind="activation", unit="probability in [0, 1], not FACS 0-5", tool="py-feat",
            version=self.packages["py-feat"],
        )  # fmt: skip

    @property
    def depth(self) -> DepthColumn | None:
        """What the manifest says of ``depth``."""
        if self.config.depth == "none":
            return None
        if self.config.depth == "mesh":
            return DepthColumn(
                kind="relative depth", unit="px of the crop, larger is nearer", tool="mesh",
                version=self.packages["madv-mer"],
            )  # fmt: skip
        return DepthColumn(
            kind="relative inverse depth", unit="arbitrary, larger is nearer", tool=self.config.depth,
            version=self.packages["transformers"],
        )  # fmt: skip


def locate_weights(config: PreprocessConfig, models_dir: Path | None) -> dict[str, LocatedWeights]:
    """The weights that the config's backends need, by model name, found before any clip is processed.

    Raises:
        WeightsUnavailableError: known within 10 s; says how to get them, and how to do without.
    """
    names = [name for name in (config.depth, config.au) if name not in ("mesh", "none")]
    return {name: locate(name, models_dir) for name in names}


def build_processor(backends: Backends, root: Path, out: Path) -> "ClipProcessor":
    """Load the models; called once in every process that takes clips.

    One thread a process: how many threads share a sum changes its order, and so the last bit of the result.
    """
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    from pipeline.clip.faces import FaceDetector
    from pipeline.preprocessing.process import ClipProcessor

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)  # BLAS
    if backends.device == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return ClipProcessor(
        root=root,
        out=out,
        config=backends.config,
        detector=FaceDetector(backends.device),
        depth=_depth_estimator(backends),
        action_units=_action_unit_estimator(backends),
    )


def _depth_estimator(backends: Backends) -> DepthEstimator | None:
    config = backends.config
    if config.depth == "none":
        return None
    if config.depth == "mesh":
        from pipeline.clip.mesh.backend import MeshDepth

        return MeshDepth(config.size)
    from pipeline.clip.depth_anything import DepthAnything

    weights = _on_this_machine(backends, config.depth)
    return DepthAnything(weights, device=backends.device, size=config.size, input_size=config.depth_size)


def _action_unit_estimator(backends: Backends) -> ActionUnitEstimator:
    if backends.config.au == "mesh":
        from pipeline.clip.mesh.backend import MeshActionUnits

        return MeshActionUnits(backends.config.size)
    from pipeline.clip.py_feat import PyFeatActionUnits

    return PyFeatActionUnits(_on_this_machine(backends, "py-feat"), device=backends.device)


def _on_this_machine(backends: Backends, name: str) -> LocatedWeights:
    """The weights that the client found, or the same ones where this worker keeps them."""
    found = backends.weights[name]
    if found.path.is_file():
        return found
    here = locate(name, backends.models_dir)
    if here.record != found.record:
        raise WeightsInvalidError(
            f"{here.path}: sha256 {here.record.sha256}, but the run was started with {found.record.sha256}; "
            "give every worker the same weights"
        )
    return here
