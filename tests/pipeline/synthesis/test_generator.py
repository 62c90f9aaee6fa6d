"""Synthetic datasets: deterministic, counted right, with faces that are found and a truth that is true."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.clip.frames import decode_image
from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.clip.mtcnn import Mtcnn
from pipeline.datasets.detection import scan_dataset
from pipeline.synthesis.anatomy import LID_AUS
from pipeline.synthesis.generator import SynthesisReport, synthesise
from pipeline.synthesis.identities import IDENTITIES, load_still
from pipeline.synthesis.recording import CAMERAS, take_portrait
from schemas.errors import ConfigError


def _tree(*roots: Path) -> dict[str, str]:
    return {
        f"{number}/{path.relative_to(root).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for number, root in enumerate(roots)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _small(out: Path, *, dataset: str = "casme2", subjects: int = 1, clips: int = 2, seed: int = 5) -> SynthesisReport:
    return synthesise(dataset, out, subjects=subjects, clips=clips, frames=6, seed=seed)


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> SynthesisReport:
    """Two people, two clips each."""
    return _small(tmp_path_factory.mktemp("synthetic") / "CASME2", subjects=2)


@pytest.mark.slow
def test_equal_arguments_give_equal_bytes_and_more_subjects_change_none_of_the_first(
    casme2: SynthesisReport, tmp_path: Path
) -> None:
    """A seed fixes every byte; a subject's clips do not depend on who comes after."""
    again, alone = _small(tmp_path / "again", subjects=2), _small(tmp_path / "alone", subjects=1)
    assert _tree(again.out, again.truth) == _tree(casme2.out, casme2.truth)
    whole, part = _tree(casme2.out, casme2.truth), _tree(alone.out, alone.truth)
    shared = {name for name in part if name.endswith((".jpg", ".npz"))}
    assert len(shared) > 8
    assert {name: whole[name] for name in shared} == {name: part[name] for name in shared}


@pytest.mark.slow
def test_another_seed_gives_other_recordings(casme2: SynthesisReport, tmp_path: Path) -> None:
    """The seed matters."""
    other = _small(tmp_path / "other", subjects=1, seed=6)
    mine, theirs = (set(_tree(report.out).values()) for report in (casme2, other))
    assert not mine & theirs


