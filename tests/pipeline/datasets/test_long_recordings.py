"""Whole recordings with intervals: of CAS(ME)^2, of SAMM Long Videos, of a table of clips, and of plain videos."""

from pathlib import Path

import numpy as np
import pytest
from openpyxl import Workbook

from pipeline.datasets import scan_dataset
from pipeline.synthesis.layouts.casme_sq import CasmeSqWriter
from pipeline.synthesis.layouts.files import VideoFile, write_image
from pipeline.synthesis.layouts.writer import SyntheticExpression, SyntheticRecording
from schemas.clip import Clip, DatasetScan, ImageSequence, VideoSegment
from schemas.errors import DatasetNotFoundError
from tests.pipeline.datasets.tiny_clips import write_tiny


def frame(grey: int) -> np.ndarray:
    return np.full((48, 64, 3), grey, np.uint8)


def video(path: Path, frames: int, fps: float = 30) -> None:
    file = VideoFile(path, fps)
    file.append(frame(20 + position) for position in range(frames))
    file.close()


def recordings(scan: DatasetScan) -> dict[str, Clip]:
    return {clip.key: clip for clip in scan.clips}


def spans(clip: Clip) -> list[tuple[int, int | None, int, str]]:
    return [(one.onset, one.apex, one.offset, one.label.expression_type) for one in clip.intervals]


def test_casme_sq_videos_with_and_without_expressions(tmp_path: Path) -> None:
    writer = CasmeSqWriter(tmp_path / "casme", "rawvideo", quirks=False, seed=0)
    shown = (
        SyntheticExpression("micro", "positive", {"12": ""}, 10, 14, 20),
        SyntheticExpression("macro", "negative", {"4": ""}, 40, 50, 60),
    )
    frames = [frame(20 + position) for position in range(80)]
    writer.write_recording(SyntheticRecording(0, 0, frames, shown))
    writer.write_recording(SyntheticRecording(0, 1, frames[:50], ()))
    writer.close()
    _, scan = scan_dataset(tmp_path / "casme", long=True)
    found = recordings(scan)
    assert set(found) == {"casme-sq/s15/0101", "casme-sq/s15/0102"}
    whole, neutral = found["casme-sq/s15/0101"], found["casme-sq/s15/0102"]
    assert spans(whole) == [(11, 15, 21, "micro"), (41, 51, 61, "macro")]  # frames count from 1
    assert [one.label.emotion for one in whole.intervals] == ["positive", "negative"]
    assert (whole.onset, whole.offset, whole.fps, whole.label.emotion) == (1, 80, 30, None)
    assert isinstance(whole.source, VideoSegment)
    assert (whole.source.start, whole.source.count) == (0, 80)
    assert (neutral.intervals, neutral.offset, neutral.usable) == ((), 50, True)


def test_casme_sq_frames_of_both_clips_of_a_video_are_one_recording(tmp_path: Path) -> None:
    write_tiny("casme-sq", tmp_path / "casme", "rawpic")  # recordings of 10 frames: onset 3, apex 6, offset 8, ...
    _, clips = scan_dataset(tmp_path / "casme")
    _, scan = scan_dataset(tmp_path / "casme", long=True)
    assert sum(len(clip.intervals) for clip in scan.clips) == len(clips.clips)
    for clip in scan.clips:
        assert isinstance(clip.source, ImageSequence)
        assert len(clip.source.names) == len(list((tmp_path / "casme" / clip.source.folder).glob("*.jpg")))
        assert [one.onset % 10 for one in clip.intervals] == [3] * len(clip.intervals)


def test_cut_clips_are_refused(tmp_path: Path) -> None:
    write_tiny("casme-sq", tmp_path / "casme", "selectedpic")
    with pytest.raises(DatasetNotFoundError, match="--long needs whole recordings, and its layout selectedpic"):
        scan_dataset(tmp_path / "casme", long=True)


def test_samm_long_movements_are_intervals_of_their_video(tmp_path: Path) -> None:
    for number in range(1, 41):
        for name in ("006_1", "006_2"):
            write_image(tmp_path / "SAMM_longvideos" / name / f"{name}_{number:04d}.jpg", frame(number))
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = "FACS_Movement_Only"
    sheet.append(["Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration",
                  "Type (Micro - 1/2, Macro)", "Action Units", "Notes"])  # fmt: skip
    sheet.append(["006", "006_1_1", 1, 5, 8, 12, 8, "Micro - 1/2", "4", ""])
    sheet.append(["006", "006_1_2", 1, 20, -1, 39, 20, "Macro", "12", ""])
    book.save(tmp_path / "SAMM_LongVideos_V1_Release.xlsx")
    _, scan = scan_dataset(tmp_path, long=True)
    found = recordings(scan)
    assert spans(found["samm-long/006/006_1"]) == [(5, 8, 12, "micro"), (20, None, 39, "macro")]
    assert found["samm-long/006/006_2"].intervals == ()
    assert found["samm-long/006/006_1"].fps == 200
    assert len(found["samm-long/006/006_1"].source.numbers) == 40  # type: ignore[union-attr]


