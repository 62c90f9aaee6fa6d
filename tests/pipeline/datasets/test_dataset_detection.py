"""A dataset is found by its content, however it is passed, named or nested."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline.datasets import DATASETS, scan_dataset
from pipeline.synthesis.layouts import SYNTHETIC
from pipeline.synthesis.layouts.files import VideoFile
from schemas.clip import VideoSegment
from schemas.errors import AmbiguousDatasetError, ConfigError, DatasetNotFoundError
from tests.pipeline.datasets.tiny_clips import LENGTH, frame, save_sheets, write_tiny

IMAGE_FOLDERS = {"samm": "SAMM_CROP", "casme2": "CASME2_RAW_selected", "casme-sq": "selectedpic"}
LAYOUTS = {"samm": "cropped", "casme2": "selected", "casme-sq": "selectedpic"}


def write_video(path: Path, length: int = LENGTH) -> Path:
    video = VideoFile(path, 25)
    video.append(frame(position % 10) for position in range(length))
    video.close()
    return path


@pytest.mark.parametrize("dataset", IMAGE_FOLDERS)
def test_every_way_to_pass_a_dataset_gives_the_same_scan(tmp_path: Path, dataset: str) -> None:
    """Root, parent, and image folder (annotation in its parent) give one scan with one effective root."""
    root = tmp_path / "above" / "some data"
    write_tiny(dataset, root, LAYOUTS[dataset])
    base, scan = scan_dataset(root)
    assert base == root
    assert scan.dataset == dataset
    assert scan_dataset(tmp_path / "above") == (base, scan)
    assert scan_dataset(tmp_path) == (base, scan)
    assert scan_dataset(root / IMAGE_FOLDERS[dataset]) == (base, scan)


@pytest.mark.parametrize("dataset", IMAGE_FOLDERS)
def test_annotation_beside_the_subject_folders(tmp_path: Path, dataset: str) -> None:
    """An image folder that holds the spreadsheet itself is a root."""
    keys = write_tiny(dataset, tmp_path, LAYOUTS[dataset])
    images = tmp_path / IMAGE_FOLDERS[dataset]
    for path in tmp_path.glob("*.xlsx"):
        path.rename(images / path.name)
    base, scan = scan_dataset(images)
    assert base == images
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(keys)


@pytest.mark.parametrize("dataset", SYNTHETIC)
def test_renamed_doubled_and_nested_folders(tmp_path: Path, dataset: str) -> None:
    """Folders above the clips may have any name and any depth; a doubled clip folder counts once."""
    keys = write_tiny(dataset, tmp_path / "a")
    [tree] = {clip.parent for clip in (tmp_path / "a").rglob("*") if clip.is_dir() and _is_subject(clip.name)}
    new = tmp_path / "b" / "my copy" / "my copy" / "x"
    new.parent.mkdir(parents=True)
    for path in (tmp_path / "a").glob("*.xlsx"):
        shutil.copy(path, tmp_path / "b")
    shutil.copytree(tree, new, ignore=shutil.ignore_patterns("*.xlsx"))
    for folder in [p.parent for p in new.rglob("*") if p.is_file()]:
        if folder.exists() and not (folder / folder.name).exists():
            _double(folder)
    name = "smic-hs" if dataset == "smic" else None  # nothing but the name of a folder tells SMIC's cameras apart
    _, scan = scan_dataset(tmp_path / "b", name)
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(keys)
    assert scan.findings == ()


def _is_subject(name: str) -> bool:
    return name in ("006", "sub01", "s15", "s1", "spNO.1")


def _double(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file()]
    if files:
        (folder / folder.name).mkdir()
        for path in files:
            path.rename(folder / folder.name / path.name)


def test_a_doubled_subject_folder_and_a_folder_between(tmp_path: Path) -> None:
    """``sub01/sub01/EP..`` and ``sub02/faces/EP..`` keep their subjects."""
    keys = write_tiny("casme2", tmp_path)
    tree = tmp_path / "CASME2_RAW_selected"
    for subject, between in (("sub01", "sub01"), ("sub02", "faces")):
        (tree / subject).rename(tree / "moved")
        (tree / subject).mkdir()
        (tree / "moved").rename(tree / subject / between)
    _, scan = scan_dataset(tmp_path)
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(keys)


def test_case_of_clip_names_does_not_matter(tmp_path: Path) -> None:
    """A folder that differs from its row in case alone is that row's."""
    keys = write_tiny("casme2", tmp_path)
    for folder in list((tmp_path / "CASME2_RAW_selected").glob("*/*")):
        folder.rename(folder.with_name(folder.name.lower()))
    assert [clip.key for clip in scan_dataset(tmp_path)[1].clips if clip.usable] == sorted(keys)


