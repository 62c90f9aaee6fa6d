"""Every dataset in its real shape, in the trees that people keep: each clip with its own row."""

import json
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pytest
from pyarrow import parquet
from rich.console import Console

from pipeline.datasets import DATASETS, scan_dataset
from pipeline.inspect.scan import scan_exit_code, scan_report
from pipeline.preprocessing.preprocess import preprocess
from schemas.clip import DatasetScan
from schemas.config import Execution
from schemas.errors import AnnotationError
from tests.command_line import mer
from tests.pipeline.datasets import real_shapes
from tests.pipeline.datasets.old_excel import old_excel
from tests.pipeline.datasets.real_shapes import Real


def assert_read_as_written(scan: DatasetScan, real: Real) -> None:
    """Every row is a clip with the row's own values and exactly its frames; nothing is left over."""
    found = {
        clip.key: (clip.onset, clip.apex, clip.offset, clip.label.emotion, clip.label.expression_type)
        for clip in scan.clips
    }
    assert found == real.rows
    for clip in scan.clips:
        assert clip.usable, clip.findings
        assert clip.source is not None
        assert clip.source.numbers == tuple(range(real.rows[clip.key][0], real.rows[clip.key][2] + 1))
    for name, expected in scan.expected.items():
        if name.startswith("emotion:"):
            assert real.emotions[name.removeprefix("emotion:")] == expected, name
    assert scan.disagreement == ""
    assert scan_exit_code(scan) == 0


def first_quickly(shapes: Mapping[str, object] | Iterable[str]) -> list[Any]:
    """Parameters: the first shape, and as slow ones those that show the same of other folders or names."""
    named = shapes if isinstance(shapes, Mapping) else {shape: shape for shape in shapes}
    return [
        pytest.param(shape, id=name, marks=[pytest.mark.slow] * (shape != next(iter(named.values()))))
        for name, shape in named.items()
    ]


SAMM_TREES = {
    "by subject": "{subject}/{clip}",
    "doubled": "SAMM/SAMM/{subject}/{clip}",
    "by class above the subject": "{emotion}/{subject}/{clip}",
    "by class without subject": "{emotion}/{clip}",
    "flat": "{clip}",
    "split": "train/{emotion}/{clip}",
}


@pytest.mark.parametrize("tree", first_quickly(SAMM_TREES))
def test_samm(tmp_path: Path, tree: str) -> None:
    real = real_shapes.samm(tmp_path / "SAMM", tree=tree)
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


@pytest.mark.parametrize("tree", ["SAMM_CROP/{subject}/{clip}", "SAMM_cropped/{clip}"])
def test_samm_crops(tmp_path: Path, tree: str) -> None:
    real = real_shapes.samm(tmp_path, tree=tree)
    _, scan = scan_dataset(tmp_path)
    assert scan.layout == "cropped"
    assert_read_as_written(scan, real)


def test_samms_column_micro_is_read(tmp_path: Path) -> None:
    """What it calls macro is no micro-expression."""
    real_shapes.samm(tmp_path)
    path = tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(path)
    book["MICRO_ONLY"]["H20"] = "Macro"
    name = book["MICRO_ONLY"]["B20"].value
    book.save(path)
    scan = scan_dataset(tmp_path)[1]
    assert [clip.name for clip in scan.clips if clip.label.expression_type == "macro"] == [name]


