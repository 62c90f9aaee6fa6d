"""What no run can start with: a message on stderr, exit code 2, no traceback, nothing written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from tests.command_line import mer

OPTIONS = ("--depth", "mesh", "--au", "mesh", "--size", "112", "--device", "cpu", "--workers", "0")
SHEET = "CASME2-coding-20190701.xlsx"
ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")


def refused(root: Path, out: Path, *options: object) -> str:
    """What ``mer preprocess`` says on stderr before it ends with 2, having written nothing."""
    before = sorted(out.parent.rglob("*"))
    code, _, error = mer("preprocess", root, "--out", out, *(options or OPTIONS))
    assert code == 2
    assert "Traceback" not in error
    assert sorted(out.parent.rglob("*")) == before
    return error


def clear(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def strangers(root: Path) -> None:
    clear(root)
    (root / "holiday.jpg").write_bytes(b"...")


def two_datasets(root: Path) -> None:
    folder = root / "SMIC_all_raw" / "HS" / "s1" / "micro" / "negative" / "s1_ne_01"
    folder.mkdir(parents=True)
    shutil.copy(next(root.rglob("img7.jpg")), folder / "reg_image000001.jpg")


def without_header(root: Path) -> None:
    change_sheet(root, lambda book: book.worksheets[0].delete_rows(1))


def renamed_columns(root: Path) -> None:
    def rename(book: Workbook) -> None:
        cells = next(book.worksheets[0].iter_rows())
        next(cell for cell in cells if cell.value == "OnsetFrame").value = "Beginning"

    change_sheet(root, rename)


def change_sheet(root: Path, change: Callable[[Workbook], None]) -> None:
    book = load_workbook(root / SHEET)
    change(book)
    book.save(root / SHEET)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (shutil.rmtree, ["no such file or folder"]),
        (clear, ["an empty folder; expected a dataset: ", "CASME II: folders such as sub01/EP02_01f"]),
        (strangers, ["no dataset found. Looked for ", "Seen: holiday.jpg"]),
        (two_datasets, ["several datasets; say which", "--dataset casme2", "--dataset smic"]),
        (lambda root: (root / SHEET).unlink(), ["needs its annotation, usually CASME2-coding"]),
        (without_header, [SHEET, "OnsetFrame"]),
        (renamed_columns, [SHEET, "OnsetFrame", "Beginning"]),
        (lambda root: (root / SHEET).write_bytes(ENCRYPTED), [SHEET, "encrypted; open it with its password"]),
        (lambda root: (root / SHEET).write_bytes(b""), [SHEET, "zero bytes; copy the spreadsheet again"]),
    ],
    ids=["nothing there", "empty folder", "not a dataset", "two datasets", "no annotation", "no header",
         "renamed columns", "encrypted", "zero bytes"],
)  # fmt: skip
def test_a_dataset_that_cannot_be_used(
    casme2: Path, tmp_path: Path, damage: Callable[[Path], object], expected: list[str]
) -> None:
    """Each message names the place, what was looked for, and the way out."""
    damage(casme2)
    error = refused(casme2, tmp_path / "out.zarr")
    assert error.startswith(f"error: {casme2}")
    for words in expected:
        assert words in error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--size", 50], "'--size': Input should be greater than or equal to 112"),
        (["--size", "large"], "'--size': Input should be a valid integer"),
        (
            ["--depth", "foo"],
            "'foo' is not among the depth backends; there are depth-anything-v2-base, depth-anything-v2-large",
        ),
        (["--depth-size", 500], "depth_size: Value error, 500 is not a multiple of 14"),
        (["--au", "mesh", "--au-frames", "some"], "'--au-frames': Value error, 'some' is not one of 'apex', 'all'"),
        (["--limit", 0], "'--limit': Input should be greater than or equal to 1"),
        (["--device", "tpu"], "'--device': Value error, 'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["--workers", -1], "'--workers': Input should be greater than or equal to 0"),
        (["--dataset", "casme9"], "'casme9' is not among the datasets; "),
        (["--subjects", "sub01,sub99"], "--subjects sub99: not in this dataset, which has sub01, sub02"),
        (["--clips", "EP99_01"], "--clips EP99_01: not in this dataset, which has EP02_01"),
        (["--frame", 3], "No such option"),
    ],
    ids=lambda value: "=".join(map(str, value)) if isinstance(value, list) else "",
)
def test_wrong_options(shared_casme2: Path, tmp_path: Path, options: list[object], expected: str) -> None:
    """The option, what it may be, and what it was."""
    assert expected in refused(shared_casme2, tmp_path / "out.zarr", *options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size = ", "not TOML ("),
        ("\xff", "not TOML ("),
        ("speed = 3", "speed: Extra inputs are not permitted, got 3"),
        ("size = 50", "size: Input should be greater than or equal to 112, got 50"),
        (None, "no such file"),
    ],
)
def test_wrong_config_file(shared_casme2: Path, tmp_path: Path, text: str | None, expected: str) -> None:
    """Bad TOML, bad encoding, a field that there is not, a value that may not be, no file."""
    path = tmp_path / "run.toml"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    assert expected in refused(shared_casme2, tmp_path / "out.zarr", "--config", path)
