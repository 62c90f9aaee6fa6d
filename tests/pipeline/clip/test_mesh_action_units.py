"""Action units from motion: what moved is found, what did not move is not."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.mesh.estimators import MeshActionUnits
from pipeline.clip.mesh.facial_motion import FacialMotion
from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.clip.mesh.motion_model import motion_model
from schemas.errors import ActionUnitError
from tests.pipeline.clip.mesh_warps import as_clip, closed_lids, moved_face, noisy, personal_moves, turned_head
from tests.pipeline.clip.real_clip import real_clip

SIZE = 224
HEAD_ONLY = range(1, 16)  # of single_face.mp4: the head moves by 8 px in the crop, the face is still
SMILE = (24, 30, 36, 42, 48, 54, 60)  # a broad smile


def neutral() -> NDArray[np.uint8]:
    return real_clip(72, SIZE).texture[0]


def estimated(frame: NDArray[np.uint8]) -> dict[str, float]:
    units = MeshActionUnits(SIZE).estimate(as_clip(np.stack([neutral(), frame])), [1])[0]
    return dict(zip(AU_NAMES, units.tolist(), strict=True))


def strongest(units: dict[str, float], count: int) -> set[str]:
    return set(sorted(units, key=lambda name: units[name], reverse=True)[:count])


@pytest.mark.parametrize("name", [name for name in AU_NAMES if name != "AU06"])
def test_single_unit_is_the_strongest(name: str) -> None:
    """Each unit by itself, as a person's uneven version of it, comes out on top (AU06 alone passes for a smile)."""
    people = range(5) if name == "AU07" else [1]  # lids alone move by a few tenths of a pixel: one person is chance
    found = [estimated(moved_face(neutral(), personal_moves({name: 0.5}, seed=seed), seed=seed)) for seed in people]
    units = {unit: sum(person[unit] for person in found) / len(found) for unit in AU_NAMES}
    assert strongest(units, 1) == {name}
    assert units[name] > 0.05


@pytest.mark.parametrize(
    "shown", [{"AU06": 0.5, "AU12": 0.5}, {"AU01": 0.5, "AU02": 0.5}, {"AU04": 0.4, "AU17": 0.4}], ids="+".join
)
@pytest.mark.parametrize("seed", [0, 2])
def test_combination_is_found(shown: dict[str, float], seed: int) -> None:
    """The units of a combination are the strongest, and all others together stay below them."""
    units = estimated(moved_face(neutral(), personal_moves(shown, seed=seed), seed=seed))
    assert strongest(units, len(shown)) == set(shown)
    assert sum(units[name] for name in AU_NAMES if name not in shown) < sum(units[name] for name in shown)


def test_stronger_expression_is_the_same_units_at_higher_values() -> None:
    """The explanation of a motion scales with it: twice the motion, twice the activations."""
    moves = personal_moves({"AU04": 0.3, "AU12": 0.2}, seed=3)
    once, twice = (motion_model().fit(factor * moves).activations for factor in (1.0, 2.0))
    np.testing.assert_allclose(twice, 2 * once, atol=0.02)
    assert once.max() > 0.1


