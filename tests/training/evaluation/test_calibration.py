"""Calibration: cases by hand, and probabilities that are right as often as they say."""

import numpy as np
import pytest

from training.evaluation.calibration import calibrate


def test_by_hand() -> None:
    """Four answers, two bins: 0.95 twice and both right, 0.65 twice and one right: (2 x 0.05 + 2 x 0.15) / 4."""
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.65, 0.35], [0.65, 0.35]])
    found = calibrate([probabilities], np.array([0, 1, 0, 1]))
    assert found.expected_calibration_error == pytest.approx(0.1)
    assert [(b.low, b.high, b.answers, b.accuracy) for b in found.bins] == [
        (pytest.approx(0.6), pytest.approx(0.7), 2, 0.5),
        (pytest.approx(0.9), 1.0, 2, 1.0),
    ]
    assert [(s.coverage, s.answers, s.accuracy) for s in found.selective] == [
        (1.0, 4, 0.75), (0.8, 3, 1.0), (0.6, 2, 1.0), (0.4, 2, 1.0), (0.2, 1, 1.0),
    ]  # fmt: skip


def test_seeds_count_alike() -> None:
    """A second seed that is sure and always wrong: half of the answers are wrong at full confidence."""
    labels = np.array([0, 1])
    right, wrong = np.eye(2), np.eye(2)[::-1]
    found = calibrate([right, wrong], labels)
    assert (found.accuracy, found.confidence, found.expected_calibration_error) == (0.5, 1.0, 0.5)


def test_probabilities_that_mean_what_they_say() -> None:
    """Labels drawn from the probabilities themselves leave an error of the noise alone; sharpened ones do not."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 20_000)
    labels = (random.random((20_000, 1)) > probabilities.cumsum(1)).sum(1)
    assert calibrate([probabilities], labels).expected_calibration_error < 0.012
    sharp = probabilities**4 / (probabilities**4).sum(1, keepdims=True)
    assert calibrate([sharp], labels).expected_calibration_error > 0.15
