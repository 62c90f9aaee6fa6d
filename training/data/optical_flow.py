"""TV-L1 optical flow (Zach, Pock, Bischof, DAGM 2007) of a batch of image pairs, on the device that they are on.

scikit-image and OpenCV have it for one pair on a CPU, outside the graph that is exported. The parameters and the
scheme are scikit-image's ``optical_flow_tvl1``; the number of iterations is fixed instead of tested.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_ATTACHMENT = 15.0
_TIGHTNESS = 0.3
_STEP = 0.25  # of the dual variable
_REGULARISATIONS = 2  # an iteration
_LEAST_SIDE = 16  # px, of the coarsest level


def tv_l1(reference: Tensor, moving: Tensor, *, warps: int = 5, iterations: int = 10) -> Tensor:
    """How far each pixel of ``reference`` is from its place in ``moving``.

    Args:
        reference: ``(B, 1, H, W)`` grey values, about [0, 1]; the smoothness depends on their scale.
        moving: the same.
        warps: times that ``moving`` is warped at each level of the pyramid.
        iterations: of the solver after each warp.

    Returns:
        ``(B, 2, H, W)``, px: to the right, and down.
    """
    pyramid = [(reference, moving)]
    while min(pyramid[-1][0].shape[-2:]) > 2 * _LEAST_SIDE:
        pyramid.append((_halved(pyramid[-1][0]), _halved(pyramid[-1][1])))
    flow = torch.zeros_like(pyramid[-1][0]).repeat(1, 2, 1, 1)
    for still, moved in reversed(pyramid):
        flow = _resized(flow, still.shape[-2], still.shape[-1])
        flow = _solved(still, moved, flow, warps=warps, iterations=iterations)
    return flow


def strain(flow: Tensor) -> Tensor:
    """``(B, 1, H, W)``: magnitude of the infinitesimal strain tensor of a flow ``(B, 2, H, W)``."""
    x, y = _slope(flow, 3), _slope(flow, 2)  # each (B, 2, H, W)
    shear = (y[:, 0] + x[:, 1]) / 2
    return (x[:, 0].square() + y[:, 1].square() + 2 * shear.square()).sqrt()[:, None]


def _solved(reference: Tensor, moving: Tensor, flow: Tensor, *, warps: int, iterations: int) -> Tensor:
    dual = torch.zeros_like(flow)[:, :, None].repeat(1, 1, 2, 1, 1)  # (B, component, axis, H, W)
    for _ in range(warps):
        warped = _warped(moving, flow)
        gradient = torch.cat((_slope(warped, 3), _slope(warped, 2)), 1)
        constant = warped - reference - (gradient * flow).sum(1, keepdim=True)
        flow, dual = _iterated(flow, dual, gradient, constant, iterations)
    return flow


def _iterated(flow: Tensor, dual: Tensor, gradient: Tensor, constant: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """The solver so many times over; an export writes it once, in a loop, or it would have thousands of nodes."""
    most = _ATTACHMENT * _TIGHTNESS
    energy = gradient.square().sum(1, keepdim=True)
    energy = torch.where(energy == 0, 1.0, energy)

    def iterate(flow: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
        residual = constant + (gradient * flow).sum(1, keepdim=True)
        data = flow - (residual / energy).clamp(-most, most) * gradient
        flow = data
        for _ in range(_REGULARISATIONS):
            slope = torch.stack((F.pad(flow.diff(dim=3), (0, 1)), F.pad(flow.diff(dim=2), (0, 0, 0, 1))), 2)
            norm = slope.square().sum(2, keepdim=True).sqrt()
            dual = (dual - _STEP * slope) / (1 + _STEP / _TIGHTNESS * norm)
            flow = data - dual.sum(2) + F.pad(dual[:, :, 0, :, :-1], (1, 0)) + F.pad(dual[:, :, 1, :-1], (0, 0, 1, 0))
        return flow, dual

    if torch.compiler.is_exporting():
        from torch._higher_order_ops import scan  # PyTorch has it in no public place yet

        turns = torch.zeros(times, device=flow.device)
        (flow, dual), _ = scan(lambda fields, turn: (iterate(*fields), turn.clone()), (flow, dual), turns)
        return flow, dual
    for _ in range(times):
        flow, dual = iterate(flow, dual)
    return flow, dual


def _slope(field: Tensor, dim: int) -> Tensor:
    """Central differences, one-sided at the ends; ``torch.gradient`` would fix the number of clips in an export."""
    steps = field.diff(dim=dim)
    count = steps.shape[dim]
    steps = torch.cat((steps.narrow(dim, 0, 1), steps, steps.narrow(dim, count - 1, 1)), dim)
    return (steps.narrow(dim, 0, count + 1) + steps.narrow(dim, 1, count + 1)) / 2


def _warped(image: Tensor, flow: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    y = torch.linspace(-1, 1, height, dtype=image.dtype, device=image.device)[:, None]
    x = torch.linspace(-1, 1, width, dtype=image.dtype, device=image.device)
    grid = torch.stack((x + flow[:, 0] * (2 / (width - 1)), y + flow[:, 1] * (2 / (height - 1))), -1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _halved(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)


def _resized(flow: Tensor, height: int, width: int) -> Tensor:
    if flow.shape[-2:] == (height, width):
        return flow
    scale = flow.new_tensor((width / flow.shape[-1], height / flow.shape[-2])).view(2, 1, 1)
    return F.interpolate(flow, (height, width), mode="bilinear") * scale