def test_two_datasets_are_an_error_that_says_what_to_type(tmp_path: Path) -> None:
    """A folder with SAMM and CASME II names both; ``dataset`` chooses."""
    write_tiny("samm", tmp_path / "SAMM")
    write_tiny("casme2", tmp_path / "CASME2")
    with pytest.raises(AmbiguousDatasetError) as error:
        scan_dataset(tmp_path)
    assert "several datasets" in str(error.value)
    assert "--dataset samm   (SAMM, 8 clips in " in str(error.value)
    assert "--dataset casme2   (CASME II, 8 clips in " in str(error.value)
    assert "smic" not in str(error.value)
    assert scan_dataset(tmp_path, "samm")[1].dataset == "samm"
    base, scan = scan_dataset(tmp_path, "casme2")
    assert (base, scan.dataset, len(scan.clips)) == (tmp_path / "CASME2", "casme2", 8)
    assert scan.findings == ()


def test_the_cameras_of_smic_are_datasets_of_their_own(tmp_path: Path) -> None:
    """HS, VIS, NIR and the long clips under one root: all six are candidates, and each can be chosen or passed."""
    chosen = {}
    for layout in ("hs-raw", "vis-raw", "nir-raw", "hs-long", "vis-long", "nir-long"):
        keys = write_tiny("smic", tmp_path, layout)
        chosen[keys[0].split("/")[0]] = sorted(keys)
    with pytest.raises(AmbiguousDatasetError) as error:
        scan_dataset(tmp_path)
    assert [f"--dataset {name} " in str(error.value) for name in chosen] == [True] * 6
    for name, keys in chosen.items():
        _, scan = scan_dataset(tmp_path, name)
        assert [clip.key for clip in scan.clips if clip.usable] == keys
        assert scan.clips[0].fps == (100 if "-hs" in name else 25)
    assert scan_dataset(tmp_path / "SMIC_all_raw" / "VIS")[1].dataset == "smic-vis"
    assert scan_dataset(tmp_path / "SMIC-E_raw image" / "NIR_long")[1].dataset == "smic-nir-e"


def test_smic_without_the_name_of_a_camera(tmp_path: Path) -> None:
    """Long numbers tell HS; five digits leave VIS and NIR, which are then asked for."""
    for layout in ("hs-raw", "vis-raw"):
        write_tiny("smic", tmp_path / layout, layout)
        (tree,) = (tmp_path / layout).glob("SMIC_all_raw/*")
        tree.rename(tmp_path / f"unnamed {len(list(tmp_path.iterdir()))}")
        shutil.rmtree(tmp_path / layout)
    long, short = sorted(p for p in tmp_path.iterdir() if p.name.startswith("unnamed"))
    assert scan_dataset(long)[1].dataset == "smic-hs"
    with pytest.raises(AmbiguousDatasetError, match=r"--dataset smic-nir .*\n.*--dataset smic-vis "):
        scan_dataset(short)
    assert scan_dataset(short, "smic-nir")[1].clips[0].dataset == "smic-nir"


def test_nothing_at_the_path(tmp_path: Path) -> None:
    """A path that is not there, or cannot be, says so."""
    with pytest.raises(DatasetNotFoundError, match=r"x: no such file or folder \(File name too long\)"):
        scan_dataset(tmp_path / ("x" * 300))
    with pytest.raises(DatasetNotFoundError, match=r"absent: no such file or folder"):
        scan_dataset(tmp_path / "absent")


