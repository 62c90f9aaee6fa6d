"""Anybody's clips: a table with one row a clip."""

import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest
from rich.console import Console

from pipeline.datasets import scan_dataset
from pipeline.datasets.clip_table import write_template
from pipeline.inspect.scan import scan_exit_code
from pipeline.synthesis.layouts.files import VideoFile
from schemas.clip import ImageSequence, VideoSegment
from schemas.errors import AnnotationError, DatasetNotFoundError
from schemas.labels import Label
from tests.command_line import mer
from tests.pipeline.datasets.open_document import open_document, text_rows
from tests.pipeline.datasets.real_shapes import frames, workbook
from tests.pipeline.datasets.tiny_clips import frame
from tests.training.labelled_manifests import make_entry, make_manifest
from training.config import Optimisation, TrainConfig
from training.protocols.protocol import default_protocol
from training.protocols.tasks import select_clips
from training.runs.folds import Resources
from training.runs.train import train

HEADER = ["subject", "clip", "path", "onset", "apex", "offset", "emotion", "action_units", "fps", "lamp"]
ROWS = [
    ["ann", "frown1", "frames/ann/f1", "101", "104", "106", "disgust", "4+9", "200", "left"],
    ["ann", "whole", "frames/ann/f1", "", "", "", "boredom", "", "", ""],
    ["bob", "film", "bob.avi", "", "", "", "Surprise", "", "", "right"],
    ["bob", "part", "bob.avi", "3", "", "7", "surprise", "", "50", ""],
]


def write_files(root: Path) -> None:
    frames(root / "frames" / "ann" / "f1", (f"img_{n}.png" for n in range(100, 111)))
    video = VideoFile(root / "bob.avi", 25)
    video.append(frame(position) for position in range(9))
    video.close()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx", ".ods", ".parquet"])
def test_every_row_is_a_clip(tmp_path: Path, suffix: str) -> None:
    """Folders and videos, phases where they are given, labels in the user's words, other columns as they are."""
    write_files(tmp_path)
    table = tmp_path / f"clips{suffix}"
    if suffix == ".xlsx":
        workbook(table, {"mine": [HEADER, *ROWS]})
    elif suffix == ".ods":
        open_document(table, text_rows([HEADER, *ROWS]))
    elif suffix == ".parquet":  # with numbers as numbers, as other programs write them
        columns: dict[str, object] = dict(zip(HEADER, map(list, zip(*ROWS, strict=True)), strict=True))
        for name in ("onset", "apex", "offset", "fps"):
            columns[name] = [float(row[HEADER.index(name)] or "nan") for row in ROWS]
        parquet.write_table(pyarrow.table(columns), table)
    else:
        with table.open("w", newline="") as file:
            csv.writer(file, delimiter={".csv": ",", ".tsv": "\t"}[suffix]).writerows([HEADER, *ROWS])
    root, scan = scan_dataset(table)
    assert (root, scan.dataset, scan_exit_code(scan)) == (tmp_path, "clips", 0)
    frown, whole, film, part = scan.clips
    assert isinstance(frown.source, ImageSequence)
    assert frown.source.names == tuple(f"img_{n}.png" for n in range(101, 107))
    assert (frown.onset, frown.apex, frown.offset, frown.fps) == (101, 104, 106, 200)
    assert (frown.label.raw_emotion, frown.label.emotion, frown.metadata) == ("disgust", "disgust", {"lamp": "left"})
    assert frown.label.action_units is not None
    assert [unit.number for unit in frown.label.action_units.units] == [4, 9]
    assert (whole.onset, whole.apex, whole.offset, whole.fps, whole.metadata) == (100, None, 110, 25, {})
    assert (whole.label.raw_emotion, whole.label.emotion) == ("boredom", None)
    assert film.source == VideoSegment(path="bob.avi", count=9)
    assert (film.fps, film.label.emotion) == (25, "surprise")
    assert part.source == VideoSegment(path="bob.avi", start=2, count=5, first_number=3)
    assert part.fps == 50


