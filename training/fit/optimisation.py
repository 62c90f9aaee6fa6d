"""How weights move: optimiser, learning rate, precision."""

import math

import torch

from training.config import Amp, Optimisation
from training.models.base import ClipClassifier
from training.models.published import within


def build_optimiser(network: ClipClassifier, config: Optimisation) -> torch.optim.Optimizer:
    """The config's; vectors (biases, norms) are not decayed, and lower layers move slower where it says so."""
    trained = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    scales = {name: config.layer_decay ** _layers_above(network, name) for name, _ in trained}
    groups = []
    for scale in sorted(set(scales.values())):
        own = [parameter for name, parameter in trained if scales[name] == scale]
        groups += [
            {"params": [p for p in own if p.dim() > 1], "weight_decay": config.weight_decay, "lr_scale": scale},
            {"params": [p for p in own if p.dim() <= 1], "weight_decay": 0.0, "lr_scale": scale},
        ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr)


def _layers_above(network: ClipClassifier, name: str) -> int:
    """Between a parameter and the head."""
    layer = next((i for i, parts in enumerate(network.layers) if within(name, parts)), len(network.layers))
    return len(network.layers) - layer


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """For the next step; each layer gets its part of it."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_scale"]


def learning_rate(epoch: float, config: Optimisation) -> float:
    """At a fraction of an epoch: linear from 0 in the warm-up, then a cosine down to ``lr_min``, or steps down."""
    warmup = min(config.warmup_epochs, config.epochs / 2)
    if epoch < warmup:
        return config.lr * epoch / warmup
    if config.schedule == "step":
        return config.lr * config.step_factor ** int(epoch // config.step_epochs)
    done = (epoch - warmup) / (config.epochs - warmup)
    return config.lr_min + (config.lr - config.lr_min) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def autocast_of(amp: Amp, device: torch.device) -> torch.autocast:
    """The autocast of a setting: ``auto`` is fp16 on a GPU, as the paper trains, and off on a CPU."""
    if amp == "auto":
        amp = "fp16" if device.type == "cuda" else "off"
    dtype = {"off": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[amp]
    return torch.autocast(device.type, dtype=dtype if amp != "off" else torch.bfloat16, enabled=amp != "off")
