"""From raw pixels to what a model reads, on the device: motion, normalisation, and in training augmentation."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from schemas.model import Model
from training.config import Augmentation, Motion
from training.data.batch import ClipBatch
from training.data.motion import motion_stream

_LEAST_MOTION = 1e-6  # of the deviation of a motion stream; less is rounding
_LEAST_SD = 1e-3  # an action unit that never moves in the training clips keeps its scale; its noise would blow it up
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma


class Normalisation(Model):
    """What a model sees of the pixels, and means and deviations of the training clips of one fold, never of others.

    A motion stream has its zero, which is "nothing moves", for mean: it is divided by its root mean square alone.

    Attributes:
        texture: mean and sd a channel, of values in [0, 1] or of motion; empty where no texture is read.
        depth: mean and sd; empty where no depth is read.
        au: mean and sd an action unit.
        motion: of the texture, as in the config of the run.
        depth_motion: of the depth.
    """

    motion: Motion = "none"
    depth_motion: Motion = "none"
    texture: tuple[tuple[float, float], ...]
    depth: tuple[tuple[float, float], ...]
    au: tuple[tuple[float, float], ...]

    def apply(self, batch: ClipBatch) -> ClipBatch:
        """Raw to normalised, float32."""
        seen = _seen(batch, self.motion, self.depth_motion)
        return replace(
            seen,
            texture=_standardised(seen.texture, self.texture, dim=2),
            depth=_standardised(seen.depth, self.depth, dim=2),
            au=_standardised(seen.au, self.au, dim=1),
        )


def measure_normalisation(
    batches: Iterable[ClipBatch], *, motion: Motion = "none", depth_motion: Motion = "none"
) -> Normalisation:
    """Statistics of raw batches: every pixel counts once, sums are in float64."""
    sums: dict[str, _Sums] = {}
    for batch in batches:
        seen = _seen(batch, motion, depth_motion, torch.float64)
        for name, values in (
            ("texture", seen.texture.transpose(1, 2).flatten(2)),
            ("depth", seen.depth.transpose(1, 2).flatten(2)),
            ("au", seen.au[..., None].double()),
        ):
            own = _Sums(values.shape[0] * values.shape[2], values.sum((0, 2)).cpu(), values.square().sum((0, 2)).cpu())
            sums[name] = sums[name] + own if name in sums else own
    return Normalisation(
        motion=motion,
        depth_motion=depth_motion,
        texture=sums["texture"].pairs(moves=motion != "none"),
        depth=sums["depth"].pairs(moves=depth_motion != "none"),
        au=sums["au"].pairs(),
    )


def _seen(batch: ClipBatch, motion: Motion, depth_motion: Motion, dtype: torch.dtype = torch.float32) -> ClipBatch:
    """Raw to what the model sees of it, not yet normalised: RGB in [0, 1] or motion, and depth or its motion."""
    if motion == depth_motion == "none":
        return replace(batch, texture=batch.texture.to(dtype) / 255, depth=batch.depth.to(dtype))
    batch = batch.held()  # the padding of a short clip does not move
    video = batch.texture.to(dtype) / 255 if batch.flow is None else batch.flow.to(dtype)
    return replace(
        batch,
        texture=motion_stream(video, motion) if video.shape[2] else video,
        depth=motion_stream(batch.depth.to(dtype), depth_motion),
        flow=None,
    )


@dataclass(frozen=True)
class _Sums:
    count: int
    values: Tensor
    squares: Tensor

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(self.count + other.count, self.values + other.values, self.squares + other.squares)

    def pairs(self, *, moves: bool = False) -> tuple[tuple[float, float], ...]:
        mean = self.values / self.count * (not moves)
        sd = (self.squares / self.count - mean.square()).clamp_min(0).sqrt()
        sd[sd < (_LEAST_MOTION if moves else _LEAST_SD)] = 1.0
        return tuple(zip(mean.tolist(), sd.tolist(), strict=True))


def _standardised(values: Tensor, pairs: tuple[tuple[float, float], ...], *, dim: int) -> Tensor:
    if not pairs:
        return values
    shape = [1] * values.dim()
    shape[dim] = len(pairs)
    mean, sd = (values.new_tensor(column).reshape(shape) for column in zip(*pairs, strict=True))
    return (values - mean) / sd


class Augmenter:
    """Random changes of raw batches, one draw a clip.

    Args:
        config: how much.
        action_units: names of the AU columns; a mirror image swaps those that differ in a final L or R.
    """

    def __init__(self, config: Augmentation, action_units: tuple[str, ...]) -> None:
        self._config = config
        self._mirrored = torch.tensor(mirrored_columns(action_units))

    def apply(self, batch: ClipBatch, random: torch.Generator) -> ClipBatch:
        """Flip, crop and colours; ``random`` is on the CPU, so that every device gets the same draws.

        Texture comes out as float32 in [0, 255], depth as float32.
        """
        config, count, device = self._config, len(batch), batch.au.device

        def uniform(low: float, high: float) -> Tensor:
            return (torch.rand(count, generator=random) * (high - low) + low).to(device)

        flip = uniform(0, 1) < config.flip
        cut, shift_x, shift_y = uniform(0, config.crop), uniform(-1, 1), uniform(-1, 1)
        brightness = uniform(1 - config.brightness, 1 + config.brightness)
        contrast = uniform(1 - config.contrast, 1 + config.contrast)
        saturation = uniform(1 - config.saturation, 1 + config.saturation)

        grid = _sampling_grid(flip, cut, shift_x * cut, shift_y * cut, side=batch.texture.shape[-1])
        texture = _warped(batch.texture.float(), grid)
        return replace(
            batch,
            texture=_recoloured(texture, brightness, contrast, saturation),
            depth=_warped(batch.depth.float(), grid),
            flow=None if batch.flow is None else _warped_flow(batch.flow.float(), grid, flip, cut),
            au=torch.where(flip[:, None], batch.au[:, self._mirrored.to(device)], batch.au),
        )


def mirrored_columns(action_units: tuple[str, ...]) -> list[int]:
    """Where each AU column comes from in a mirror image: ``AU12L`` from ``AU12R``, without a side from itself."""
    sides = {"L": "R", "R": "L"}
    place = {name: index for index, name in enumerate(action_units)}
    return [place.get(name[:-1] + sides.get(name[-1:], ""), index) for index, name in enumerate(action_units)]


def _sampling_grid(flip: Tensor, cut: Tensor, shift_x: Tensor, shift_y: Tensor, *, side: int) -> Tensor:
    """``(B, S, S, 2)``: where each pixel comes from, in [-1, 1], edge to edge."""
    scale = 1 - cut
    theta = torch.zeros(len(flip), 2, 3, device=flip.device)
    theta[:, 0, 0] = torch.where(flip, -scale, scale)
    theta[:, 1, 1] = scale
    theta[:, 0, 2], theta[:, 1, 2] = shift_x, shift_y
    return F.affine_grid(theta, [len(flip), 1, side, side], align_corners=False)


def _warped(video: Tensor, grid: Tensor) -> Tensor:
    """``(B, T, C, S, S)`` with one grid a clip; frames are channels to it."""
    if not video.shape[2]:
        return video
    frames = video.flatten(1, 2)
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False).view_as(video)


def _warped_flow(flow: Tensor, grid: Tensor, flip: Tensor, cut: Tensor) -> Tensor:
    """Optical flow moved with the pixels: a crop that is enlarged enlarges it, a mirror turns left to right."""
    scale = 1 / (1 - cut)
    factors = torch.stack([torch.where(flip, -scale, scale), scale], 1)  # (B, 2)
    return _warped(flow, grid) * factors[:, None, :, None, None]


def _recoloured(texture: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Colours of ``(B, T, 3, S, S)`` in [0, 255]; contrast is about the clip's mean, not the frame's."""
    if not texture.shape[2]:
        return texture
    weights = texture.new_tensor(_GREY).view(3, 1, 1)

    def each(factor: Tensor) -> Tensor:
        return factor.view(-1, 1, 1, 1, 1)

    texture = (texture * each(brightness)).clamp(0, 255)
    mean = (texture * weights).sum(2, keepdim=True).mean((1, 3, 4), keepdim=True)
    texture = torch.lerp(mean.expand_as(texture), texture, each(contrast)).clamp(0, 255)
    grey = (texture * weights).sum(2, keepdim=True)
    return torch.lerp(grey.expand_as(texture), texture, each(saturation)).clamp(0, 255)
