"""What `mer predict` writes: a table, and probabilities over time as a picture."""

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.predict import StorePrediction
from training.run_folder import write_text

Span = tuple[str, float, float]  # video; start and end of a window in it, s


def write_table(path: Path, prediction: StorePrediction, spans: Mapping[str, Span] | None = None) -> None:
    """Write a CSV of one row a clip: which, the likeliest class, a probability a class, why there is none.

    Args:
        path: to write.
        prediction: of the clips.
        spans: clip key -> where it lies; of windows, which are then named by video and time.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    which = ["clip"] if spans is None else ["video", "start_s", "end_s"]
    writer.writerow([*which, "predicted", *prediction.classes, "reason"])
    rows = zip(
        prediction.clips, prediction.predicted, prediction.probabilities.tolist(), prediction.reasons, strict=True
    )
    for key, predicted, probabilities, reason in rows:
        place = [key] if spans is None else [spans[key][0], *(f"{time:.3f}" for time in spans[key][1:])]
        writer.writerow([*place, predicted, *("" if reason else p for p in probabilities), reason])
    write_text(path, text.getvalue())


def write_figures(folder: Path, prediction: StorePrediction, spans: Mapping[str, Span]) -> list[Path]:
    """Draw the probabilities of every video over time, each as a PNG named after it.

    Returns:
        The files, in the order of the videos.
    """
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(prediction.clips):
        rows.setdefault(spans[key][0], []).append(row)
    files = []
    for number, (video, own) in enumerate(rows.items(), 1):
        file = folder / f"{number:03d}-{Path(video).stem}.png"
        with warnings.catch_warnings():  # names in other alphabets: the fonts here may lack their letters
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            _figure(video, own, prediction, spans).savefig(file)
        files.append(file)
    return files


def _figure(video: str, rows: Sequence[int], prediction: StorePrediction, spans: Mapping[str, Span]) -> Figure:
    """One line a class through the middles of the windows; grey where a window has no probabilities."""
    starts, ends = np.array([spans[prediction.clips[row]][1:] for row in rows]).T
    failed = np.array([bool(prediction.reasons[row]) for row in rows])
    figure = Figure(figsize=(9, 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    middles = (starts + ends) / 2
    for index, name in enumerate(prediction.classes):
        axes.plot(middles, prediction.probabilities[rows, index], marker="o", markersize=3, label=name)
    edges = _edges(starts, ends)
    for row in np.flatnonzero(failed):
        axes.axvspan(
            edges[row],
            edges[row + 1],
            color="0.9",
            lw=0,
            label="no face, or no frames" if row == np.argmax(failed) else None,
        )
    axes.axhline(1 / len(prediction.classes), color="0.6", lw=0.8, ls=":", label="chance")
    axes.set(
        xlim=(0, max(ends.max(), 1e-3)), ylim=(0, 1), xlabel="time, s (middle of the window)", ylabel="probability"
    )
    axes.set_title(f"{video}: mean of {len(prediction.models)} models", fontsize=10, parse_math=False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _edges(
    starts: "np.typing.NDArray[np.float64]", ends: "np.typing.NDArray[np.float64]"
) -> "np.typing.NDArray[np.float64]":
    """Borders half way between the middles of neighbouring windows, ``(N + 1,)`` s, so that windows do not overlap."""
    middles = (starts + ends) / 2
    return np.concatenate([starts[:1], (middles[1:] + middles[:-1]) / 2, ends[-1:]])
