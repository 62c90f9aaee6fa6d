"""What ``mer scan`` shows: counts found against published, and every finding."""

import io
import json
from pathlib import Path

from rich.console import Console

from pipeline.datasets import scan_dataset
from pipeline.inspect.scan import scan_exit_code, scan_json, scan_report
from tests.pipeline.datasets.real_shapes import four_dme
from tests.pipeline.datasets.tiny_clips import write_tiny


def text_of(root: Path) -> str:
    base, scan = scan_dataset(root)
    console = Console(file=io.StringIO(), width=200)
    console.print(scan_report(scan, base))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_report_shows_counts_and_every_finding(tmp_path: Path) -> None:
    """Found and published figures stand side by side; each finding's message is there, square brackets included."""
    root = tmp_path / "[bold]SAMM"
    write_tiny("samm", root, quirks=True)
    text = text_of(root)
    assert "[bold]SAMM" in text
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
    assert ["clips", "9", "159"] in rows
    assert ["subjects", "3", "29"] in rows
    assert ["006", "4", "4", "23"] in rows
    joined = " ".join(text.split())
    for kind in ("no_frames", "apex_out_of_range", "missing_frames", "duplicate_frame", "folder_without_row"):
        assert kind in joined
    assert "nothing on disk answers to 037/037_7_9" in joined
    assert "8 of 9 clips can be processed" in joined


def test_what_is_not_known_for_certain_is_said(tmp_path: Path) -> None:
    """Of a dataset whose files nobody here has seen; nothing is said of the others."""
    four_dme(tmp_path / "4dme")
    assert "not known for certain of this dataset: names of folders and columns" in text_of(tmp_path / "4dme")
    write_tiny("samm", tmp_path / "samm")
    assert "for certain" not in text_of(tmp_path / "samm")


def test_json_holds_the_whole_scan(tmp_path: Path) -> None:
    """The dict survives JSON, and has keys, counts, findings and the root."""
    keys = write_tiny("casme2", tmp_path, quirks=True)
    base, scan = scan_dataset(tmp_path)
    read = json.loads(json.dumps(scan_json(scan, base)))
    assert read["root"] == str(tmp_path)
    assert read["dataset"] == "casme2"
    assert read["counts"]["clips"] == {"found": 9, "expected": 255}
    assert read["unusable"] == ["casme2/sub26/EP99_01"]
    assert {clip["key"] for clip in read["clips"]} == {*keys, "casme2/sub26/EP99_01"}
    kinds = {finding["kind"] for finding in read["findings"]}
    assert {"apex_missing", "missing_frames", "no_frames", "folder_without_row"} <= kinds


def test_exit_code_says_whether_all_clips_are_usable(tmp_path: Path) -> None:
    """0 for a clean dataset, 1 as soon as one clip cannot be processed; findings alone do not matter."""
    write_tiny("samm", tmp_path / "clean")
    write_tiny("samm", tmp_path / "quirks", quirks=True)
    write_tiny("smic", tmp_path / "findings", quirks=True)
    clean, quirks, findings = (scan_dataset(tmp_path / name)[1] for name in ("clean", "quirks", "findings"))
    assert scan_exit_code(clean) == 1  # 8 of 159 clips
    assert scan_exit_code(clean.model_copy(update={"expected": {}})) == 0
    assert scan_exit_code(quirks.model_copy(update={"expected": {}})) == 1
    assert any(clip.findings for clip in findings.clips)
    assert scan_exit_code(findings.model_copy(update={"expected": {}})) == 0
