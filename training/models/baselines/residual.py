"""ResNet-18 (He et al., CVPR 2016) of single frames, from torchvision's blocks, for any width and depth."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from training.models.published import RESNET18_PARTS, PublishedWeights, resnet18

Blocks = Annotated[int, Field(ge=1)]
Layers = tuple[Blocks, Blocks, Blocks, Blocks]

RESNET18 = resnet18(*(f"resnet.{part}" for part in RESNET18_PARTS))


def sequential_resnet18(part: str) -> PublishedWeights:
    """ImageNet's weights for a submodule that ``residual_stages`` made."""
    return resnet18(*(f"{part}.{index}" for index in (0, 1, 4, 5, 6, 7)))


def residual_stages(layers: Layers, *, width: int = 64) -> nn.Sequential:
    """ResNet up to its pool: convolution, norm, ReLU, pool, four stages.

    Args:
        layers: residual blocks of each stage.
        width: channels of the first stage; each of the next has twice as many.
    """
    modules: list[nn.Module] = [
        nn.Conv2d(3, width, kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    ]
    before = width
    for level, blocks in enumerate(layers):
        out = width << level
        first = residual_block(before, out, stride=2 if level else 1)
        modules.append(nn.Sequential(first, *(residual_block(out, out) for _ in range(blocks - 1))))
        before = out
    network = nn.Sequential(*modules)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def residual_block(width: int, out: int, *, stride: int = 1) -> nn.Module:
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""
    from torchvision.models.resnet import BasicBlock  # takes seconds

    shortcut = None
    if stride > 1 or width != out:
        shortcut = nn.Sequential(nn.Conv2d(width, out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(out))
    block: nn.Module = BasicBlock(width, out, stride, shortcut)
    return block


def frame_features(resnet: nn.Module, video: Tensor) -> Tensor:
    """``(B, T, ...)`` of ``(B, T, 3, H, W)``: each frame by itself, each frame once."""
    return torch.unflatten(resnet(video.flatten(0, 1)), 0, video.shape[:2])
