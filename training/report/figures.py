"""The figures that are charts: result against floors, confusion, curves, subjects."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from schemas.words import count
from training.evaluation.calibration import Calibration
from training.evaluation.metrics import METRIC_TITLES, METRICS, Scores
from training.evaluation.result import GroupResult, SubjectResult
from training.report.drawing import BLUE, CYCLE, INK, LINE, ORANGE, WIDTH, new_figure
from training.report.training_curves import TrainingCurve

_FULL = 0.65  # of the darkest colour: from here on, text in a cell is white
_CELL = "#0b5394"
_LONGEST_NAME = 18  # letters of a subject below the axis
_STYLES = ("-", "--", "-.", ":")


def floors_figure(groups: Mapping[str, GroupResult]) -> Figure:
    """Each metric of each group: mean over seeds with its interval, single seeds, and both floors."""
    figure = new_figure(WIDTH, 0.75 + 1.5 * len(groups))
    rows = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, group) in zip(rows, groups.items(), strict=True):
        _draw_against_floors(axes, group)
        axes.set_title(f"{name}: {count(group.clips, 'clip')}, {count(group.subjects, 'subject')}")
    rows[-1].set_xlabel("score")
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure


def _draw_against_floors(axes: Axes, group: GroupResult) -> None:
    for row, metric in enumerate(METRICS):
        spread, first = group.metrics[metric], row == 0
        for floor, marker, colour in zip(group.floors, "DX", (INK, ORANGE), strict=True):
            guess, y = floor.metrics[metric], row + 0.22
            axes.hlines(y, guess.low, guess.high, color=colour, linewidth=5, alpha=0.25)
            axes.plot(
                guess.expected, y, marker, color=colour, fillstyle="none", markersize=5.5,
                label=floor.name if first else None, linestyle="none",
            )  # fmt: skip
        y = row - 0.14
        if spread.interval is not None:
            axes.hlines(
                y, spread.interval.low, spread.interval.high, color=BLUE, linewidth=2,
                label=f"{spread.interval.level:.0%} over subjects" if first else "",
            )  # fmt: skip
        seeds = [getattr(scores, metric) for scores in group.seeds.values()]
        if len(seeds) > 1:
            axes.plot(seeds, [y] * len(seeds), "|", color=BLUE, markersize=11, label="each seed" if first else None)
        axes.plot(spread.mean, y, "o", color=BLUE, markersize=7, label="result" if first else None)
    axes.set_yticks(range(len(METRICS)), [METRIC_TITLES[name] for name in METRICS])
    axes.set(xlim=(0, 1), ylim=(len(METRICS) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def confusion_figure(scores: Scores) -> Figure:
    """Counts and row per cent; the colour is the row per cent."""
    names = [scores_.name for scores_ in scores.classes]
    count = len(names)
    side = max(2.6, 0.78 * count)
    figure = new_figure(min(side + 1.6, WIDTH), min(side + 1.0, WIDTH - 0.6))
    axes = figure.subplots()
    axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5), xlabel="predicted", ylabel="true", aspect="equal")
    for row, (counts, percents) in enumerate(zip(scores.confusion, scores.confusion_percent, strict=True)):
        for column, (number, percent) in enumerate(zip(counts, percents, strict=True)):
            share = percent / 100
            square = (column - 0.48, row - 0.48)
            axes.add_patch(_cell(square, share))
            colour = "white" if share > _FULL else INK
            weight = "bold" if row == column else "normal"
            axes.text(column, row - 0.1, str(number), ha="center", va="center", color=colour, fontweight=weight)
            axes.text(column, row + 0.2, f"{percent:.1f} %", ha="center", va="center", color=colour, fontsize=7.5)
    long = max(map(len, names)) > 8 and count > 4
    axes.set_xticks(range(count), names, rotation=35 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(count), [f"{scores_.name}\n{scores_.clips}" for scores_ in scores.classes])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cell(corner: tuple[float, float], share: float) -> Rectangle:
    # Opacity, not a colour map: an empty cell is the page itself, light or dark.
    return Rectangle(corner, 0.96, 0.96, facecolor=to_rgba(_CELL, share), edgecolor=LINE, linewidth=0.6)


def calibration_figure(found: Calibration) -> Figure:
    """Left: right ones against what the probabilities say; right: accuracy of the surest answers alone."""
    figure = new_figure(WIDTH, 3.0)
    reliability, selective = figure.subplots(1, 2)
    most = max(part.answers for part in found.bins)
    reliability.plot((0, 1), (0, 1), ":", color=INK, label="as sure as right")
    reliability.bar(
        [(part.low + part.high) / 2 for part in found.bins], [part.answers / most / 4 for part in found.bins],
        width=0.09, color=LINE, label=f"answers, up to {most} a bar",
    )  # fmt: skip
    reliability.plot(
        [part.confidence for part in found.bins], [part.accuracy for part in found.bins], "o-", color=BLUE,
        label="this model",
    )  # fmt: skip
    reliability.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="probability of the answer", ylabel="share of right ones")
    reliability.legend(loc="upper left", fontsize=7.5)
    shares = [100 * part.coverage for part in found.selective]
    selective.plot(shares, [part.accuracy for part in found.selective], "o-", color=BLUE)
    selective.set(xlim=(105, 0), ylim=(0, 1.02), xlabel="clips that are answered, the surest, %", ylabel="accuracy")
    return figure


def curves_figure(curves: Mapping[str, TrainingCurve], *, runs: int) -> Figure:
    """Loss and accuracy over epochs: mean and range over folds and seeds."""
    figure = new_figure(WIDTH, 3.4)
    panels = figure.subplots(1, 2)
    for axes, what in zip(panels, ("loss", "accuracy"), strict=True):
        for name, label, colour, line in (
            (what, "training clips", BLUE, "-"),
            (f"validation_{what}", "held-back clips", ORANGE, "--"),
        ):
            if name in curves:
                _draw_curve(axes, curves[name], label, colour, line, band=runs > 1)
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.legend()
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(0, 1)
    return figure


def terms_figure(curves: Mapping[str, TrainingCurve]) -> Figure:
    """The terms of the loss, weighted as they are summed: mean over folds and seeds."""
    terms = {name.removeprefix("loss_"): curve for name, curve in curves.items() if name.startswith("loss_")}
    figure = new_figure(WIDTH, 3.2)
    axes = figure.subplots()
    for index, (name, curve) in enumerate(terms.items()):
        line = _STYLES[index // len(CYCLE) % len(_STYLES)]
        _draw_curve(axes, curve, name, CYCLE[index % len(CYCLE)], line, band=False)
    axes.set(xlabel="epoch", title="terms of the loss")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    figure.legend(loc="outside right center")
    return figure


def _draw_curve(axes: Axes, curve: TrainingCurve, label: str, colour: str, line: str, *, band: bool) -> None:
    marker = "o" if len(curve.epochs) == 1 else ""
    axes.plot(curve.epochs, curve.mean, line, marker=marker, color=colour, label=label, linewidth=1.6)
    if band:
        axes.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)


def subjects_figure(subjects: Sequence[SubjectResult], accuracy: float) -> Figure:
    """Share of right clips of each subject: mean over seeds as a bar, single seeds as dots; by name."""
    datasets = sorted({subject.subject.split("/")[0] for subject in subjects})
    ordered = sorted(subjects, key=lambda subject: _natural(subject.subject))
    few = len(ordered) <= 12
    figure = new_figure(min(WIDTH, 2.5 + 0.55 * len(ordered)), 3.4)
    axes = figure.subplots()
    for place, subject in enumerate(ordered):
        index = datasets.index(subject.subject.split("/")[0])
        values = list(subject.accuracy.values())
        axes.bar(place, float(np.mean(values)), 0.72, color=CYCLE[index % len(CYCLE)], alpha=0.45)
        if len(values) > 1:
            axes.plot([place] * len(values), values, "o", color=CYCLE[index % len(CYCLE)], markersize=3)
        clips = sum(subject.class_clips.values())
        axes.text(place, 1.03, str(clips), ha="center", va="bottom", fontsize=7.5 if len(ordered) <= 40 else 5.5)
    names = [shortened(subject.subject.split("/", 1)[1]) for subject in ordered]
    axes.set_xticks(range(len(ordered)), names, rotation=0 if few and max(map(len, names)) < 8 else 90)
    if len(ordered) > 40:
        axes.tick_params(axis="x", labelsize=6.5)
    axes.axhline(accuracy, color=INK, linewidth=0.9, linestyle="--", label=f"all clips {accuracy:.3f}")
    for index, name in enumerate(datasets if len(datasets) > 1 else ()):
        axes.bar(0, 0, color=CYCLE[index % len(CYCLE)], alpha=0.45, label=name)
    axes.set(ylim=(0, 1.12), xlim=(-0.7, len(ordered) - 0.3), ylabel="accuracy")
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_title("clips of each subject, above its bar", fontweight="normal", fontsize=8.5)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def shortened(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name of so many letters at most, for where there is little room."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts ``s2`` before ``s10``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
