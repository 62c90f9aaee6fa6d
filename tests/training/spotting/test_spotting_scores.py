"""Scores of spotted intervals: against a plain reference of the published definition, and against facts by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import cli
from schemas.clip import ExpressionInterval
from schemas.errors import PredictionsError
from schemas.labels import Label
from tests.tiny_stores import tiny_store
from training.spotting.evaluate import evaluate
from training.spotting.intervals import Recording, Spotted, read_intervals, recordings_of, write_intervals
from training.spotting.matching import match, overlaps
from training.spotting.scores import average_precision, by_video, count, f1_of, neutral_minutes, precision_recall

FPS = 10.0
Pair = tuple[int, int]
PAIRS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=7)


def truth(*spans: Pair, kind: str = "micro", emotions: Sequence[str | None] = ()) -> tuple[ExpressionInterval, ...]:
    names = [*emotions, *[None] * len(spans)]
    return tuple(
        ExpressionInterval(
            onset=a, offset=b, label=Label.model_validate({"emotion": names[i], "expression_type": kind})
        )
        for i, (a, b) in enumerate(spans)
    )


def answers(*spans: Pair, video: str = "d/s/v", **more: object) -> list[Spotted]:
    return [Spotted(video, a, b, "micro", **more) for a, b in spans]  # type: ignore[arg-type]


def recording(*spans: Pair, key: str = "d/s/v", last: int = 60, **more: object) -> Recording:
    return Recording(key, FPS, 1, last, truth(*spans, **more))  # type: ignore[arg-type]


def plain_matches(true: Sequence[Pair], given_: Sequence[Pair]) -> int:
    """Sets of frames instead of formulas; take the largest overlap, cross both out, until none is left."""
    true_sets = [set(range(a, b + 1)) for a, b in sorted(true)]
    sets = [set(range(a, b + 1)) for a, b in sorted(given_)]
    found = 0
    while True:
        best = max(
            ((len(t & s) / len(t | s), -i, -j) for i, t in enumerate(true_sets) for j, s in enumerate(sets) if t & s),
            default=(0.0, 0, 0),
        )
        if best[0] < 0.5:
            return found
        found += 1
        del true_sets[-best[1]], sets[-best[2]]


@given(PAIRS, PAIRS)
@settings(max_examples=300, deadline=None)
def test_matches_are_those_of_sets_of_frames(true: list[Pair], given_: list[Pair]) -> None:
    assert len(match(truth(*true), answers(*given_))) == plain_matches(true, given_)


@given(PAIRS, PAIRS)
@settings(max_examples=100, deadline=None)
def test_overlaps_are_those_of_sets_of_frames(true: list[Pair], given_: list[Pair]) -> None:
    expected = [
        [len(set(range(a, b + 1)) & set(range(c, d + 1))) / len(set(range(a, b + 1)) | set(range(c, d + 1)))
         for c, d in given_] for a, b in true
    ]  # fmt: skip
    np.testing.assert_allclose(overlaps(truth(*true), answers(*given_)), np.reshape(expected, (len(true), len(given_))))


@given(PAIRS, PAIRS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_does_not_matter_and_counts_add_up(true: list[Pair], given_: list[Pair], random: object) -> None:
    mixed = [*given_]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    (tp, fp, fn), *_ = count([recording(*true)], by_video(answers(*given_)))[0]
    assert (count([recording(*sorted(true))], by_video(answers(*mixed)))[0, 0] == [tp, fp, fn]).all()
    assert (tp + fp, tp + fn) == (len(given_), len(true))


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_the_truth_itself_scores_one_and_each_duplicate_is_a_false_alarm(true: list[Pair]) -> None:
    distinct = sorted(set(true))
    (tp, fp, fn), *_ = count([recording(*distinct)], by_video(answers(*distinct, *distinct)))[0]
    assert (tp, fp, fn) == (len(distinct), len(distinct), 0)


@pytest.mark.parametrize(
    ("true", "given_", "expected"),
    [
        ([(1, 10)], [(1, 5)], (1, 0, 0)),  # exactly half
        ([(1, 10)], [(1, 4)], (0, 1, 1)),  # less than half
        ([(1, 10), (11, 20)], [(6, 15)], (0, 1, 2)),  # across two that touch: a third of each
        ([(1, 20)], [(1, 10), (11, 20)], (1, 1, 0)),  # two halves of one
        ([(1, 20), (6, 15)], [(6, 15)], (1, 0, 1)),  # nested: the inner one is met exactly
        ([], [(1, 5)], (0, 1, 0)),
        ([(1, 5)], [], (0, 0, 1)),
        ([], [], (0, 0, 0)),
        ([(3, 3)], [(3, 3)], (1, 0, 0)),  # one frame
    ],
)
def test_counts_by_hand(true: list[Pair], given_: list[Pair], expected: tuple[int, int, int]) -> None:
    assert tuple(count([recording(*true)], by_video(answers(*given_)))[0, 0]) == expected


def test_f1_is_that_of_precision_and_recall_and_pools_over_videos() -> None:
    recordings = [recording((1, 5), (20, 25)), recording((1, 5), key="d/t/w"), recording(key="d/t/none")]
    given_ = [*answers((1, 5), (40, 44)), *answers((1, 5), video="d/t/w"), *answers((7, 9), video="d/t/none")]
    result = evaluate(given_, recordings)
    precision, recall = 2 / 4, 2 / 3
    both = result.scores[0]
    assert (both.true_positives, both.false_positives, both.false_negatives) == (2, 2, 1)
    assert abs(both.f1 - 2 * precision * recall / (precision + recall)) < 1e-9
    assert result.recordings == 3
    assert result.floors[0].f1["both"] == 0


def test_kinds_are_held_against_each_other_only_within_a_kind() -> None:
    macro = Recording("d/s/v", FPS, 1, 60, truth((1, 20), kind="macro"))
    assert count([macro], by_video(answers((1, 20))))[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_false_alarms_are_a_minute_of_video_without_expression() -> None:
    one = recording((1, 300), (200, 600), last=1200)  # two overlapping minutes of 2: the second minute is neutral
    assert neutral_minutes([one]) == pytest.approx(1)
    given_ = answers((1, 300), (200, 600), (700, 705), (800, 805), (900, 905))
    assert evaluate(given_, [one]).false_alarms_per_minute == pytest.approx(3)


def test_boundaries_are_in_milliseconds_and_late_is_positive() -> None:
    edges = evaluate(answers((12, 19), (39, 51)), [recording((10, 20), (41, 50))]).boundaries
    assert edges is not None
    assert (edges.onset_ms, edges.onset_bias_ms) == (200, 0)  # +2 and -2 frames of 100 ms
    assert (edges.offset_ms, edges.offset_bias_ms) == (100, 0)


def test_analysis_leaves_out_classes_that_were_not_spotted_and_says_so() -> None:
    one = recording((1, 5), (11, 15), (21, 25), (31, 35), emotions=["anger", "anger", "fear", "sadness"])
    given_ = [
        Spotted("d/s/v", a, b, "micro", emotion=name)
        for a, b, name in [(1, 5, "anger"), (11, 15, "fear"), (21, 25, "fear"), (50, 55, "sadness")]
    ]
    result = evaluate(given_, [one])
    anger, fear = 2 * 1 / (2 * 1 + 0 + 1), 2 * 1 / (2 * 1 + 1 + 0)
    assert result.analysis is not None
    assert result.analysis.classes == pytest.approx({"anger": anger, "fear": fear})
    assert result.analysis.without_sample == ("sadness",)
    assert result.strs == pytest.approx(result.scores[0].f1 * (anger + fear) / 2, abs=1e-9)
    assert "sadness" in result.caveats[0]


def test_precision_recall_goes_down_the_scores() -> None:
    one = recording((1, 5), (11, 15))
    given_ = [
        Spotted("d/s/v", a, b, "micro", score)
        for a, b, score in [(1, 5, 0.9), (40, 44, 0.8), (11, 15, 0.7), (50, 55, 0.1)]
    ]
    curve = precision_recall([one], given_)
    assert [(p.threshold, p.precision, p.recall) for p in curve] == [
        (0.9, 1, 0.5), (0.8, 0.5, 0.5), (0.7, pytest.approx(2 / 3), 1), (0.1, 0.5, 1),
    ]  # fmt: skip
    assert average_precision(curve) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert precision_recall([one], answers((1, 5))) == ()  # without scores


@pytest.mark.slow
def test_a_random_spotter_scores_what_its_floor_says() -> None:
    """Through the whole evaluator; 11 of 1886 places meet a given interval of 15 frames at least half."""
    rng = np.random.default_rng(5)
    recordings, given_ = [], []
    for subject in range(12):
        spans = [(int(a), int(a) + 14) for a in 1 + 30 * rng.choice(60, 12, replace=False)]
        recordings.append(recording(*spans, key=f"d/{subject}/v", last=1900))
        for seed in range(20):
            places = rng.integers(1, 1887, 12)
            given_ += answers(*((int(a), int(a) + 14) for a in places), video=f"d/{subject}/v", seed=seed)
    result = evaluate(given_, recordings)
    floor = result.floors[1]
    assert floor.name == "random intervals"
    assert result.scores[0].f1 == pytest.approx(12 * 11 / 1886, abs=0.02)
    assert floor.f1["both"] == pytest.approx(12 * 11 / 1886, abs=0.02)
    assert floor.low["both"] < floor.f1["both"] < floor.high["both"]


def test_intervals_over_subjects_hold_the_mean_and_need_two_subjects() -> None:
    recordings = [recording((1, 5), (11, 15), key=f"d/{s}/v") for s in range(6)]
    given_ = [one for s in range(6) for one in answers((1, 5), *[(11, 15)] * (s % 2), video=f"d/{s}/v")]
    both = evaluate(given_, recordings).scores[0]
    assert both.interval is not None
    assert both.interval.low < both.f1 < both.interval.high
    assert evaluate(answers((1, 5), video="d/0/v"), recordings[:1]).scores[0].interval is None


def test_f1_is_the_mean_over_seeds() -> None:
    given_ = [*answers((1, 5), seed=1), *answers((30, 34), seed=2)]
    both = evaluate(given_, [recording((1, 5))]).scores[0]
    assert both.f1_of_seeds == {1: 1.0, 2: 0.0}
    assert both.f1 == 0.5


def test_f1_of_nothing_is_zero() -> None:
    assert f1_of(np.zeros((2, 3), int)).tolist() == [0, 0]


def test_the_command_scores_a_table_against_a_store(tmp_path: Path) -> None:
    store = tiny_store(
        tmp_path / "s.zarr", ["d/a/v", "d/b/v"], lengths={"d/a/v": 40, "d/b/v": 40},
        intervals={"d/a/v": truth((12, 16), (30, 34))},
    )  # fmt: skip
    written = tmp_path / "intervals.csv"
    write_intervals(written, answers((12, 16), (40, 44), video="d/a/v", score=0.5))
    assert read_intervals(written, recordings_of([store])) == tuple(
        answers((12, 16), (40, 44), video="d/a/v", score=0.5)
    )
    command = ["evaluate", str(written), "--store", str(store.path), "--task", "spot"]
    shown = json.loads(CliRunner().invoke(cli.app, [*command, "--json"]).stdout)
    assert shown["scores"][0]["f1"] == pytest.approx(2 / (2 + 1 + 1))
    assert "random intervals" in CliRunner().invoke(cli.app, command).stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,onset\n", "no column video, offset"),
        ("video,onset,offset\nd/a/w,12,13\n", "line 2: no video 'd/a/w'"),
        ("video,onset,offset\nd/a/v,12,x\n", "line 2: offset 'x' is no whole number"),
        ("video,onset,offset\nd/a/v,13,12\n", "line 2: frames 13 to 12; d/a/v has frames 10 to 49"),
        ("video,onset,offset\nd/a/v,9,12\n", "has frames 10 to 49"),
        ("video,onset,offset,type\nd/a/v,10,12,tiny\n", "type 'tiny'; expected micro or macro"),
        ("video,onset,offset,score\nd/a/v,10,12,high\n", "score 'high' is no number"),
        ("", "not a CSV table"),
    ],
)
def test_a_table_that_cannot_be_scored_says_why(tmp_path: Path, text: str, message: str) -> None:
    store = tiny_store(tmp_path / "s.zarr", ["d/a/v"], lengths={"d/a/v": 40}, intervals={})
    path = tmp_path / "intervals.csv"
    path.write_text(text)
    with pytest.raises(PredictionsError, match=message):
        read_intervals(path, recordings_of([store]))


def test_a_store_of_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PredictionsError, match="is a clip, no long recording"):
        recordings_of([tiny_store(tmp_path / "s.zarr", ["d/a/v"])])
