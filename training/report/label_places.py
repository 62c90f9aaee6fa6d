"""Where to write names beside points and lines, so that none lies on another."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from training.report.drawing import INK

_MARKER = 5.5  # points around it that stay free
_DISTANCES = (7, 14, 24, 36, 50)  # points from the marker
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7))


def place_labels(axes: Axes, points: Sequence[tuple[float, float, str, str, bool]]) -> None:
    """Write each point's name at the nearest place where it covers no point and no other name.

    Args:
        axes: with all points drawn, and limits that stay.
        points: x, y, name, colour, whether to write it bold.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes that are part of none have no places
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    centres = axes.transData.transform([(x, y) for x, y, *_ in points])
    frame = axes.get_window_extent()
    markers = [Bbox.from_extents(*(centre - _MARKER * scale), *(centre + _MARKER * scale)) for centre in centres]
    names: list[Bbox] = []
    leaders: list[Path] = []
    for (x, y, name, colour, bold), centre in zip(points, centres, strict=True):
        label = axes.annotate(
            name, (x, y), textcoords="offset points", xytext=(0, 0), fontsize=8, color=colour,
            fontweight="bold" if bold else "normal",
        )  # fmt: skip
        label.set_in_layout(False)
        extent = label.get_window_extent()
        size = np.array([extent.width, extent.height])
        corner = _free_corner(centre, size, scale, [*markers, *names], names, leaders, frame)
        box = Bbox.from_bounds(*(centre + corner), *size)
        label.set_position(tuple(corner / scale))
        leader = Path([centre, np.clip(centre, box.min, box.max)])
        if np.ptp(leader.vertices, axis=0).max() > 1.3 * _DISTANCES[0] * scale:  # not right beside it
            axes.plot(*axes.transData.inverted().transform(leader.vertices).T, color=INK, linewidth=0.5, zorder=1)
            leaders.append(leader)
        names.append(box)


def _free_corner(
    centre: NDArray[np.float64],
    size: NDArray[np.float64],
    scale: float,
    taken: Sequence[Bbox],
    names: Sequence[Bbox],
    leaders: Sequence[Path],
    frame: Bbox,
) -> NDArray[np.float64]:
    """Lower left corner from the centre, in pixels, of the first place that is free; of the last, if none is."""
    corner = np.zeros(2)
    for distance, direction in product(_DISTANCES, _DIRECTIONS):
        way = np.array(direction)
        corner = way * distance * scale + (np.sign(way) - 1) / 2 * size
        box = Bbox.from_bounds(*(centre + corner), *size)
        inside = frame.containsx(box.x0) and frame.containsx(box.x1) and frame.containsy(box.y0)
        own = Path([centre, np.clip(centre, box.min, box.max)])
        crossed = any(own.intersects_bbox(name) for name in names) or any(line.intersects_bbox(box) for line in leaders)
        if inside and frame.containsy(box.y1) and not box.count_overlaps(list(taken)) and not crossed:
            break
    return corner


def spread_out(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights in [0, 1] as near the wanted ones as can be, in their order, a gap apart where there is room for it."""
    order = np.argsort(wanted, kind="stable")
    steps = min(gap, 1 / max(1, len(order) - 1)) * np.arange(len(order))
    free = isotonic_regression(np.array(wanted, np.float64)[order] - steps).x.clip(0, 1 - steps[-1])
    placed = np.empty(len(order))
    placed[order] = free + steps
    return [float(height) for height in placed]
