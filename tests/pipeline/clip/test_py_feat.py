"""py-feat's action units: the chip that its own detector would cut, strict files, and an import without traces."""

import json
import os
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.clip.frames import Frames, decode_image
from pipeline.clip.mesh.geometry import AU_NAMES, py_feat_folder
from pipeline.clip.mtcnn import Mtcnn
from pipeline.clip.py_feat import PyFeatActionUnits, _undisturbed
from pipeline.weights.locate import LocatedWeights, locate
from schemas.clip import ImageSequence
from schemas.errors import ActionUnitError, WeightsInvalidError
from tests.pipeline.clip.checkpoints import record_weights, write_small_py_feat
from tests.pipeline.clip.real_clip import real_clip

THREADS_AT_COLLECTION = os.environ.get("OMP_NUM_THREADS")  # before any test can have imported py-feat
FILE = "face_multitask_v28.safetensors"


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory) -> LocatedWeights:
    models = tmp_path_factory.mktemp("models")
    write_small_py_feat(models)
    return locate("py-feat", models)


@pytest.fixture(scope="module")
def estimator(located: LocatedWeights) -> PyFeatActionUnits:
    return PyFeatActionUnits(located)


def test_activations_equal_py_feats_own_path(located: LocatedWeights, estimator: PyFeatActionUnits) -> None:
    """Given our box, Detectorv2's two steps on all frames at once give the same activations, in [0, 1]."""
    from feat.multitask.inference import MultitaskModel
    from feat.utils.image_operations import extract_face_square_pad_torch

    clip = real_clip()
    frames = torch.from_numpy(np.stack(list(clip.frames))).permute(0, 3, 1, 2) / 255
    boxes = torch.tensor([clip.box] * 5)
    chips, _ = extract_face_square_pad_torch(frames, boxes, face_size=256, expand_bbox=1.2, frame_idx=torch.arange(5))
    theirs = MultitaskModel(device="cpu", weights_path=located.path)(chips)
    ours = estimator.estimate(clip, range(5))
    assert tuple(theirs.au_names) == AU_NAMES
    assert ours.dtype == np.float32
    assert np.abs(np.diff(ours, axis=0)).max() > 1e-3  # the frames differ, so a wrong order would show
    np.testing.assert_allclose(ours, theirs.au, atol=1e-5)
    assert ((ours >= 0) & (ours <= 1)).all()


@pytest.mark.parametrize("positions", [[], [3], [4, 0], [0, 0, 2], list(range(5)) * 4])
def test_rows_follow_the_positions(estimator: PyFeatActionUnits, positions: list[int]) -> None:
    """One row a position, repeated or out of order as asked, also beyond one batch."""
    each = estimator.estimate(real_clip(), range(5))
    found = estimator.estimate(real_clip(), positions)
    assert found.shape == (len(positions), len(AU_NAMES))
    np.testing.assert_allclose(found, each[positions], atol=1e-5)


def still(tmp_path: Path, *frames: NDArray[np.uint8]) -> Frames:
    names = tuple(f"{i}.png" for i in range(len(frames)))
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(tmp_path / name)
    return Frames(tmp_path, ImageSequence(folder=".", names=names, numbers=tuple(range(1, len(frames) + 1))))


def test_chip_is_the_squared_box_with_its_margin(estimator: PyFeatActionUnits, tmp_path: Path) -> None:
    """The longer side of the box fills 1 / 1.2 of the chip, unstretched; outside the frame its mirror image is seen."""
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[40:140, 120:180] = 255  # 60 wide, 100 high
    clip = replace(real_clip(), frames=still(tmp_path, frame), box=(120.0, 40.0, 180.0, 140.0))
    bright = estimator.chip(clip, 0)[0].numpy() > 0.5
    assert bright.any(axis=1).sum() == pytest.approx(256 / 1.2, abs=2)
    assert bright.any(axis=0).sum() == pytest.approx(256 / 1.2 * 0.6, abs=2)
    assert np.argwhere(bright).mean(0) == pytest.approx([127.5, 127.5], abs=2)
    frame[:] = 200
    outside = replace(clip, frames=still(tmp_path, frame), box=(-40.0, -40.0, 60.0, 60.0))
    assert estimator.chip(outside, 0).min() == pytest.approx(200 / 255, abs=1e-3)


def test_our_detectors_box_is_where_py_feat_saw_the_face() -> None:
    """MTCNN's box and the one in py-feat's published result for the same photo differ by less than 3 % of their side.

    So the chips have the field of view that the network was trained with, and need no other margin.
    """
    data = py_feat_folder() / "tests" / "data"
    x, y, width, height = pd.read_csv(data / "Feat_Test.csv").filter(like="FaceRect").iloc[0]
    face = Mtcnn().detect(decode_image(data / "single_face.jpg"))
    assert face is not None
    x1, y1, x2, y2 = face.box
    theirs, ours = max(width, height), max(x2 - x1, y2 - y1)
    assert ours == pytest.approx(theirs, rel=0.03)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((x + width / 2, y + height / 2), abs=0.03 * theirs)


