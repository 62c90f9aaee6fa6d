"""``report.html`` of a spotting run: scores beside floors, precision and recall, and what was missed and made up."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from schemas.errors import StoreError
from schemas.output import output_errors, write_text
from schemas.store.reader import Store
from schemas.words import count
from training.report.drawing import BLUE, CYCLE, INK, ORANGE, SYNTHETIC_CAPTION, new_figure, save, style
from training.report.page import Loop, Loops, Part, Section, Table, Text, render
from training.report.wrong_clips import moving_part
from training.spotting.course import frames_of
from training.spotting.evaluate import SpottingResult
from training.spotting.intervals import Recording, Spotted
from training.spotting.matching import match
from training.spotting.scores import by_video

SHOWN = 8  # loops of a kind of error
_EVENLY = "They are taken evenly from all, in the order of recordings."
_SUREST = "The surest stand first."
_AROUND = 0.25  # s before and after an interval, so that one sees it begin and end


def write_spotting_report(
    folder: Path, method: str, result: SpottingResult, spotted: Sequence[Spotted], store: Store,
    recordings: Sequence[Recording],
) -> Path:  # fmt: skip
    """Write ``report.html`` and ``figures/``, and give the page. Its loops show faces.

    Args:
        folder: of the run.
        method: that spotted.
        result: its score.
        spotted: the answers of one random seed, which the loops are of.
        store: that holds the recordings.
        recordings: with their truth.
    """
    synthetic = SYNTHETIC_CAPTION if any(one.synthetic for one in recordings) else ""
    missed, false = errors(recordings, spotted)
    facts = [
        ("recordings", f"{result.recordings} of {count(result.subjects, 'subject')}, {result.minutes:.1f} minutes"),
        ("expressions", ", ".join(f"{n} {kind}" for kind, n in result.expressions.items() if kind != "both")),
        ("seeds", ", ".join(map(str, result.seeds))),
        ("false alarms", f"{result.false_alarms_per_minute:.2f} a minute without an expression"),
    ]
    with style(), output_errors(folder):
        sections = [
            Section("result", "Result", tuple(_scores(result))),
            Section("curve", "Precision and recall", tuple(_curve(folder / "figures", method, result, synthetic))),
            Section("missed", "Missed", tuple(_loops(missed, _evenly(missed), store, "missed expression", _EVENLY))),
            Section("false", "False alarms", tuple(_loops(false, false[:SHOWN], store, "false alarm", _SUREST))),
        ]
    page = folder / "report.html"
    write_text(page, render(f"{method}: expressions in long recordings", facts=facts, caveats=result.caveats,
                            sections=sections))  # fmt: skip
    return page


def errors(recordings: Sequence[Recording], spotted: Sequence[Spotted]) -> tuple[list[Spotted], list[Spotted]]:
    """The true intervals that nobody spotted, and the intervals that are not true, the surest first."""
    answers, missed, false = by_video(spotted), list[Spotted](), list[Spotted]()
    for recording in recordings:
        own = answers.get(recording.key, [])
        pairs = match(recording.truth, own)
        hit, right = {t for t, _ in pairs}, {s for _, s in pairs}
        missed += [
            Spotted(recording.key, one.onset, one.offset, one.label.expression_type, emotion=one.label.emotion or "")
            for number, one in enumerate(recording.truth)
            if number not in hit
        ]
        false += [one for number, one in enumerate(own) if number not in right]
    return missed, sorted(false, key=lambda one: (-np.nan_to_num(one.score), one.video, one.onset))


def _scores(result: SpottingResult) -> Iterator[Part]:
    rows = []
    for one in result.scores:
        between = "" if one.interval is None else f"{one.interval.low:.3f} to {one.interval.high:.3f}"
        counts = (one.true_positives, one.false_positives, one.false_negatives)
        rows.append(
            (one.kind, f"{one.f1:.3f}", between, f"{one.precision:.3f}", f"{one.recall:.3f}", *map(str, counts))
        )
    yield Table(
        "Spotted at an overlap (IoU) of 0.5",
        ("", "F1", "95 % over subjects", "precision", "recall", "right", "false", "missed"),
        tuple(rows),
        note="Of micro and macro alone, intervals of one kind are held against each other. Counts are of all seeds.",
    )
    kinds = [one.kind for one in result.scores]
    floors = []
    for floor in result.floors:
        ranges = ((floor.f1[kind], floor.low[kind], floor.high[kind]) for kind in kinds)
        cells = (f"{mean:.3f}" + ("" if low == high else f" ({low:.3f} to {high:.3f})") for mean, low, high in ranges)
        floors.append((floor.name, *cells))
    yield Table("F1 without looking, and where 95 % of such guesses lie", ("", *kinds), tuple(floors))
    if (edges := result.boundaries) is not None:
        yield Text(
            f"Right intervals begin {edges.onset_ms:.0f} ms and end {edges.offset_ms:.0f} ms off on average "
            f"({edges.onset_bias_ms:+.0f} and {edges.offset_bias_ms:+.0f} ms with their sign; late is positive)."
        )
    if (found := result.analysis) is not None and result.strs is not None:
        yield Table(
            "Classes of the right intervals, F1",
            ("class", "F1"),
            (*((name, f"{f1:.3f}") for name, f1 in found.classes.items()), ("mean", f"{found.f1:.3f}"),
             ("STRS", f"{result.strs:.4f}")),
            note=f"Of {count(found.intervals, 'right interval')}. STRS is F1 of spotting times the mean.",
        )  # fmt: skip


def _curve(folder: Path, method: str, result: SpottingResult, synthetic: str) -> Iterator[Part]:
    if not result.precision_recall:
        yield Text("The intervals have no scores, so there is no curve.", "missing")
        return
    yield save(
        precision_recall_figure(method, result), folder, "precision-recall",
        f"Precision and recall of micro- and macro-expressions together, from the surest answer down (random seed "
        f"{result.seeds[0]}); the dot is what the thresholds of training subjects gave, and the curve ends there: what "
        "lies below them was never spotted. Whoever guesses lies on a line of equal F1; above it, looking was worth "
        f"it.{synthetic}",
    )  # fmt: skip


def precision_recall_figure(method: str, result: SpottingResult) -> Figure:
    """The curve of a method, and each floor as the line on which F1 is the same."""
    figure = new_figure(5.6, 4.2)
    axes = figure.add_subplot()
    recall = np.linspace(1e-3, 1, 500)
    for floor, colour in zip(result.floors[1:], (ORANGE, CYCLE[2]), strict=True):  # without that of no interval at all
        mean, low, high = (of["both"] for of in (floor.f1, floor.low, floor.high))
        axes.plot(recall, _precision(recall, mean), "--", color=colour, lw=1.3, label=f"{floor.name}, F1 {mean:.3f}")
        if high > low:
            axes.fill_between(
                recall, _precision(recall, low), np.nan_to_num(_precision(recall, high), nan=1.0), color=colour,
                alpha=0.15, lw=0,
            )  # fmt: skip
    points = np.array([(one.recall, one.precision) for one in result.precision_recall])
    axes.step(*points.T, where="post", color=BLUE, lw=1.8, label=f"{method}, average precision "
              f"{result.average_precision:.3f}")  # fmt: skip
    axes.plot(*points[-1], "o", color=BLUE, markeredgecolor=INK, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
    axes.legend(loc="upper right")
    return figure


def _precision(recall: np.ndarray, f1: float) -> np.ndarray:
    """The precision with which a recall gives this F1; NaN where none does."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = f1 * recall / (2 * recall - f1)
    return np.where((found >= 0) & (found <= 1), found, np.nan if f1 else 0.0)


