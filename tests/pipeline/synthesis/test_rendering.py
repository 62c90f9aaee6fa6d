"""The warp: its inverse is one, stillness is still, and lips and lids move the way that FACS says."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.synthesis.anatomy import Muscles, muscles
from pipeline.synthesis.identities import IDENTITIES, load_still
from pipeline.synthesis.recording import CAMERAS, Portrait, take_portrait
from pipeline.synthesis.rendering import Stage

STILL_HEAD = np.zeros(6)


@pytest.fixture(scope="module")
def actor() -> tuple[Stage, Muscles]:
    """The first person before CASME II's camera."""
    rng = np.random.default_rng(0)
    stage = Stage(take_portrait(load_still(IDENTITIES[0]), CAMERAS["casme2"], rng), CAMERAS["casme2"])
    return stage, muscles(stage.portrait, rng)


@pytest.fixture(scope="module")
def people() -> list[tuple[Portrait, Muscles]]:
    """Everybody but the one in three-quarter view, whose motion is foreshortened."""
    portraits = [
        take_portrait(load_still(identity), CAMERAS["casme2"], np.random.default_rng(identity.number))
        for identity in IDENTITIES[:-1]
    ]
    return [(portrait, muscles(portrait, np.random.default_rng(seed))) for seed, portrait in enumerate(portraits)]


def _move(own: Muscles, **units: float) -> np.ndarray:
    activations = np.array([units.get(name, 0.0) for name in AU_NAMES])
    return np.asarray(np.einsum("a,asvd->vd", activations, own.moves)[:, :2])


@pytest.mark.parametrize("units", [{"AU12": 0.5, "AU06": 0.4}, {"AU43": 0.8}, {"AU26": 0.3, "AU01": 0.5, "AU05": 0.5}])
def test_backward_undoes_forward(actor: tuple[Stage, Muscles], units: dict[str, float]) -> None:
    """Also where a lid closes over four fifths of the eye: to a tenth of a pixel."""
    stage, own = actor
    forward = stage.forward(_move(own, **units), np.array([0.01, -0.005, 0, 0, 0.01, 0.01]))
    backward = stage.backward(forward)
    rows, columns = np.mgrid[: forward.shape[0], : forward.shape[1]]
    at = [rows + backward[..., 1] / 2, columns + backward[..., 0] / 2]  # two px a node
    back = np.stack([map_coordinates(forward[..., axis], at, order=1, mode="nearest") for axis in (0, 1)], -1)
    assert np.abs(back + backward).max() < 0.1


def test_a_stage_is_the_same_whenever_it_is_built(actor: tuple[Stage, Muscles]) -> None:
    """With one thread and with several; a distance transform gave now one, now another answer in its last digit."""
    known = actor[0]
    field = known.forward(_move(actor[1], AU12=1.0), STILL_HEAD)
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        for _ in range(8):
            again = Stage(known.portrait, known.camera)
            np.testing.assert_array_equal(again.forward(_move(actor[1], AU12=1.0), STILL_HEAD), field)
    finally:
        cv2.setNumThreads(threads)


def test_without_motion_the_still_comes_out_unchanged(actor: tuple[Stage, Muscles]) -> None:
    """No displacement, no resampling loss."""
    stage, own = actor
    frame = stage.resample(stage.backward(stage.forward(_move(own), STILL_HEAD)))
    np.testing.assert_allclose(frame, stage.portrait.image, atol=1e-3)


@pytest.mark.parametrize(
    ("unit", "vertex", "direction"),
    [
        ("AU01", 107, (0, -1)),
        ("AU02", 105, (0, -1)),
        ("AU04", 55, (1, 1)),
        ("AU06", 117, (0, -1)),
        ("AU12", 61, (-1, -1)),
        ("AU12", 291, (1, -1)),
        ("AU15", 61, (0, 1)),
        ("AU17", 199, (0, -1)),
        ("AU20", 291, (1, 0)),
        ("AU26", 152, (0, 1)),
        ("AU43", 159, (0, 1)),
    ],
)
def test_every_person_moves_skin_where_facs_says(
    people: list[tuple[Portrait, Muscles]], unit: str, vertex: int, direction: tuple[int, int]
) -> None:
    """Whatever is disturbed from person to person, some percent of the face's width in about the right direction."""
    for number, (portrait, own) in enumerate(people):
        move = _move(own, **{unit: 1.0})[vertex]
        size = float(np.linalg.norm(move))
        assert 0.004 < size / portrait.face_width < 0.12, number
        assert move @ direction / size / np.linalg.norm(direction) > 0.5, number


def test_no_two_people_have_the_same_muscles() -> None:
    """A smile differs from person to person in where skin goes, not only in how far; still it is a smile."""
    portrait = take_portrait(load_still(IDENTITIES[0]), CAMERAS["casme2"], np.random.default_rng(0))
    smile = [_move(muscles(portrait, np.random.default_rng(seed)), AU12=1.0).ravel() for seed in range(6)]
    alike = np.corrcoef(smile)[np.triu_indices(6, 1)]
    assert alike.max() < 0.99
    assert np.median(alike) < 0.97
    assert alike.min() > 0.5
