"""The backends that a config names: their weights found, what the manifest says of them, and the models loaded."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.clip.backends import ACTION_UNITS, DEPTH, DETECTORS, Backend, DepthBackend, Setup
from pipeline.weights.locate import LocatedWeights, locate
from schemas.config import Device, PreprocessConfig
from schemas.errors import ConfigError, WeightsInvalidError
from schemas.manifest import ActionUnitColumns, DepthColumn

if TYPE_CHECKING:
    from pipeline.preprocessing.process import ClipProcessor

_PACKAGES = (
    "madv-mer", "numpy", "opencv-python-headless", "pillow", "torch", "facenet-pytorch", "zarr", "numcodecs", "py-feat",
)  # fmt: skip


@dataclass(frozen=True)
class Backends:
    """The backends of a run: their weights found and hashed, nothing loaded yet.

    Attributes:
        config: names them.
        device: where they run.
        weights: weights on this machine, by name.
        models_dir: where a worker on another machine looks for the same weights.
    """

    config: PreprocessConfig
    device: Device
    weights: dict[str, LocatedWeights]
    models_dir: Path | None

    @cached_property
    def packages(self) -> dict[str, str]:
        """Distribution -> version of all that decides the bytes of a store; a resumed run must have the same."""
        names = [*_PACKAGES, *(backend.package for backend in _chosen(self.config).values())]
        if self.config.depth_runtime.startswith("openvino"):
            names.append("openvino")
        return {name: version(name) for name in dict.fromkeys(names)}

    @property
    def revisions(self) -> dict[str, int]:
        """Field of the config -> revision of its backend, where that is not the first."""
        return {field: backend.revision for field, backend in _chosen(self.config).items() if backend.revision != 1}

    @property
    def action_units(self) -> ActionUnitColumns:
        """What the manifest says of the ``au`` columns."""
        used = ACTION_UNITS[self.config.au]
        return ActionUnitColumns(
            names=used.names, kind=used.kind, unit=used.unit, tool=self.config.au, version=self.packages[used.package]
        )

    @property
    def depth(self) -> DepthColumn | None:
        """What the manifest says of ``depth``."""
        if (used := depth_backend(self.config)) is None:
            return None
        return DepthColumn(kind=used.kind, unit=used.unit, tool=self.config.depth, version=self.packages[used.package])

    def setup(self) -> Setup:
        """What the backends are loaded with: the weights that the client found, or the same where this worker has them.

        Raises:
            WeightsInvalidError: this worker has other weights.
        """
        weights = dict(self.weights)
        for name, found in self.weights.items():
            if not found.path.is_file():
                weights[name] = here = locate(name, self.models_dir)
                if here.record != found.record:
                    raise WeightsInvalidError(
                        f"{here.path}: sha256 {here.record.sha256}, but the run was started with "
                        f"{found.record.sha256}; give every worker the same weights"
                    )
        return Setup(self.config, self.device, weights)


def depth_backend(config: PreprocessConfig) -> type[DepthBackend] | None:
    """The depth backend; ``None`` for ``--depth none``."""
    return None if config.depth == "none" else DEPTH[config.depth]


def _chosen(config: PreprocessConfig) -> dict[str, type[Backend[Any]]]:
    depth = depth_backend(config)
    return {
        "detector": DETECTORS[config.detector],
        **({"depth": depth} if depth else {}),
        "au": ACTION_UNITS[config.au],
    }


def with_runtime(config: PreprocessConfig, device: Device, *, here: bool) -> PreprocessConfig:
    """The config with ``--depth-runtime auto`` settled, so that a store never holds it.

    Args:
        config: of the run.
        device: that it runs on.
        here: on the processor of this machine; workers elsewhere look at theirs when they load the model.

    Raises:
        ConfigError: the depth backend, the device or this machine has no such runtime.
    """
    backend, runtime = depth_backend(config), config.depth_runtime
    possible = backend.runtimes if backend and device == "cpu" else ("torch",)
    there = find_spec("openvino") is not None
    if runtime == "auto":
        runtime = "openvino" if "openvino" in possible and there else "torch"
    if runtime not in possible:
        why = f"--depth {config.depth}" if device == "cpu" else "a GPU; --device cpu has it"
        raise ConfigError(f"--depth-runtime {runtime}: not for {why}; choose torch, or leave it out")
    if runtime != "torch" and not there:
        remedy = "`uv sync --extra cpu`, or `pip install 'madv-mer[cpu]'`"
        raise ConfigError(f"--depth-runtime {runtime}: OpenVINO is not installed here; {remedy}")
    if here and runtime == "openvino-bf16":
        from pipeline.clip.openvino_runtime import check_bf16

        check_bf16()
    return config.model_copy(update={"depth_runtime": runtime})


def locate_weights(config: PreprocessConfig, models_dir: Path | None) -> dict[str, LocatedWeights]:
    """The weights that the config's backends need, by name, found before any clip is processed.

    Raises:
        ConfigError: no backend has a name that the config gives.
        WeightsUnavailableError: known within 10 s; says how to get them, and how to do without.
    """
    return {
        name: locate(name, models_dir) for backend in _chosen(config).values() if (name := backend.weights) is not None
    }


def build_processor(backends: Backends, root: Path, out: Path) -> "ClipProcessor":
    """Load the models; called once in every process that takes clips.

    One thread a process: how many threads share a sum changes its order, and so the last bit of the result.
    """
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    from pipeline.clip.compute import Models
    from pipeline.preprocessing.process import ClipProcessor

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)  # BLAS
    if backends.device == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    config, setup, depth = backends.config, backends.setup(), depth_backend(backends.config)
    models = Models(
        detector=DETECTORS[config.detector].load(setup),
        depth=depth.load(setup) if depth else None,
        action_units=ACTION_UNITS[config.au].load(setup),
    )
    return ClipProcessor(root, out, config, models)