def _evenly(wrong: Sequence[Spotted]) -> list[Spotted]:
    places = np.unique(np.linspace(0, len(wrong) - 1, SHOWN).round().astype(int)) if wrong else ()
    return [wrong[place] for place in places]


def _loops(wrong: Sequence[Spotted], shown: Sequence[Spotted], store: Store, what: str, order: str) -> Iterator[Part]:
    if not shown:
        yield Text("None.")
        return
    try:
        loops = tuple(_loop(one, store) for one in shown)
    except StoreError as error:
        yield Text(f"Not shown: {error}", "missing")
        return
    yield Loops(
        f"{len(loops)} of {count(len(wrong), what)}, at a quarter of their speed, with a quarter of a second before "
        f"and after. {order} `timeline.html` shows where all of them lie.",
        loops,
    )


def _loop(one: Spotted, store: Store) -> Loop:
    entry = store.entry(one.video)
    first, stop = frames_of(store.frame_numbers(one.video), one.onset, one.offset)
    around = round(_AROUND * entry.fps)
    named = " ".join(filter(None, [f"{one.type}-expression", one.emotion]))
    score = "" if np.isnan(one.score) else f", score {one.score:.2f}"
    return Loop(
        f"{one.video}, {first / entry.fps:.2f} to {stop / entry.fps:.2f} s: {named}{score}",
        moving_part(store, one.video, max(0, first - around), min(entry.n_frames, stop + around)),
    )
