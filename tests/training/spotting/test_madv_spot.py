"""``madv-spot``: its windows and its timing against formulas, and that it learns what other subjects show."""

from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.clip import ExpressionInterval
from schemas.errors import PredictionsError
from schemas.labels import ExpressionType, Label
from training.spotting.config import SpotConfig
from training.spotting.course import Course, course_of
from training.spotting.evaluate import evaluate
from training.spotting.intervals import Recording
from training.spotting.methods.madv_spot.method import MadvSpot, Thresholds, candidates, read
from training.spotting.methods.madv_spot.network import FrameAnswers, SpottingNetwork, spotting_loss
from training.spotting.methods.madv_spot.reading import FieldObserver
from training.spotting.methods.madv_spot.windows import draw, positions, track, truth_of

GRID, FRAMES, FIRST = 32, 480, 11
Bump = tuple[int, int, ExpressionType]


def made(
    key: str, bumps: list[Bump], *, seed: int, fps: float = 30.0, frames: int = FRAMES
) -> tuple[Course, Recording]:
    """Cells about a corner of the mouth that go up and come back within each interval, and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:GRID, :GRID]
    corner = np.exp(-0.5 * (((x - 11) / 3) ** 2 + ((y - 23) / 3) ** 2))
    places = random.normal(0, 0.02, (frames, 2, GRID, GRID))
    for onset, offset, kind in bumps:
        at = np.arange(onset, offset + 1)
        rise = 0.5 - 0.5 * np.cos(2 * np.pi * (at - onset) / (offset - onset))
        places[at, 1] -= (1.5 if kind == "macro" else 1.0) * rise[:, None, None] * corner
    fields = np.diff(places, axis=0, prepend=places[:1]).astype(np.float16)
    course = Course(key, fps, np.arange(FIRST, FIRST + frames), np.zeros((frames, 18, 2), np.float32), fields)
    truth = tuple(
        ExpressionInterval(onset=a + FIRST, offset=b + FIRST, label=Label(expression_type=kind)) for a, b, kind in bumps
    )
    return course, Recording(key, fps, FIRST, FIRST + frames - 1, truth)


def test_a_moment_knows_whether_it_is_inside_and_how_far_the_ends_are() -> None:
    """Moment n is at 2 n + 0.5 frames: of frames 4 to 9 those at 4.5, 6.5 and 8.5 are inside."""
    expression, macro, before, after = truth_of(np.array([[4.0, 10.0, 1.0]]))
    assert np.flatnonzero(expression).tolist() == [2, 3, 4]
    assert macro[2:5].tolist() == [1, 1, 1]
    assert before[2:5].tolist() == [0.5, 2.5, 4.5]
    assert after[2:5].tolist() == [5.5, 3.5, 1.5]


def test_of_overlapping_expressions_the_shorter_one_counts() -> None:
    _, macro, _, after = truth_of(np.array([[8.0, 14.0, 0.0], [0.0, 40.0, 1.0]]))
    assert macro[:8].tolist() == [1, 1, 1, 1, 0, 0, 0, 1]
    assert after[4] == 5.5


@pytest.mark.parametrize(("fps", "expected"), [(30.0, [0, 1, 2, 3]), (60.0, [0, 2, 4, 6]), (15.0, [0, 0, 1, 2])])
def test_every_recording_is_read_at_one_rate(fps: float, expected: list[int]) -> None:
    assert positions(100, fps)[:4].tolist() == expected


@pytest.mark.parametrize("fps", [25.0, 30.0, 200.0])
@pytest.mark.parametrize("frames", [1, 40, 333])
def test_evidence_has_a_row_for_every_moment(fps: float, frames: int) -> None:
    """One row for every second frame of 30 a second, up to the last frame."""
    torch.manual_seed(0)
    course, _ = made("d/s/v", [], seed=0, fps=fps, frames=frames)
    evidence = read(SpottingNetwork(), course)
    assert len(evidence) == -(-sum(round(sample * fps / 30) < frames for sample in range(1000)) // 2)
    assert np.isfinite(evidence).all()
    assert (evidence[:, 2:] >= 0).all()


def test_a_perfect_answer_gives_the_interval_back_at_any_rate() -> None:
    """Frames 50 to 99 at 200 fps are 0.25 to 0.5 s; the only moment that answers is at 0.35 s (10.5 / 30)."""
    course, _ = made("d/s/v", [], seed=0, fps=200.0)
    evidence = np.zeros((36, 4), np.float32)
    evidence[5] = 0.9, 0.1, 0.35 - 0.25, 0.5 - 0.35
    (found,) = candidates(course, evidence, "micro", 0.5)
    assert (found.onset, found.offset) == (FIRST + 50, FIRST + 99)
    assert found.score == pytest.approx(0.81 / 0.5)
    assert not candidates(course, evidence, "macro", 0.5)


def test_frames_without_a_face_hold_no_expression() -> None:
    observer = FieldObserver(SpottingNetwork().eval(), 30.0)
    for frame in range(90):
        observer.push(np.zeros((2, GRID, GRID), np.float16), face=not 30 <= frame < 60)
    evidence = observer.finish()
    assert not evidence[15:30, 0].any()
    assert evidence[:15, 0].all()


def test_fields_that_pass_and_fields_that_are_kept_give_the_same() -> None:
    course, _ = made("d/s/v", [(100, 112, "micro")], seed=0)
    spotter = MadvSpot(SpottingNetwork(), Thresholds(micro=0.01, macro=0.01))

    class Motion:
        def __init__(self, field: np.ndarray) -> None:
            self.regions, self.field = np.zeros((18, 2), np.float32), field

    assert course.fields is not None
    passed = course_of("d/s/v", 30.0, course.numbers, map(Motion, course.fields), observer=spotter.observer(30.0))
    assert passed.fields is None
    assert passed.evidence is not None
    np.testing.assert_array_equal(passed.evidence, read(spotter.network, course))
    assert spotter.spot(passed) == spotter.spot(course)


def test_the_loss_of_the_truth_itself_is_nothing_and_a_wrong_interval_costs_its_overlap() -> None:
    truth = FrameAnswers(*torch.from_numpy(truth_of(np.array([[4.0, 10.0, 1.0]]))).float()[:, None])
    sure = FrameAnswers(40 * (2 * truth.expression - 1), 40 * (2 * truth.macro - 1), truth.before, truth.after)
    assert float(spotting_loss(sure, truth)) == pytest.approx(0, abs=1e-6)
    half = sure._replace(before=2 * truth.before, after=2 * truth.after)  # an overlap of a half
    assert float(spotting_loss(half, truth)) == pytest.approx(0.25, abs=1e-6)


def test_half_of_what_is_drawn_shows_an_expression_and_mirrors_change_the_side() -> None:
    course, recording = made("d/s/v", [(200, 230, "macro")], seed=1)
    places, truth = draw([track(course, recording)], 64, np.random.default_rng(0))
    assert places.shape == (64, 64, 2, GRID, GRID)
    shown = truth.expression.any(1)
    assert 0.5 * 64 * 0.9 <= int(shown.sum()) < 64
    moved = (places.amax(1) - places.amin(1))[:, 1]
    right, left = moved[:, 23, 11][shown], moved[:, 23, GRID - 1 - 11][shown]
    assert int((right > 2 * left).sum()) > 5
    assert int((left > 2 * right).sum()) > 5


def test_there_must_be_an_expression_to_learn_from() -> None:
    course, recording = made("d/s/v", [], seed=0)
    with pytest.raises(PredictionsError, match="no expression to learn from"):
        MadvSpot.fit({"d/s/v": course}, [recording], SpotConfig(), seed=0)


@pytest.mark.slow
def test_expressions_of_a_subject_that_was_not_learnt_from_are_found_and_written_weights_find_the_same(
    tmp_path: Path,
) -> None:
    courses, recordings = {}, []
    for subject in range(5):
        later = 5 * subject
        bumps: list[Bump] = [(40 + later, 52 + later, "micro"), (130, 170 + later, "macro"),
                             (270 + later, 283 + later, "micro"), (370, 405 + later, "macro")]  # fmt: skip
        course, recording = made(f"d/{subject}/v", bumps, seed=subject)
        courses[recording.key] = course
        recordings.append(recording)
    spotter = MadvSpot.fit(courses, recordings[:4], SpotConfig(epochs=30), seed=0)
    assert len(spotter.thresholds.thresholds_from) == 1
    own = courses["d/4/v"]
    found = spotter.spot(own)
    result = evaluate(found, recordings[4:])
    assert {score.kind: score.f1 for score in result.scores}["both"] >= 0.75
    spotter.write(tmp_path)
    assert MadvSpot.read(tmp_path).spot(own) == found
