"""`mer preprocess --long`: a store of a whole recording, sound, with its intervals; and what it refuses."""

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.preprocessing.preprocess import preprocess
from pipeline.sharing.pseudonyms import _anonymous
from pipeline.synthesis.layouts.files import VideoFile
from schemas.config import Execution, PreprocessConfig
from schemas.manifest import Segment
from schemas.store.reader import Store
from tests.pipeline.clip.test_tracking import still


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("long")
    file = VideoFile(folder / "talk.avi", 10)
    file.append([still(0)] * 40)
    file.close()
    (folder / "clips.csv").write_text(
        "subject,clip,path,onset,apex,offset,emotion\nann,one,talk.avi,11,13,15,happiness\n"
    )
    code = preprocess(
        folder / "clips.csv", out=folder / "long.zarr", options={"long": True}, config_file=None,
        execution=Execution(workers=0, device="cpu"), overwrite=False, retry_failed=False, console=Console(quiet=True),
    )  # fmt: skip
    assert code == 0
    return Store.open(folder / "long.zarr")


def test_a_long_store_is_sound_and_holds_every_frame(store: Store) -> None:
    assert verify(store, deep=True) == []
    [entry] = store.manifest.clips
    assert (entry.key, entry.n_frames, entry.onset, entry.offset) == ("clips/ann/talk", 40, 1, 40)
    assert entry.segments == (Segment(start=0, stop=40),)
    [interval] = entry.intervals
    assert (interval.onset, interval.apex, interval.offset, interval.label.emotion) == (11, 13, 15, "happiness")
    part = store.clip_array("texture", entry.key, slice(20, 25))
    assert part.shape == (5, 112, 112, 3)
    assert np.ptp(part) > 50


def test_inspect_says_minutes_and_expressions(store: Store) -> None:
    summary = summarise(store)
    assert summary["long"] == {
        "minutes": pytest.approx(4 / 60), "minutes_with_face": pytest.approx(4 / 60), "intervals": 1, "segments": 1
    }  # fmt: skip
    assert summary["emotions"] == {"happiness": 1}


def test_pseudonyms_count_intervals_from_the_first_frame_too(store: Store) -> None:
    [entry] = store.manifest.clips
    moved = _anonymous(entry.model_copy(update={"onset": 5}), "clips/p/c", 5)
    assert (moved.onset, moved.intervals[0].onset, moved.intervals[0].offset) == (1, 7, 11)


@pytest.mark.parametrize("more", [{"depth": "mesh"}, {"au": "py-feat"}, {"au_frames": "all"}])
def test_depth_and_action_units_are_of_clips(more: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="stored as texture alone"):
        PreprocessConfig.model_validate({"dataset": "clips", "long": True, "depth": "none", "au": "mesh", **more})


def test_configs_of_before_keep_their_hash() -> None:
    """The hash that a store of version 0.1 has, computed from its fields without ``long``."""
    before = PreprocessConfig(dataset="samm")
    assert "long" not in before.model_dump(exclude_defaults=True)
    assert PreprocessConfig(dataset="samm", depth="none", au="mesh", long=True).sha256 != before.sha256
