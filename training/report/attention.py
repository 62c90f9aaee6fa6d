"""Where a model looked, of any model that says so.

A model that has attention puts ``attention_NAME`` ``(B, T', S, h, w)`` into ``Prediction.auxiliary``, and where it
discards blocks, ``kept_NAME`` of the same shape: T' steps in time, S streams (texture, then depth), a grid over the
face.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.clips import ClipReader
from training.dataset import ClipDraw, StoreDataset
from training.report.drawing import WIDTH, bare, new_figure
from training.report.examples import Example
from training.sampling import frame_indices
from training.trained_model import load_trained_model

_ATTENTION, _KEPT = "attention_", "kept_"
_STREAMS = ("texture", "depth")
_GREY = np.array((0.299, 0.587, 0.114))  # ITU-R BT.601 luma
_MAP = colormaps["inferno"]


@dataclass(frozen=True)
class Attention:
    """At the apex of one clip.

    Attributes:
        weights: name of the level -> ``(S, h, w)``.
        kept: name of the level -> ``(S, h, w) bool``, for levels that discard.
    """

    weights: dict[str, NDArray[np.float32]]
    kept: dict[str, NDArray[np.bool_]]


@torch.inference_mode()
def attention_at_apex(example: Example) -> Attention:
    """What the model that was tested on this clip attended to; nothing, if it has no attention.

    Raises:
        RunFolderError: the model is missing or damaged.
        StoreError: the clip cannot be read.
    """
    trained = load_trained_model(example.folder.model)
    header, network = trained.header, trained.network
    reader = ClipReader([example.store.path], [example.key], size=header.size, inputs=network.inputs)
    clip = reader[0]
    chosen = frame_indices(len(clip.texture), onset=clip.onset, apex=clip.apex, frames=header.frames)
    raw = StoreDataset([clip], [0], frames=header.frames)[ClipDraw(0)]
    found = network(trained.prepare(raw)).auxiliary
    position = int(np.abs(chosen - clip.apex).argmin())
    at_apex = {
        name: tensor[0, position * tensor.shape[1] // header.frames].cpu().numpy()
        for name, tensor in found.items()
        if name.startswith((_ATTENTION, _KEPT))
    }
    return Attention(
        {name.removeprefix(_ATTENTION): value for name, value in at_apex.items() if name.startswith(_ATTENTION)},
        {name.removeprefix(_KEPT): value for name, value in at_apex.items() if name.startswith(_KEPT)},
    )


def attention_figure(found: Sequence[tuple[Example, Attention]]) -> Figure:
    """A row a clip: the apex frame, then each level over texture, then over depth."""
    levels = list(found[0][1].weights)
    streams = max(len(weights) for _, attention in found for weights in attention.weights.values())
    columns = 1 + len(levels) * streams
    side = min(1.75, WIDTH / columns)
    figure = new_figure(WIDTH, 0.4 + (side + 0.28) * len(found))
    grid = figure.subplots(len(found), columns, squeeze=False)
    for row, (example, attention) in zip(grid, found, strict=True):
        pictures = _backgrounds(example)
        row[0].imshow(pictures[0], interpolation="none")
        row[0].set_title(example.title, fontsize=8, fontweight="normal")
        for column, axes in enumerate(row[1:]):
            stream, level = column // len(levels), levels[column % len(levels)]
            kept = attention.kept.get(level)
            weights = attention.weights[level]
            if stream < len(weights):
                shares = weights / weights.max()  # of all streams, which share one softmax
                shown = over_face(pictures[stream], shares[stream], None if kept is None else kept[stream])
                axes.imshow(shown, interpolation="none")
            axes.set_xlabel(f"{level}, {_STREAMS[stream]}", fontsize=8)
        for axes in row:
            bare(axes)
    return figure


def over_face(
    picture: NDArray[np.uint8], weights: NDArray[np.float32], kept: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """``(H, W, 3)``: the picture in grey, heat ``(h, w)`` in [0, 1] over it, discarded blocks blanked."""
    height, width = picture.shape[:2]
    rows, columns = np.arange(height) * weights.shape[0] // height, np.arange(width) * weights.shape[1] // width
    grey = np.repeat((picture @ _GREY)[..., None], 3, axis=2) / 255
    heat = weights[np.ix_(rows, columns)].astype(np.float64)
    shown = 0.45 * grey + 0.55 * _MAP(heat)[..., :3]
    if kept is not None:
        gone = ~kept[np.ix_(rows, columns)]
        shown[gone] = 0.25 * grey[gone] + 0.75
    return np.asarray((shown * 255).round().clip(0, 255), np.uint8)


def _backgrounds(example: Example) -> list[NDArray[np.uint8]]:
    """Texture and, where the store has it, depth at the apex, ``(H, W, 3)``."""
    store = example.store
    apex = int(store.column("apex_index")[store.manifest.index[example.key]])
    pictures = [store.texture(example.key)[apex]]
    if "depth" in store.manifest.arrays:
        depth = store.depth(example.key)[apex].astype(np.float64).clip(0, 1)
        pictures.append(np.repeat((depth * 255).astype(np.uint8)[..., None], 3, axis=2))
    return pictures
