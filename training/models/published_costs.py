"""What models cost as published, at the input that it was counted at; 7 classes.

All of it is from Table 12 of MAE-DFER (Sun et al., ACM MM 2023), a survey of methods on DFEW. STT's cost and those of
the two floors nobody has published.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedCost:
    """Of one clip; ``None`` is not published.

    Attributes:
        frames: T of the clip.
        size: side of its frames, px.
        parameters: of the model.
        macs: multiply-accumulates of one forward pass.
    """

    frames: int
    size: int
    parameters: float | None
    macs: float | None


PUBLISHED_COSTS: Mapping[str, PublishedCost] = {
    "c3d": PublishedCost(16, 112, 78e6, 39e9),
    "r2plus1d-18": PublishedCost(16, 112, 33e6, 42e9),
    "r3d-18": PublishedCost(16, 112, 33e6, 8e9),
    "ec-stfl": PublishedCost(16, 112, None, 8e9),
    "resnet18-lstm": PublishedCost(16, 112, None, 8e9),
    "resnet18-gru": PublishedCost(16, 112, None, 8e9),
    "former-dfer": PublishedCost(16, 112, 18e6, 9e9),
    "ceflnet": PublishedCost(35, 112, 13e6, None),
    "est": PublishedCost(35, 224, 43e6, None),
    "nr-dfernet": PublishedCost(16, 112, None, 6e9),
    "videomae": PublishedCost(16, 160, 86e6, 81e9),
    "mae-dfer": PublishedCost(16, 160, 85e6, 50e9),
}