def test_rows_of_a_table_are_intervals_of_the_video_that_they_name(tmp_path: Path) -> None:
    for name in ("a/talk.avi", "b/talk.avi", "b/quiet.avi"):
        video(tmp_path / name, 60)
    (tmp_path / "clips.csv").write_text(
        "subject,clip,path,onset,apex,offset,emotion,expression_type\n"
        "ann,one,a/talk.avi,31,40,50,happiness,\n"  # 20 frames at 30 fps: longer than half a second
        "ann,two,a/talk.avi,5,,19,anger,\n"  # 15 frames: exactly half a second
        "ann,three,b/talk.avi,1,,10,fear,macro\n"
        "bob,none,b/quiet.avi,,,,,\n"
    )
    _, scan = scan_dataset(tmp_path / "clips.csv", long=True)
    found = recordings(scan)
    assert set(found) == {"clips/ann/a_talk.avi", "clips/ann/b_talk.avi", "clips/bob/quiet"}
    assert spans(found["clips/ann/a_talk.avi"]) == [(5, None, 19, "micro"), (31, 40, 50, "macro")]
    assert spans(found["clips/ann/b_talk.avi"]) == [(1, None, 10, "macro")]
    assert found["clips/bob/quiet"].intervals == ()


def test_plain_videos_are_recordings_without_intervals(tmp_path: Path) -> None:
    video(tmp_path / "talk.avi", 30)
    _, scan = scan_dataset(tmp_path / "talk.avi", long=True)
    [clip] = scan.clips
    assert (clip.long, clip.intervals, clip.offset) == (True, (), 30)


def test_smic_e_clips_are_recordings_with_up_to_three_expressions(tmp_path: Path) -> None:
    """As in the published sheet, whose empty columns have no head, and where cells may hold text."""
    folder = tmp_path / "SMIC-E_raw image" / "HS_long" / "SMIC-HS-E"
    for subject, name, first in (("s01", "s1_ne_01", 559_700), ("s02", "s2_po_03", 1_000)):
        for number in range(first, first + 30):
            write_image(folder / subject / name / f"image{number}.jpg", frame(number % 200))
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = "HS"
    sheet.append(["Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F", None,
                  "FirstF", "LastF", "TotalMF1", "TotalVL", "Emotion"])  # fmt: skip
    sheet.append([1, "s1_ne_01", None, 559_703, 559_709, 559_715, 559_728, None, None, None,
                  559_700, "MISSING <-426679", 7, 30, "negative"])  # fmt: skip
    sheet.append([2, "s2_po_03", None, 1_010, 1_020, None, None, None, None, None, 1_000, 1_029, 11, 30, "positive"])
    book.save(tmp_path / "SMIC-HS-E_annotation.xlsx")
    _, scan = scan_dataset(tmp_path, long=True)
    found = recordings(scan)
    assert set(found) == {"smic-hs-e/s1/s1_ne_01", "smic-hs-e/s2/s2_po_03"}
    one, two = found["smic-hs-e/s1/s1_ne_01"], found["smic-hs-e/s2/s2_po_03"]
    assert spans(one) == [(559_703, None, 559_709, "micro"), (559_715, None, 559_728, "micro")]
    assert spans(two) == [(1_010, None, 1_020, "micro")]
    assert [clip.intervals[0].label.emotion for clip in (one, two)] == ["negative", "positive"]
    assert (one.onset, one.offset, one.fps) == (559_700, 559_729, 100)
    assert len(one.source.numbers) == 30  # type: ignore[union-attr]


def test_casme3_recordings_have_the_expressions_of_both_sheets(tmp_path: Path) -> None:
    """Several rows name one recording, some one frame of it; case differs between sheet and folders; depth is none."""
    for part, recording in (("frame", "a"), ("frame", "b"), ("depth", "a")):
        for number in range(1, 61):
            suffix = "jpg" if part == "frame" else "png"
            write_image(tmp_path / part / "spNo.1" / recording / f"{number}.{suffix}", frame(number))
    heads = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    sheets = {
        "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx": [
            ["spNO.1", "a", "5", "8", "12", "4", "IV", "disgust"],
            ["spNO.1", "a", "30", "33", "40", "12", "I", "Happy"],
            ["spNO.1", "a", "30", "34", "40", "12", "I", "Happy"],
        ],
        "cas(me)3_part_A_MaE_label_JpgIndex_v2.xlsx": [
            ["spNO.1", "a", "10", "25", "50", "12", "I", "Happy"],
            ["spNO.1", "a", "30", "45", "58", "12", "I", "Happy"],
        ],
    }  # fmt: skip
    for name, rows in sheets.items():
        book = Workbook()
        sheet = book.worksheets[0]
        sheet.title = "label"
        for row in (heads, *rows):
            sheet.append(row)
        book.save(tmp_path / name)
    _, scan = scan_dataset(tmp_path, long=True)
    found = recordings(scan)
    assert set(found) == {"casme3/spNO.1/a", "casme3/spNO.1/b"}
    assert spans(found["casme3/spNO.1/a"]) == [
        (5, 8, 12, "micro"), (10, 25, 50, "macro"), (30, 33, 40, "micro"), (30, 45, 58, "macro")
    ]  # fmt: skip
    assert [one.label.emotion for one in found["casme3/spNO.1/a"].intervals] == ["disgust", *["happiness"] * 3]
    assert [one.clip for one in scan.findings if one.kind == "duplicate_row"] == ["casme3/spNO.1/a_30"]
    assert found["casme3/spNO.1/b"].intervals == ()
    assert not [one for one in scan.findings if one.kind == "annotation_chosen"]
    assert (found["casme3/spNO.1/a"].fps, found["casme3/spNO.1/a"].offset) == (30, 60)
