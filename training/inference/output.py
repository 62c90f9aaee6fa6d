"""What `mer predict` leaves: a table, what made it, probabilities over time as pictures, and a word to the user."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.csv_cells import csv_text
from schemas.output import output_errors, write_text
from schemas.words import count
from training.inference.predict import StorePrediction
from training.inference.timeline import Span, nearest, rows_by_video, timeline_page
from training.report.drawing import CYCLE, INK, WIDTH, new_figure, style

_LONGEST_STEM = 200  # bytes; file systems take 255 for a whole name


def write_prediction(
    folder: Path,
    prediction: StorePrediction,
    spans: Mapping[str, Span] | None = None,
    videos: Mapping[str, Path] | None = None,
) -> tuple[Path, ...]:
    """Write ``predictions.csv``, ``predictions.json`` and, of windows, ``predictions.html`` and a PNG a video.

    Args:
        folder: to write into.
        prediction: of the clips.
        spans: clip key -> where it lies, of windows.
        videos: video -> its file, which the page plays.

    Returns:
        The files.
    """
    table, about = folder / "predictions.csv", folder / "predictions.json"
    write_text(table, prediction_csv(prediction, spans))
    made_by = {
        "how": "mean over the models of the softmax",
        "models": prediction.models,
        "run_sha256": prediction.run_sha256,
        "store_content_sha256": prediction.store_sha256,
        "caveats": prediction.caveats,
    }
    write_text(about, json.dumps(made_by, indent=1, ensure_ascii=False) + "\n")
    if spans is None:
        return table, about
    page = folder / "predictions.html"
    write_text(page, timeline_page(prediction, spans, videos or {}))
    return table, about, page, *_write_figures(folder, prediction, spans)


def prediction_csv(prediction: StorePrediction, spans: Mapping[str, Span] | None = None) -> str:
    """One row a clip: which, the likeliest class, a probability a class, and the reason where there is none.

    Windows are named by video and time, other clips by key.
    """
    named = ["clip"] if spans is None else ["video", "start_s", "end_s"]
    rows: list[list[object]] = [[*named, "predicted", *prediction.classes, "reason"]]
    columns = prediction.clips, prediction.predicted, prediction.probabilities.tolist(), prediction.reasons
    for key, predicted, probabilities, reason in zip(*columns, strict=True):
        place = [key] if spans is None else [spans[key][0], *(f"{time:.3f}" for time in spans[key][1:])]
        rows.append([*place, predicted, *("" if reason else p for p in probabilities), reason])
    return csv_text(rows)


def prediction_report(prediction: StorePrediction) -> RenderableType:
    """Clips a class, failures, and every caveat."""
    models = prediction.models
    named = models[0] if len(models) == 1 else f"mean of the softmax of {len(models)} models"
    table = Table("predicted", "clips", "mean probability", title=f"{count(len(prediction.clips), 'clip')}, {named}")
    for index, name in enumerate(prediction.classes):
        rows = [row for row, predicted in enumerate(prediction.predicted) if predicted == name]
        mean = f"{prediction.probabilities[rows, index].mean():.3f}" if rows else ""
        table.add_row(Text(name), str(len(rows)), mean)
    failed = sum(map(bool, prediction.reasons))
    if failed:
        table.add_row("none: see the reasons in the table", str(failed), "")
    return Group(table, *(Text(f"caveat: {caveat}", style="bold yellow") for caveat in prediction.caveats))


def _write_figures(folder: Path, prediction: StorePrediction, spans: Mapping[str, Span]) -> list[Path]:
    files = []
    for number, (video, own) in enumerate(rows_by_video(prediction, spans).items(), 1):
        short = Path(video).stem.encode()[:_LONGEST_STEM].decode(errors="ignore")
        files.append(folder / f"{number:03d}-{short}.png")
        with style(), output_errors(files[-1]):
            _figure(video, own, prediction, spans).savefig(files[-1], dpi=130, facecolor="white")
    return files


def _figure(video: str, rows: Sequence[int], prediction: StorePrediction, spans: Mapping[str, Span]) -> Figure:
    """One line a class through the middles of the windows; grey where windows have no probabilities."""
    starts, ends = np.array([spans[prediction.clips[row]][1:] for row in rows]).T
    failed = [bool(prediction.reasons[row]) for row in rows]
    figure = new_figure(WIDTH, 3.6)
    axes = figure.add_subplot()
    edges, label = nearest(starts, ends), "no prediction"
    for left, right, without in zip(edges[:-1], edges[1:], failed, strict=True):
        if without:
            axes.axvspan(left, right, color="0.9", lw=0, label=label)
            label = ""  # once in the legend
    axes.axhline(1 / len(prediction.classes), color=INK, lw=0.8, ls=":", label="equal shares")
    for index, name in enumerate(prediction.classes):
        line = "-" if index < len(CYCLE) else "--"
        values = prediction.probabilities[rows, index]
        colour = CYCLE[index % len(CYCLE)]
        axes.plot((starts + ends) / 2, values, line, color=colour, marker="o", markersize=3, lw=1.4, label=name)
    axes.set(xlim=(0, max(ends.max(), 1e-3)), ylim=(0, 1), xlabel="middle of the window, s", ylabel="probability")
    models = prediction.models
    axes.set_title(f"{video}: {models[0] if len(models) == 1 else f'mean of {len(models)} models'}")
    figure.legend(loc="outside right upper")
    return figure
