"""Depth Anything V2 (Yang et al., NeurIPS 2024) in its three sizes, through transformers."""

from typing import ClassVar

from pipeline.clip.aligned_clip import DepthEstimator
from pipeline.clip.backends import DEPTH, DepthBackend, Setup

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
    weights: ClassVar[str]

    @classmethod
    def load(cls, setup: Setup) -> DepthEstimator:
        """Load the model."""
        from pipeline.clip.depth_anything import DepthAnything

        size, input_size = setup.config.size, setup.config.depth_size
        return DepthAnything(setup.weights[cls.weights], device=setup.device, size=size, input_size=input_size)


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
