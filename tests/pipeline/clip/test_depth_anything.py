"""Depth Anything: equal to transformers' own way, whole under memory pressure, strict about its files."""

import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.clip.alignment import rescale, warp
from pipeline.clip.depth_anything import DepthAnything, ImageStatistics
from pipeline.weights.locate import LocatedWeights, locate
from schemas.errors import ConfigError, DepthError, WeightsInvalidError
from tests.pipeline.clip.checkpoints import (
    PREPROCESSOR,
    record_weights,
    write_random_depth_anything,
    write_small_depth_anything,
)
from tests.pipeline.clip.real_clip import real_clip

NAME = "depth-anything-v2-small"
SIZE, INPUT = 112, 126


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory) -> LocatedWeights:
    models = tmp_path_factory.mktemp("models")
    write_small_depth_anything(models)
    return locate(NAME, models)


@pytest.fixture(scope="module")
def expected(located: LocatedWeights) -> NDArray[np.float32]:
    return depth_of(estimator(located, batch=1))


def estimator(located: LocatedWeights, *, batch: int | None = None, size: int = SIZE) -> DepthAnything:
    return DepthAnything(located, size=size, input_size=INPUT, batch=batch)


def depth_of(model: DepthAnything) -> NDArray[np.float32]:
    return np.concatenate(list(model.estimate(real_clip())))


def source_crops(side: int) -> list[NDArray[np.uint8]]:
    clip = real_clip()
    return [warp(frame, rescale(clip.transform, side / clip.size), side) for frame in clip.frames]


def test_preprocessing_equals_the_image_processor(located: LocatedWeights) -> None:
    """For square crops of the model's input size, where the processor has nothing to resize, the tensors agree."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(located.folder, local_files_only=True)
    for side in (126, 518):
        crops = source_crops(side)
        theirs = processor(images=crops, size={"height": side, "width": side}, return_tensors="pt")["pixel_values"]
        ours = ImageStatistics.read(located.folder / "preprocessor_config.json")(torch.from_numpy(np.stack(crops)))
        assert ours.shape == theirs.shape == (5, 3, side, side)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("switch", ["do_rescale", "do_normalize"])
def test_preprocessing_follows_the_checkpoints_switches(tmp_path: Path, switch: str) -> None:
    """A checkpoint that does not rescale, or not normalise, gets what its own processor would give it."""
    from transformers import AutoImageProcessor

    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**PREPROCESSOR, switch: False}))
    crops = source_crops(INPUT)[:1]
    processor = AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)
    theirs = processor(images=crops, size={"height": INPUT, "width": INPUT}, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ImageStatistics.read(path)(torch.from_numpy(crops[0][None])), theirs.float())


@pytest.mark.parametrize("size", [112, 126, 224])
def test_depth_equals_transformers_from_image_to_map(located: LocatedWeights, size: int) -> None:
    """Processor, model and post-processing of transformers give the same maps from the same crops of the source."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    processor = AutoImageProcessor.from_pretrained(located.folder, local_files_only=True)
    model = AutoModelForDepthEstimation.from_pretrained(located.folder, local_files_only=True).eval()
    inputs = processor(images=source_crops(INPUT), size={"height": INPUT, "width": INPUT}, return_tensors="pt")
    with torch.inference_mode():
        found = processor.post_process_depth_estimation(model(**inputs), target_sizes=[(size, size)] * 5)
    theirs = torch.stack([one["predicted_depth"] for one in found]).numpy()
    ours = depth_of(estimator(located, size=size))
    assert ours.dtype == np.float32
    assert ours.shape == (5, size, size)
    assert np.ptp(ours) > 1  # the comparison is not one of constants
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)  # of a range of 25


def test_depth_sees_the_source_and_not_the_texture(located: LocatedWeights, expected: NDArray[np.float32]) -> None:
    """The crops come from the source frames: the stored texture has no say."""
    clip = replace(real_clip(), texture=np.zeros_like(real_clip().texture))
    np.testing.assert_array_equal(np.concatenate(list(estimator(located, batch=1).estimate(clip))), expected)


