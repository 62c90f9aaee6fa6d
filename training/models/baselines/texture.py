"""What the baselines have in common: they read the texture alone, and most of them clips of one length and size."""

from typing import Any, Generic, TypeVar

from torch import Tensor

from training.data.batch import ClipBatch, Input
from training.models.base import ClipClassifier
from training.models.config import ModelConfig

_SGD = {
    "optimiser": "sgd",
    "momentum": 0.9,
    "lr": 0.01,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "epochs": 100,
    "warmup_epochs": 0,
}
C = TypeVar("C", bound=ModelConfig)

NO_CLIPPING = 1e6  # for ``clip_norm``: in effect none


def sgd(**changes: Any) -> dict[str, Any]:
    """The recipe of Zhao and Liu (ACM MM 2021), which those who work on DFEW follow, with the changes of one paper."""
    return {"optimisation": _SGD | changes}


class TextureClassifier(ClipClassifier, Generic[C]):
    """Base of a model that reads the texture alone.

    Args:
        config: of the model.
    """

    inputs: frozenset[Input] = frozenset({"texture"})

    def __init__(self, config: C) -> None:
        super().__init__()
        self.config = config

    def video(self, batch: ClipBatch) -> Tensor:
        """``(B, T, 3, H, W)``: the texture, its padding held.

        Raises:
            ValueError: its shape is not the one that the model was built for.
        """
        video = batch.held().texture
        frames, height, width = video.shape[1], *video.shape[-2:]
        built = self.config
        if (frames, height, width) != (built.frames, built.size, built.size):
            raise ValueError(
                f"clips are {frames} frames of {width}x{height} px, "
                f"this model was built for {built.frames} of {built.size}x{built.size}"
            )
        return video
