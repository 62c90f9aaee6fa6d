"""MADV-Net: the multi-level adaptive dynamic visual attention network."""

from training.models.madv_net.config import MADVNetConfig
from training.models.madv_net.model import MADVNet

__all__ = ["MADVNet", "MADVNetConfig"]
