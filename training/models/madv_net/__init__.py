"""MADV-Net: the multi-level adaptive dynamic visual attention network."""

from training.models.madv_net.config import MADVNetConfig
from training.models.madv_net.model import MADVNet, madv_net

# For the `fast` recipe: half the width, a third of the blocks.
FAST_OPTIONS = {"stem_width": 16, "dims": (32, 64, 128), "depths": (1, 1, 1)}

# The ablation that section 3.2.5 of the paper promises: each path off.
ABLATIONS = {
    "depth": {"depth": False},
    "action units": {"au": False},
    "discarding": {"discard": False},
    "stage heads": {"stage_heads": False},
    "frame difference": {"frame_difference": False},
}

__all__ = ["ABLATIONS", "FAST_OPTIONS", "MADVNet", "MADVNetConfig", "madv_net"]