def test_an_empty_folder(tmp_path: Path) -> None:
    """A folder without any file has a message of its own."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(
        DatasetNotFoundError, match=r"an empty folder; expected a dataset: .*; SAMM: folders such as 006"
    ):
        scan_dataset(tmp_path)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    """The message says what was looked for and what was seen."""
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.mp3").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatasetNotFoundError) as error:
        scan_dataset(tmp_path)
    message = str(error.value)
    assert "no dataset found" in message
    assert "CASME II: folders such as sub01/EP02_01f" in message
    assert "Seen: music/, notes.txt; 1 folders, 2 files (1 " in message
    assert "1 .mp3" in message
    with pytest.raises(DatasetNotFoundError, match="Looked for SAMM: folders such as 006/006_1_2") as error:
        scan_dataset(tmp_path, "samm")
    assert "CASME" not in str(error.value)


def test_clip_folders_without_frames_are_no_dataset(tmp_path: Path) -> None:
    """Names alone do not make a dataset: at least one clip must hold a frame."""
    (tmp_path / "006" / "006_1_2").mkdir(parents=True)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(DatasetNotFoundError, match="no dataset found"):
        scan_dataset(tmp_path)


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    """Neither by its suffix nor by its content."""
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(DatasetNotFoundError, match=r"notes.txt: a file, but no video \(.avi"):
        scan_dataset(text)
    fake = tmp_path / "film.mp4"
    fake.write_text("hello")
    with pytest.raises(DatasetNotFoundError, match=r"film.mp4: not a video that can be read"):
        scan_dataset(fake)
    with pytest.raises(DatasetNotFoundError, match=r"film.mp4: a file; expected the folder of SAMM"):
        scan_dataset(fake, "samm")


def test_an_unknown_name(tmp_path: Path) -> None:
    """An unknown ``dataset`` lists the known ones."""
    with pytest.raises(ConfigError, match="'sam' is not among the datasets; did you mean samm"):
        scan_dataset(tmp_path, "sam")
    known = {"samm", "casme2", "casme-sq", "smic-hs", "smic-vis", "smic-nir", "smic-hs-e", "smic-vis-e", "smic-nir-e"}
    assert {*known, "video"} <= set(DATASETS.names())


def test_a_single_video(tmp_path: Path) -> None:
    """A video file needs no name of a dataset: one clip, all of its frames, no labels, no apex."""
    base, scan = scan_dataset(write_video(tmp_path / "smile.avi", 13))
    [clip] = scan.clips
    assert base == tmp_path
    assert clip.key == "video/smile/smile"
    assert clip.source == VideoSegment(path="smile.avi", count=13)
    assert (clip.onset, clip.apex, clip.offset, clip.fps) == (1, None, 13, 25)
    assert clip.label.emotion is None
    assert clip.usable


def test_a_folder_of_videos(tmp_path: Path) -> None:
    """Only when asked for: subjects are folders, names are stems, and a broken video fails alone."""
    write_video(tmp_path / "ann" / "b.avi")
    write_video(tmp_path / "ann" / "a.avi")
    write_video(tmp_path / "lone.avi")
    write_video(tmp_path / "one.avi", 1)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DatasetNotFoundError, match="for videos without annotation add --dataset video"):
        scan_dataset(tmp_path)
    base, scan = scan_dataset(tmp_path, "video")
    assert base == tmp_path
    assert {clip.key: clip.usable for clip in scan.clips} == {
        "video/ann/a": True,
        "video/ann/b": True,
        "video/broken/broken": False,
        "video/lone/lone": True,
        "video/one/one": False,
    }
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "x.mp3").touch()
    with pytest.raises(DatasetNotFoundError, match="no video"):
        scan_dataset(tmp_path / "music", "video")


def test_videos_of_one_stem_stay_apart(tmp_path: Path) -> None:
    """``a.avi`` beside ``a.mkv`` are two clips with two keys."""
    write_video(tmp_path / "p" / "a.avi")
    shutil.copy(tmp_path / "p" / "a.avi", tmp_path / "p" / "a.mkv")
    assert [clip.name for clip in scan_dataset(tmp_path, "video")[1].clips] == ["a.avi", "a.mkv"]


def test_symlink_loops_end(tmp_path: Path) -> None:
    """Links up, to themselves and to each other neither hang nor double a clip."""
    keys = write_tiny("samm", tmp_path / "SAMM")
    (tmp_path / "SAMM" / "006" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "SAMM" / "again").symlink_to(tmp_path / "SAMM", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "x").symlink_to(tmp_path / "y")
    (tmp_path / "y").symlink_to(tmp_path / "x")
    _, scan = scan_dataset(tmp_path)
    assert [clip.key for clip in scan.clips] == sorted(keys)
    assert scan.findings == ()


def test_links_are_followed(tmp_path: Path) -> None:
    """A tree of links to clip folders that lie elsewhere is read through them."""
    keys = write_tiny("casme2", tmp_path / "store")
    root = tmp_path / "view"
    for folder in (tmp_path / "store" / "CASME2_RAW_selected").glob("*/*"):
        link = root / "CASME2" / folder.parent.name / folder.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder, target_is_directory=True)
    (root / "coding.xlsx").symlink_to(tmp_path / "store" / "CASME2-coding-20190701.xlsx")
    base, scan = scan_dataset(root)
    assert base == root
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(keys)


@pytest.mark.parametrize("name", ["Каталог 表情 é", "a path with  spaces", "x" * 200, "glob[*]?"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    """Non-ASCII, spaced, very long and glob-like names make no difference."""
    root = tmp_path / name
    if len(name) == 200:
        root = root / name / name
    keys = write_tiny("samm", root)
    base, scan = scan_dataset(root.parent)
    assert base == root
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(keys)


def test_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.`` works, and the effective root is absolute; the annotation above it is found."""
    write_tiny("casme2", tmp_path)
    monkeypatch.chdir(tmp_path / "CASME2_RAW_selected")
    base, scan = scan_dataset(Path())
    assert base == tmp_path
    assert scan.annotation == "CASME2-coding-20190701.xlsx"


