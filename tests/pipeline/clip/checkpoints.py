"""Checkpoints with random weights, built with the real classes and loaded through the real loaders.

The small ones make the neural backends run in tests; those of true size make their speed measurable without a
download. Their ``weights.json`` says what they are, so a store made with them never claims the published weights.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from pipeline.clip.py_feat import _undisturbed
from schemas.weights import Weights

SMALL_REPOSITORY = "tests/small-random-weights"

# The hub's preprocessor_config.json of Depth Anything V2, to the byte (the same for all sizes):
# sha256 d41175c0d889477ca8fc67191e540faef14baf6275157b3fdecf78469e6bbf84.
PREPROCESSOR = {
    "_valid_processor_keys": [
        "images", "do_resize", "size", "keep_aspect_ratio", "ensure_multiple_of", "resample", "do_rescale",
        "rescale_factor", "do_normalize", "image_mean", "image_std", "do_pad", "size_divisor", "return_tensors",
        "data_format", "input_data_format",
    ],
    "do_normalize": True,
    "do_pad": False,
    "do_rescale": True,
    "do_resize": True,
    "ensure_multiple_of": 14,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DPTImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "keep_aspect_ratio": True,
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 518, "width": 518},
    "size_divisor": None,
}  # fmt: skip


def write_small_models(folder: Path) -> Path:
    """A models folder with a 4-layer ``depth-anything-v2-small`` and an atto ``py-feat``; returns ``folder``."""
    write_small_depth_anything(folder)
    write_small_py_feat(folder)
    return folder


def write_small_depth_anything(folder: Path) -> Path:
    """``folder/depth-anything-v2-small``: 4 layers of 32 channels whose output differs between frames."""
    from transformers import Dinov2Config

    backbone = Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=518, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )  # fmt: skip
    return _write_depth_anything(
        folder / "depth-anything-v2-small", "depth-anything-v2-small", SMALL_REPOSITORY, backbone,
        neck=(8, 8, 16, 16), fusion=16, head=8,
    )  # fmt: skip


def write_random_depth_anything(folder: Path, variant: Literal["small", "base"]) -> Path:
    """``folder/depth-anything-v2-<variant>`` with the published architecture and random weights, for benchmarks.

    The small one's file has the very size of the published file, 99,173,660 bytes: the same tensors, named alike.
    """
    from transformers import Dinov2Config

    hidden, heads, fusion = {"small": (384, 6, 64), "base": (768, 12, 128)}[variant]
    neck = {"small": (48, 96, 192, 384), "base": (96, 192, 384, 768)}[variant]
    backbone = Dinov2Config(
        hidden_size=hidden, num_hidden_layers=12, num_attention_heads=heads, image_size=518, patch_size=14,
        out_indices=[3, 6, 9, 12], reshape_hidden_states=False,
    )  # fmt: skip
    name = f"depth-anything-v2-{variant}"
    return _write_depth_anything(
        folder / name, name, f"tests/random-{name}", backbone, neck=neck, fusion=fusion, head=32
    )


def write_small_py_feat(folder: Path) -> Path:
    """``folder/py-feat``: the multitask network on ConvNeXt V2 atto, its action units spread over [0, 1]."""
    return _write_py_feat(folder / "py-feat", SMALL_REPOSITORY, "convnextv2_atto")


def write_random_py_feat(folder: Path) -> Path:
    """``folder/py-feat`` with the published backbone (ConvNeXt V2 tiny) and random weights, for benchmarks."""
    return _write_py_feat(folder / "py-feat", "tests/random-py-feat", "convnextv2_tiny")


def record_weights(folder: Path, name: str, repository: str, file: str) -> None:
    """Write ``weights.json``, with the sha256 that the file has now."""
    sha256 = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    record = Weights(name=name, repository=repository, revision=None, file=file, sha256=sha256)
    (folder / "weights.json").write_text(record.model_dump_json(indent=2) + "\n")


def _write_depth_anything(
    folder: Path, name: str, repository: str, backbone: object, *, neck: tuple[int, ...], fusion: int, head: int
) -> Path:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=backbone.hidden_size, neck_hidden_sizes=list(neck),
        fusion_hidden_size=fusion, head_hidden_size=head,
    )  # fmt: skip
    with _seeded(0):
        model = DepthAnythingForDepthEstimation(config)
        _spread(model)
        nn.init.constant_(model.head.conv3.bias, 1.0)  # keeps the last ReLU from cutting everything off
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    record_weights(folder, name, repository, "model.safetensors")
    return folder


def _write_py_feat(folder: Path, repository: str, backbone: str) -> Path:
    with _undisturbed():
        from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
    from safetensors.torch import save_file

    config = ModelV2Config(
        backbone=backbone, n_au=20, n_emotion=7, n_blendshape=52, mesh_normalized=True, pretrained=False,
        use_head_v3=True, drop_mefl=True,
    )  # fmt: skip
    with _seeded(0):
        model = MEGraphAUv2(config)
    folder.mkdir(parents=True, exist_ok=True)
    file = "face_multitask_v28.safetensors"
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / file, metadata={"config": json.dumps(asdict(config))})
    record_weights(folder, "py-feat", repository, file)
    return folder


def _spread(model: nn.Module) -> None:
    """Variance-preserving weights: transformers' own initial ones shrink the signal to nothing."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
