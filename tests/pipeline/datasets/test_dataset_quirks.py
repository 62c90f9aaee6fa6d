"""Every documented oddity of the real distributions is met with the right finding, and stops nothing else."""

import shutil
from pathlib import Path

import openpyxl
import pytest

from pipeline.clip.frames import Frames
from pipeline.datasets import scan_dataset
from pipeline.synthesis.layouts import SYNTHETIC, SyntheticClip, write_dataset
from schemas.clip import DatasetScan, Finding
from tests.pipeline.datasets.tiny_clips import (
    APEX,
    OFFSET,
    ONSET,
    clip_of,
    dataset_kinds,
    frame,
    kinds_of,
    save_sheets,
    tiny_clips,
    write_tiny,
)

CASME2_HEADER = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]


def scan_quirks(tmp_path: Path, dataset: str, layout: str | None = None) -> tuple[list[str], DatasetScan]:
    keys = write_tiny(dataset, tmp_path, layout, quirks=True)
    return keys, scan_dataset(tmp_path)[1]


def finding(scan: DatasetScan, kind: str) -> Finding:
    return next(f for f in scan.findings if f.kind == kind)


def casme2(tmp_path: Path, rows: list[list[object]], folders: dict[str, range]) -> DatasetScan:
    """A CASME II tree with the given rows and numbered frames."""
    save_sheets(tmp_path / "CASME2-coding-20140508.xlsx", [list[object](CASME2_HEADER), *rows])
    for folder, numbers in folders.items():
        (tmp_path / "RAW" / folder).mkdir(parents=True)
        for number in numbers:
            (tmp_path / "RAW" / folder / f"img{number}.jpg").touch()
    return scan_dataset(tmp_path)[1]


@pytest.mark.parametrize("dataset", SYNTHETIC)
def test_given_clips_are_all_found_among_quirks(tmp_path: Path, dataset: str) -> None:
    """The keys that the writer returns are clips of the scan, and every one of them can be processed."""
    keys, scan = scan_quirks(tmp_path, dataset)
    assert all(clip_of(scan, key).usable for key in keys)


def test_samm(tmp_path: Path) -> None:
    """SAMM: apex outside, a gap, two files of one number, odd units, litter, rows and folders on one side only."""
    keys, scan = scan_quirks(tmp_path, "samm")
    outside, gap, double, words, asymmetric, reference, litter, plain = (clip_of(scan, key) for key in keys)
    assert kinds_of(outside) == {"apex_out_of_range"}
    assert outside.apex is None
    assert kinds_of(gap) == {"missing_frames"}
    assert gap.source is not None
    assert len(gap.source.numbers) == OFFSET - ONSET
    assert "1 of 6 frames missing: " in gap.findings[0].message
    assert kinds_of(double) == {"duplicate_frame"}
    assert double.source is not None
    assert len(double.source.numbers) == OFFSET - ONSET + 1
    assert kinds_of(words) == {"action_units_unparsed"}
    assert words.label.action_units is not None
    assert words.label.action_units.raw.endswith("+soft focus ")
    assert words.label.action_units.unparsed == ("soft focus",)
    assert asymmetric.label.action_units is not None
    assert [u.side for u in asymmetric.label.action_units.units[2:]] == ["asymmetric", "left"]
    assert reference.label.action_units is not None
    assert reference.label.action_units.units[-1].uncertain
    assert not litter.findings
    assert not plain.findings
    stray = clip_of(scan, "samm/037/037_7_9")
    assert not stray.usable
    assert stray.findings[0].kind == "no_frames"
    assert "row 23: nothing on disk answers to 037/037_7_9" in stray.findings[0].message
    assert finding(scan, "folder_without_row").clip == "006/006_7_8"
    assert "three certified coders" in finding(scan, "unreadable_row").message


def test_samm_pads_numbers_differently_from_clip_to_clip(tmp_path: Path) -> None:
    """Names of four and five digits both occur, and both are found by number."""
    _, scan = scan_quirks(tmp_path, "samm")
    lengths = {len(name) for clip in scan.clips if clip.source for name in clip.source.model_dump()["names"]}
    assert {len("006_1234.jpg"), len("006_01234.jpg")} <= lengths


def test_samm_folder_under_another_subject(tmp_path: Path) -> None:
    """A clip's name says whose it is; that it lies elsewhere is recorded."""
    keys = write_tiny("samm", tmp_path)
    shutil.move(tmp_path / "006" / "006_1_1", tmp_path / "007" / "006_1_1")
    clip = clip_of(scan_dataset(tmp_path)[1], keys[0])
    assert clip.usable
    assert kinds_of(clip) == {"misplaced_folder"}


