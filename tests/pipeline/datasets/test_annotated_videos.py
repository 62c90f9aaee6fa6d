"""Videos of an annotated dataset: what is odd about them is said of the clips that it touches."""

from pathlib import Path

from av.video.stream import VideoStream

from pipeline.datasets import scan_dataset
from schemas.clip import Clip
from tests.pipeline.clip.videos import picture, remux, write_video
from tests.pipeline.datasets.real_shapes import CASME2_COLUMNS, workbook

PICTURES = [picture(i) for i in range(40)]


def scanned(root: Path, rows: dict[str, tuple[int, int, int]]) -> dict[str, Clip]:
    """The clips of CASME II's videos at 200 fps, by name."""
    lines = [["01", name, None, *phases, None, "4", "disgust"] for name, phases in rows.items()]
    workbook(root / "CASME2-coding-20140508.xlsx", {"Sheet1": [CASME2_COLUMNS, *lines]})
    return {clip.name: clip for clip in scan_dataset(root)[1].clips}


def test_the_frame_rate_that_a_video_declares(tmp_path: Path) -> None:
    """Another one than the camera's is a finding, and the camera's is kept; frames at uneven times keep those."""
    folder = tmp_path / "CASME2_compressed" / "sub01"
    folder.mkdir(parents=True)
    even = [5 * i for i in range(40)]
    gap = [time + (60 if i >= 20 else 0) for i, time in enumerate(even)]
    write_video(folder / "EP01_01.mkv", PICTURES, times=even)
    write_video(folder / "EP02_01.mkv", PICTURES)
    write_video(folder / "EP03_01.mkv", PICTURES, times=gap)
    clips = scanned(tmp_path, {f"EP0{n}_01": (11, 15, 30) for n in (1, 2, 3)})
    assert {name: [(f.kind, f.message) for f in clip.findings] for name, clip in clips.items()} == {
        "EP01_01": [],
        "EP02_01": [
            (
                "frame_rate_differs",
                "CASME2_compressed/sub01/EP02_01.mkv: its frames come at 25 a second, the annotation's at 200, which "
                "is taken",
            )
        ],
        "EP03_01": [
            (
                "frame_rate_varies",
                "CASME2_compressed/sub01/EP03_01.mkv: frames are 5 to 65 ms apart; the frame rate, 200, is that of "
                "the median",
            )
        ],
    }
    assert {clip.fps for clip in clips.values()} == {200}
    assert clips["EP01_01"].times == clips["EP02_01"].times == ()
    seconds = [(time - gap[10]) / 1000 for time in gap[10:30]]  # of frames 11 to 30
    assert [round(time, 6) for time in clips["EP03_01"].times] == seconds


def test_damage_is_a_finding_of_the_clips_that_it_touches(tmp_path: Path) -> None:
    """Frames 15 to 20 are lost; a clip that lies behind them is sound."""
    folder = tmp_path / "CASME2_compressed" / "sub01"
    folder.mkdir(parents=True)
    whole = write_video(tmp_path / "whole.mkv", options={"bf": "0"})
    for name in ("EP01_01", "EP02_01"):
        remux(whole, folder / f"{name}.mkv", lambda index, _: index != 14)
    whole.unlink()
    clips = scanned(tmp_path, {"EP01_01": (12, 14, 18), "EP02_01": (22, 25, 30)})
    assert [finding.kind for finding in clips["EP02_01"].findings] == ["frame_rate_differs"]
    [finding] = [finding for finding in clips["EP01_01"].findings if finding.kind == "damaged_frames"]
    assert "frames 15-18 of 40 cannot be decoded" in finding.message


def test_interlaced_and_deep_videos(tmp_path: Path) -> None:
    """As of plain videos: what is done to the pixels is said."""
    folder = tmp_path / "CASME2_compressed" / "sub01"
    folder.mkdir(parents=True)

    def interlace(stream: VideoStream) -> None:
        stream.codec_context.flags |= 0x20040000  # interlaced DCT and motion

    even = [5 * i for i in range(40)]
    write_video(folder / "EP01_01.mkv", PICTURES, codec="ffv1", pixels="yuv420p10le", times=even)
    write_video(folder / "EP02_01.mkv", PICTURES, options={"x264-params": "tff=1"}, settings=interlace, times=even)
    clips = scanned(tmp_path, {"EP01_01": (12, 14, 18), "EP02_01": (12, 14, 18)})
    assert [finding.kind for finding in clips["EP01_01"].findings] == ["bit_depth_reduced"]
    assert [finding.kind for finding in clips["EP02_01"].findings] == ["deinterlaced"]
