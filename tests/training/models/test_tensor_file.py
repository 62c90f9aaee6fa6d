"""Tensors with a header: round trip, and every file that is none."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from schemas.errors import RunFolderError
from schemas.model import Model
from training.models.tensor_file import read_tensors, write_tensors


class Header(Model):
    """Of the tests."""

    name: str
    epoch: int = 0


class OtherHeader(Model):
    """That another version might have written."""

    title: str


TENSORS = {
    "a/weight": torch.arange(12, dtype=torch.float32).view(3, 4).t(),  # not contiguous
    "b/steps": torch.tensor(7),
    "half": torch.tensor([float("nan"), float("inf"), -0.0], dtype=torch.float16),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, Header(name="ü", epoch=3))
    return path


def test_round_trip(file: Path) -> None:
    """Names, values, shapes, dtypes and the header."""
    tensors, header = read_tensors(file, Header)
    assert header == Header(name="ü", epoch=3)
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0, equal_nan=True)


def test_equal_input_gives_equal_bytes(file: Path, tmp_path: Path) -> None:
    """In whatever order the tensors are handed over; and nothing but the file is left."""
    again = tmp_path / "again.safetensors"
    write_tensors(again, dict(reversed(TENSORS.items())), Header(name="ü", epoch=3))
    assert again.read_bytes() == file.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"x.safetensors", "again.safetensors"}


def test_a_failed_write_leaves_the_old_file(file: Path) -> None:
    """Whole or not at all: here two tensors share memory, which safetensors refuses."""
    before, shared = file.read_bytes(), torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        write_tensors(file, {"a": shared, "b": shared}, Header(name="new"))
    assert file.read_bytes() == before


def test_missing(tmp_path: Path) -> None:
    """With the likely reason."""
    with pytest.raises(RunFolderError, match=r"none.safetensors: no such file; is the training finished\?"):
        read_tensors(tmp_path / "none.safetensors", Header)


@pytest.mark.parametrize("length", [0, 4, 60, -1])
def test_truncated(file: Path, length: int) -> None:
    """Cut anywhere: in the length, in the header, in the last tensor."""
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(RunFolderError, match=r"x.safetensors: not a readable safetensors file \("):
        read_tensors(file, Header)


def test_foreign(tmp_path: Path) -> None:
    """Somebody else's safetensors file."""
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(RunFolderError, match=r"foreign.safetensors: a safetensors file, but not one made by mer"):
        read_tensors(path, Header)
    save_file({"a": torch.zeros(2)}, path, metadata={"mer": "{"})
    with pytest.raises(RunFolderError, match=r"foreign.safetensors: not a file that this version of mer reads"):
        read_tensors(path, Header)


def test_header_of_another_kind(file: Path) -> None:
    """Says which fields do not fit."""
    with pytest.raises(RunFolderError, match=r"not a file that this version of mer reads: title: Field required.*name"):
        read_tensors(file, OtherHeader)


def test_pickle_is_never_read(tmp_path: Path) -> None:
    """A file of ``torch.save``, under any name, is refused, and what it would run does not run."""
    trace = tmp_path / "trace"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trace,)

    path = tmp_path / "model.safetensors"
    torch.save({"a": Trap()}, path)
    with pytest.raises(RunFolderError, match="not a readable safetensors file"):
        read_tensors(path, Header)
    assert not trace.exists()
    torch.load(path.rename(tmp_path / "model.pt"), weights_only=False)
    assert trace.exists(), "the trap is one"
