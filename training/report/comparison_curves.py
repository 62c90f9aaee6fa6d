"""Curves of all models together, over epochs, and their last part enlarged (the paper's Figs. 3-18)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from scipy.optimize import isotonic_regression

from training.report.comparison_tables import model_title
from training.report.drawing import BLUE, CYCLE, INK, WIDTH, new_figure
from training.report.training_curves import TrainingCurve

ENLARGED = 0.4  # last part of the training
_STYLES = ("-", "--", ":", "-.")
_WIDEST = 2.6  # line of the best model
_WIDE = 5  # a span of values from here on is shown in logarithms
_TITLES = {"": "training clips", "validation_": "held-back clips"}

TrainingCurves = Mapping[str, Mapping[str, TrainingCurve]]  # model -> column -> curve


def model_curves_figure(curves: TrainingCurves, what: str, best: str | None) -> Figure:
    """A row for training clips and one for held-back clips, where there are any: all epochs, and the last enlarged.

    Args:
        curves: of the models, those without the column are left out.
        what: ``accuracy`` or ``loss``.
        best: the model to stand out.
    """
    columns = [f"{part}{what}" for part in _TITLES if any(f"{part}{what}" in own for own in curves.values())]
    looks = _looks(list(curves), best)
    height = max(3.2, 0.155 * len(curves) + 0.9)
    figure = new_figure(WIDTH, height * len(columns))
    grid = figure.subplots(len(columns), 2, squeeze=False)
    for (whole, enlarged), column in zip(grid, columns, strict=True):
        shown = {name: own[column] for name, own in curves.items() if column in own}
        lengths = {int(curve.epochs[-1]) for curve in shown.values()}
        for name, curve in shown.items():
            _draw(whole, curve.epochs, curve.mean, looks[name])
        whole.set(xlim=(0, max(lengths)), xlabel="epoch", title=f"{what}, {_TITLES[column.removesuffix(what)]}")
        whole.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        whole.set_ylim(0, 1 if what == "accuracy" else None)
        ends = _draw_enlarged(enlarged, shown, looks, in_epochs=len(lengths) == 1)
        enlarged.set_title("the last part, enlarged", fontweight="normal")
        _scale(enlarged, shown, logarithm=what == "loss")
        if len(lengths) == 1 and max(lengths) > 2:
            (left, right), (low, high) = enlarged.get_xlim(), enlarged.get_ylim()
            frame = Rectangle((left, low), right - left, high - low, fill=False, edgecolor=INK, linewidth=0.8)
            whole.add_patch(frame)
        _name_lines(enlarged, ends, looks, height - 0.75)
    return figure


Look = tuple[str, str, float]  # colour, line style, width


def _looks(names: Sequence[str], best: str | None) -> dict[str, Look]:
    """The best stands out; of the others no two are alike, up to twenty."""
    others = [name for name in names if name != best]
    colours = [colour for colour in CYCLE if colour != BLUE]
    looks = {
        name: (colours[index % len(colours)], _STYLES[index // len(colours) % len(_STYLES)], 1.2)
        for index, name in enumerate(others)
    }
    return looks if best is None else looks | {best: (BLUE, "-", _WIDEST)}


def _draw(axes: Axes, x: np.ndarray, y: np.ndarray, look: Look) -> None:
    colour, style, width = look
    marker = "o" if len(x) == 1 else ""
    axes.plot(x, y, style, marker=marker, markersize=4, color=colour, linewidth=width, zorder=3 if width > 2 else 2)


def _draw_enlarged(
    axes: Axes, shown: Mapping[str, TrainingCurve], looks: Mapping[str, Look], *, in_epochs: bool
) -> dict[str, float]:
    """Draw the last part of each, and give the last value of each."""
    for name, curve in shown.items():
        last = curve.epochs[-1]
        part = curve.epochs >= _first(curve)
        x = curve.epochs[part] if in_epochs else 100 * curve.epochs[part] / last
        _draw(axes, x, curve.mean[part], looks[name])
    if in_epochs:
        curve = next(iter(shown.values()))
        axes.set(xlabel="epoch", xlim=(_first(curve) - (curve.epochs[-1] == _first(curve)), curve.epochs[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    else:
        axes.set(xlabel="per cent of the model's own epochs", xlim=(100 * (1 - ENLARGED), 100))
    return {name: float(curve.mean[-1]) for name, curve in shown.items()}


def _first(curve: TrainingCurve) -> int:
    """The epoch that the enlarged part begins with."""
    return int(np.floor((1 - ENLARGED) * curve.epochs[-1])) if len(curve.epochs) > 2 else int(curve.epochs[0])


def _scale(axes: Axes, shown: Mapping[str, TrainingCurve], *, logarithm: bool) -> None:
    """Limits that hold the last part of every curve."""
    values = np.concatenate([curve.mean[curve.epochs >= _first(curve)] for curve in shown.values()])
    low, high = float(values.min()), float(values.max())
    if logarithm and low > 0 and high / low > _WIDE:
        axes.set(yscale="log", ylim=(low / 1.1, high * 1.1))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{axes.get_title(loc='left')}, logarithmic", fontweight="normal")
    else:
        margin = 0.05 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)


def _name_lines(axes: Axes, ends: Mapping[str, float], looks: Mapping[str, Look], height_of_axes: float) -> None:
    """Names at the right of the axes, as high as their lines end, or as near as there is room."""
    to_axes = axes.transData + axes.transAxes.inverted()
    right = axes.get_xlim()[1]
    own = [float(to_axes.transform((right, value))[1]) for value in ends.values()]
    for name, end, height in zip(ends, own, spread_out(own, 0.148 / height_of_axes), strict=True):
        colour, style, width = looks[name]
        axes.plot(
            [1, 1.03, 1.07, 1.1], [end, end, height, height], style, transform=axes.transAxes, color=colour,
            linewidth=min(width, 1), clip_on=False,
        )  # fmt: skip
        axes.text(
            1.11, height, model_title(name), transform=axes.transAxes, va="center", fontsize=8, color=colour,
            fontweight="bold" if width == _WIDEST else "normal",
        )  # fmt: skip


def spread_out(wanted: Sequence[float], gap: float) -> list[float]:
    """Heights in [0, 1] as near the wanted ones as can be, in their order, a gap apart where there is room for it."""
    order = np.argsort(wanted, kind="stable")
    steps = min(gap, 1 / max(1, len(order) - 1)) * np.arange(len(order))
    free = isotonic_regression(np.array(wanted, np.float64)[order] - steps).x.clip(0, 1 - steps[-1])
    placed = np.empty(len(order))
    placed[order] = free + steps
    return [float(height) for height in placed]
