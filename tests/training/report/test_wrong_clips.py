"""Wrong clips as loops: which they are, in which order, and that the pictures move, are small, and are the clip's."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sharing.subset import subset
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store
from tests.training.small_stores import small_store
from training.evaluation.predictions import Predictions
from training.protocols.tasks import DatasetRule, Task
from training.report.page import Loops, Text
from training.report.wrong_clips import SHOWN, WrongClip, moving_picture, wrong_of_models, wrong_of_run, wrong_parts

CLASSES = ("happiness", "surprise", "disgust")
TASK = Task(
    name="three",
    title="Three",
    classes=CLASSES,
    datasets=(
        DatasetRule(
            dataset="casme2",
            classes={name: name for name in CLASSES},
            expected=dict.fromkeys(CLASSES, 9),
            expected_subjects=9,
        ),
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    keys = [f"casme2/sub01/c{number}" for number in range(6)]
    return tiny_store(tmp_path_factory.mktemp("stores") / "casme2.zarr", keys, depth=False, lengths={keys[5]: 300})


def answers(store: Store, shares: dict[str, list[float]]) -> Predictions:
    """A row a clip and seed: the share of the clip's own class, and the rest to the class after it."""
    rows = [(key, seed, share) for key, own in shares.items() for seed, share in enumerate(own)]
    probabilities = np.zeros((len(rows), 3))
    for row, (key, _, share) in enumerate(rows):
        own = CLASSES.index(str(store.entry(key).label.emotion))
        probabilities[row, own], probabilities[row, (own + 1) % 3] = share, 1 - share
    return Predictions(
        CLASSES,
        tuple(key for key, _, _ in rows),
        ("casme2/sub01",) * len(rows),
        tuple(seed for _, seed, _ in rows),
        probabilities,
    )


def test_a_clip_is_wrong_by_the_mean_over_seeds_and_the_surest_error_is_first(store: Store) -> None:
    """0.9 and 0.2 are right together, 0.1 and 0.6 are not, although one seed is right in both."""
    one, two, three, *_ = store.manifest.index
    found = wrong_of_run(answers(store, {one: [0.1, 0.6], two: [0.9, 0.2], three: [0.05, 0.15]}), TASK, [store])
    assert [clip.key for clip in found] == [three, one]
    own = CLASSES.index(str(store.entry(three).label.emotion))
    assert found[0].words == f"{CLASSES[own]} (p = 0.10), taken for {CLASSES[(own + 1) % 3]} (0.90)"


def test_of_several_models_those_clips_are_shown_that_most_got_wrong(store: Store) -> None:
    one, two, three, *_ = store.manifest.index
    right, wrong = [0.8, 0.9], [0.1, 0.2]
    models = {
        "a": answers(store, {one: wrong, two: wrong, three: right}),
        "b": answers(store, {one: right, two: wrong, three: right}),
        "c": answers(store, {one: wrong, two: wrong, three: wrong}),
    }
    found = wrong_of_models(models, TASK, [store])
    assert [clip.key for clip in found] == [two, one]
    own = CLASSES.index(str(store.entry(one).label.emotion))
    assert found[1].words == f"{CLASSES[own]}; wrong by 2 of 3 models: {CLASSES[(own + 1) % 3]} 2"


def read(url: str) -> tuple[list[Image.Image], float]:
    """Frames and seconds of a ``data:`` URL of a moving picture that begins again."""
    kind, data = url.split(",")
    assert kind == "data:image/webp;base64"
    frames, lasting = [], 0.0
    with Image.open(io.BytesIO(base64.b64decode(data))) as moving:
        for number in range(moving.n_frames):
            moving.seek(number)
            moving.load()
            lasting += moving.info["duration"] / 1000
            frames.append(moving.convert("RGB"))
        assert moving.info["loop"] == 0
    return frames, lasting


def test_a_loop_is_the_clip_at_a_quarter_of_its_speed(tmp_path: Path) -> None:
    """Pillow reads it back: every frame in order, 96 px."""
    store = small_store(tmp_path / "casme2.zarr", subjects=1, clips=1, depth=False)
    (key,) = store.manifest.index
    frames, lasting = read(moving_picture(store, key))
    texture = store.texture(key)
    assert len(frames) == len(texture)
    assert lasting == pytest.approx(4 * len(texture) / 200)
    brightness = [np.asarray(frame, float).mean() for frame in frames]
    np.testing.assert_allclose(brightness, texture.mean(axis=(1, 2, 3)), atol=1.5)
    reference = np.asarray(Image.fromarray(texture[0]).resize((96, 96)), float)
    assert np.abs(np.asarray(frames[0], float) - reference).mean() < 12, "the same picture, but for compression"


def test_of_a_long_clip_the_frames_around_the_apex_are_shown(store: Store) -> None:
    """256 of 300, by at most 32, in the time that they take; equal neighbours are one to the encoder."""
    key = list(store.manifest.index)[5]
    url = moving_picture(store, key)
    frames, lasting = read(url)
    assert len(frames) <= 32
    assert lasting == pytest.approx(4 * 256 / 200, rel=0.01)
    assert len(url) < 100_000


def test_a_page_shows_a_dozen_and_says_of_how_many_and_how_to_see_the_rest(store: Store) -> None:
    (key, *_) = store.manifest.index
    (part,) = wrong_parts([WrongClip(key, "happy", store)] * 30, "Sorted.")
    assert isinstance(part, Loops)
    assert len(part.shown) == SHOWN == 12
    assert part.caption.startswith("12 of 30 wrong clips, at a quarter of their speed. Sorted. `mer view casme2.zarr")
    assert list(wrong_parts([], "Sorted.")) == [Text("None.")]


def test_a_store_without_faces_is_said_to_have_none(store: Store, tmp_path: Path) -> None:
    (key, *_) = store.manifest.index
    subset(store, tmp_path / "faceless.zarr", without=["texture"])
    (part,) = wrong_parts([WrongClip(key, "happy", Store.open(tmp_path / "faceless.zarr"))], "Sorted.")
    assert isinstance(part, Text)
    assert part.tone == "missing"
    assert "texture" in part.text
