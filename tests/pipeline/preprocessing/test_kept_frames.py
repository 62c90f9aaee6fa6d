"""``--frames N``: fewer frames of a clip, each as it is where all are kept, under its own number."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.clip.frames import Frames
from pipeline.clip.kept_frames import with_fewer_frames
from pipeline.inspect.verification import verify
from schemas.clip import Clip, Finding, FrameSource, ImageSequence, VideoSegment
from schemas.config import PreprocessConfig
from schemas.labels import Label
from schemas.store.reader import Store
from tests.conftest import run_preprocess
from tests.pipeline.clip.videos import index_of, write_video


def clip(source: FrameSource, onset: int | None, apex: int | None, offset: int | None, **fields: object) -> Clip:
    given = {"onset": onset, "apex": apex, "offset": offset, "fps": 200, "label": Label(), **fields}
    return Clip.model_validate({"dataset": "d", "subject": "s", "name": "c", "source": source, **given})


def images(first: int, count: int) -> ImageSequence:
    numbers = tuple(range(first, first + count))
    return ImageSequence(folder=".", names=tuple(f"img{n}.jpg" for n in numbers), numbers=numbers)


def numbers_of(kept: Clip) -> tuple[int, ...]:
    assert kept.source is not None
    return kept.source.numbers


@pytest.mark.parametrize("count", [4, 6])
def test_a_store_of_fewer_frames_is_a_part_of_the_whole_one(
    shared_casme2: Path, shared_store: Store, tmp_path: Path, count: int
) -> None:
    """Crops, transform and action units are those of the store with all frames; ``frame_number`` says of which."""
    assert run_preprocess(shared_casme2, tmp_path / "few.zarr", frames=count) == 0
    few = Store.open(tmp_path / "few.zarr")
    assert verify(few, deep=True) == []
    assert few.manifest.provenance.config.frames == count
    for index, entry in enumerate(few.manifest.clips):
        whole = shared_store.manifest.clips[index]
        numbers = few.column("frame_number")[index, : entry.n_frames].tolist()
        all_numbers = shared_store.column("frame_number")[index, : whole.n_frames].tolist()
        assert len(numbers) == count < len(all_numbers)
        assert {entry.onset, entry.apex, entry.offset} <= set(numbers)
        assert numbers[few.column("apex_index")[index]] == entry.apex
        places = [all_numbers.index(number) for number in numbers]
        np.testing.assert_array_equal(few.texture(entry.key), shared_store.texture(entry.key)[places])
        for column in ("transform", "au"):
            np.testing.assert_array_equal(few.column(column)[index], shared_store.column(column)[index])


@given(st.integers(3, 20), st.integers(3, 60), st.data())
def test_phases_are_kept_and_gaps_are_even(count: int, length: int, data: st.DataObject) -> None:
    """No more frames than asked for, none outside onset to offset, none twice, no gap beyond two even ones."""
    onset = data.draw(st.integers(1, length - 2))
    offset = data.draw(st.integers(onset + 2, length))
    apex = data.draw(st.integers(onset, offset))
    numbers = numbers_of(with_fewer_frames(clip(images(1, length), onset, apex, offset), count))
    if length <= count:
        assert numbers == tuple(range(1, length + 1))
        return
    assert len(numbers) == min(count, offset - onset + 1)
    assert {onset, apex, offset} <= set(numbers)
    assert (numbers[0], numbers[-1]) == (onset, offset)
    gaps = np.diff(numbers)
    assert gaps.min() > 0
    assert gaps.max() < 2 * (offset - onset) / (len(numbers) - 1) + 1


def test_frames_of_a_video_and_their_times(tmp_path: Path) -> None:
    """Decoded, each frame is the one of its number; a frame that cannot be decoded stays left out."""
    write_video(tmp_path / "v.avi")
    source = VideoSegment(path="v.avi", start=4, count=12, first_number=101, left_out=(9,))
    times = tuple(0.01 * i for i in range(11))
    kept = with_fewer_frames(clip(source, 102, 105, 112, times=times), 4)
    assert numbers_of(kept) == (102, 105, 109, 112)
    assert kept.times == pytest.approx((0, 0.03, 0.06, 0.09))
    frames = Frames(tmp_path, kept.source) if kept.source else []
    assert [index_of(frame) for frame in frames] == [5, 8, 12, 15]


def test_without_annotation_they_are_spread_over_the_clip() -> None:
    """SMIC has no apex, plain videos have no phases; a phase that is not on disk is not invented."""
    assert numbers_of(with_fewer_frames(clip(images(11, 9), None, None, None), 3)) == (11, 15, 19)
    assert numbers_of(with_fewer_frames(clip(images(11, 9), 12, 40, 50), 3)) == (12, 16, 19)
    assert numbers_of(with_fewer_frames(clip(images(11, 9), 19, None, 19), 3)) == (11, 15, 19)
    broken = Finding(kind="single_frame", clip="d/s/c", message="", unusable=True)
    unusable = clip(images(11, 9), 17, 15, 13, findings=(broken,))
    assert with_fewer_frames(unusable, 3) == unusable


def test_long_recordings_keep_all_frames() -> None:
    """An expression is somewhere in them."""
    with pytest.raises(ValidationError, match="--frames is of clips, and --long keeps whole recordings"):
        PreprocessConfig(dataset="d", depth="none", au="mesh", long=True, frames=8)


def test_configs_of_older_stores_keep_their_hash() -> None:
    """All frames is what they had."""
    config = PreprocessConfig(dataset="casme2")
    assert config.sha256 == PreprocessConfig(dataset="casme2", frames=None).sha256
    assert config.sha256 != PreprocessConfig(dataset="casme2", frames=16).sha256
