"""The figures of a comparison that show scores: against floors, differences, cost, confusion."""

from collections.abc import Mapping, Sequence

import numpy as np
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullFormatter

from training.evaluation.comparison import ComparedModel, ComparisonResult
from training.evaluation.metrics import METRIC_TITLES, Scores
from training.evaluation.result import GroupResult
from training.report.comparison_tables import model_title, p_value, quantity
from training.report.drawing import BLUE, INK, LINE, ORANGE, WIDTH, new_figure
from training.report.figures import shortened

SIGNIFICANT = 0.05
_SHOWN = ("uf1", "uar")
_LONGEST_CLASS = 12  # letters of a class beside a small matrix
_MATRICES = 4  # confusion matrices side by side, at least
_MOVES = 500  # of the names beside points, at most: a number rather than a time gives the same figure everywhere
_STRONGEST = 0.5  # opacity of the largest difference: the ink stays readable on it, on white as on black


def scores_figure(result: ComparisonResult, group: str) -> Figure:
    """UF1 and UAR of every model with its interval and seeds, and both floors as lines."""
    count = len(result.models)
    figure = new_figure(WIDTH, 1.3 + 0.25 * count)
    panels = figure.subplots(1, 2, sharey=True)
    of = next(model.groups[group] for model in result.models if group in model.groups)
    best = result.best(group)
    for axes, metric in zip(panels, _SHOWN, strict=True):
        _draw_floors(axes, of, metric)
        for row, model in enumerate(result.models):
            if group in model.groups:
                _draw_score(axes, row, model.groups[group], metric, BLUE if model.name == best else INK)
            else:
                axes.text(0.02, row, "no result", va="center", fontsize=8, fontstyle="italic")
        axes.set(title=METRIC_TITLES[metric], xlim=(0, 1), ylim=(count - 0.4, -0.6))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(count), [model_title(model.name) for model in result.models])
    _stress(panels[0].get_yticklabels(), [model.name for model in result.models], best)
    handles = [
        Line2D(
            [], [], color=INK, marker="o", markersize=5, linewidth=1.6, label="mean over seeds, interval over subjects"
        ),
        *([Line2D([], [], color=INK, marker="|", linestyle="", label="each seed")] if len(result.seeds) > 1 else []),
        Line2D([], [], color=INK, linestyle=":", label=of.floors[0].name),
        Line2D([], [], color=ORANGE, linestyle="--", label=of.floors[1].name),
        Patch(color=ORANGE, alpha=0.16, linewidth=0, label="95% of single guesses"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _draw_floors(axes: Axes, group: GroupResult, metric: str) -> None:
    majority, guesser = (floor.metrics[metric] for floor in group.floors)
    axes.axvspan(guesser.low, guesser.high, color=ORANGE, alpha=0.16, linewidth=0)
    axes.axvline(guesser.expected, color=ORANGE, linestyle="--", linewidth=1.1)
    axes.axvline(majority.expected, color=INK, linestyle=":", linewidth=1.1)


def _draw_score(axes: Axes, row: int, group: GroupResult, metric: str, colour: str) -> None:
    spread = group.metrics[metric]
    if spread.interval is not None:
        axes.hlines(row, spread.interval.low, spread.interval.high, color=colour, linewidth=1.6)
    seeds = [getattr(scores, metric) for scores in group.seeds.values()]
    if len(seeds) > 1:
        axes.plot(seeds, [row] * len(seeds), "|", color=colour, markersize=9)
    axes.plot(spread.mean, row, "o", color=colour, markersize=5.5)


def against_figure(result: ComparisonResult, name: str, metric: str) -> Figure:
    """One model minus each other, with intervals and corrected p; full dots are significant after correction."""
    found = {}
    for pair in result.pairs:
        if name in (pair.first, pair.second):
            sign, other = (1, pair.second) if pair.first == name else (-1, pair.first)
            found[other] = sign, pair.differences[metric]
    others = [model.name for model in result.models if model.name in found]
    figure = new_figure(WIDTH, 1.3 + 0.25 * len(others))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.9)
    for row, other in enumerate(others):
        sign, difference = found[other]
        if (interval := difference.interval) is not None:
            axes.hlines(row, sign * interval.low, sign * interval.high, color=INK, linewidth=1.6)
        full = "full" if difference.p_corrected < SIGNIFICANT else "none"
        axes.plot(sign * difference.mean, row, "o", color=INK, fillstyle=full, markersize=6)
    axes.set(
        ylim=(len(others) - 0.4, -0.6), xlabel=f"{METRIC_TITLES[metric]} of {model_title(name)} minus that of the model"
    )
    axes.set_yticks(range(len(others)), [model_title(other) for other in others])
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(others)), [f"p = {p_value(found[other][1].p_corrected)}" for other in others])
    for side in (axes, right):
        side.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=6, linewidth=1.6, label=f"p < {SIGNIFICANT:g} after Holm"),
        Line2D([], [], color=INK, marker="o", markersize=6, linewidth=1.6, label="not told apart", fillstyle="none"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def differences_figure(result: ComparisonResult, metric: str) -> Figure:
    """Row minus column of every pair; a frame where it is significant after correction."""
    names = [model.name for model in result.models if model.groups]
    count = len(names)
    found = {(p.first, p.second): p.differences[metric] for p in result.pairs}
    scale = max(abs(difference.mean) for difference in found.values()) or 1
    cell = min(0.62, (WIDTH - 1.6) / count)
    figure = new_figure(max(5.0, min(WIDTH, 2.2 + cell * count)), 1.5 + 0.62 * cell * count)
    axes = figure.subplots()
    for row, one in enumerate(names):
        for column, other in enumerate(names):
            if one == other:
                continue
            sign, pair = (1, (one, other)) if (one, other) in found else (-1, (other, one))
            mean = sign * found[pair].mean
            sure = found[pair].p_corrected < SIGNIFICANT
            axes.add_patch(
                Rectangle(
                    (column - 0.46, row - 0.44), 0.92, 0.88, edgecolor=INK if sure else "none", linewidth=1.2,
                    facecolor=to_rgba(BLUE if mean > 0 else ORANGE, _STRONGEST * abs(mean) / scale),
                )
            )  # fmt: skip
            weight = "bold" if sure else "normal"
            axes.text(
                column,
                row,
                f"{round(mean, 2) + 0.0:+.2f}",
                ha="center",
                va="center_baseline",
                fontsize=7,
                fontweight=weight,
            )
    titles = [model_title(name) for name in names]
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
    axes.xaxis.tick_top()
    axes.set_xticks(range(count), titles, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(count), titles)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        _stress(labels, names, result.best())
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    keys = [
        Patch(color=BLUE, alpha=_STRONGEST, linewidth=0, label="row better"),
        Patch(color=ORANGE, alpha=_STRONGEST, linewidth=0, label="column better"),
        Patch(facecolor="none", edgecolor=INK, linewidth=1.2, label=f"p < {SIGNIFICANT:g} after Holm"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def cost_figure(models: Sequence[ComparedModel]) -> Figure:
    """UF1 against multiply-accumulates of a clip, each with its name; the best model comes first."""
    shown = [(model, model.cost) for model in models if model.groups and model.cost is not None]
    best = models[0].name
    figure = new_figure(WIDTH, 4.2)
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.12)
    guesser = shown[0][0].headline.floors[1]
    axes.axhline(guesser.metrics["uf1"].expected, color=ORANGE, linestyle="--", linewidth=1.1, label=guesser.name)
    names, points = [], []
    for model, cost in shown:
        x, y = max(cost.macs, 1), model.headline.metrics["uf1"].mean  # a logarithm of 0 is none
        colour = BLUE if model.name == best else INK
        points += axes.plot(x, y, "o", color=colour, markersize=6)
        names.append(axes.text(x, y, model_title(model.name), fontsize=8, color=colour))
    axes.set(xlabel="multiply-accumulates of a clip", ylabel="UF1")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value, digits=1)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower left")
    _stress(names, [model.name for model, _ in shown], best)
    for name in names:
        name.set_in_layout(False)
    figure.draw_without_rendering()  # names are moved in a layout that stays
    adjust_text(
        names,
        objects=points,
        ax=axes,
        expand=(1.15, 1.6),
        iter_lim=_MOVES,
        arrowprops={"arrowstyle": "-", "color": INK, "lw": 0.5},
    )
    return figure


def confusions_figure(scores: Mapping[str, Scores], best: str | None) -> Figure:
    """Small confusion matrices of several models, per cent of the row."""
    names = list(scores)
    classes = [shortened(own.name, _LONGEST_CLASS) for own in scores[names[0]].classes]
    count = len(classes)
    side = min(max(1.5, 0.3 * count + 0.55), (WIDTH - 0.9) / _MATRICES)
    columns = min(int((WIDTH - 0.9) / side), len(names))
    lines = -(-len(names) // columns)
    figure = new_figure(0.9 + side * columns, 0.8 + (side + 0.25) * lines)
    figure.set_layout_engine("constrained", h_pad=0.07)
    grid = figure.subplots(lines, columns, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index >= len(names):
            axes.set_visible(False)
            continue
        lowest = index + columns >= len(names)
        _draw_confusion(axes, scores[names[index]], size=7.5 if count <= 4 else 6.5 if count <= 6 else 5.5)
        title = axes.set_title(model_title(names[index]), fontsize=9, fontweight="normal")
        _stress([title], [names[index]], best)
        axes.set_xticks(range(count), classes if lowest else [], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(count), classes if index % columns == 0 else [])
        axes.tick_params(length=0, labelsize=7.5)
    figure.supxlabel("predicted", fontsize=9)
    figure.supylabel("true", fontsize=9)
    return figure


def _draw_confusion(axes: Axes, scores: Scores, *, size: float) -> None:
    percents = np.array(scores.confusion_percent)
    count = len(percents)
    colours = [to_rgba(BLUE, 0.75 * share / 100) for share in percents.ravel()]
    mesh = axes.pcolormesh(
        np.arange(count + 1) - 0.5, np.arange(count + 1) - 0.5, percents, edgecolor=LINE, linewidth=0.5
    )
    mesh.set_array(None)
    mesh.set_facecolor(colours)
    for (row, column), percent in np.ndenumerate(percents):
        weight = "bold" if row == column else "normal"
        axes.text(column, row, f"{percent:.0f}", ha="center", va="center_baseline", fontsize=size, fontweight=weight)
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _stress(labels: Sequence[Text], names: Sequence[str], best: str | None) -> None:
    for label, name in zip(labels, names, strict=True):
        if name == best:
            label.set(fontweight="bold", color=BLUE)
