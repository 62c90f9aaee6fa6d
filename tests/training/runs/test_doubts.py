"""What a run must say of folds that learned nothing."""

from pathlib import Path

from training.fit.epoch_metrics import metrics_csv
from training.fit.folder import FoldFolder
from training.protocols.splits import Fold
from training.runs.doubts import untaught_folds

LABELS = {"d/a/1": 0, "d/a/2": 0, "d/a/3": 0, "d/b/1": 1, "d/b/2": 1}  # the largest class has 0.6


def fold(path: Path, *accuracy: float) -> FoldFolder:
    folder = FoldFolder(path, 0, Fold(name="all", train=tuple(LABELS), validation=None, test=()))
    path.mkdir()
    lines = [{"epoch": float(epoch), "accuracy": value} for epoch, value in enumerate(accuracy, 1)]
    folder.metrics.write_text(metrics_csv(lines))
    return folder


def test_folds_that_stay_at_the_largest_class_are_named(tmp_path: Path) -> None:
    """0.6 is reached by one answer for all; who was above it in any epoch has learned something."""
    stuck, learned = fold(tmp_path / "stuck", 0.4, 0.6, 0.6), fold(tmp_path / "learned", 0.5, 0.9, 0.7)
    (word,) = untaught_folds([stuck, learned], LABELS)
    assert word.startswith("In 1 of 2 folds the model never did better on its own training clips")
    assert not list(untaught_folds([learned], LABELS))
