"""Depth Anything V2 (Yang et al., NeurIPS 2024) in its three sizes, through transformers."""

from typing import ClassVar

from pipeline.clip.aligned_clip import DepthEstimator
from pipeline.clip.backends import DEPTH, DepthBackend, Setup
from schemas.config import PreprocessConfig

BIBTEX = """\
@inproceedings{yang2024depthanythingv2,
  author    = {Yang, Lihe and Kang, Bingyi and Huang, Zilong and Zhao, Zhen and Xu, Xiaogang and Feng, Jiashi and
               Zhao, Hengshuang},
  title     = {Depth Anything {V2}},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {37},
  year      = {2024},
  eprint    = {2406.09414},
  archiveprefix = {arXiv}
}"""


class DepthAnythingBackend(DepthBackend):
    """What the three sizes have in common."""

    package = "transformers"
    bibtex = BIBTEX
    kind = "relative inverse depth"
    unit = "arbitrary, larger is nearer"
    runtimes = ("torch", "openvino", "openvino-bf16")
    weights: ClassVar[str]

    @classmethod
    def advice_on_cpu(cls, config: PreprocessConfig) -> str:
        """A smaller input and the other runtime, unless one of them is chosen already; measured in docs/measured.md."""
        if config.depth_size <= 252 or config.depth_runtime != "torch":
            return ""
        return (
            f"{config.depth} without a GPU is slow (Small some 1.6 s a frame and core at 518 px): --depth-size 252 is "
            "5 times as fast and coarser; --depth-runtime openvino is 1.3 times as fast (1.6 at 252 px) and equal "
            "but for rounding"
        )

    @classmethod
    def load(cls, setup: Setup) -> DepthEstimator:
        """Load the model."""
        from pipeline.clip.depth_anything import DepthAnything

        config, weights = setup.config, setup.weights[cls.weights]
        return DepthAnything(
            weights, device=setup.device, size=config.size, input_size=config.depth_size, runtime=config.depth_runtime
        )


@DEPTH.register("depth-anything-v2-small")
class Small(DepthAnythingBackend):
    """Depth Anything V2 Small, 25 million parameters."""

    weights = "depth-anything-v2-small"


@DEPTH.register("depth-anything-v2-base")
class Base(DepthAnythingBackend):
    """Depth Anything V2 Base, 97 million parameters."""

    weights = "depth-anything-v2-base"


@DEPTH.register("depth-anything-v2-large")
class Large(DepthAnythingBackend):
    """Depth Anything V2 Large, 335 million parameters."""

    weights = "depth-anything-v2-large"
