"""Where a model looked, of any model that says so.

A model that has attention puts ``attention_NAME`` ``(B, T', S, h, w)`` into ``Prediction.auxiliary``, and where it
discards blocks, ``kept_NAME`` of the same shape: T' steps in time, S streams (texture, then depth), a grid over the
face.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from training.data.clips import ClipCache, ClipReader
from training.data.dataset import ClipDraw, StoreDataset
from training.data.sampling import frame_indices
from training.models.trained_model import load_trained_model
from training.report.drawing import WIDTH, bare, name_row, new_figure
from training.report.examples import Example

_ATTENTION, _KEPT = "attention_", "kept_"
_STREAMS = ("texture", "depth")
_GREY = np.array((0.299, 0.587, 0.114))  # ITU-R BT.601 luma
_MORE, _LESS = "#e66100", "#1a6fdf"
_STRONGEST = 0.75  # opacity of the full colour
_SCALES = (0.3, 2.0)  # log2 of the full colour's factor: noise about an even share shall look like noise
_STRIPES = 48  # half of them across a picture


@dataclass(frozen=True)
class Attention:
    """At the apex of one clip.

    Attributes:
        weights: name of the level -> ``(S, h, w)``.
        kept: name of the level -> ``(S, h, w) bool``, for levels that discard.
        streams: what the S streams are of.
    """

    weights: dict[str, NDArray[np.float32]]
    kept: dict[str, NDArray[np.bool_]]
    streams: tuple[str, ...] = _STREAMS

    def preferences(self) -> dict[str, NDArray[np.float64]]:
        """Name of the level -> ``(S, h, w)``: log2 of the weight over the mean of the blocks that were kept."""
        found = {}
        for level, weights in self.weights.items():
            even = weights[self.kept.get(level, np.ones(weights.shape, bool))].mean()
            with np.errstate(divide="ignore"):  # a discarded block has no weight
                found[level] = np.log2(weights.astype(np.float64) / even)
        return found


@torch.inference_mode()
def attention_at_apex(example: Example) -> Attention:
    """What the model that was tested on this clip attended to; nothing, if it has no attention.

    Raises:
        RunFolderError: the model is missing or damaged.
        StoreError: the clip cannot be read.
    """
    trained = load_trained_model(example.folder.model)
    header, network = trained.header, trained.network
    reader = ClipReader([example.store.path], [example.key], size=header.size, inputs=trained.inputs)
    source = ClipCache(reader, "cpu")  # read once, for its apex and for its frames
    clip = source[0]
    chosen = frame_indices(len(clip.texture), onset=clip.onset, apex=clip.apex, frames=header.frames)
    raw = StoreDataset(source, [0], frames=header.frames)[ClipDraw(0)]
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
        tuple(name for name in _STREAMS if name in network.inputs),
    )


def attention_figure(found: Sequence[tuple[Example, Attention]]) -> Figure:
    """A row a clip: the apex frame, then each level over texture, then over depth; one scale for all."""
    preferences = [attention.preferences() for _, attention in found]
    largest = max(float(np.abs(p[np.isfinite(p)]).max()) for levels in preferences for p in levels.values())
    scale = float(np.clip(largest, *_SCALES))
    levels = list(preferences[0])
    streams = max(len(preference) for preference in preferences[0].values())
    columns = 1 + len(levels) * streams
    side = min(1.75, WIDTH / columns)
    figure = new_figure(WIDTH, 0.7 + (side + 0.42) * len(found))
    grid = figure.subplots(len(found), columns, squeeze=False)
    for row, (example, attention), preference in zip(grid, found, preferences, strict=True):
        pictures = _backgrounds(example)
        row[0].imshow(next(iter(pictures.values())), interpolation="none")
        row[0].set_xlabel("apex", fontsize=8)
        name_row(row, example.title)
        for column, axes in enumerate(row[1:]):
            stream, level = column // len(levels), levels[column % len(levels)]
            if stream < len(preference[level]):
                kept = attention.kept.get(level)
                shares = (preference[level][stream] / scale).clip(-1, 1)
                shown = over_face(pictures[attention.streams[stream]], shares, None if kept is None else kept[stream])
                axes.imshow(shown, interpolation="none")
            axes.set_xlabel(f"{level}, {attention.streams[stream]}", fontsize=8)
        for axes in row:
            bare(axes)
    names = (f"{2**scale:.2g} times an even share, or more", f"1/{2**scale:.2g} of it, or less")
    keys = [Patch(color=colour, label=name) for colour, name in zip((_MORE, _LESS), names, strict=True)]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure


def over_face(
    picture: NDArray[np.uint8], preference: NDArray[np.float64], kept: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """``(H, W, 3)``: the picture in grey, ``(h, w)`` preference in [-1, 1] coloured, discarded blocks striped."""
    height, width = picture.shape[:2]
    rows = np.arange(height) * preference.shape[0] // height
    columns = np.arange(width) * preference.shape[1] // width
    grey = np.repeat((picture @ _GREY)[..., None], 3, axis=2) / 255
    shares = preference[np.ix_(rows, columns)][..., None]
    strength = _STRONGEST * np.abs(shares)
    shown = (1 - strength) * grey + strength * np.where(shares > 0, to_rgb(_MORE), to_rgb(_LESS))
    if kept is not None:
        gone = ~kept[np.ix_(rows, columns)]
        stripes = np.add.outer(np.arange(height), np.arange(width)) * _STRIPES // width % 2
        shown[gone] = (0.3 * grey + 0.4 + 0.25 * stripes[..., None])[gone]
    return np.asarray((shown * 255).round().clip(0, 255), np.uint8)


def _backgrounds(example: Example) -> dict[str, NDArray[np.uint8]]:
    """Texture and depth at the apex, ``(H, W, 3)``, those that the store has."""
    store = example.store
    apex = int(store.column("apex_index")[store.manifest.index[example.key]])
    pictures = {}
    if "texture" in store.manifest.arrays:
        pictures["texture"] = store.texture(example.key)[apex]
    if "depth" in store.manifest.arrays:
        depth = store.depth(example.key)[apex].astype(np.float64).clip(0, 1)
        pictures["depth"] = np.repeat((depth * 255).astype(np.uint8)[..., None], 3, axis=2)
    return pictures
