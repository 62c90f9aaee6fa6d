"""Quality, labels and the confusion matrix: numbers are those of the manifest and the run, and taps lead to clips."""

import csv
from collections import Counter
from pathlib import Path

import pytest

from pipeline.view.page import CLIP, GALLERY, Page
from pipeline.view.thumbnails import Thumbnails
from schemas.store.reader import Store
from tests.command_line import mer
from tests.tiny_stores import tiny_store
from tests.training.run_folders import make_run_folder
from training.cli.results import answers_of_run
from training.fit.folder import RunFolder
from training.protocols.protocol import Protocol
from training.protocols.splits import Loso
from training.protocols.tasks import DatasetRule, Task

CLASSES = {"happiness": "happy", "surprise": "surprised"}
KEYS = [f"casme2/sub0{subject}/EP{clip:02d}" for subject in (1, 2, 3) for clip in range(6)]
FAILED = KEYS[-1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("view") / "tiny.zarr", KEYS, failed=[FAILED])


@pytest.fixture(scope="module")
def trained(small: Store, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    rule = DatasetRule(
        dataset="casme2", classes=CLASSES, expected=dict.fromkeys(CLASSES.values(), 9), expected_subjects=3
    )
    task = Task(name="two", title="Two classes", classes=tuple(CLASSES.values()), datasets=(rule,))
    path = tmp_path_factory.mktemp("runs") / "a"
    return make_run_folder(path, [small], Protocol(task=task, split=Loso()))


@pytest.fixture
def page(small: Store, trained: RunFolder) -> Page:
    return Page(small, answers_of_run(trained.path, small), Thumbnails(small))


def rows_by_clip(run: RunFolder) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with run.predictions.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["clip"], []).append(row)
    return found


def test_the_confusion_matrix_is_that_of_the_predictions_file(small: Store, trained: RunFolder, page: Page) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for key, rows in rows_by_clip(trained).items():
        emotion = small.entry(key).label.emotion
        total = {name: sum(float(row[name]) for row in rows) for name in CLASSES.values()}
        assert emotion is not None
        counts[CLASSES[emotion], max(total, key=lambda name: total[name])] += 1
    assert page.confusion is not None
    cells = page.confusion.cells.data
    shown = dict(zip(zip(cells["truth"], cells["predicted"], strict=True), cells["count"], strict=True))
    assert shown == {(a, b): counts[a, b] for a in CLASSES.values() for b in CLASSES.values()}
    assert sum(shown.values()) > 5
    wrong = sum(count for (a, b), count in counts.items() if a != b)
    assert 0 < wrong < sum(counts.values()), "the guesses of the fixture should be both"
    assert [page.clips.answered(entry) for entry in page.gallery.found][: wrong + 1] == ["wrong"] * wrong + ["right"]


def test_a_tapped_cell_shows_its_clips(page: Page) -> None:
    assert page.confusion is not None
    cells = page.confusion.cells
    index = max(range(4), key=lambda number: int(cells.data["count"][number]))
    page.tabs.active = 3
    cells.selected.indices = [index]
    assert page.tabs.active == GALLERY
    assert len(page.gallery.found) == cells.data["count"][index]
    assert cells.selected.indices == []
    page.quality.cells.selected.indices = [0]
    data = page.quality.cells.data
    assert len(page.gallery.found) == data["count"][0]
    assert {entry.key.rpartition("/")[0] for entry in page.gallery.found} == {data["subject"][0]}


def test_the_probabilities_of_each_seed_are_shown(trained: RunFolder, page: Page) -> None:
    key, rows = next(iter(rows_by_clip(trained).items()))
    page.open(key)
    for row in rows:
        assert f"seed {row['seed']}, fold {row['fold']}" in page.player.heading.text
        assert f">{float(row['happy']):.3f}</td>" in page.player.heading.text


def test_a_tapped_point_opens_its_clip(page: Page) -> None:
    points = page.quality.points
    assert len(points.data["key"]) == len(KEYS) - 1  # the failed clip has no quality
    page.quality.x.value = "frames"
    index = points.data["key"].index(KEYS[4])
    assert points.data["x"][index] == page.store.entry(KEYS[4]).n_frames
    points.selected.indices = [index]
    assert page.tabs.active == CLIP
    assert page.player.entry is not None
    assert page.player.entry.key == KEYS[4]


def test_failures_are_listed_with_their_reasons(small: Store, page: Page) -> None:
    *_, listed = page.quality.layout.children
    assert "Failed clips: 1" in listed.text
    assert f'data-clip="{FAILED}"' in listed.text
    assert f"no face in {FAILED}" in listed.text


def test_a_run_of_other_clips_is_refused(trained: RunFolder, tmp_path: Path) -> None:
    other = tiny_store(tmp_path / "other.zarr", ["casme2/sub09/EP01"])
    found = mer("view", other.path, "--run", trained.path, "--no-browser")
    assert found.code == 2
    assert f"--run {trained.path}: none of its 11 test clips is in {other.path}" in found.error
    assert "no such file" in mer("view", other.path, "--run", tmp_path / "nothing", "--no-browser").error


def test_another_version_of_the_store_is_said(small: Store, trained: RunFolder, tmp_path: Path) -> None:
    again = tiny_store(tmp_path / "again.zarr", KEYS[:3])
    assert "another version of this store" in answers_of_run(trained.path, again).title
    assert "another version" not in answers_of_run(trained.path, small).title