@pytest.mark.parametrize(("batch", "parts"), [(2, [2, 2, 1]), (3, [3, 2]), (5, [5]), (64, [5])])
def test_batches_keep_order_and_values(
    located: LocatedWeights, expected: NDArray[np.float32], batch: int, parts: list[int]
) -> None:
    """However the frames are grouped, each appears once, in order, with the depth that it has alone."""
    found = list(estimator(located, batch=batch).estimate(real_clip()))
    assert [len(part) for part in found] == parts
    assert np.abs(np.diff(expected, axis=0)).max() > 0.1  # a frame out of order would show
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-4)


def limit_memory(model: DepthAnything, frames: int) -> list[int]:
    """Make the network run out of memory above ``frames`` at once; returns the batches that it is asked for."""
    asked: list[int] = []

    def check(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        asked.append(len(inputs[0]))
        if len(inputs[0]) > frames:
            raise torch.OutOfMemoryError(f"no room for {len(inputs[0])}")

    model.model.register_forward_pre_hook(check)
    return asked


@pytest.mark.parametrize(("batch", "room", "asked"), [(5, 2, [5, 2, 2, 1]), (64, 1, [5, 2, 1, 1, 1, 1, 1])])
def test_out_of_memory_halves_the_batch_for_good(
    located: LocatedWeights, expected: NDArray[np.float32], batch: int, room: int, asked: list[int]
) -> None:
    """Whatever fits in the end gives the same maps, and the next clip does not try the large batch again."""
    model = estimator(located, batch=batch)
    seen = limit_memory(model, room)
    np.testing.assert_allclose(depth_of(model), expected, rtol=1e-4, atol=1e-4)
    assert seen == asked
    seen.clear()
    depth_of(model)
    assert max(seen) <= room


def test_out_of_memory_with_one_frame_is_an_error_of_the_clip(located: LocatedWeights) -> None:
    """When not even one frame fits, the clip fails with a way out, and the estimator stays usable."""
    model = estimator(located, batch=4)
    limit_memory(model, 0)
    with pytest.raises(DepthError, match=r"single_face.mp4: cpu is out of memory with one frame of 126 px \(no room"):
        depth_of(model)
    assert not model._lock.locked()


def test_failing_model_is_an_error_of_the_clip(located: LocatedWeights) -> None:
    """Another failure inside the network names the clip, not only the tensor."""
    model = estimator(located)
    model.model.head.conv1 = torch.nn.Conv2d(3, 3, 1)
    with pytest.raises(DepthError, match=r"single_face.mp4: the depth model failed on cpu: .*channels"):
        depth_of(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_depth_that_is_not_finite_names_the_frame(located: LocatedWeights, value: float) -> None:
    """One bad map in a clip is found, by the frame number of the annotation."""
    model = estimator(located, batch=2)
    calls = iter(range(3))

    def damage(_: torch.nn.Module, __: object, depth: torch.Tensor) -> torch.Tensor:
        if next(calls) == 1:
            depth[1, 0, 0] = value
        return depth

    model.model.head.register_forward_hook(damage)
    with pytest.raises(DepthError, match="the depth of frame 104 is not finite"):
        depth_of(model)


def test_threads_share_one_model(located: LocatedWeights, expected: NDArray[np.float32]) -> None:
    """Clips of several threads get their own maps, while only one thread at a time is in the network."""
    model = estimator(located, batch=2)
    inside, most = threading.Semaphore(0), []

    def enter(*_: object) -> None:
        inside.release()
        most.append(inside._value)

    def leave(*_: object) -> None:
        inside.acquire()

    model.model.register_forward_pre_hook(enter)
    model.model.register_forward_hook(leave)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: depth_of(model), range(4)):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert len(most) == 12
    assert set(most) == {1}


def test_loading_is_silent_and_leaves_transformers_logging_alone(
    located: LocatedWeights, capfd: pytest.CaptureFixture[str]
) -> None:
    """No progress bars among the lines of a run, and no setting changed for whoever else uses transformers."""
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    estimator(located)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_input_size_must_fit_the_patches(located: LocatedWeights) -> None:
    """A size that the backbone would crop silently is refused."""
    with pytest.raises(ConfigError, match=r"input size 225 px .* multiple of 14"):
        DepthAnything(located, size=112, input_size=225)


def edit(file: str, **changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def edit_backbone(**changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        backbone = json.loads((folder / "config.json").read_text())["backbone_config"]
        edit("config.json", backbone_config={**backbone, **changes})(folder)

    return apply


def rewrite(file: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(change((folder / file).read_bytes())) and None


WEIGHTS, CONFIG, PROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
DAMAGE = {
    "truncated": (rewrite(WEIGHTS, lambda data: data[:-1000]), f"{WEIGHTS}: cannot be loaded"),
    "header cut": (rewrite(WEIGHTS, lambda data: data[:100]), f"{WEIGHTS}: cannot be loaded"),
    "garbage": (rewrite(WEIGHTS, lambda data: b"<html>not found</html>"), f"{WEIGHTS}: cannot be loaded"),
    "empty": (rewrite(WEIGHTS, lambda data: b""), f"{WEIGHTS}: cannot be loaded"),
    "config not json": (rewrite(CONFIG, lambda data: data[:20]), f"{WEIGHTS}: cannot be loaded.*config.json"),
    "config of bert": (rewrite(CONFIG, lambda data: b'{"model_type": "bert"}'), f"{WEIGHTS}: cannot be loaded"),
    "config of dpt": (rewrite(CONFIG, lambda data: b'{"model_type": "dpt"}'), f"{WEIGHTS}: "),
    "other widths": (edit(CONFIG, fusion_hidden_size=24), f"{WEIGHTS}: cannot be loaded"),
    "more layers": (edit_backbone(num_hidden_layers=5), f"{WEIGHTS}: does not fit .*missing keys"),
    "fewer layers": (edit_backbone(num_hidden_layers=3, out_indices=[0, 1, 2, 3], out_features=None), f"{WEIGHTS}: "),
    "metric": (edit(CONFIG, depth_estimation_type="metric"), f"{CONFIG}: .*relative depth"),
    "no processor": (lambda folder: (folder / PROCESSOR).unlink(), f"{PROCESSOR}: no such file"),
    "processor not json": (rewrite(PROCESSOR, lambda data: data[:20]), f"{PROCESSOR}: not the image processor"),
    "processor without mean": (rewrite(PROCESSOR, lambda data: b'{"do_rescale": false}'), f"{PROCESSOR}: .*KeyError"),
    "processor with zero": (edit(PROCESSOR, image_std=[0, 1, 1]), f"{PROCESSOR}: .*ZeroDivision"),
    "processor for grey": (
        edit(PROCESSOR, image_mean=[0.5], image_std=[0.5]),
        f"{PROCESSOR}: .*1 channels, expected 3",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_or_foreign_files_are_named(
    located: LocatedWeights, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    """Nothing but the model itself loads: transformers alone would fill missing weights with random numbers."""
    folder = tmp_path / NAME
    shutil.copytree(located.folder, folder)
    damage(folder)
    with pytest.raises(WeightsInvalidError, match=f"(?s){folder}/{message}"):
        estimator(replace(located, folder=folder))


@pytest.mark.slow
def test_random_small_has_the_size_of_the_published_file(tmp_path: Path) -> None:
    """The benchmark's stand-in has the published architecture: same tensors, same names, same bytes on disk."""
    folder = write_random_depth_anything(tmp_path, "small")
    assert (folder / WEIGHTS).stat().st_size == 99_173_660
    record_weights(folder, NAME, "tests/again", WEIGHTS)
    assert locate(NAME, tmp_path).record.repository == "tests/again"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu(located: LocatedWeights, expected: NDArray[np.float32]) -> None:
    """Half precision on a GPU stays within 2 % of the range; the batch is sized from its free memory."""
    model = DepthAnything(located, device="cuda", size=SIZE, input_size=INPUT)
    assert model.batch > 1
    assert np.abs(depth_of(model) - expected).max() < 0.02 * np.ptp(expected)
