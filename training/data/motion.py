"""Motion in place of appearance: what a face looks like is nearly all of a frame, how it moves a thousandth of it.

Raw frames leave a network with who it is, the light and the pose, and it learns the training people by heart. What
moved is left when an earlier frame is subtracted, or when optical flow takes the place of the picture. The paper says
the same of inter-frame differences of texture and depth: that they are features in their own right (its introduction).
"""

import torch
from torch import Tensor

from training.config import Motion
from training.data.batch import Input
from training.data.optical_flow import strain, tv_l1

_WARPS = 2  # of TV-L1: faces are aligned, and nothing moves by more than a few px
_PAIRS = 32  # at once: a clip of many frames would need much memory


def motion_stream(video: Tensor, motion: Motion) -> Tensor:
    """``(B, T, C, H, W)`` float frames as motion; the first frame, the onset, has none.

    Args:
        video: frames, or with ``flow`` the optical flow of each from the onset, ``(B, T, 2, H, W)`` px.
        motion: ``none``: the frames themselves; ``onset``: each minus the first; ``adjacent``: each minus the one
            before; ``flow``: to the right, down, and the magnitude of the strain, ``(B, T, 3, H, W)``.
    """
    match motion:
        case "onset":
            return video - video[:, :1]
        case "adjacent":
            return torch.cat([torch.zeros_like(video[:, :1]), video.diff(dim=1)], 1)
        case "flow":
            stretched = torch.unflatten(strain(video.flatten(0, 1)), 0, video.shape[:2])
            return torch.cat([video, stretched], 2)
        case _:
            return video


def flow_from_onset(texture: Tensor, onset: int) -> Tensor:
    """Optical flow (TV-L1) from the onset to every frame of a clip.

    Args:
        texture: ``(N, 3, S, S) uint8``.
        onset: position of the onset.

    Returns:
        ``(N, 2, S, S) float16``, px: to the right, and down.
    """
    grey = texture.float().mean(1, keepdim=True)
    low, high = grey[onset].min(), grey[onset].max()
    grey = (grey - low) / (high - low).clamp_min(1)  # TV-L1 is set for [0, 1]
    parts = [tv_l1(grey[onset].expand_as(part), part, warps=_WARPS) for part in torch.split(grey, _PAIRS)]
    flow = torch.cat(parts)
    flow[onset] = 0  # what the solver makes of two equal frames is rounding
    return flow.half()


def stored_inputs(inputs: frozenset[Input], motion: Motion) -> frozenset[Input]:
    """What is read of a clip for a model with these inputs: flow takes the place of the texture."""
    return inputs - {"texture"} | {"flow"} if motion == "flow" and "texture" in inputs else inputs