def test_counts_are_as_asked(casme2: SynthesisReport, tmp_path: Path) -> None:
    """Subjects, clips, frames from onset to offset within a quarter, progress to the end."""
    calls: list[tuple[int, int]] = []
    report = synthesise(
        "smic", tmp_path / "SMIC", subjects=1, clips=3, frames=8, seed=0, progress=lambda *now: calls.append(now)
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert set(report.emotions) == {"negative", "positive", "surprise"}  # every class once, as soon as counts allow
    assert len(casme2.keys) == len(set(casme2.keys)) == 4
    assert len({key.split("/")[1] for key in casme2.keys}) == 2
    truth = json.loads((report.truth / "truth.json").read_text())
    assert list(truth["clips"]) == list(report.keys)
    for clip in truth["clips"].values():
        assert 6 <= clip["offset"] - clip["onset"] + 1 <= 10
        assert 0 < clip["onset"] < clip["apex"] < clip["offset"] < clip["frames"] - 1


def test_truth_is_complete_and_needs_no_pickle(casme2: SynthesisReport) -> None:
    """Every clip has its arrays, of the documented shapes, and they agree with the entry in truth.json."""
    truth = json.loads((casme2.truth / "truth.json").read_text())
    assert truth["action_units"] == list(AU_NAMES)
    for clip in truth["clips"].values():
        with np.load(casme2.truth / clip["file"], allow_pickle=False) as arrays:
            au, vertices, flow, depth = (arrays[name] for name in ("au", "vertices", "flow", "depth"))
        assert au.shape == (clip["frames"], 20, 2)
        assert vertices.shape == (clip["frames"], 478, 3)
        assert flow.shape == (480, 640, 2)
        assert depth.shape == (480, 640)
        named = {name: clip["au"].get(name, [0, 0]) for name in AU_NAMES}
        np.testing.assert_allclose(au[clip["apex"]], list(named.values()), atol=1e-4)
        expression = np.delete(au, AU_NAMES.index("AU43"), axis=1)  # blinks keep no time
        assert not expression[: clip["onset"] + 1].any()
        assert expression.sum((1, 2)).argmax() == clip["apex"]
        assert 0.05 <= expression.max() <= 0.6
        face = ~np.isnan(depth)
        inside = vertices[clip["apex"], :, :2].round().astype(int)
        assert face[inside[1, 1], inside[1, 0]]  # the nose
        assert depth[inside[1, 1], inside[1, 0]] > np.nanmedian(depth)
        assert np.abs(vertices[clip["apex"], 1, 2] - depth[inside[1, 1], inside[1, 0]]) < 6


def test_frames_move_as_the_truth_says_and_the_background_stays(casme2: SynthesisReport) -> None:
    """Optical flow between the written onset and apex is the true flow on the face: r > 0.9, mean error < 0.3 px."""
    truth = json.loads((casme2.truth / "truth.json").read_text())
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs: list[np.ndarray] = []
    for key, clip in truth["clips"].items():
        with np.load(casme2.truth / clip["file"], allow_pickle=False) as arrays:
            flow, face = arrays["flow"].astype(np.float32), ~np.isnan(arrays["depth"])
        _, subject, name = key.split("/")
        folder = next(path for path in casme2.out.rglob(name) if path.parent.name == subject and path.is_dir())
        files = sorted(folder.iterdir(), key=lambda path: int("".join(filter(str.isdigit, path.stem))))
        start, end = (
            cv2.cvtColor(decode_image(files[position - clip["onset"]]), cv2.COLOR_RGB2GRAY)
            for position in (clip["onset"], clip["apex"])
        )
        found = cv2.GaussianBlur(estimator.calc(start, end, np.zeros((*start.shape, 2), np.float32)), (0, 0), 4)
        pairs.append(np.stack([found[face].ravel(), flow[face].ravel()]))
        assert np.corrcoef(pairs[-1])[0, 1] > 0.7, key  # the weakest clips hardly exceed the noise
        assert np.linalg.norm(found - flow, axis=-1)[face].mean() < 0.3, key
        size = np.linalg.norm(flow, axis=-1)
        assert 0.5 < size[face].max() < 12
        edge = np.ones_like(face)
        edge[40:-40, 60:-60] = False
        assert size[edge].max() < 0.5
        assert size[face].mean() > 3 * size[edge].mean()
    assert np.corrcoef(np.concatenate(pairs, axis=1))[0, 1] > 0.9


def test_no_two_identities_are_one_person_or_one_picture_of_them() -> None:
    """Each identity is another place on another picture; faces on one picture do not overlap."""
    seats: dict[tuple[str, int], list[np.ndarray]] = {}
    for number, identity in enumerate(IDENTITIES):
        assert identity.number == number
        points = load_still(identity).points[:, :2]
        for other in seats.setdefault((identity.file, identity.frame), []):
            apart = np.linalg.norm(points.mean(0) - other.mean(0))
            assert apart > np.ptp(points[:, 0]) / 2
        seats[identity.file, identity.frame].append(points)
    videos = [identity.file for identity in IDENTITIES if identity.file != "multi_face.jpg"]
    assert len(videos) == len(set(videos))


def test_macro_expressions_are_stronger_and_coded_as_such(tmp_path: Path) -> None:
    """The same draw, several times as strong, with the word of the spreadsheet; lids keep within their way."""
    strongest = []
    for macro in (False, True):
        report = synthesise("casme-sq", tmp_path / str(macro), subjects=1, clips=2, frames=6, seed=5, macro=macro)
        _, scan = scan_dataset(report.out)
        assert {clip.label.expression_type for clip in scan.clips} == {"macro" if macro else "micro"}
        clips = json.loads((report.truth / "truth.json").read_text())["clips"].values()
        shown = [(name, max(sides)) for clip in clips for name, sides in clip["au"].items()]
        assert all(peak <= 1 for name, peak in shown if name in LID_AUS)
        strongest.append(max(peak for name, peak in shown if name not in LID_AUS))
    assert strongest[1] > 3 * strongest[0] > 0
    with pytest.raises(ConfigError, match="macro-expressions asked for, of which casme2 has no clips; casme-sq has"):
        synthesise("casme2", tmp_path / "x", subjects=1, clips=1, frames=6, seed=5, macro=True)


def test_more_subjects_than_people_is_refused(tmp_path: Path) -> None:
    """A face twice would leak between training and test."""
    with pytest.raises(
        ConfigError, match=rf"{len(IDENTITIES) + 1} subjects asked for, but there are {len(IDENTITIES)}"
    ):
        _small(tmp_path / "x", subjects=len(IDENTITIES) + 1)
    assert not (tmp_path / "x").exists()


def test_what_is_there_is_not_overwritten(casme2: SynthesisReport) -> None:
    """A folder that holds something is refused."""
    with pytest.raises(ConfigError, match=r"CASME2: already holds something"):
        _small(casme2.out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "disfa"}, "no synthetic dataset 'disfa'; known: samm, casme2, casme-sq, casme3, smic"),
        ({"clips": 0}, "0 clips of 6 frames asked for"),
        ({"subjects": 0}, "0 subjects asked for"),
    ],
)
def test_impossible_wishes_are_named(tmp_path: Path, options: dict[str, int], message: str) -> None:
    """Wrong options say which, and what there is."""
    with pytest.raises(ConfigError, match=message):
        _small(tmp_path / "x", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    """The pipeline's own detector, loaded once."""
    return Mtcnn()


@pytest.mark.slow
@pytest.mark.parametrize("dataset", CAMERAS)
def test_the_face_of_every_identity_is_found_alone_and_in_place(dataset: str, detector: Mtcnn) -> None:
    """MTCNN finds one face on every portrait, with its points where the mesh has them.

    Detection takes most of this file's time, so only one format sees everybody.
    """
    camera = CAMERAS[dataset]
    for identity in IDENTITIES if dataset == "casme2" else IDENTITIES[1::3]:
        portrait = take_portrait(load_still(identity), camera, np.random.default_rng(identity.number))
        image = np.clip(portrait.image, 0, 255).astype(np.uint8)
        assert image.shape == (camera.height, camera.width, 1 if camera.grey else 3)
        face = detector.detect(np.broadcast_to(image, (*image.shape[:2], 3)).copy())
        assert face is not None, identity
        assert face.count == 1, identity
        mesh = portrait.points[:, :2]
        points = np.stack([mesh[[33, 133]].mean(0), mesh[[362, 263]].mean(0), mesh[1], mesh[61], mesh[291]])
        assert np.linalg.norm(face.points - points, axis=1).max() < 0.2 * face.inter_eye, identity
        assert portrait.face_width == pytest.approx(camera.face_width, rel=0.07)
