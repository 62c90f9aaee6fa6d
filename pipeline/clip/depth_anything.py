"""Depth of a clip by Depth Anything V2 (Yang et al., NeurIPS 2024), through transformers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import rescale, warp
from pipeline.weights.locate import LocatedWeights
from schemas.config import DepthRuntime
from schemas.errors import ConfigError, DepthError, WeightsInvalidError

PATCH = 14  # px, of the DINOv2 backbone
CPU_BATCH = 1  # two frames at once are no faster on a CPU, four are slower: the activations leave its caches
MAX_BATCH = 64  # beyond this a GPU gains nothing
_MEMORY_SHARE = 0.6  # of what is free on the GPU; the rest is for other workers and for fragmentation


@dataclass(frozen=True)
class ImageStatistics:
    """The model's own preprocessing of a crop that already has the model's input size.

    Attributes:
        scale: ``(3,)``, per RGB channel.
        shift: ``(3,)``; ``value * scale + shift`` is the model's input.
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> "ImageStatistics":
        """From a ``preprocessor_config.json``.

        Raises:
            WeightsInvalidError: the file is missing, not JSON, or lacks a field.
        """
        try:
            config = json.loads(path.read_bytes())
            factor = float(config["rescale_factor"]) if config["do_rescale"] else 1.0
            mean, std = (config["image_mean"], config["image_std"]) if config["do_normalize"] else ([0] * 3, [1] * 3)
            scale = tuple(factor / float(s) for s in std)
            shift = tuple(-float(m) / float(s) for m, s in zip(mean, std, strict=True))
        except FileNotFoundError as error:
            raise WeightsInvalidError(f"{path}: no such file; copy it from the model's repository") from error
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise WeightsInvalidError(
                f"{path}: not the image processor's config ({type(error).__name__}: {error}); expected JSON with "
                "do_rescale, rescale_factor, do_normalize, image_mean, image_std. Fetch or copy it again"
            ) from error
        if len(scale) != 3:
            raise WeightsInvalidError(f"{path}: image_std has {len(scale)} channels, expected 3 (RGB)")
        return cls(scale, shift)

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """``(n, H, W, 3) uint8`` -> ``(n, 3, H, W) float32`` on the same device."""
        scale = torch.tensor(self.scale, device=crops.device)
        shift = torch.tensor(self.shift, device=crops.device)
        return torch.addcmul(shift, crops.float(), scale).permute(0, 3, 1, 2)


