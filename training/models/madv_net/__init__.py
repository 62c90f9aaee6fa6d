"""MADV-Net: the multi-level adaptive dynamic visual attention network."""

from training.models.madv_net.config import MADVNetConfig
from training.models.madv_net.model import MADVNet, madv_net

# For the `fast` recipe: half the width, a third of the blocks.
FAST_OPTIONS = {"stem_width": 16, "dims": (32, 64, 128), "depths": (1, 1, 1)}

__all__ = ["FAST_OPTIONS", "MADVNet", "MADVNetConfig", "madv_net"]
