"""More faces of one photograph: found where the mesh has them, unlike each other, and still one subject."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.clip.frames import decode_image
from pipeline.clip.mtcnn import Mtcnn
from pipeline.synthesis.generator import synthesise
from pipeline.synthesis.identities import IDENTITIES, load_still
from pipeline.synthesis.looks import another_look
from pipeline.synthesis.recording import CAMERAS, Portrait, take_portrait
from schemas.errors import ConfigError


def _five_points(portrait: Portrait) -> np.ndarray:
    mesh = portrait.points[:, :2]
    return np.stack([mesh[[33, 133]].mean(0), mesh[[362, 263]].mean(0), mesh[1], mesh[61], mesh[291]])


@pytest.mark.parametrize("dataset", ["casme2", pytest.param("samm", marks=pytest.mark.slow)])
def test_a_detector_finds_the_new_face_where_its_mesh_is(dataset: str) -> None:
    """A network that knows nothing of the mesh sees one face, its points where the look moved them; mirrored or not."""
    camera = CAMERAS[dataset]
    portrait = take_portrait(load_still(IDENTITIES[0]), camera, np.random.default_rng(0))
    detector, apart, mirrored = Mtcnn(), [], set()
    for seed in range(4):
        look = another_look(portrait, camera, np.random.default_rng(seed))
        assert look.image.shape == portrait.image.shape
        image = np.broadcast_to(look.image.astype(np.uint8), (*look.image.shape[:2], 3)).copy()
        face = detector.detect(image)
        assert face is not None
        assert face.count == 1
        assert np.linalg.norm(face.points - _five_points(look), axis=1).max() < 0.2 * face.inter_eye
        apart.append(_five_points(look) / look.face_width)
        mirrored.add(bool(np.corrcoef(look.image.ravel(), portrait.image.ravel())[0, 1] < 0.9))
    assert mirrored == {False, True}
    shapes = np.stack(apart) - np.mean(apart, axis=1, keepdims=True)
    assert shapes.std(0).max() > 0.005  # of the face's width


@pytest.mark.slow
def test_looks_are_dealt_in_turn_and_stay_one_subject(tmp_path: Path) -> None:
    """The first look is the photograph, to the byte; the second is another picture; folders name one subject."""
    plain, varied = (
        synthesise("casme2", tmp_path / str(looks), subjects=1, clips=2, frames=5, seed=3, looks=looks)
        for looks in (1, 2)
    )
    assert plain.keys == varied.keys
    truth = json.loads((varied.truth / "truth.json").read_text())["clips"]
    assert [truth[key]["look"] for key in varied.keys] == [0, 1]

    assert len({key.split("/")[1] for key in varied.keys}) == 1

    pictures = [sorted(report.out.rglob("*.jpg")) for report in (plain, varied)]
    same = [a.read_bytes() == b.read_bytes() for a, b in zip(*pictures, strict=True)]
    assert any(same)
    assert not all(same)
    other = next(index for index, equal in enumerate(same) if not equal)
    a, b = (decode_image(files[other]).astype(float) for files in pictures)
    assert np.abs(a - b).mean() > 5  # grey levels: more than noise


def test_more_looks_than_clips_are_refused(tmp_path: Path) -> None:
    """A look without a clip would be none."""
    with pytest.raises(ConfigError, match="3 looks asked for, of subjects with 2 clips each; ask for 1 to 2"):
        synthesise("casme2", tmp_path / "raw", subjects=1, clips=2, frames=5, seed=0, looks=3)