def test_a_text_file_that_is_no_annotation_is_named(tmp_path: Path) -> None:
    """A ``.csv`` that lies there is in the error, with what it lacks."""
    real_shapes.samm(tmp_path)
    (tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx").unlink()
    (tmp_path / "codes.csv").write_text("Subject,Filename,Onset\n006,006_1_2,5\n")
    with pytest.raises(AnnotationError, match=r"codes\.csv.*columns missing: Onset Frame, Apex Frame"):
        scan_dataset(tmp_path)


def test_samm_edition_of_2018(tmp_path: Path) -> None:
    """The same values with the header in the first row."""
    real = real_shapes.samm(tmp_path, preamble=False)
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


CASME2_TREES = {
    "selected": "CASME2_RAW_selected/sub{subject}/{clip}",
    "cropped": "Cropped-updated/Cropped/sub{subject}/{clip}",
    "by class above the subject": "{emotion}/sub{subject}/{clip}",
    "by class below the subject": "sub{subject}/{emotion}/{clip}",
    "flat": "sub{subject}_{clip}",
    "flat with number": "data/{subject}_{clip}",
    "split": "{emotion}/train/sub{subject}/{clip}",
}


@pytest.mark.parametrize("tree", first_quickly(CASME2_TREES))
def test_casme2(tmp_path: Path, tree: str) -> None:
    image = "reg_img{n}.jpg" if "Cropped" in tree else "img{n}.jpg"
    real = real_shapes.casme2(tmp_path, tree=tree, image=image)
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


def test_casme2_whole_recordings(tmp_path: Path) -> None:
    """``CASME2-RAW`` is numbered from 1 and holds more than the clip."""
    real = real_shapes.casme2(tmp_path, tree="CASME2_RAW/CASME2-RAW/sub{subject}/{clip}", kind="whole")
    _, scan = scan_dataset(tmp_path)
    assert scan.layout == "whole"
    assert_read_as_written(scan, real)


@pytest.mark.parametrize("image", first_quickly(["reg_img{n}.jpg", "img{n}.jpg", "{n:03d}.png"]))
def test_casme2_numbered_anew_from_1(tmp_path: Path, image: str) -> None:
    """As many frames as onset to offset: the first is the onset, and every clip says so."""
    real = real_shapes.casme2(tmp_path, image=image, kind="renumbered")
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    assert Counter(finding.kind for clip in scan.clips for finding in clip.findings)["renumbered"] == 255
    first = scan.clips[0].source
    assert first is not None
    assert first.model_dump()["names"][0] == image.format(n=1)


def test_casme2_interpolated_to_ten_frames(tmp_path: Path) -> None:
    """Onset and offset are the ends, the apex is as far between them as it was, and time runs as much faster."""
    real = real_shapes.casme2(tmp_path, kind="interpolated")
    _, scan = scan_dataset(tmp_path)
    for clip in scan.clips:
        onset, apex, offset, *_ = real.rows[clip.key]
        assert apex is not None
        assert (clip.onset, clip.offset) == (1, 10)
        assert clip.apex is not None
        assert abs((clip.apex - 1) / 9 - (apex - onset) / (offset - onset)) <= 0.5 / 9 + 1e-9
        assert clip.fps == pytest.approx(200 * 9 / (offset - onset))
        assert {"interpolated"} <= {finding.kind for finding in clip.findings}


@pytest.mark.parametrize("objective", ["apart", "2019"])
def test_casme2_with_objective_classes(tmp_path: Path, objective: str) -> None:
    """In a file of their own, or in the coding of 2019, which has counts of its own."""
    real = real_shapes.casme2(tmp_path, objective=objective)
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    assert scan.expected["emotion:surprise"] == (28 if objective == "2019" else 25)
    assert {clip.label.objective_class for clip in scan.clips} == set(range(1, 8))


@pytest.mark.slow
def test_casme2_edition_of_2014_beside_that_of_2019(tmp_path: Path) -> None:
    """The later is taken, and a finding says how to have the other, with its own published counts."""
    older = real_shapes.casme2(tmp_path)
    later = real_shapes.casme2(tmp_path / "later", objective="2019")
    (tmp_path / "later" / "CASME2-coding-20190701.xlsx").rename(tmp_path / "CASME2-coding-20190701.xlsx")
    shutil.rmtree(tmp_path / "later")
    _, scan = scan_dataset(tmp_path)
    assert Counter(clip.label.emotion for clip in scan.clips) == later.emotions
    [finding] = [finding for finding in scan.findings if finding.kind == "annotation_chosen"]
    assert "taken: CASME2-coding-20190701.xlsx; left out: CASME2-coding-20140508.xlsx; --annotation" in finding.message
    chosen = scan_dataset(tmp_path, annotation=tmp_path / "CASME2-coding-20140508.xlsx")[1]
    assert_read_as_written(chosen, older)
    assert chosen.expected["emotion:surprise"] == 25


@pytest.mark.parametrize("layout", first_quickly(["selectedpic", "rawpic", "cropped", "cropped by subject", "flat"]))
def test_casme_sq(tmp_path: Path, layout: str) -> None:
    """357 of 357 with their own rows; the sheet of names has three columns: folder, its name, subject."""
    real = real_shapes.casme_sq(tmp_path, layout=layout)
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    types = Counter(clip.label.expression_type for clip in scan.clips)
    assert (types["macro"], types["micro"]) == (300, 57)


SMIC_TREES = {
    "crops": "SMIC_all_cropped/HS/{subject}/micro/{emotion}/{clip}",
    "original": "HS/{subject}/micro/{emotion}/{clip}",
    "by class": "{emotion}/{clip}",
    "by class in a folder of the camera": "HS/{emotion}/{clip}",
    "without class": "HS/{padded_subject}/{padded_clip}",
    "class above the subject": "{emotion}/{subject}/{clip}",
}


@pytest.mark.parametrize("tree", first_quickly(SMIC_TREES))
def test_smic(tmp_path: Path, tree: str) -> None:
    """All three classes and all 164 clips, those whose numbers begin with a zero too, whatever lies far above."""
    root = tmp_path / "vis" / "a" / "b" / "c" / "d" / "e" / "f" / "SMIC_all_raw"
    real = real_shapes.smic(root, tree=tree)
    _, scan = scan_dataset(root)
    assert scan.dataset == "smic-hs"
    assert_read_as_written(scan, real)


@pytest.mark.parametrize("camera", ["VIS", "NIR"])
def test_smic_with_five_digits(tmp_path: Path, camera: str) -> None:
    real = real_shapes.smic(tmp_path, tree=f"{camera}/{{subject}}/micro/{{emotion}}/{{clip}}", camera=camera)
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


@pytest.mark.parametrize(("rows", "expressions"), [(157, 172), (162, 167)])
def test_smic_e(tmp_path: Path, rows: int, expressions: int) -> None:
    """Two editions; of the workbook's sheets that of the camera is read, although another comes first."""
    real = real_shapes.smic_e(tmp_path, rows=rows, expressions=expressions)
    _, scan = scan_dataset(tmp_path)
    assert len(scan.clips) == scan.expected["clips"] == expressions
    assert_read_as_written(scan, real)


def test_smic_e_by_the_other_camera(tmp_path: Path) -> None:
    """VIS, whose sheet stands in the same workbook and lacks the last frame."""
    real = real_shapes.smic_e(tmp_path, rows=71, expressions=73, camera="VIS")
    _, scan = scan_dataset(tmp_path)
    assert scan.dataset == "smic-vis-e"
    assert_read_as_written(scan, real)


def test_fewer_clips_than_published(tmp_path: Path) -> None:
    """The last line says how many are missing, and the exit code is not 0."""
    real_shapes.smic(tmp_path, tree="{emotion}/{clip}")
    shutil.rmtree(tmp_path / "positive")
    _, scan = scan_dataset(tmp_path)
    assert len(scan.clips) == 164 - 51
    assert scan_exit_code(scan) == 1
    last = scan_report(scan).renderables[-1]  # type: ignore[attr-defined]
    assert str(last) == "113 of 113 clips can be processed; 51 of the 164 published ones were not found"


def test_names_as_macos_writes_them(tmp_path: Path) -> None:
    """A folder name with its accents taken apart is the same name."""
    real = real_shapes.samm(tmp_path / unicodedata.normalize("NFD", "Données é"))
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


def test_copies_of_a_file_manager(tmp_path: Path) -> None:
    """Copies of frames, folders and sheets are left out and named; they are no frame 1, no clip and no annotation."""
    real = real_shapes.casme2(tmp_path)
    folder = sorted((tmp_path / "CASME2_RAW_selected" / "sub01").iterdir())[0]
    image = sorted(folder.iterdir())[0]
    for suffix in (" (1)", " - Copy", " - Copy (2)", " copy"):
        shutil.copy(image, image.with_stem(image.stem + suffix))
    shutil.copytree(folder, folder.with_name(f"{folder.name} - Copy"))
    shutil.copy(tmp_path / "CASME2-coding-20140508.xlsx", tmp_path / "CASME2-coding-20140508 (1).xlsx")
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    named = [finding for clip in scan.clips for finding in clip.findings if finding.kind == "copy"]
    assert [finding.message.count(image.stem) for finding in named] == [4]
    assert sorted(finding.clip for finding in scan.findings if finding.kind == "copy") == [
        "CASME2-coding-20140508 (1).xlsx",
        f"CASME2_RAW_selected/sub01/{folder.name} - Copy",
    ]


def test_frames_numbered_by_a_file_manager_are_no_copies(tmp_path: Path) -> None:
    """``img (46).jpg`` without ``img.jpg`` is how Windows numbers a selection that is renamed."""
    real = real_shapes.casme2(tmp_path, image="img ({n}).jpg")
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


def test_litter_between_the_frames(tmp_path: Path) -> None:
    real = real_shapes.casme2(tmp_path)
    for folder in (tmp_path / "CASME2_RAW_selected").glob("*/*"):
        for name in (".DS_Store", "._img46.jpg", "Thumbs.db", "@eaDir/img7.jpg", "__MACOSX/img7.jpg"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Frames, folders and sheets named in an old code page are left out and named, and everything else is read."""
    real = real_shapes.casme2(tmp_path)
    folder = sorted((tmp_path / "CASME2_RAW_selected" / "sub01").iterdir())[0]
    third = folder / f"img{real.rows[f'casme2/sub01/{folder.name}'][0] + 2}.jpg"
    third.rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9_13.jpg"))
    shutil.copytree(folder, os.fsdecode(os.fsencode(folder.parent) + b"/EP99_01\xff"))
    shutil.copy(tmp_path / "CASME2-coding-20140508.xlsx", os.fsdecode(os.fsencode(tmp_path) + b"/CASME\xb2.xlsx"))
    code, printed, _ = mer("scan", tmp_path, "--json")
    scan = json.loads(printed)
    assert code == 0
    assert {clip["key"]: (clip["onset"], clip["offset"]) for clip in scan["clips"]} == {
        key: (onset, offset) for key, (onset, _, offset, *_) in real.rows.items()
    }
    base = "CASME2_RAW_selected/sub01"
    left_out = {f["clip"]: f["message"] for f in scan["findings"] if f["kind"] == "misnamed"}
    assert left_out == {
        where: f"{where}: names that are not UTF-8, left out; rename them: {name}"
        for where, name in (
            (".", "CASME\\xb2.xlsx"),
            (base, "EP99_01\\xff"),
            (f"{base}/{folder.name}", "caf\\xe9_13.jpg"),
        )
    }
    assert [f["clip"] for f in scan["findings"] if f["kind"] == "missing_frames"] == [f"casme2/sub01/{folder.name}"]
    moved = tmp_path.rename(os.fsdecode(os.fsencode(tmp_path) + b"\xe9"))
    code, _, error = mer("scan", moved)
    assert code == 2
    assert error.endswith("\\xe9: its name is not UTF-8; rename the file, or the folder that it is in\n")
    moved.rename(tmp_path)


def test_the_sheet_three_folders_above_the_images(tmp_path: Path) -> None:
    real = real_shapes.samm(tmp_path, tree="a/b/c/{subject}/{clip}")
    assert_read_as_written(scan_dataset(tmp_path / "a" / "b" / "c")[1], real)


def test_a_sheet_of_other_images_stops_the_run(tmp_path: Path) -> None:
    """Rows that meet no clip are named with an example, and with what lies there instead."""
    real_shapes.samm(tmp_path)
    for folder in sorted(tmp_path.glob("*/*"))[:60]:
        folder.rename(folder.with_name(folder.name + "9"))
    _, scan = scan_dataset(tmp_path)
    assert "60 of 159 rows meet no clip on disk, for example SAMM_Micro_FACS_Codes_v2.xlsx row" in scan.disagreement
    assert "--annotation FILE names another" in scan.disagreement
    assert scan_exit_code(scan) == 1


def test_part_of_a_dataset_is_one(tmp_path: Path) -> None:
    """Rows of people who are not on disk at all do not make a sheet one of other images."""
    real_shapes.samm(tmp_path)
    for folder in sorted(path for path in tmp_path.iterdir() if path.is_dir())[3:]:
        shutil.rmtree(folder)
    assert scan_dataset(tmp_path)[1].disagreement == ""


@pytest.mark.parametrize("suffix", first_quickly([".csv", ".tsv", ".xlsx", ".xls", ".parquet"]))
def test_the_annotation_can_be_named(tmp_path: Path, suffix: str) -> None:
    """Another edition beside the one that would be taken, as text or as a workbook, from anywhere."""
    real = real_shapes.casme2(tmp_path / "data")
    columns = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"]
    rows: list[list[real_shapes.Cell]] = [list(columns)]
    for key, (onset, apex, offset, *_) in real.rows.items():
        _, subject, name = key.split("/")
        rows.append([subject.removeprefix("sub"), name, onset, apex, offset, "4", "fear"])
    chosen = tmp_path / "elsewhere" / f"mine{suffix}"
    if suffix == ".xlsx":
        real_shapes.workbook(chosen, {"x": rows})
    elif suffix == ".xls":
        chosen.parent.mkdir()
        chosen.write_bytes(old_excel([[str(cell) for cell in row] for row in rows]))
    elif suffix == ".parquet":
        chosen.parent.mkdir()
        parquet.write_table(pyarrow.table(dict(zip(columns, zip(*rows[1:], strict=True), strict=True))), chosen)
    else:
        chosen.parent.mkdir()
        chosen.write_text("\n".join({".csv": ",", ".tsv": "\t"}[suffix].join(map(str, row)) for row in rows))
    root, scan = scan_dataset(tmp_path / "data", annotation=chosen)
    assert root.is_relative_to(tmp_path / "data")
    assert scan.annotation == chosen.name
    assert {clip.label.emotion for clip in scan.clips} == {"fear"}
    assert [clip.key for clip in scan.clips if clip.usable] == sorted(real.rows)


def test_a_workbook_that_no_spreadsheet_program_has_computed(tmp_path: Path) -> None:
    """One finding says that formulas hold no value; it is not left to a hundred rows with blank cells."""
    real_shapes.samm(tmp_path)
    path = tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx"
    book = openpyxl.load_workbook(path)
    for row in range(15, 20):
        book["MICRO_ONLY"][f"G{row}"] = f"=F{row}-D{row}+1"
    book.save(path)
    _, scan = scan_dataset(tmp_path)
    [finding] = [finding for finding in scan.findings if finding.kind == "annotation_incomplete"]
    assert "5 formulas hold no value" in finding.message


def test_a_sheet_of_which_no_row_can_be_read(tmp_path: Path) -> None:
    """A scan without a single readable row is no success."""
    real_shapes.casme_sq(tmp_path, layout="selectedpic")
    path = tmp_path / "CAS(ME)^2code_final.xlsx"
    book = openpyxl.load_workbook(path)
    for row in book["CASFEcode_final"].iter_rows():
        row[1].value = (
            str(row[1].value).replace("disgust", "anger9").replace("happy", "anger9").replace("anger1", "anger9")
        )
    book.save(path)
    _, scan = scan_dataset(tmp_path)
    assert scan_exit_code(scan) == 1
    assert "expected" not in scan.disagreement
    assert scan.disagreement


def test_subjects_that_the_sheet_of_names_does_not_know(tmp_path: Path) -> None:
    """CAS(ME)^2: folder numbers taken for subjects are one error of the sheet, not 255 findings."""
    real_shapes.casme_sq(tmp_path, layout="selectedpic")
    path = tmp_path / "CAS(ME)^2code_final.xlsx"
    book = openpyxl.load_workbook(path)
    for row in book["naming rule1"].iter_rows():
        row[2].value = int(row[2].value) + 30
    book.save(path)
    with pytest.raises(AnnotationError, match="no folder is known for subject 1, 2, 3"):
        scan_dataset(tmp_path)


@pytest.mark.parametrize(
    "tree",
    first_quickly(
        [
            "{kind}/{subject}/{letter}",
            "part_A_split/part_a_1/{kind}/{subject}/{letter}",
            "ME_A/{subject}/{letter}/{kind}",
        ]
    ),
)
def test_casme3(tmp_path: Path, tree: str) -> None:
    """Several expressions of one recording are told apart by their onset; depth goes with the frames of its numbers."""
    colour = "color" if tree.startswith("ME_A") else "frame"
    real = real_shapes.casme3(tmp_path, tree=tree, colour=colour)
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    assert not [finding for finding in scan.findings if finding.kind == "layout_chosen"]
    assert {clip.label.objective_class for clip in scan.clips} == {1, 2, 7}
    for clip in scan.clips:
        assert clip.source is not None
        assert clip.depth is not None
        assert clip.depth.folder == clip.source.path.replace(colour, "depth")
        assert clip.depth.names == tuple(f"{number}.png" for number in clip.source.numbers)


@pytest.mark.slow
def test_macro_expressions_of_casme3(tmp_path: Path) -> None:
    """They have a file of their own, which is read where it is named."""
    real = real_shapes.casme3(tmp_path)
    micro = tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    macro = shutil.copy(micro, micro.with_name("cas(me)3_part_A_MaE_label_JpgIndex_v2.xlsx"))
    assert {clip.label.expression_type for clip in scan_dataset(tmp_path)[1].clips} == {"micro"}
    _, scan = scan_dataset(tmp_path, annotation=macro)
    assert {clip.key for clip in scan.clips} == set(real.rows)
    assert {clip.label.expression_type for clip in scan.clips} == {"macro"}


def test_casme3_in_folders_of_clips(tmp_path: Path) -> None:
    """``spNo.1_a_355``, whose case differs from the sheet's."""
    real = real_shapes.casme3(tmp_path, flat=True)
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


@pytest.mark.parametrize("tree", first_quickly(["{emotion}/{clip}", "{emotion}/{subject}/{clip}", "{subject}/{clip}"]))
def test_mmew(tmp_path: Path, tree: str) -> None:
    real = real_shapes.mmew(tmp_path / "MMEW", tree=f"Micro_Expression/{tree}")
    assert_read_as_written(scan_dataset(tmp_path)[1], real)


def test_samm_long_videos(tmp_path: Path) -> None:
    """343 macro- and 159 micro-movements; SAMM's own sheet and names are not mistaken for them."""
    real = real_shapes.samm_long(tmp_path)
    _, scan = scan_dataset(tmp_path)
    assert scan.dataset == "samm-long"
    real.rows = {key: (*row[:3], None, row[4]) for key, row in real.rows.items()}  # type: ignore[misc]
    assert_read_as_written(scan, real)
    assert Counter(clip.label.expression_type for clip in scan.clips) == {"macro": 343, "micro": 159}
    assert sum(clip.apex is None for clip in scan.clips) == 11


def test_dfme(tmp_path: Path) -> None:
    """Each row's own frame rate, and descriptors such as AD38 beside action units."""
    real = real_shapes.dfme(tmp_path)
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    assert {clip.fps for clip in scan.clips} == {200, 300, 500}
    units = {u.number for c in scan.clips if c.label.action_units for u in c.label.action_units.units}
    assert units == {12, 4, 7, 38, 58}
    assert not any(clip.findings for clip in scan.clips)


@pytest.mark.parametrize(
    "tree",
    first_quickly(
        ["gray_micro/{subject}/{clip}", "gray_micro_crop/{subject}_{clip}", "gray/{subject}/{subject}_{clip}"]
    ),
)
def test_four_dme(tmp_path: Path, tree: str) -> None:
    """Sessions of one person are one subject; a unit that is held is none of the expression."""
    real = real_shapes.four_dme(tmp_path, tree=tree)
    _, scan = scan_dataset(tmp_path)
    assert_read_as_written(scan, real)
    assert {clip.subject for clip in scan.clips} == {"S05", "S13", "S49", "S58", "S64"}
    units = {
        clip.label.action_units.raw: [unit.number for unit in clip.label.action_units.units]
        for clip in scan.clips
        if clip.label.action_units
    }
    assert units == {"AU4(k)+L7": [7], "AUR2+12(k)+45": [2, 45], "4+7": [4, 7], "12": [12]}
    assert Counter(f.kind for clip in scan.clips for f in clip.findings) == {"label_unknown": 1}


def test_every_dataset_of_the_documentation_is_tested_here() -> None:
    """The table names each adapter, and every one has a shape of its own above."""
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("|") and line.count("|") == 7]
    named = {name for cell in rows[2:] for name in re.findall(r"`([\w-]+)`", cell)}
    assert named == set(DATASETS.names()) - {"video", "clips"}
    shapes = {"samm", "casme2", "casme_sq", "smic", "smic_e", "casme3", "mmew", "samm_long", "dfme", "four_dme"}
    assert all(callable(getattr(real_shapes, shape)) for shape in shapes)
    assert {
        name.replace("4dme", "four_dme").replace("-", "_").replace("_hs", "").replace("_vis", "").replace("_nir", "")
        for name in named
    } == shapes


def test_preprocessing_refuses_a_sheet_of_other_images(tmp_path: Path) -> None:
    """It stops before anything is written, with the example that the scan shows."""
    real_shapes.samm(tmp_path / "SAMM")
    for folder in sorted((tmp_path / "SAMM").glob("*/*"))[:60]:
        folder.rename(folder.with_name(folder.name + "9"))
    with pytest.raises(AnnotationError, match="60 of 159 rows meet no clip on disk, for example"):
        preprocess(
            tmp_path / "SAMM",
            out=tmp_path / "samm.zarr",
            options={},
            config_file=None,
            execution=Execution(),
            overwrite=False,
            retry_failed=False,
            console=Console(quiet=True),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["SAMM"]
