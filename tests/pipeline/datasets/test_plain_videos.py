"""A folder of videos as people have them: what is odd about each is said, and nothing is passed over."""

import os
from pathlib import Path

from pipeline.datasets import scan_dataset
from schemas.clip import Clip
from tests.pipeline.clip.videos import picture, remux, write_video

PICTURES = [picture(i) for i in range(12)]


def test_every_kind_of_video(tmp_path: Path) -> None:
    """Frames, times, and one finding for each oddity; files that are none are named."""
    write_video(tmp_path / "plain.webm", PICTURES, codec="libvpx")
    times = [0, 40, 80, 120, 400, 440, 480, 520, 560, 600, 640, 680]
    write_video(tmp_path / "varying.mkv", PICTURES, times=times)
    write_video(tmp_path / "deep.mkv", PICTURES, codec="ffv1", pixels="yuv420p10le")
    whole = write_video(tmp_path / "whole.mkv", options={"bf": "0"})
    remux(whole, tmp_path / "damaged.mkv", lambda index, _: index != 14)
    whole.unlink()
    write_video(tmp_path / "moving.gif", PICTURES, codec="gif", pixels="rgb8")
    (tmp_path / "broken.mp4").write_bytes(b"x" * 99)
    (tmp_path / "notes.txt").touch()
    write_video(tmp_path / "a.mp4", PICTURES).rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))

    scan = scan_dataset(tmp_path, "video")[1]
    clips = {clip.name: clip for clip in scan.clips}
    assert {name: counted(clip) for name, clip in clips.items()} == {
        "plain": (12, 25, []),
        "varying": (12, 25, ["frame_rate_varies"]),
        "deep": (12, 25, ["bit_depth_reduced"]),
        "damaged": (40, 25, ["damaged_frames"]),
        "moving": (0, 25, ["no_frames"]),
        "broken": (0, 25, ["no_frames"]),
        "caf\\xe9": (0, 25, ["no_frames"]),
    }
    assert clips["varying"].times == tuple(time / 1000 for time in times)
    assert clips["plain"].times == ()
    said = {name: clip.findings[0].message for name, clip in clips.items() if clip.findings}
    assert said["varying"] == "varying.mkv: frames are 40 to 280 ms apart; the frame rate, 25, is that of the median"
    assert said["deep"].startswith("deep.mkv: pixel format yuv420p10le, reduced to 8 bits")
    assert said["damaged"].startswith("damaged.mkv: frames 15-20 of 40 cannot be decoded: Frame num gap")
    assert said["moving"].startswith("moving.gif: a GIF, whose few colours")
    assert said["caf\\xe9"] == "caf\\xe9.mp4: its name is not UTF-8; rename the file"
    (finding,) = scan.findings
    assert (finding.kind, finding.message) == ("no_video", "1 file that cannot be a video: notes.txt")


def counted(clip: Clip) -> tuple[int, float, list[str]]:
    return len(clip.source.numbers) if clip.source else 0, clip.fps, [finding.kind for finding in clip.findings]