def test_image_files_are_read_without_warnings(estimator: PyFeatActionUnits, tmp_path: Path) -> None:
    """Decoded images are read-only arrays, which torch would warn of."""
    clip = real_clip()
    files = replace(clip, frames=still(tmp_path, *clip.frames))
    np.testing.assert_allclose(estimator.estimate(files, [0, 4]), estimator.estimate(clip, [0, 4]), atol=1e-6)


def test_import_leaves_the_environment_alone(estimator: PyFeatActionUnits) -> None:
    """py-feat sets OMP_NUM_THREADS=1 when it is imported, which would slow every process started afterwards."""
    assert "feat" in sys.modules
    assert os.environ.get("OMP_NUM_THREADS") == THREADS_AT_COLLECTION


@pytest.mark.parametrize("before", [None, "7"])
def test_whatever_an_import_changes_is_restored(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """Environment, warning filters and torch's threads are the caller's again, also after a failure."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if before:
        monkeypatch.setenv("OMP_NUM_THREADS", before)
    filters, threads = list(warnings.filters), torch.get_num_threads()

    def disturb() -> None:
        with _undisturbed():
            os.environ["OMP_NUM_THREADS"] = "1"
            warnings.simplefilter("always")
            torch.set_num_threads(threads + 1)
            raise ImportError

    with pytest.raises(ImportError):
        disturb()
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert (list(warnings.filters), torch.get_num_threads()) == (filters, threads)


def test_weights_that_are_no_safetensors_are_never_opened(located: LocatedWeights, tmp_path: Path) -> None:
    """py-feat would unpickle a .pt file, which can run any code; we stop before."""
    record = located.record.model_copy(update={"file": "model.pt"})
    (tmp_path / "model.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(WeightsInvalidError, match=r"model.pt: expected a .safetensors file; pickled weights can run"):
        PyFeatActionUnits(LocatedWeights(tmp_path, record))


def refuse(located: LocatedWeights, folder: Path, message: str) -> None:
    with pytest.raises(WeightsInvalidError, match=f"(?s){folder}/{FILE}: {message}"):
        PyFeatActionUnits(replace(located, folder=folder))


@pytest.mark.parametrize("keep", [0, 100, 5_000_000], ids=["empty", "header cut", "truncated"])
def test_damaged_file_is_named(located: LocatedWeights, tmp_path: Path, keep: int) -> None:
    """Whatever is left of a file, the error says which file and what to do."""
    (tmp_path / FILE).write_bytes(located.path.read_bytes()[:keep])
    refuse(located, tmp_path, "cannot be loaded as py-feat's multitask model .*Fetch or copy it again")


@pytest.mark.parametrize("case", ["no config", "config not json", "other backbone", "a weight missing"])
def test_foreign_file_is_named(located: LocatedWeights, tmp_path: Path, case: str) -> None:
    """Safetensors of another model, or without py-feat's config, are refused: nothing is left at random."""
    with safe_open(located.path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    state = load_file(located.path)
    metadata = {"config": json.dumps(config)}
    match case:
        case "no config":
            metadata = {"format": "pt"}
        case "config not json":
            metadata = {"config": "{"}
        case "other backbone":
            metadata = {"config": json.dumps({**config, "backbone": "convnextv2_femto"})}
        case _:
            state.pop(next(key for key in state if key.endswith(".weight")))
    save_file(state, tmp_path / FILE, metadata=metadata)
    refuse(located, tmp_path, "cannot be loaded as py-feat's multitask model")


def test_other_action_units_are_refused(located: LocatedWeights, tmp_path: Path) -> None:
    """py-feat's older 24-unit network loads, but its columns would not be ours."""
    from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config

    with safe_open(located.path, "pt") as file:
        config = ModelV2Config(**{**json.loads(file.metadata()["config"]), "n_au": 24})
    state = {key: value.contiguous() for key, value in MEGraphAUv2(config).state_dict().items()}
    save_file(state, tmp_path / FILE, metadata={"config": json.dumps(asdict(config))})
    refuse(located, tmp_path, "has the action units AU01, .*AU16.*; expected AU01, ")


def test_activation_that_is_not_finite_names_the_frame(located: LocatedWeights, tmp_path: Path) -> None:
    """Weights with a NaN inside pass every check of the file and are found by what comes out."""
    state = load_file(located.path)
    with safe_open(located.path, "pt") as file:
        metadata = file.metadata()
    next(value for value in state.values() if value.is_floating_point()).fill_(float("nan"))
    save_file(state, tmp_path / FILE, metadata=metadata)
    record_weights(tmp_path, "py-feat", "tests/nan", FILE)
    model = PyFeatActionUnits(replace(located, folder=tmp_path))
    with pytest.raises(ActionUnitError, match=r"single_face.mp4: the action units of frame 103 are not finite"):
        model.estimate(real_clip(), [2, 4])


def test_failing_network_is_an_error_of_the_clip(located: LocatedWeights) -> None:
    """A failure inside py-feat names the clip."""
    model = PyFeatActionUnits(located)

    def fail(*_: object) -> None:
        raise RuntimeError("device lost")

    model.model.model.register_forward_pre_hook(fail)
    with pytest.raises(ActionUnitError, match=r"single_face.mp4: py-feat failed on cpu: device lost"):
        model.estimate(real_clip(), [0])