def test_an_unreadable_folder_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be listed does not stop the others; a root that may not is an error of its own."""
    keys = write_tiny("samm", tmp_path / "SAMM")
    secrets = {tmp_path / "SAMM" / "lost+found", tmp_path / "locked"}
    for secret in secrets:
        secret.mkdir()
    listed = os.scandir

    def scandir(path: Path) -> object:  # a mode of 0 would not stop a test that runs as root
        if path in secrets:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    _, scan = scan_dataset(tmp_path / "SAMM")
    assert [clip.key for clip in scan.clips] == sorted(keys)
    assert [(f.kind, f.clip) for f in scan.findings] == [("unreadable_folder", "lost+found")]
    with pytest.raises(DatasetNotFoundError, match="locked: this folder cannot be listed"):
        scan_dataset(tmp_path / "locked")


def test_litter_of_archivers_is_skipped(tmp_path: Path) -> None:
    """``__MACOSX`` and hidden folders hold no second tree."""
    write_tiny("samm", tmp_path)
    shutil.copytree(tmp_path / "006", tmp_path / "__MACOSX" / "006")
    shutil.copytree(tmp_path / "006", tmp_path / ".Trash" / "006")
    assert scan_dataset(tmp_path)[1].findings == ()


def test_unrelated_spreadsheets_are_passed_over(tmp_path: Path) -> None:
    """Other workbooks beside the annotation, broken ones too, do not matter."""
    keys = write_tiny("samm", tmp_path)
    save_sheets(tmp_path / "A budget.xlsx", [["Item", "Cost"], ["Camera", 3]])
    (tmp_path / "B broken.xlsx").write_bytes(b"")
    (tmp_path / "~$SAMM_Micro_FACS_Codes_v2.xlsx").write_bytes(b"lock")
    assert [clip.key for clip in scan_dataset(tmp_path)[1].clips] == sorted(keys)
