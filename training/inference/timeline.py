"""A page on which one scrubs through a video and sees what the models say of each moment; no face is in it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from training.report.drawing import CYCLE

if TYPE_CHECKING:
    from training.inference.predict import StorePrediction

Span = tuple[str, float, float]  # video; start and end of a window in it, s


def rows_by_video(prediction: "StorePrediction", spans: Mapping[str, Span]) -> dict[str, list[int]]:
    """Video -> its windows, as rows of the prediction, in time."""
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(prediction.clips):
        rows.setdefault(spans[key][0], []).append(row)
    return rows


def nearest(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N + 1,)`` s: where the part of the time axis that is nearest to each window begins and ends."""
    middles = (starts + ends) / 2
    return np.concatenate([starts[:1], (middles[1:] + middles[:-1]) / 2, ends[-1:]])


def timeline_page(prediction: "StorePrediction", spans: Mapping[str, Span], videos: Mapping[str, Path]) -> str:
    """HTML that stands alone: for each video a slider, a lane per class, and what the window at the slider is called.

    Args:
        prediction: of the windows.
        spans: clip key -> where the window lies.
        videos: video -> its file, which the page plays where it lies; it is not copied.
    """
    parts = [
        _part(video, rows, prediction, spans, videos.get(video))
        for video, rows in rows_by_video(prediction, spans).items()
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    models = prediction.models
    made_by = models[0] if len(models) == 1 else f"mean of {len(models)} models"
    page = environment.get_template("timeline.html.j2")
    return page.render(parts=parts, made_by=made_by, caveats=prediction.caveats, share=1 / len(prediction.classes))


def _part(
    video: str, rows: Sequence[int], prediction: "StorePrediction", spans: Mapping[str, Span], file: Path | None
) -> dict[str, Any]:
    starts, ends = np.array([spans[prediction.clips[row]][1:] for row in rows]).T
    edges, length = nearest(starts, ends), max(float(ends.max()), 1e-3)
    begins, stops = np.maximum(edges[:-1], starts), np.minimum(edges[1:], ends)  # those of intervals have gaps
    known = [not prediction.reasons[row] for row in rows]
    probabilities = np.nan_to_num(prediction.probabilities[rows])
    windows = [
        {
            "from": round(float(begins[number]), 3),
            "to": round(float(stops[number]), 3),
            "start": round(float(starts[number]), 3),
            "end": round(float(ends[number]), 3),
            "predicted": prediction.predicted[row],
            "reason": prediction.reasons[row],
            "probabilities": [round(float(value), 4) for value in probabilities[number]],
        }
        for number, row in enumerate(rows)
    ]
    lanes = [
        {
            "name": name,
            "colour": CYCLE[index % len(CYCLE)],
            "bars": _bars(begins / length, stops / length, probabilities[:, index], known),
        }
        for index, name in enumerate(prediction.classes)
    ]
    return {
        "video": video,
        "file": None if file is None else file.absolute().as_uri(),
        "seconds": round(length, 3),
        "lanes": lanes,
        "windows": json.dumps(windows).replace("<", "\\u003c"),
    }


def _bars(
    begins: NDArray[np.float64], stops: NDArray[np.float64], values: NDArray[np.float64], known: Sequence[bool]
) -> list[dict[str, float]]:
    """Bars of a lane, places and widths in per cent of the video, heights in per cent of the lane."""
    return [
        {"x": round(100 * left, 3), "width": round(100 * (right - left), 3), "height": round(100 * value, 1)}
        for left, right, value, there in zip(begins, stops, values, known, strict=True)
        if there
    ]
