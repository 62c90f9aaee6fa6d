"""What `mer inspect` and `mer show` make of a store, also of an odd one."""

import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from pipeline.datasets import scan_dataset
from pipeline.inspect.figures import clip_figure, depth_disparity
from pipeline.inspect.inspection import report, summarise
from pipeline.sharing.cite import cite
from schemas.errors import ConfigError
from schemas.manifest import ClipEntry, Failure, Manifest
from schemas.store.reader import Store
from tests.command_line import mer
from tests.tiny_stores import tiny_store

KEY = "casme2/sub01/EP02_01"


def printed(store: Store, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(report(summarise(store)))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def changed(store: Store, **entries: ClipEntry) -> Store:
    """The store with other entries in place of those at these positions (``at0=...``)."""
    clips = list(store.manifest.clips)
    for place, entry in entries.items():
        clips[int(place[2:])] = entry
    return with_clips(store, clips)


def with_clips(store: Store, clips: list[ClipEntry]) -> Store:
    fields = {name: getattr(store.manifest, name) for name in Manifest.model_fields}
    return Store(store.path, Manifest(**{**fields, "clips": tuple(clips)}))


def test_the_summary_adds_up(shared_store: Store) -> None:
    """Counts, frames and bytes are those of the manifest and the files; all of it is JSON."""
    summary = json.loads(json.dumps(summarise(shared_store)))
    entries = shared_store.manifest.clips
    assert summary["clips"] == {"ok": 4, "failed": 0}
    assert summary["frames"] == sum(entry.n_frames for entry in entries)
    assert sum(summary["emotions"].values()) == sum(summary["expression_types"].values()) == 4
    for name, array in summary["arrays"].items():
        assert array["stored_bytes"] == sum(
            path.stat().st_size for path in (shared_store.path / name / "c").rglob("*") if path.is_file()
        )
        assert array["bytes"] == sum(shared_store.clip_array(name, entry.key).nbytes for entry in entries)
    assert [clip["clip"] for clip in summary["clip_list"]] == [entry.key for entry in entries]


def test_synthetic_clips_are_called_so(shared_casme2: Path, shared_store: Store, tmp_path: Path) -> None:
    """Through every command from `scan` to `cite`, also where one subject's folder is scanned; others are not."""
    for root in (shared_casme2, next(path for path in shared_casme2.rglob("sub*") if path.is_dir())):
        assert scan_dataset(root, annotation=next(shared_casme2.rglob("*.xls*")))[1].synthetic
    shutil.copytree(shared_casme2, tmp_path / "raw", ignore=shutil.ignore_patterns("*.json"))
    assert not scan_dataset(tmp_path / "raw")[1].synthetic
    assert shared_store.manifest.synthetic
    real = Store(shared_store.path, shared_store.manifest.model_copy(update={"synthetic": False}))
    for text, other in ((printed(shared_store), printed(real)), (cite(shared_store), cite(real))):
        assert "synthetic: photographs of faces" in text
        assert "synthetic" not in other


def test_the_report_fits_a_terminal_and_lists_what_one_can_show(shared_store: Store) -> None:
    """80 columns; every key whole, on one line with its label."""
    text = printed(shared_store)
    assert max(map(len, text.splitlines())) <= 80
    for entry in shared_store.manifest.clips:
        assert any(entry.key in line and str(entry.label.emotion) in line for line in text.splitlines())
    assert "worth a look" not in text
    assert "clips failed" not in text


def test_clips_worth_a_look(shared_store: Store) -> None:
    """Each reason in words; a face at the edge only where that is not the rule."""
    entry = shared_store.manifest.clips[0]
    assert entry.quality is not None
    odd = entry.quality.model_copy(
        update={"detected_on": "apex", "padded": True, "faces": 3, "inter_eye_px": 21.0, "residual_motion_px": 7.0}
    )
    store = changed(shared_store, at0=entry.model_copy(update={"quality": odd}))
    assert summarise(store)["outliers"] == [{"clip": KEY, "why": "; ".join([
        "the head moves 7.0 px", "face found on the apex only", "the face reaches the frame's edge",
        "3 faces, the largest was taken", "eyes only 21 px apart",
    ])}]  # fmt: skip
    cropped = [
        other.model_copy(update={"quality": other.quality and other.quality.model_copy(update={"padded": True})})
        for other in shared_store.manifest.clips
    ]
    assert summarise(changed(shared_store, **{f"at{i}": other for i, other in enumerate(cropped)}))["outliers"] == []


def test_names_and_messages_are_printed_as_they_are(shared_store: Store) -> None:
    """Brackets are no markup, nor are a subject ``[`` and its clip ``red]x``."""
    key, message = "casme2/[/red]x", "[Errno 5] [/nothing] img[1].jpg"
    entry = shared_store.manifest.clips[3]
    failed = entry.model_copy(
        update={"key": key, "status": "failed", "objects": {}, "n_frames": 0, "quality": None,
                "failure": Failure(stage="decode", error="FrameError", message=message)}
    )  # fmt: skip
    named = shared_store.manifest.clips[0].model_copy(update={"key": "casme2/[i]/a[bold]"})
    text = printed(changed(shared_store, at0=named, at3=failed), width=200)
    assert "1 failed" in text
    for words in (key, message, "casme2/[i]/a[bold]"):
        assert words in text


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    """The table ends where nobody reads on; the JSON does not."""
    store = tiny_store(tmp_path / "many.zarr", [f"casme2/sub01/EP{i:03d}_01" for i in range(45)], depth=False)
    assert "and 5 more, which --json lists" in printed(store, width=200)
    assert len(summarise(store)["clip_list"]) == 45


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".pdf", ".svg"])
def test_a_picture_of_a_clip(shared_store: Store, tmp_path: Path, suffix: str) -> None:
    """In every format, into a folder that is not there yet, with the name as its own, whatever it holds."""
    key = "casme2/sub$_01/微表情_$x^"
    entry = shared_store.manifest.clips[0].model_copy(update={"key": key})
    out = tmp_path / "pictures" / f"clip{suffix}"
    clip_figure(changed(shared_store, at0=entry), key, out)
    if suffix.lower() == ".png":
        picture = cv2.imread(str(out))
        assert picture is not None
        assert min(picture.shape[:2]) > 900
        assert picture.std() > 40
    else:
        start = {".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
        assert out.read_bytes().startswith(start)


def test_a_picture_names_its_backends(shared_store: Store, tmp_path: Path) -> None:
    """And says that the mesh's depth was not measured, that clips are synthetic, and the units of its axes."""
    clip_figure(shared_store, KEY, tmp_path / "clip.svg")
    words = " ".join(re.findall(r"<!-- (.*?) -->", (tmp_path / "clip.svg").read_text(encoding="utf-8"), re.DOTALL))
    for expected in ("depth by mesh: prior", "not measured", "action units by mesh", "SYNTHETIC", "activation", "frame",
                     "change (share of the clip's depth range)", "rise from onset to apex"):  # fmt: skip
        assert expected in words


def test_pictures_that_cannot_be_made(shared_store: Store, tmp_path: Path) -> None:
    """Another format, a clip that there is not, a place that cannot be written: exit code 2 and words."""
    (tmp_path / "file").touch()
    for words, expected in (
        ((KEY, "--out", tmp_path / "a.jpg"), "a.jpg: expected a name ending in .png, .pdf, .svg"),
        (("EP02_01", "--out", tmp_path / "a.png"), f"no clip 'EP02_01'; did you mean {KEY}?"),
        ((KEY, "--out", tmp_path / "file" / "a.png"), "a.png: a file is where a folder is needed"),
    ):
        code, _, error = mer("show", shared_store.path, *words)
        assert code == 2
        assert error.startswith("error: ")
        assert expected in error
    with pytest.raises(ConfigError, match="expected a name ending in"):
        clip_figure(shared_store, KEY, tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_disparity_is_the_change_in_a_region() -> None:
    """Zero at onset, the mean over the mask elsewhere, without float16's rounding of sums."""
    depth = np.zeros((3, 8, 8), np.float16)
    depth[1, :4] = 0.5
    depth[2] = -1
    mask = np.zeros((8, 8), bool)
    mask[2:6] = True
    courses = depth_disparity(depth, 0, {"AU12": mask})
    np.testing.assert_allclose(courses["AU12"], [0, 0.25, -1])
