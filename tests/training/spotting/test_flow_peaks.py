"""``flow-peaks`` on courses that are made of formulas: bumps are found where they are, steps and drifts are not."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.clip import ExpressionInterval
from schemas.errors import ConfigError, PredictionsError, ProtocolError, RunFolderError
from schemas.labels import ExpressionType, Label
from training.spotting.config import SpotConfig
from training.spotting.course import Course, frames_of
from training.spotting.evaluate import evaluate
from training.spotting.intervals import Recording, Spotted, read_intervals
from training.spotting.methods.flow_peaks import FlowPeaks, PeakRule, curve
from training.spotting.output import web_vtt, write_outputs
from training.spotting.run import execute, plan, read_run, read_spotter

FPS, REGIONS, FIRST = 30.0, 18, 101
Bump = tuple[int, int, ExpressionType]


def course(bumps: list[Bump], *, key: str = "d/s/v", frames: int = 600, seed: int = 0, height: float = 2.0) -> Course:
    """Noise of 0.05 px, and three regions that go somewhere and come back within each interval (raised cosine)."""
    positions = np.random.default_rng(seed).normal(0, 0.05, (frames, REGIONS, 2))
    for onset, offset, kind in bumps:
        at = np.arange(onset, offset + 1)
        rise = 0.5 - 0.5 * np.cos(2 * np.pi * (at - onset) / (offset - onset))
        positions[at, :3, 1] += (height if kind == "macro" else height / 2) * rise[:, None]
    return Course(key, FPS, np.arange(FIRST, FIRST + frames), positions.astype(np.float32))


def truth(bumps: list[Bump]) -> tuple[ExpressionInterval, ...]:
    return tuple(
        ExpressionInterval(onset=a + FIRST, offset=b + FIRST, label=Label(expression_type=kind, emotion="anger"))
        for a, b, kind in bumps
    )


def made(subjects: int, *, shown: bool = True) -> tuple[dict[str, Course], list[Recording]]:
    courses, recordings = {}, []
    for subject in range(subjects):
        bumps: list[Bump] = [(60 + 5 * subject, 73 + 5 * subject, "micro"), (200, 250 + subject, "macro"),
                             (330, 342, "micro"), (450, 495 + subject, "macro")]  # fmt: skip
        key = f"d/{subject}/v"
        courses[key] = course(bumps, key=key, seed=subject)
        recordings.append(Recording(key, FPS, FIRST, FIRST + 599, truth(bumps) if shown else ()))
    return courses, recordings


def leave_one_out(
    folder: Path, courses: dict[str, Course], recordings: list[Recording]
) -> tuple[dict[str, FlowPeaks], tuple[Spotted, ...]]:
    """Subject -> the rules that it was spotted with; all answers."""
    run = plan(recordings, ["abc"], SpotConfig())
    answers = execute(folder, run, courses, recordings)
    rules = {subject: read_spotter(folder, run, without=subject) for subject in run.subjects}
    return rules, answers  # type: ignore[return-value]


def test_bumps_of_other_subjects_are_found_in_place_and_kind(tmp_path: Path) -> None:
    courses, recordings = made(4)
    rules, answers = leave_one_out(tmp_path, courses, recordings)
    result = evaluate(answers, recordings)
    assert {score.kind: score.f1 for score in result.scores} == {"both": 1, "micro": 1, "macro": 1}
    assert result.boundaries is not None
    assert result.boundaries.onset_ms < 100
    assert set(rules) == {"d/0", "d/1", "d/2", "d/3"}
    for one in answers:
        assert one.apex is not None
        assert one.onset <= one.apex <= one.offset
        assert one.score >= 1


def test_a_subject_is_not_in_its_own_thresholds(tmp_path: Path) -> None:
    """Another truth of one subject changes the rules of all others and not its own."""
    courses, recordings = made(3)
    before, _ = leave_one_out(tmp_path / "before", courses, recordings)
    wrong = Recording("d/0/v", FPS, FIRST, FIRST + 599, truth([(100, 190, "macro"), (500, 505, "micro")]))
    after, _ = leave_one_out(tmp_path / "after", courses, [wrong, *recordings[1:]])
    assert after["d/0"] == before["d/0"]
    assert after["d/1"] != before["d/1"]


def test_steps_drifts_and_rest_have_no_peak_as_high_as_an_expression() -> None:
    at = np.arange(600)[:, None, None]
    noise = np.random.default_rng(1).normal(0, 0.05, (600, REGIONS, 2))
    bump = curve(course([(300, 313, "micro")]), 0.2).max()
    drift = Course("d/s/v", FPS, np.arange(600), (noise + 0.02 * at).astype(np.float32))
    step = Course("d/s/v", FPS, np.arange(600), (noise + 1.0 * (at > 300)).astype(np.float32))
    rest = Course("d/s/v", FPS, np.arange(600), noise.astype(np.float32))
    assert curve(drift, 0.2).max() < 0.3 * bump
    assert curve(rest, 0.2).max() < 0.3 * bump
    assert curve(step, 0.2).max() < 0.5 * bump


def test_a_curve_is_what_comes_and_goes_in_one_direction() -> None:
    """Written out with loops, without smoothing: at a lag of one frame the window of Savitzky-Golay is one frame."""
    positions = np.random.default_rng(3).normal(0, 1, (12, 5, 2)).astype(np.float32)
    expected, usual = [], []
    for t in range(12):
        before, after = positions[max(t - 1, 0)], positions[min(t + 1, 11)]
        dots = [float((positions[t][r] - before[r]) @ (positions[t][r] - after[r])) for r in range(5)]
        sizes = sorted(max(dot, 0) ** 0.5 for dot in dots)
        expected.append(sum(sizes[-3:]) / 3)
        far = sorted(float(np.hypot(*(positions[t][r] - before[r]))) for r in range(5))
        usual.append(sum(far[-3:]) / 3)
    found = curve(Course("d/s/v", FPS, np.arange(12), positions), 1 / FPS)
    np.testing.assert_allclose(found, np.array(expected) / np.median(usual[1:]), rtol=1e-5)


def test_segments_without_a_face_are_apart_and_hold_nothing() -> None:
    whole = course([(100, 113, "micro")])
    positions = whole.positions.copy()
    positions[300:] += 50  # the face is somewhere else after it was lost
    positions[280:300] = np.nan
    split = Course("d/s/v", FPS, whole.numbers, positions)
    found = FlowPeaks(micro=PeakRule(lag=0.2, height=3, beyond=0.5)).spot(split)
    assert [(one.onset, one.offset) for one in found] == [
        (pytest.approx(FIRST + 101, abs=4), pytest.approx(FIRST + 112, abs=4))
    ]
    assert not curve(split, 0.2)[280:300].any()


def test_a_peak_on_a_high_plain_is_no_longer_than_its_kind() -> None:
    """Motion that never rests has no flanks; an interval ends all the same."""
    shaking = np.random.default_rng(4).normal(0, 1, (600, REGIONS, 2)).astype(np.float32)
    rules = FlowPeaks(micro=PeakRule(lag=0.2, height=0.5, beyond=0.5))
    found = rules.spot(Course("d/s/v", FPS, np.arange(600), shaking))
    assert len(found) > 5
    assert max(one.offset - one.onset for one in found) <= 2 * (0.2 + 0.1) * FPS + 1


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_short_recordings_are_no_error(frames: int) -> None:
    positions: NDArray[np.float32] = np.zeros((frames, REGIONS, 2), np.float32)
    rules = FlowPeaks(macro=PeakRule(lag=1, height=2, beyond=0.5))
    assert rules.spot(Course("d/s/v", FPS, np.arange(frames), positions)) == []


def test_there_must_be_two_subjects_and_something_to_learn() -> None:
    courses, recordings = made(1)
    with pytest.raises(ProtocolError, match="1 subject"):
        plan(recordings, [], SpotConfig())
    courses, recordings = made(2, shown=False)
    with pytest.raises(PredictionsError, match="no expression to learn from"):
        FlowPeaks.fit(courses, recordings, SpotConfig(), seed=0)


def test_a_kind_that_nobody_shows_has_no_rule() -> None:
    only = [Recording("d/0/v", FPS, FIRST, FIRST + 599, truth([(200, 250, "macro")]))]
    rules = FlowPeaks.fit({"d/0/v": course([(200, 250, "macro")], key="d/0/v")}, only, SpotConfig(), seed=0)
    assert rules.micro is None
    assert rules.macro is not None
    assert rules.macro.lag == pytest.approx(51 / 30 / 2)


def test_a_run_goes_on_where_it_stopped_and_does_not_use_what_is_damaged(tmp_path: Path) -> None:
    courses, recordings = made(3)
    run = plan(recordings, ["abc"], SpotConfig())
    first = execute(tmp_path, run, courses, recordings)
    folds = [tmp_path / "seed-0" / name for name, _ in run.folds()]
    before = {fold: (fold / "done.json").stat().st_mtime_ns for fold in folds}
    (folds[1] / "rules.json").write_text("{}")
    (folds[2] / "done.json").unlink()
    assert execute(tmp_path, run, courses, recordings) == first
    assert [(fold / "done.json").stat().st_mtime_ns == before[fold] for fold in folds] == [True, False, False, True]
    (folds[0] / "rules.json").write_text("{}")
    with pytest.raises(RunFolderError, match="is not what it was"):
        read_spotter(tmp_path, run, without="d/0")
    with pytest.raises(RunFolderError, match="spotted otherwise"):
        execute(tmp_path, plan(recordings, ["other"], SpotConfig()), courses, recordings)


def test_a_spotter_is_read_as_it_was_written_and_a_wrong_folder_says_so(tmp_path: Path) -> None:
    courses, recordings = made(2)
    rules, _ = leave_one_out(tmp_path, courses, recordings)
    alone = FlowPeaks.fit(courses, [one for one in recordings if one.subject == "d/1"], SpotConfig(), seed=0)
    assert rules["d/0"] == alone
    assert read_spotter(tmp_path, read_run(tmp_path)) == FlowPeaks.fit(courses, recordings, SpotConfig(), seed=0)
    with pytest.raises(RunFolderError, match=re.escape("no spotter.json there")):
        read_run(tmp_path / "nothing")
    (tmp_path / "spotter.json").write_text("{}")
    with pytest.raises(RunFolderError, match="not a spotter"):
        read_run(tmp_path)


def test_another_method_is_chosen_by_name_and_a_wrong_name_says_which_there_are() -> None:
    _, recordings = made(2)
    with pytest.raises(ConfigError, match="there are flow-peaks, madv-spot"):
        plan(recordings, [], SpotConfig(method="nothing"))


def test_outputs_say_frames_and_seconds(tmp_path: Path) -> None:
    courses, recordings = made(2)
    fitted, answers = leave_one_out(tmp_path / "run", courses, recordings)
    rules = {one.key: fitted[one.subject] for one in recordings}
    table, data, *subtitles, page = write_outputs(tmp_path, answers, courses, rules, recordings=recordings)
    assert {(one.video, one.onset) for one in read_intervals(table, recordings)} == {
        (one.video, one.onset) for one in answers
    }
    for row in json.loads(data.read_text()):
        assert row["begin_s"] == pytest.approx((row["onset"] - FIRST) / 30, abs=1e-3)
        assert row["end_s"] == pytest.approx((row["offset"] + 1 - FIRST) / 30, abs=1e-3)
    assert [path.name for path in subtitles] == ["d_0_v.vtt", "d_1_v.vtt"]
    shown = page.read_text()
    assert shown.count("<rect ") == len(answers) + sum(len(one.truth) for one in recordings)
    assert "<span>20.0 s</span>" in shown, "600 frames, 30 a second"


def test_synthetic_recordings_say_so_wherever_they_go(tmp_path: Path) -> None:
    """In the score, in the spotter that other videos are spotted with, and on the page."""
    courses, plain = made(2)
    recordings = [replace(recording, synthetic=recording.key == "d/1/v") for recording in plain]
    fitted, answers = leave_one_out(tmp_path / "run", courses, recordings)
    result = evaluate(answers, recordings)
    assert "d is synthetic" in result.caveats[0]
    assert plan(recordings, [], SpotConfig()).synthetic
    assert not plan(plain, [], SpotConfig()).synthetic
    rules = {one.key: fitted[one.subject] for one in recordings}
    *_, page = write_outputs(tmp_path, answers, courses, rules, recordings=recordings, notes=result.caveats)
    assert "d is synthetic: photographs of faces" in page.read_text()


def test_an_interval_lies_from_its_first_frame_to_behind_its_last_also_where_frames_are_missing() -> None:
    numbers = np.array([7, 8, 9, 12, 13])
    for onset, offset in ((7, 13), (8, 9), (9, 12), (8, 11), (10, 13), (12, 12)):
        inside = [place for place, number in enumerate(numbers) if onset <= number <= offset]
        assert frames_of(numbers, onset, offset) == (inside[0], inside[-1] + 1)


def test_subtitles_are_web_vtt() -> None:
    numbers = np.arange(FIRST, FIRST + 200_000)
    long = Course("d/s/v", FPS, numbers, np.zeros((200_000, 1, 2), np.float32))
    text = web_vtt([Spotted("d/s/v", FIRST + 110_895, FIRST + 110_909, "micro", emotion="a<b")], long)
    assert text == "WEBVTT\n\n01:01:36.500 --> 01:01:37.000\nmicro-expression a&lt;b\n"
