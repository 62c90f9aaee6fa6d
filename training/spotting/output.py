"""Intervals for people and programs: CSV, JSON, WebVTT (subtitles), and a page with a timeline a recording."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from schemas.csv_cells import csv_text
from schemas.output import write_text
from training.spotting.course import Course, frames_of
from training.spotting.intervals import Recording, Spotted, write_intervals
from training.spotting.method import Spotter

_POINTS = 1000  # of a curve on the page; each the highest of its stretch
_HEIGHT = 60.0  # of a curve, px


def write_outputs(
    folder: Path,
    spotted: Sequence[Spotted],
    courses: Mapping[str, Course],
    spotters: Mapping[str, Spotter],
    *,
    recordings: Sequence[Recording] = (),
    videos: Mapping[str, Path] | None = None,
    notes: Sequence[str] = (),
    table: Sequence[Spotted] | None = None,
) -> tuple[Path, ...]:
    """Write ``intervals.csv``, ``intervals.json``, a ``.vtt`` a recording, and ``timeline.html``; gives their paths.

    Args:
        folder: where to.
        spotted: the intervals.
        courses: key -> course of each recording.
        spotters: key -> what it was spotted with.
        recordings: those with a truth to be shown beside.
        videos: key -> the video, which the page then plays.
        notes: what must be known of all of it, above the page.
        table: what ``intervals.csv`` holds instead, such as the intervals of several random seeds.
    """
    by_key: dict[str, list[Spotted]] = {key: [] for key in courses}
    for one in spotted:
        by_key[one.video].append(one)
    rows_file, data, page = folder / "intervals.csv", folder / "intervals.json", folder / "timeline.html"
    write_intervals(rows_file, spotted if table is None else table)
    rows = [_row(one, courses[one.video]) for one in sorted(spotted, key=lambda one: (one.video, one.onset))]
    write_text(data, json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    subtitles = []
    for key, found in by_key.items():
        subtitles.append(folder / f"{key.replace('/', '_')}.vtt")
        write_text(subtitles[-1], web_vtt(found, courses[key]))
    known = {recording.key: recording for recording in recordings}
    parts = [
        _part(courses[key], found, spotters[key], known.get(key), (videos or {}).get(key))
        for key, found in by_key.items()
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    write_text(page, environment.get_template("timeline.html.j2").render(parts=parts, height=_HEIGHT, notes=notes))
    return (rows_file, data, *subtitles, page)


def write_megc(path: Path, spotted: Sequence[Spotted]) -> Path:
    """Write the micro-expressions as the challenge's script STRS-Metric reads them; gives the file.

    Its table has the columns ``subject, video, onset, offset, emotion``.
    """
    rows = [
        (one.video.split("/")[-2], one.video.split("/")[-1], one.onset, one.offset, one.emotion)
        for one in sorted(spotted, key=lambda one: (one.video, one.onset))
        if one.type == "micro"
    ]
    write_text(path, csv_text([("subject", "video", "onset", "offset", "emotion"), *rows], line_end="\n"))
    return path


def seconds(course: Course, onset: int, offset: int) -> tuple[float, float]:
    """When the first frame of an interval begins and the last one ends, s from the start of the recording."""
    first, stop = frames_of(course.numbers, onset, offset)
    return first / course.fps, stop / course.fps


def web_vtt(spotted: Sequence[Spotted], course: Course) -> str:
    """Subtitles (WebVTT, W3C): what is spotted stands below the video while it lasts."""
    cues = ["WEBVTT\n"]
    for one in sorted(spotted, key=lambda one: one.onset):
        begin, end = seconds(course, one.onset, one.offset)
        text = " ".join(filter(None, [f"{one.type}-expression", one.emotion]))
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        cues.append(f"{_clock(begin)} --> {_clock(end)}\n{escaped}\n")
    return "\n".join(cues)


def _clock(time: float) -> str:
    milliseconds = round(time * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _row(one: Spotted, course: Course) -> dict[str, Any]:
    begin, end = seconds(course, one.onset, one.offset)
    return {
        "video": one.video,
        "onset": one.onset,
        "apex": one.apex,
        "offset": one.offset,
        "begin_s": round(begin, 3),
        "end_s": round(end, 3),
        "type": one.type,
        "score": None if np.isnan(one.score) else round(one.score, 4),
        "emotion": one.emotion or None,
    }


def _part(
    course: Course, spotted: Sequence[Spotted], spotter: Spotter, recording: Recording | None, video: Path | None
) -> dict[str, Any]:
    """What the page shows of a recording; places are shares of its length in percent."""
    length = len(course.numbers) / course.fps

    def bar(onset: int, offset: int, kind: str, words: str) -> dict[str, Any]:
        begin, end = seconds(course, onset, offset)
        title = f"{words}, {begin:.2f} to {end:.2f} s"
        return {"x": 100 * begin / length, "width": 100 * (end - begin) / length, "kind": kind, "title": title,
                "at": round(begin, 3)}  # fmt: skip

    truth = [] if recording is None else recording.truth
    return {
        "key": course.video,
        "seconds": round(length, 3),
        "ticks": [f"{length * share:.{0 if length >= 120 else 1}f} s" for share in (0, 0.25, 0.5, 0.75, 1)],
        "video": None if video is None else video.absolute().as_uri(),
        "scored": recording is not None,
        "curves": [{"kind": one.kind, "points": _points(one.values)} for one in spotter.curves(course)],
        "spotted": [
            bar(o.onset, o.offset, o.type, f"{o.type}-expression {o.emotion} score {o.score:.2f}") for o in spotted
        ],
        "truth": [
            bar(
                o.onset,
                o.offset,
                o.label.expression_type,
                f"true {o.label.expression_type}-expression {o.label.emotion or ''}",
            )
            for o in truth
        ],
    }


def _points(values: np.ndarray) -> str:
    """A polyline: 1, where a peak counts, at half of the height; what is above 2 is cut off."""
    pieces = np.array_split(values, min(_POINTS, len(values)))
    heights = np.clip([piece.max() for piece in pieces], 0, 2)
    places = np.linspace(0, 100, len(heights))
    return " ".join(f"{x:.2f},{_HEIGHT * (1 - y / 2):.1f}" for x, y in zip(places, heights, strict=True))