@pytest.mark.slow
def test_a_table_from_end_to_end(shared_casme2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of anybody's clips, its columns shown and selected by, and a model of the table's own words."""
    monkeypatch.chdir(tmp_path)
    folders = sorted(path for path in (shared_casme2 / "CASME2_RAW_selected").glob("*/*"))
    with Path("clips.csv").open("w", newline="") as file:
        rows = [
            [path.parent.name, path.name, path, ("grin", "frown")[i % 2], 30 + i, "left"]
            for i, path in enumerate(folders)
        ]
        csv.writer(file).writerows([["subject", "clip", "path", "emotion", "age of person", "lamp"], *rows])
    code, printed, _ = mer(
        "preprocess", "clips.csv", "--depth", "none", "--au", "mesh", "--size", "112", "--workers", 0
    )
    assert code == 0, printed
    printed = mer("inspect", "clips.zarr").printed
    assert "lamp: left 4" in printed
    assert "age of person: 30 1, 31 1, 32 1, 33 1" in printed
    where = "metadata.age of person>=32, metadata.lamp=left"
    assert mer("subset", "clips.zarr", "-o", "old.zarr", "--where", where).printed.startswith("old.zarr: 2 of 4 clips")
    assert mer("verify", "old.zarr", "--deep").code == 0
    mer("subset", "clips.zarr", "-o", "shared.zarr", "--anonymise")
    assert b"lamp" not in (tmp_path / "shared.zarr" / "manifest.json").read_bytes()
    config = TrainConfig(model="au-logistic", seeds=(0,), optimisation=Optimisation(epochs=1, warmup_epochs=0))
    trained = train(
        [Path("clips.zarr")], config, Resources("cpu", None, "ram", 0, Console(quiet=True)), out=Path("run")
    )
    assert trained.result is not None
    assert (trained.result.protocol.task.classes, trained.result.headline.clips) == (("frown", "grin"), 4)


def test_what_is_wrong_with_a_row_is_said(tmp_path: Path) -> None:
    """A path that leads nowhere, a name with a slash; the other rows are clips."""
    write_files(tmp_path)
    bad = [["cy", "gone", "nowhere", *[""] * 7], ["d/e", "x", "bob.avi", *[""] * 7]]
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *ROWS, *bad])
    _, scan = scan_dataset(tmp_path / "clips.csv")
    assert {clip.key: clip.usable for clip in scan.clips}["clips/cy/gone"] is False
    assert sum(clip.usable for clip in scan.clips) == 4
    assert [(f.kind, f.clip) for f in scan.findings] == [("unreadable_row", "clips.csv row 7")]
    assert scan_exit_code(scan) == 1


def test_tables_that_are_none(tmp_path: Path) -> None:
    """Columns that are missing, and paths of which none leads anywhere."""
    (tmp_path / "a.csv").write_text("subject,clip,file\nann,x,y\n")
    with pytest.raises(AnnotationError, match="columns missing: path; expected subject, clip, path"):
        scan_dataset(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("subject,clip,path\nann,x,y\n")
    with pytest.raises(DatasetNotFoundError, match="no path of 1 row leads to a video or a folder with images"):
        scan_dataset(tmp_path / "b.csv")


def test_the_example_is_a_table(tmp_path: Path) -> None:
    """What ``--template`` writes is read as soon as its files are there, and never replaces anything."""
    table = tmp_path / "clips.csv"
    write_template(table)
    frames(tmp_path / "frames" / "ann" / "frown1", (f"{n}.jpg" for n in range(95, 130)))
    frames(tmp_path / "frames" / "bob" / "start1", (f"{n}.jpg" for n in range(1, 9)))
    video = VideoFile(tmp_path / "videos" / "ann_smile1.avi", 25)
    video.append(frame(position % 9) for position in range(40))
    video.close()
    (tmp_path / "videos" / "ann_smile1.avi").rename(tmp_path / "videos" / "ann_smile1.mp4")
    _, scan = scan_dataset(table)
    assert [clip.usable for clip in scan.clips] == [True, True, True]
    with pytest.raises(DatasetNotFoundError, match="is there already"):
        write_template(table)
    with pytest.raises(DatasetNotFoundError, match=r"clips\.xlsx: the example is text; name it clips\.csv"):
        write_template(tmp_path / "clips.xlsx")


def test_training_takes_the_words_of_the_table_for_classes() -> None:
    """No protocol has to be written; a class that is no emotion is one like any other."""
    words = ["boredom", "joy", "joy", None]
    entries = [make_entry(f"clips/s{i}/a", Label(raw_emotion=word)) for i, word in enumerate(words)]
    manifest = make_manifest("clips", entries)
    protocol = default_protocol([manifest])
    assert protocol.task.classes == ("boredom", "joy")
    assert len(select_clips(protocol.task, [manifest]).clips) == 3