@pytest.mark.parametrize("layout", ["selected", "whole", "cropped"])
def test_casme2(tmp_path: Path, layout: str) -> None:
    """CASME II: apex '/', a tail that the crops lack, litter, units '?', apex = onset, odd names."""
    keys, scan = scan_quirks(tmp_path, "casme2", layout)
    slash, tail, litter, unknown, at_onset, *_ = (clip_of(scan, key) for key in keys)
    assert [clip.name for clip in (slash, tail, litter)] == ["EP01_2", "EP06_02_01", "EP09f"]
    assert kinds_of(slash) == {"apex_missing"}
    assert slash.apex is None
    assert kinds_of(tail) == {"missing_frames"}
    assert "2 of 6 frames missing: 7-8" in tail.findings[0].message
    assert tail.offset == 1 + OFFSET
    assert not litter.findings
    assert kinds_of(unknown) == {"action_units_unparsed"}
    assert not at_onset.findings
    assert at_onset.apex == at_onset.onset
    assert finding(scan, "folder_without_row").clip.endswith("sub24/EP02_07")
    assert not clip_of(scan, "casme2/sub26/EP99_01").usable


def test_casme2_video_that_is_the_clip_alone(tmp_path: Path) -> None:
    """A video as long as the clip starts at its onset, one that reaches the offset is the recording."""
    keys = write_tiny("casme2", tmp_path, "video", quirks=True)
    root, scan = scan_dataset(tmp_path)
    whole, alone = (clip_of(scan, keys[i]).source for i in (4, 5))
    assert whole is not None
    assert alone is not None
    assert whole.model_dump()["start"] == ONSET
    assert alone.model_dump()["start"] == 0
    assert whole.numbers == alone.numbers
    for source in (whole, alone):
        assert abs(float(Frames(root, source)[APEX - ONSET].mean()) - float(frame(APEX).mean())) < 5


def test_casme2_video_that_is_neither(tmp_path: Path) -> None:
    """A video whose length fits neither clip nor recording is not guessed at."""
    keys = write_tiny("casme2", tmp_path, "video")
    book = openpyxl.load_workbook(tmp_path / "CASME2-coding-20190701.xlsx")
    book["Sheet1"]["F2"] = 40
    book.save(tmp_path / "CASME2-coding-20190701.xlsx")
    clip = clip_of(scan_dataset(tmp_path)[1], keys[0])
    assert not clip.usable
    assert clip.source is None
    assert "10 frames; expected 38 (the clip) or at least 40 (the whole recording)" in clip.findings[0].message


@pytest.mark.parametrize(
    ("layout", "end"),
    [("selectedpic", 1 + OFFSET), ("cropped", 1 + OFFSET), ("rawpic", 1 + APEX), ("rawvideo", 1 + APEX)],
)
def test_casme_sq(tmp_path: Path, layout: str, end: int) -> None:
    """CAS(ME)^2: an offset of 0 ends at the last file, in a whole recording at the apex; odd apexes are left open."""
    keys, scan = scan_quirks(tmp_path, "casme-sq", layout)
    no_offset, no_apex, late_apex, null, commas, misspelt, *_ = (clip_of(scan, key) for key in keys)
    assert kinds_of(no_offset) == {"offset_missing"}
    assert no_offset.label.expression_type == "macro"
    assert no_offset.offset == end
    assert no_offset.source is not None
    assert no_offset.source.numbers[-1] == end
    assert kinds_of(no_apex) == {"apex_missing"}
    assert kinds_of(late_apex) == {"apex_out_of_range"}
    assert late_apex.apex is None
    assert null.label.action_units is not None
    assert (null.label.action_units.raw, null.label.action_units.units) == ("NULL", ())
    assert not null.findings
    assert commas.label.action_units is not None
    assert commas.label.action_units.raw == "4,L12"
    assert [unit.number for unit in commas.label.action_units.units] == [4, 12]
    assert (misspelt.label.raw_self_report, misspelt.label.self_report) == ("happyiness", "happiness")
    assert not misspelt.findings
    assert not clip_of(scan, "casme-sq/s40/happy5_99").usable
    if layout != "rawvideo":
        assert "folder_without_row" in dataset_kinds(scan)


