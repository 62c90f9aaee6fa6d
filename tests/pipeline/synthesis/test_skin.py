"""How synthetic skin looks where it moves: Lambert's law, furrows where FACS has them, lips that part."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.clip.mesh.geometry import AU_NAMES, face_mesh
from pipeline.synthesis.anatomy import muscles
from pipeline.synthesis.identities import IDENTITIES, load_still
from pipeline.synthesis.recording import CAMERAS, Portrait, take_portrait
from pipeline.synthesis.rendering import Stage
from pipeline.synthesis.skin import Skin

CAMERA = CAMERAS["casme2"]


def seat(number: int, face_width: float = CAMERA.face_width) -> Portrait:
    """A person before CASME II's camera, so wide."""
    camera = replace(CAMERA, face_width=face_width)
    return take_portrait(load_still(IDENTITIES[number]), camera, np.random.default_rng(0))


def active(**units: float | tuple[float, float]) -> np.ndarray:
    """Activations ``(20, 2)``."""
    au = np.zeros((len(AU_NAMES), 2))
    for name, value in units.items():
        au[AU_NAMES.index(name)] = value
    return au


def test_what_does_not_move_looks_as_on_the_portrait() -> None:
    """No shading and no furrow."""
    portrait = seat(0)
    skin = Skin(portrait, np.random.default_rng(1))
    assert not skin.shading(np.zeros((478, 3))).any()
    still = np.ones((480, 640), np.float32)
    assert (skin.fold(still, active(AU43=0.8)) == 1).all()  # a blink folds no skin


def test_a_plane_that_turns_is_lit_by_lamberts_law() -> None:
    """At angle t its brightness is a + b cos t + c sin t; (b, c, c') is a lamp as bright as all around it."""
    flat = np.asarray(face_mesh(300).vertices, np.float64) * [1, 1, 0]
    skin = Skin(Portrait(np.zeros((480, 640, 3), np.float32), flat), np.random.default_rng(3))
    angles = np.linspace(-0.6, 0.6, 9)
    waves = np.stack([np.ones(9), np.cos(angles), np.sin(angles)], 1)

    def fitted(turned: Callable[[float], np.ndarray]) -> np.ndarray:
        bright = np.array([1 + skin.shading(turned(angle) - flat) for angle in angles])
        bright = bright[:, :468]  # irises are no part of the surface
        np.testing.assert_allclose(bright, bright[:, :1].repeat(468, 1), atol=1e-9)
        solution, rest, *_ = np.linalg.lstsq(waves, bright[:, 0], rcond=None)
        assert rest < 1e-18
        return np.asarray(solution)

    about_y = fitted(lambda t: flat[:, [0, 1, 0]] * [np.cos(t), 1, -np.sin(t)])
    about_x = fitted(lambda t: flat[:, [0, 1, 1]] * [1, np.cos(t), -np.sin(t)])
    np.testing.assert_allclose(about_x[:2], about_y[:2], atol=1e-9)
    around, lamp = about_y[0], np.array([about_y[1], about_y[2], about_x[2]])
    assert np.linalg.norm(lamp) == pytest.approx(around)
    assert lamp[0] > 0
    assert about_x[2] < 0  # from above: what looks down gets darker


def test_a_frown_folds_the_skin_between_the_brows_on_its_own_side() -> None:
    """Dark there, half as dark at half the strength, nothing at the chin or on the other side."""
    portrait = seat(0)
    skin, still = Skin(portrait, np.random.default_rng(2)), np.ones((480, 640), np.float32)
    x, y = portrait.points[[107, 9, 55, 8, 336, 285], :2].mean(0).round().astype(int)
    whole, half, right = (skin.fold(still, active(AU04=value)) for value in (0.6, 0.3, (0.6, 0.0)))
    between = (slice(y - 25, y + 25), slice(x - 30, x + 30))
    assert 0.8 < whole[between].min() < 0.97
    np.testing.assert_allclose(1 - half[between], (1 - whole[between]) / 2, atol=1e-6)
    changed = np.argwhere(np.abs(whole - 1) > 2e-3)
    assert np.abs(changed - [y, x]).max() < 45
    middle = portrait.points[9, 0]
    assert (1 - right[between])[:, : int(middle) - x + 30 - 8].max() > 0.03
    assert np.abs(1 - right[:, int(middle) + 12 :]).max() < 2e-3


def test_furrows_are_as_dark_before_every_camera() -> None:
    """Their size goes with the face, their contrast does not."""
    darkest = []
    for width in (175, 225, 300):
        skin = Skin(seat(1, width), np.random.default_rng(4))
        darkest.append(1 - skin.fold(np.ones((480, 640), np.float32), active(AU12=0.5)).min())
    assert min(darkest) > 0.7 * max(darkest)


@pytest.mark.parametrize(("number", "opens"), [(0, True), (1, True), (4, False)])
def test_lips_that_part_show_the_dark_of_the_mouth(number: int, opens: bool) -> None:
    """Where they are closed on the still; a mouth that is open there already shows its teeth."""
    portrait = seat(number)
    stage, own = Stage(portrait, CAMERA), muscles(portrait, np.random.default_rng(0))
    moved = np.einsum("as,asvd->vd", active(AU25=0.6, AU26=0.3), own.moves)[:, :2]
    frame = stage.part_lips(portrait.image, moved, np.zeros(6))
    if not opens:
        assert (frame == portrait.image).all()
        return
    x, y = ((portrait.points[13] + portrait.points[14])[:2] / 2 + moved[[13, 14]].mean(0)).round().astype(int)
    assert frame[y, x].mean() < 0.6 * portrait.image[y, x].mean()
    mouth = np.abs(frame - portrait.image).max(-1) > 1
    assert 0.02 < mouth.any(0).sum() / CAMERA.face_width < 0.6
    assert (stage.part_lips(portrait.image, np.zeros_like(moved), np.zeros(6)) == portrait.image).all()
