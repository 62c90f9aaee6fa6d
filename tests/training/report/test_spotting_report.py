"""The page of a spotting run: which errors its loops are of, that they show those frames, and that it stays small."""

import re
from pathlib import Path

import numpy as np
import pytest

from schemas.clip import ExpressionInterval
from schemas.labels import ExpressionType, Label
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store
from tests.training.report.test_wrong_clips import read
from training.report.page import Loops, Text
from training.report.spotting import SHOWN, _evenly, _loops, _precision, errors, write_spotting_report
from training.spotting.evaluate import evaluate
from training.spotting.intervals import Spotted, recordings_of

ONE, OTHER = "casme-sq/s1/v", "casme-sq/s2/v"


def true(onset: int, offset: int, kind: ExpressionType) -> ExpressionInterval:
    return ExpressionInterval(onset=onset, offset=offset, label=Label(expression_type=kind, emotion="disgust"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two recordings of 8 s at 10 frames per second, whose frames count from 10."""
    shown = {ONE: [true(20, 24, "micro"), true(40, 60, "macro")], OTHER: [true(30, 34, "micro")]}
    path = tmp_path_factory.mktemp("spotting") / "long.zarr"
    return tiny_store(path, shown, depth=False, lengths=dict.fromkeys(shown, 80), intervals=shown)


ANSWERS = [
    Spotted(ONE, 41, 60, "macro", 1.5),
    Spotted(ONE, 70, 74, "micro", 1.1),
    Spotted(OTHER, 50, 54, "micro", 2.5),
]


def test_errors_are_the_true_ones_that_nobody_gave_and_the_given_ones_that_are_not_true(store: Store) -> None:
    missed, false = errors(recordings_of([store]), ANSWERS)
    assert [(one.video, one.onset) for one in missed] == [(ONE, 20), (OTHER, 30)]
    assert [(one.video, one.onset) for one in false] == [(OTHER, 50), (ONE, 70)]  # the surest first


def test_the_page_shows_them(store: Store, tmp_path: Path) -> None:
    """Frames 18 to 26 of the first: a quarter of a second is two frames; nine of them last 3.6 s."""
    recordings = recordings_of([store])
    result = evaluate(ANSWERS, recordings)
    page = write_spotting_report(tmp_path, "a-method", result, ANSWERS, store, recordings).read_text()
    urls = re.findall(r"data:image/webp;base64,[^\"]+", page)
    assert len(urls) == 4
    frames, lasting = read(urls[0])
    assert lasting == pytest.approx(3.6)
    brightness = [np.asarray(frame, float).mean() for frame in frames]
    expected = store.texture(ONE)[18 - 10 : 27 - 10].mean((1, 2, 3))
    assert abs(brightness[0] - expected[0]) < 2
    assert abs(brightness[-1] - expected[-1]) < 2
    assert f"{ONE}, 1.00 to 1.50 s: micro-expression disgust" in page
    assert f"{OTHER}, 4.00 to 4.50 s: micro-expression, score 2.50" in page
    assert "a-method, average precision 0.167" in page  # right at the second of three answers: 1/3 of recall at 1/2
    assert (tmp_path / "figures" / "precision-recall.png").is_file()


def test_of_many_errors_some_are_shown_and_without_any_it_says_so(store: Store) -> None:
    many = [Spotted(ONE, onset, onset + 3, "micro") for onset in range(15, 75)]
    (part,) = _loops(many, _evenly(many), store, "missed expression", "Evenly.")
    assert isinstance(part, Loops)
    assert len(part.shown) == SHOWN
    assert part.caption.startswith(f"{SHOWN} of 60 missed expressions")
    assert list(_loops([], [], store, "missed expression", "")) == [Text("None.")]


@pytest.mark.parametrize("f1", [0.05, 0.4])
def test_a_floors_line_is_where_f1_is_the_same(f1: float) -> None:
    recall = np.linspace(0.01, 1, 50)
    precision = _precision(recall, f1)
    there = np.isfinite(precision)
    assert there.sum() > 20
    np.testing.assert_allclose(2 / (1 / precision[there] + 1 / recall[there]), f1)