def test_casme_sq_recording_in_another_subjects_folder(tmp_path: Path) -> None:
    """``rawpic/s19/23_0502funnyerrors`` belongs to subject 23, and is used for them with a finding."""
    frames = [frame(position) for position in range(10)]
    clips = [
        SyntheticClip(subject, 0, "positive", {"12": ""}, frames, ONSET, APEX, OFFSET)
        for subject in (SYNTHETIC["casme-sq"].subjects.index("s19"), SYNTHETIC["casme-sq"].subjects.index("s23"))
    ]
    keys = write_dataset("casme-sq", tmp_path, clips, layout="rawpic", quirks=True)
    assert (tmp_path / "rawpic" / "s19" / "23_0502funnyerrors").is_dir()
    clip = clip_of(scan_dataset(tmp_path)[1], keys[1])
    assert clip.subject == "s23"
    assert clip.source is not None
    assert clip.source.path == "rawpic/s19/23_0502funnyerrors"
    assert "misplaced_folder" in kinds_of(clip)


def test_casme_sq_recordings_of_one_stimulus_share_a_folder(tmp_path: Path) -> None:
    """Two expressions in one recording are two clips of its folder, with different frames."""
    frames = [frame(position) for position in range(10)]
    clips = [SyntheticClip(0, index, "others", {"4": ""}, frames, ONSET, APEX, OFFSET) for index in (0, 2)]
    keys = write_dataset("casme-sq", tmp_path, clips, layout="rawpic")
    _, scan = scan_dataset(tmp_path)
    first, second = (clip_of(scan, key).source for key in keys)
    assert first is not None
    assert second is not None
    assert first.path == second.path
    assert second.numbers == tuple(number + 10 for number in first.numbers)


def test_casme_sq_without_its_other_sheets(tmp_path: Path) -> None:
    """A workbook of one sheet is read with the published names of folders and videos, and this is said."""
    keys = write_tiny("casme-sq", tmp_path, "rawpic")
    path = tmp_path / "CAS(ME)^2code_final.xlsx"
    rows = [list(row) for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)]
    save_sheets(path, rows)
    _, scan = scan_dataset(tmp_path)
    assert sorted(keys) == [clip.key for clip in scan.clips if clip.usable]
    assert "annotation_incomplete" in dataset_kinds(scan)


@pytest.mark.parametrize("layout", ["hs-raw", "vis-cropped"])
def test_smic(tmp_path: Path, layout: str) -> None:
    """SMIC: litter and ``non_micro`` are left out, a gap is found, no apex is invented."""
    keys, scan = scan_quirks(tmp_path, "smic", layout)
    litter, gap, *others = (clip_of(scan, key) for key in keys)
    assert not litter.findings
    assert kinds_of(gap) == {"missing_frames"}
    assert all(not clip.findings for clip in others)
    assert {clip.key for clip in scan.clips} == set(keys)
    assert all(clip.apex is None for clip in scan.clips)
    assert list(tmp_path.rglob("non_micro"))


def test_smic_numbers_of_six_to_eight_digits_in_one_subject(tmp_path: Path) -> None:
    """HS frame numbers differ in length inside one subject."""
    frames = [frame(position) for position in range(10)]
    clips = [SyntheticClip(0, index, "negative", {}, frames, ONSET, APEX, OFFSET) for index in range(12)]
    write_dataset("smic", tmp_path, clips)
    assert {len(str(clip.onset)) for clip in scan_dataset(tmp_path)[1].clips} == {6, 7, 8}


def test_smic_folder_is_trusted_over_the_name(tmp_path: Path) -> None:
    """A clip sorted under another emotion than its name says gets the folder's, and a finding."""
    write_tiny("smic", tmp_path)
    tree = tmp_path / "SMIC_all_raw" / "HS" / "s1" / "micro"
    shutil.move(tree / "negative" / "s1_ne_01", tree / "surprise" / "s1_ne_01")
    clip = clip_of(scan_dataset(tmp_path)[1], "smic-hs/s1/s1_ne_01")
    assert clip.label.emotion == "surprise"
    assert kinds_of(clip) == {"label_conflict"}