def test_similarity_is_no_action_unit() -> None:
    """A head that shifts, turns in the plane and comes nearer moves no action unit."""
    matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), 1.5, 1.015)
    matrix[:, 2] += [3, -2]
    frame = cv2.warpAffine(neutral(), matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    assert max(estimated(noisy(frame, 1)).values()) < 0.04


@pytest.mark.parametrize(("pitch", "yaw"), [(3, 0), (0, 4), (-2, 3)])
def test_turning_head_is_no_action_unit(pitch: float, yaw: float) -> None:
    """A rigid head turned by some degrees, in perspective, moves no action unit."""
    frame = moved_face(neutral(), turned_head(pitch=pitch, yaw=yaw)[:, :2], seed=1)
    assert max(estimated(frame).values()) < 0.05


def test_noise_is_no_action_unit() -> None:
    """Another picture of the same still face: nothing."""
    assert max(estimated(noisy(neutral(), 3)).values()) < 0.01


def test_blink_is_only_a_blink() -> None:
    """Closing lids are AU43, and hardly anything else."""
    units = estimated(moved_face(neutral(), closed_lids(0.8), seed=1))
    assert strongest(units, 1) == {"AU43"}
    assert sum(units.values()) < 2 * units["AU43"]


def test_real_smile() -> None:
    """On a real person's broad smile AU12 and AU06 move the face most in every frame, and are fully active."""
    texture, model = real_clip(72, SIZE).texture, motion_model()
    motion = FacialMotion(texture[0])
    strengths = np.array([model.fit(motion.to(texture[position])).strengths for position in SMILE])
    for frame in strengths:
        assert {AU_NAMES[i] for i in np.argsort(-frame)[:2]} == {"AU06", "AU12"}
    assert strengths.mean(0)[AU_NAMES.index("AU12")] > 1
    units = estimate(SMILE)
    assert (units[:, [AU_NAMES.index("AU06"), AU_NAMES.index("AU12")]] == 1).all()
    assert ((units >= 0) & (units <= 1)).all()


def test_activations_across_a_cut_stay_in_range() -> None:
    """Between two frames that show different things every motion is nonsense, yet none is beyond full activation."""
    rng = np.random.default_rng(0)
    other = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8), (0, 0), 6)
    moves = FacialMotion(neutral()).to(other)
    assert motion_model().fit(10 * moves).strengths.max() > 1
    units = MeshActionUnits(SIZE).estimate(as_clip(np.stack([neutral(), other])), [1])
    assert ((units >= 0) & (units <= 1)).all()


def test_real_head_motion_is_no_expression() -> None:
    """While the same person only moves the head, no unit passes a tenth of what the smile reaches."""
    still = MeshActionUnits(SIZE).estimate(real_clip(72, SIZE), HEAD_ONLY)
    assert np.linalg.norm(FacialMotion(neutral()).to(real_clip(72, SIZE).texture[12]), axis=1).mean() > 5
    assert still.max() < 0.12


def estimate(positions: Sequence[int]) -> NDArray[np.float32]:
    return MeshActionUnits(SIZE).estimate(real_clip(72, SIZE), positions)


def test_onset_is_exactly_zero() -> None:
    """Intensity is motion since the onset, however the position is written."""
    units = estimate([0, 30, -72])
    assert (units[[0, 2]] == 0).all()
    assert units[1].any()


def test_result_is_float32_nonnegative_and_repeatable() -> None:
    """Equal clips give equal bytes, one by one or together."""
    units = estimate([18, 30, 60])
    assert units.dtype == np.float32
    assert units.shape == (3, len(AU_NAMES))
    assert (units >= 0).all()
    assert estimate([18, 30, 60]).tobytes() == units.tobytes()
    assert np.concatenate([estimate([60]), estimate([18])]).tobytes() == units[[2, 0]].tobytes()


def test_threads_do_not_change_the_motion() -> None:
    """Workers with other numbers of threads write the same bytes."""
    frame, threads = real_clip(72, SIZE).texture[30], cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = FacialMotion(neutral()).to(frame)
        cv2.setNumThreads(4)
        assert FacialMotion(neutral()).to(frame).tobytes() == alone.tobytes()
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("size", [112, 300])
def test_other_crop_sizes_agree(size: int) -> None:
    """Activations do not depend on the crop's size but for its resolution."""
    clip = real_clip(72, SIZE)
    texture = np.stack([cv2.resize(clip.texture[i], (size, size), interpolation=cv2.INTER_AREA) for i in (0, 24)])
    units = MeshActionUnits(size).estimate(as_clip(texture), [1])[0]
    assert np.corrcoef(units, estimate([24])[0])[0, 1] > 0.9


def test_crops_of_another_size_are_refused() -> None:
    """A clip that was aligned for another mesh is an error that names both sizes."""
    with pytest.raises(ActionUnitError, match="crops of 224 px, but the mesh backend was made for 112 px"):
        MeshActionUnits(112).estimate(real_clip(72, SIZE), [1])