class DepthAnything:
    """Relative inverse depth (larger is nearer) of every frame, from crops cut out of the source at the model's size.

    One object may be shared by the threads of a worker: a lock lets one at a time onto the device, while the others
    decode and cut.

    Args:
        located: the weights.
        device: a torch device, ``cpu`` or ``cuda``. On CUDA the model runs under fp16 autocast.
        size: side of the depth maps, px.
        input_size: side of the model's input, px, a multiple of 14.
        batch: frames at once; ``None`` takes as many as fit into the free memory of a GPU, or a few on a CPU. It is
            halved for good whenever the device runs out of memory.
        runtime: what computes the model; OpenVINO does on a CPU, one frame at a time.

    Raises:
        ConfigError: ``input_size`` is no multiple of 14, or the processor has no units for the runtime.
        WeightsInvalidError: a file of the model is missing, damaged, or of another architecture.
    """

    def __init__(
        self,
        located: LocatedWeights,
        *,
        device: str = "cpu",
        size: int,
        input_size: int = 518,
        batch: int | None = None,
        runtime: DepthRuntime = "torch",
    ) -> None:
        if input_size % PATCH:
            raise ConfigError(f"input size {input_size} px of the depth model: expected a multiple of {PATCH}")
        self.device = torch.device(device)
        self.size, self.input_size = size, input_size
        self.normalise = ImageStatistics.read(located.folder / "preprocessor_config.json")
        self.model = _load(located).to(self.device)
        if self.device.type == "cuda":
            self.model = self.model.to(
                memory_format=torch.channels_last
            )  # what tensor cores convolve; a CPU gains nothing
        self._network: Callable[[torch.Tensor], torch.Tensor] = lambda pixels: self.model(pixels).predicted_depth
        if runtime != "torch":
            from pipeline.clip.openvino_runtime import compiled

            self._network, batch = compiled(self.model, input_size, runtime), 1
        self._lock = threading.Lock()
        self.batch = batch or self._fitting_batch()

    def estimate(self, clip: AlignedClip) -> Iterator[NDArray[np.float32]]:
        """Yield ``(n, S, S) float32`` in frame order, one batch of frames at a time.

        The next batch is cut while the device is busy with the last.

        Raises:
            DepthError: out of memory with a single frame, another failure of the model, or a depth that is not finite.
        """
        pending: torch.Tensor | None = None
        done = 0
        for crops in self._crops(clip):
            depth = self._infer(crops, clip)
            if pending is not None:
                yield _fetch(pending, clip, done)
                done += len(pending)
            pending = depth
        if pending is not None:
            yield _fetch(pending, clip, done)

    def _crops(self, clip: AlignedClip) -> Iterator[torch.Tensor]:
        """Batches ``(n, I, I, 3) uint8`` in host memory (pinned, for a GPU), cut out of the source frames."""
        transform = rescale(clip.transform, self.input_size / clip.size)
        batch, filled, count = self.batch, 0, len(clip.frames)
        buffer = self._buffer(min(batch, count))
        for position, frame in enumerate(clip.frames):
            buffer[filled] = torch.from_numpy(warp(frame, transform, self.input_size))
            filled += 1
            if filled == len(buffer):
                yield buffer
                # A new one: the last may still be on its way to the device.
                buffer, filled = self._buffer(min(self.batch, count - position - 1)), 0

    def _buffer(self, frames: int) -> torch.Tensor:
        shape = (frames, self.input_size, self.input_size, 3)
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")

    def _infer(self, crops: torch.Tensor, clip: AlignedClip) -> torch.Tensor:
        """``(n, S, S) float32`` on the device, in as many parts as memory asks for."""
        with self._lock:
            while True:
                try:
                    return torch.cat([self._forward(part) for part in torch.split(crops, self.batch)])
                except torch.OutOfMemoryError as error:
                    if self.batch == 1:
                        raise DepthError(
                            f"{_where(clip)}: {self.device} is out of memory with one frame of {self.input_size} px "
                            f"({error}); choose a smaller --depth-size or model, or another device"
                        ) from error
                except RuntimeError as error:
                    raise DepthError(f"{_where(clip)}: the depth model failed on {self.device}: {error}") from error
                self.batch = max(1, min(self.batch, len(crops)) // 2)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

    @torch.inference_mode()
    def _forward(self, crops: torch.Tensor) -> torch.Tensor:
        pixels = self.normalise(crops.to(self.device, non_blocking=True))
        # fp16 rather than bf16: three more bits of mantissa, for differences between frames that are small.
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            depth = self._network(pixels)
        return _resize(depth.float(), self.size)

    def _fitting_batch(self) -> int:
        if self.device.type != "cuda":
            return CPU_BATCH
        probe = torch.zeros((2, self.input_size, self.input_size, 3), dtype=torch.uint8)
        try:
            self._forward(probe[:1])  # what the first call alone allocates must not count
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self._forward(probe)
        except torch.OutOfMemoryError:  # others hold the GPU now; if they still do later, the clip's error says so
            return 1
        per_frame = (torch.cuda.max_memory_allocated(self.device) - before) / len(probe)
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(MAX_BATCH, max(1, free * _MEMORY_SHARE // per_frame)))


def _resize(depth: torch.Tensor, size: int) -> torch.Tensor:
    """``(n, I, I)`` -> ``(n, size, size)``, as transformers' ``post_process_depth_estimation`` does."""
    if depth.shape[-1] == size:
        return depth
    return functional.interpolate(depth[:, None], size=(size, size), mode="bicubic", align_corners=False)[:, 0]


def _fetch(depth: torch.Tensor, clip: AlignedClip, first: int) -> NDArray[np.float32]:
    """To host memory; ``first`` is the position in the clip of the batch's first frame."""
    try:
        array = depth.cpu().numpy()
    except RuntimeError as error:  # a kernel's failure shows only here
        raise DepthError(f"{_where(clip)}: the depth model failed: {error}") from error
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        number = clip.frames.numbers[first + int(np.argmin(finite))]
        raise DepthError(f"{_where(clip)}: the depth of frame {number} is not finite; the weights are damaged")
    return np.asarray(array, np.float32)


def _where(clip: AlignedClip) -> Path:
    paths = clip.frames.paths
    return paths[0].parent if len(paths) > 1 else paths[0]


def _load(located: LocatedWeights) -> Any:
    """The model in eval mode, float32, on the CPU.

    transformers fills weights that the file lacks with random numbers and only warns; here that is an error.
    """
    from transformers import AutoModelForDepthEstimation

    try:
        with _quiet():
            model, report = AutoModelForDepthEstimation.from_pretrained(
                located.folder,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except Exception as error:  # damage shows as any of OSError, ValueError, RuntimeError and two libraries' own types
        raise WeightsInvalidError(
            f"{located.path}: cannot be loaded as {located.record.name} ({type(error).__name__}: {error}); "
            "the file or the config.json beside it is damaged or of another model. Fetch or copy them again"
        ) from error
    wrong = {
        kind: sorted(report[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[kind]
    }
    if wrong:
        counts = ", ".join(f"{len(keys)} {kind.replace('_', ' ')} (first: {keys[0]})" for kind, keys in wrong.items())
        raise WeightsInvalidError(
            f"{located.path}: does not fit the config.json beside it: {counts}; fetch or copy both again"
        )
    if model.config.model_type != "depth_anything" or model.config.depth_estimation_type != "relative":
        raise WeightsInvalidError(
            f"{located.folder / 'config.json'}: model type {model.config.model_type!r}, expected 'depth_anything' with "
            "relative depth; another model or a metric one gives depth of another meaning"
        )
    return model.eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar and its report of missing weights, which is our own error."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