def test_smic_e(tmp_path: Path) -> None:
    """SMIC-E: the sheet's emotion yields to the name, text in a number, a second expression, formulas, closing rows."""
    keys, scan = scan_quirks(tmp_path, "smic", "hs-long")
    litter, gap, conflict, double, text, *_ = (clip_of(scan, key) for key in keys)
    assert not litter.findings
    assert kinds_of(gap) == {"missing_frames"}
    assert kinds_of(conflict) == {"label_conflict"}
    assert (conflict.label.raw_emotion, conflict.label.emotion) == ("negative", "surprise")
    assert not double.findings
    second = clip_of(scan, f"{double.key}_2")
    assert second.usable
    assert double.offset is not None
    assert second.onset == double.offset + 1
    assert kinds_of(text) == {"missing_frames"}
    assert text.usable
    assert "MISSING <-" in text.findings[0].message
    assert "clips in total" in finding(scan, "unreadable_row").message
    assert not clip_of(scan, "smic-hs-e/s20/s20_sur_99").usable
    # The offsets are formulas: without their stored values nothing above could hold.
    formulas = openpyxl.load_workbook(tmp_path / "SMIC-HS-E_annotation.xlsx")["HS"]["E2"].value
    assert str(formulas).startswith("=D2+")


def test_one_bad_row_stops_no_other(tmp_path: Path) -> None:
    """Rows bad in every field are findings; the good row beside them is a clip."""
    good = ["01", "EP02_01f", 10, 12, 14, "4+7", "disgust"]
    bad: list[list[object]] = [
        ["02", "EP02_01f", "x", 12, 14, "4", "disgust"],
        ["03", "EP02_01f", 14, 12, 10, "4", "disgust"],
        ["04", "EP02_01f", 10, 12, 99999999999999, "4", "disgust"],
        ["05", "EP02_01f", 10, "", None, "4", "disgust"],
        ["06", "EP02_01f", 10, 12, 14, "4", "bored"],
        [None, "EP02_01f", 10, 12, 14, "4", "disgust"],
        ["zz", "nothing"],
    ]
    folders = {f"sub{n:02d}/EP02_01f": range(10, 15) for n in range(1, 7)}
    scan = casme2(tmp_path, [*bad, good], folders)
    assert not clip_of(scan, "casme2/sub01/EP02_01f").findings
    assert kinds_of(clip_of(scan, "casme2/sub02/EP02_01f")) == {"onset_missing"}
    assert kinds_of(clip_of(scan, "casme2/sub03/EP02_01f")) == {"offset_out_of_range"}
    assert kinds_of(clip_of(scan, "casme2/sub04/EP02_01f")) == {"offset_missing"}
    assert kinds_of(clip_of(scan, "casme2/sub05/EP02_01f")) == {"apex_missing", "offset_missing"}
    unknown = clip_of(scan, "casme2/sub06/EP02_01f")
    assert kinds_of(unknown) == {"label_unknown"}
    assert (unknown.label.raw_emotion, unknown.label.emotion) == ("bored", None)
    assert sum(f.kind == "unreadable_row" for f in scan.findings) == 2
    usable = {clip.subject for clip in scan.clips if clip.usable}
    assert usable == {"sub01", "sub04", "sub05", "sub06"}


def test_a_huge_offset_costs_nothing(tmp_path: Path) -> None:
    """A mistyped offset of billions is a finding at once, not a list of billions of missing frames."""
    scan = casme2(tmp_path, [["01", "EP02_01f", 10, 12, 10**11, "4", "disgust"]], {"sub01/EP02_01f": range(10, 15)})
    assert "missing: 15-100000000000" in scan.clips[0].findings[0].message


def test_duplicate_rows(tmp_path: Path) -> None:
    """Of two rows for a clip the first is taken; whether the second repeats or contradicts it is said."""
    row: list[object] = ["01", "EP02_01f", 10, 12, 14, "4", "disgust"]
    other: list[object] = [*row[:3], 13, *row[4:]]
    scan = casme2(tmp_path, [row, row, other], {"sub01/EP02_01f": range(10, 15)})
    assert len(scan.clips) == 1
    assert scan.clips[0].apex == 12
    messages = [f.message for f in scan.findings if f.kind == "duplicate_row"]
    assert ["repeats" in messages[0], "contradicts" in messages[1]] == [True, True]
    assert "row 3" in messages[0]


@pytest.mark.parametrize(
    ("numbers", "kind", "usable"),
    [
        (range(10, 11), "single_frame", False),
        (range(12, 15), "missing_frames", False),  # without its onset
        (range(10, 12), "missing_frames", True),
        (range(20, 25), "no_frames", False),
        (range(0), "no_frames", False),
    ],
)
def test_frames_on_disk_against_the_row(tmp_path: Path, numbers: range, kind: str, usable: bool) -> None:
    """Two frames with the onset among them are a clip; a single one, none, or none at the onset are not."""
    rows: list[list[object]] = [
        ["01", "EP02_01f", 10, 12, 14, "4", "fear"],
        ["02", "EP02_01f", 10, 12, 14, "4", "fear"],
    ]
    scan = casme2(tmp_path, rows, {"sub01/EP02_01f": numbers, "sub02/EP02_01f": range(10, 15)})
    clip = scan.clips[0]
    assert kind in kinds_of(clip)
    assert clip.usable is usable
    assert scan.clips[1].usable


