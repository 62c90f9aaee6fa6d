"""Depth disparity of action unit regions over example clips (the paper's Fig. 19)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.report.drawing import CYCLE, INK, WIDTH, bare, name_row, new_figure
from training.report.examples import Example

Regions = Callable[[int], Mapping[str, NDArray[np.bool_]]]  # side of the crop, px -> AU name -> (S, S) mask

_SATURATED = 97  # percentile of the largest colour: the outline of the face changes most, and tells least
_SHOWN = 5  # regions a clip
_SMALLEST_SCALE = 0.01  # of the clip's depth range; smaller changes look as small as they are


def depth_figure(examples: Sequence[Example], regions: Regions | None, source: str) -> Figure:
    """A row a clip: apex frame, change of depth from onset to apex, its mean in the regions that change most.

    Args:
        examples: whose stores have depth.
        regions: of the action units; without, the change is shown over the face alone.
        source: what the depth is, in words.

    Raises:
        StoreError: a clip cannot be read.
    """
    columns = 2 if regions is None else 3
    figure = new_figure(WIDTH if regions is not None else 0.6 * WIDTH, 0.5 + 2.15 * len(examples))
    figure.suptitle(source, fontsize=9)
    grid = figure.subplots(len(examples), columns, squeeze=False, width_ratios=[1, 1.25, 2.1][:columns])
    for row, example in zip(grid, examples, strict=True):
        store, index = example.store, example.store.manifest.index[example.key]
        onset, apex = (int(store.column(name)[index]) for name in ("onset_index", "apex_index"))
        texture = store.texture(example.key)
        depth = store.depth(example.key).astype(np.float64)
        change = depth - depth[onset]
        numbers = store.column("frame_number")[index, : len(texture)]
        row[0].imshow(texture[apex], interpolation="none")
        name_row(row, example.title)
        _draw_change(row[1], change[apex])
        if regions is not None:
            masks = regions(texture.shape[1])
            largest = sorted(masks, key=lambda name: -abs(float(change[apex][masks[name]].mean())))[:_SHOWN]
            for colour, name in zip(CYCLE, largest, strict=False):
                row[1].contour(masks[name], levels=[0.5], colors=[colour], linewidths=1)
                row[2].plot(numbers, change[:, masks[name]].mean(axis=1), color=colour, label=name, linewidth=1.3)
            row[2].xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
            row[2].set_ylabel("change (share of the range)")
            row[2].axvline(float(numbers[apex]), color=INK, linewidth=0.8, linestyle=":")
            row[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
        bare(row[0])
    if regions is not None:
        grid[-1, 2].set_xlabel("frame")
    return figure


def _draw_change(axes: Axes, change: NDArray[np.float64]) -> None:
    scale = max(_SMALLEST_SCALE, float(np.percentile(np.abs(change), _SATURATED)))
    shown = axes.imshow(change, cmap="PuOr_r", vmin=-scale, vmax=scale, interpolation="none")
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label("change (share of the range)", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    bare(axes)