def test_an_apex_without_a_file_is_left_open(tmp_path: Path) -> None:
    """A missing apex frame is no apex."""
    (tmp_path / "RAW" / "sub01" / "EP02_01f").mkdir(parents=True)
    for number in (10, 11, 13, 14):
        (tmp_path / "RAW" / "sub01" / "EP02_01f" / f"img{number}.jpg").touch()
    scan = casme2(tmp_path, [["01", "EP02_01f", 10, 12, 14, "4", "fear"]], {})
    assert scan.clips[0].apex is None
    assert kinds_of(scan.clips[0]) == {"missing_frames", "apex_missing"}


def test_objective_classes_from_their_own_spreadsheet(tmp_path: Path) -> None:
    """The version of 2014 has no objective classes; the spreadsheet that adds them is joined by subject and name."""
    save_sheets(
        tmp_path / "CASME2-ObjectiveClasses.xlsx", [["Subject", "Filename", "Objective Class"], [1, "EP02_01f", 3]]
    )
    scan = casme2(tmp_path, [["01", "EP02_01f", 10, 12, 14, "4", "fear"]], {"sub01/EP02_01f": range(10, 15)})
    assert scan.annotation == "CASME2-coding-20140508.xlsx"
    assert scan.clips[0].label.objective_class == 3
    assert scan.expected["emotion:sadness"] == 7


def test_the_revised_annotation_is_preferred(tmp_path: Path) -> None:
    """With both versions the one of 2019 is read, its counts are expected, and the choice is recorded."""
    write_tiny("casme2", tmp_path)
    save_sheets(
        tmp_path / "CASME2-coding-20140508.xlsx",
        [list[object](CASME2_HEADER), ["01", "EP02_01f", 1, 2, 3, "4", "fear"]],
    )
    _, scan = scan_dataset(tmp_path)
    assert scan.annotation == "CASME2-coding-20190701.xlsx"
    assert scan.expected["emotion:sadness"] == 4
    assert "CASME2-coding-20140508.xlsx" in finding(scan, "annotation_chosen").message


def test_two_copies_of_a_dataset_keep_their_own_annotations(tmp_path: Path) -> None:
    """The tree that is taken is read with the spreadsheet beside it, not with the other copy's."""
    keys = write_tiny("samm", tmp_path / "b full")
    write_dataset("samm", tmp_path / "a part", list(tiny_clips("samm"))[:2], seed=9)
    _, scan = scan_dataset(tmp_path)
    assert scan.annotation == "b full/SAMM_Micro_FACS_Codes_v2.xlsx"
    assert [clip.key for clip in scan.clips if not clip.findings] == sorted(keys)
    assert dataset_kinds(scan) == {"layout_chosen", "annotation_chosen"}


@pytest.mark.parametrize(
    ("dataset", "order"),
    [
        ("samm", ["raw", "cropped"]),
        ("casme2", ["selected", "whole", "cropped", "video"]),
        ("casme-sq", ["selectedpic", "rawpic", "cropped", "rawvideo"]),
        ("smic", ["hs-raw", "hs-cropped"]),
    ],
)
def test_layouts_side_by_side(tmp_path: Path, dataset: str, order: list[str]) -> None:
    """Of several trees the preferred is taken, the finding names the others, and passing a tree's folder chooses it."""
    folders = {}
    for layout in order:
        alone = tmp_path / "alone" / layout
        write_tiny(dataset, alone, layout)
        folders[layout] = scan_dataset(alone)[1].clips[0].source
        write_tiny(dataset, tmp_path / "all", layout)
    root, scan = scan_dataset(tmp_path / "all")
    assert scan.layout == order[0].removeprefix("hs-")
    message = finding(scan, "layout_chosen").message
    assert "left out" in message
    assert message.count(f"{len(list(tiny_clips(dataset)))} clips") == len(order)
    assert root == tmp_path / "all"
    for other in finding(scan, "layout_chosen").message.split("left out: ")[1].split("; pass")[0].split("; "):
        path, layout = other.split(" (")[0], other.split(" (")[1].split(",")[0]
        if path != ".":
            _, chosen = scan_dataset(root / path)
            assert chosen.layout == layout
