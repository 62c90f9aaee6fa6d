"""Predictions: what is written comes back bit for bit, what is wrong is refused with its reason."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, PredictionsError
from training.evaluation.predictions import Predictions, concatenate, read_predictions, write_predictions

HEADER = "clip,fold,seed,a,b\n"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    """Any names that a CSV must quote, any probabilities that sum to 1."""
    reserved = {"clip", "fold", "seed"}
    classes = draw(
        st.lists(st.sampled_from(["a", "=SUM(A1)", "class, 1", 'say "b"', "naïve", "c\nd"]), min_size=2, unique=True)
    )
    assert not reserved & set(classes)
    clips = draw(st.lists(TEXT, min_size=1, max_size=6, unique=True))
    seeds = draw(st.lists(st.integers(-5, 10**9), min_size=1, max_size=3, unique=True))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    rows = [(clip, seed) for seed in seeds for clip in clips]
    probabilities = random.dirichlet(np.ones(len(classes)), len(rows))
    folds = tuple(draw(TEXT) for _ in rows)
    return Predictions(tuple(classes), tuple(c for c, _ in rows), folds, tuple(s for _, s in rows), probabilities)


def assert_same(one: Predictions, other: Predictions) -> None:
    assert (one.classes, one.clips, one.folds, one.seeds) == (other.classes, other.clips, other.folds, other.seeds)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    assert one.sha256 == other.sha256


@given(made=predictions())
@settings(max_examples=60)
def test_csv_round_trip(made: Predictions, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every name and every bit comes back."""
    path = tmp_path_factory.mktemp("csv") / "p.csv"
    write_predictions(path, made)
    assert_same(read_predictions(path), made)
    assert [p.name for p in path.parent.iterdir()] == ["p.csv"]


@given(made=predictions())
@settings(max_examples=15)
def test_parquet_round_trip(made: Predictions, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As CSV."""
    path = tmp_path_factory.mktemp("parquet") / "p.parquet"
    write_predictions(path, made)
    assert_same(read_predictions(path), made)
    path.write_bytes(b"not a table")
    with pytest.raises(PredictionsError, match=r"p\.parquet: not a Parquet file"):
        read_predictions(path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is missing and the way around it; no half file is left."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "p.parquet"
    made = Predictions(("a", "b"), ("x",), ("f",), (0,), np.array([[0.5, 0.5]]))
    with pytest.raises(ConfigError, match=r"needs pyarrow, which is not installed: pip install .*, or use \.csv"):
        write_predictions(path, made)
    path.write_bytes(b"")
    with pytest.raises(PredictionsError, match="Parquet needs pyarrow"):
        read_predictions(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column clip, fold, seed; expected clip, fold, seed and one a class"),
        ("clip,seed,a,b\nx,0,.5,.5\n", "no column fold"),
        (HEADER, "no predictions; expected one row a clip and seed"),
        (HEADER + "x,f,0,.5\n", "line 2 has 4 cells, the header has 5"),
        ("clip,fold,seed,a,a\nx,f,0,.5,.5\n", "column 'a' stands there twice"),
        ("clip,fold,seed,a,b,label\nx,f,0,.5,.5,a\n", "column 'label': labels are joined by clip key from the store"),
        ("clip,fold,seed,a,b,Epoch\nx,f,0,.5,.5,3\n", "column 'Epoch': a result has one prediction a clip and seed"),
        (HEADER + "x,f,0,.5,.5\nx,g,0,.5,.5\n", r"doubled: x \(seed 0, 2 rows\); expected each clip once a seed"),
        (HEADER + "x,f,0,high,.5\n", "x: 'high' in class column 'a' is no number"),
        (HEADER + "x,f,0,,.5\n", "x: '' in class column 'a' is no number"),
        (HEADER + "x,f,1.5,.5,.5\n", "x: seed '1.5' is no whole number"),
        (HEADER + "x,f,0,nan,.5\n", r"x \(seed 0\) has a probability that is no number: nan, 0.5"),
        (HEADER + "x,f,0,inf,.5\n", "a probability that is no number"),
        (HEADER + "x,f,0,-.5,1.5\n", "a negative probability: -0.5, 1.5"),
        (HEADER + "x,f,0,.5,.6\ny,f,0,2,1\n", r"do not sum to 1: 0.5, 0.6 \(sum 1.1\); 2 such rows; write a softmax"),
        (HEADER + ",f,0,.5,.5\n", "row 1 has an empty clip or fold"),
        (HEADER + "x,f,0,.5,.5\ny,,0,.5,.5\n", "row 2 has an empty clip or fold"),
        (HEADER + "x,f,0,.2,.8\ny,f,0,.5,.5\ny,f,1,.5,.5\nx,g,1,.2,.8\n", "seeds 0 and 1 hold the same probabilities"),
        ('clip,fold,seed,a,b\n"x,f,0,.5,.5\n', "not a CSV file in UTF-8"),
        (
            HEADER + "x,f,0,0,5,0,5\n",
            "line 2 has 7 cells, the header has 5; with decimal commas, separate cells by semi",
        ),
        (HEADER + "x,f,0,.33,.33\n", r"do not sum to 1: 0.33, 0.33 \(sum 0.66\)"),
        (HEADER + "x,f,0,.495,.495\n", r"do not sum to 1: 0.495, 0.495 \(sum 0.99\)"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    """Each kind of damage has its own message, which begins with the path."""
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(PredictionsError, match=message) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(str(path))


def test_other_wrong_files(tmp_path: Path) -> None:
    """Missing, of another kind, or not text."""
    with pytest.raises(PredictionsError, match=r"gone\.csv: no such file"):
        read_predictions(tmp_path / "gone.csv")
    with pytest.raises(PredictionsError, match=r"p\.npy: predictions are \.csv or \.parquet, found '\.npy'"):
        read_predictions(tmp_path / "p.npy")
    (tmp_path / "p.csv").write_bytes(b"\xff\x00c")
    with pytest.raises(PredictionsError, match="not a CSV file in UTF-8"):
        read_predictions(tmp_path / "p.csv")


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    """As spreadsheets write CSV, with columns in another order and rounded numbers."""
    path = tmp_path / "p.csv"
    path.write_bytes("\ufeffa,b,seed,clip,fold\r\n0.3333,0.6665,7,x,f\r\n".encode())
    found = read_predictions(path)
    assert (found.classes, found.clips, found.folds, found.seeds) == (("a", "b"), ("x",), ("f",), (7,))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_of_spreadsheet_programs(tmp_path: Path, delimiter: str, encoding: str) -> None:
    """Semicolons, tabs, decimal commas, UTF-16, blank lines: read; an old code page is named where it matters."""
    path, comma = tmp_path / "p.csv", "." if delimiter == "," else ","
    rows = [["clip", "fold", "seed", "naïve, old", "b"], ["x", "f", "7", "0.25", "0.75"], ["y", "f", "7", "1", "0"]]
    lines = [delimiter.join(f'"{cell}"' if ", " in cell else cell.replace(".", comma) for cell in row) for row in rows]
    path.write_bytes("\r\n".join([*lines, delimiter * 4, "", ""]).encode(encoding))
    if encoding == "cp1252":
        with pytest.raises(PredictionsError, match=r"p\.csv: not a CSV file in UTF-8 or UTF-16"):
            read_predictions(path)
        return
    found = read_predictions(path)
    assert (found.classes, found.clips, found.folds, found.seeds) == (
        ("naïve, old", "b"),
        ("x", "y"),
        ("f", "f"),
        (7, 7),
    )
    np.testing.assert_array_equal(found.probabilities, [[0.25, 0.75], [1, 0]])
    assert found.note == ""


def test_rounded_probabilities_are_renormalised(tmp_path: Path) -> None:
    """Three thirds of two decimals sum to 0.99; a softmax of more decimals that sums to 0.99 is none."""
    path = tmp_path / "p.csv"
    path.write_text("clip,fold,seed,a,b,c\nx,f,0,.33,.33,.33\ny,f,0,.5,.25,.25\n")
    found = read_predictions(path)
    np.testing.assert_allclose(found.probabilities, [[1 / 3, 1 / 3, 1 / 3], [0.5, 0.25, 0.25]])
    assert found.note == (
        "The probabilities are rounded to 2 decimals: 1 of 2 rows did not sum to 1 and were renormalised."
    )


def test_alignment_by_key_and_name() -> None:
    """Rows and columns come in the asked order, whatever theirs was."""
    rows = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [1, 0]])
    made = Predictions(("a", "b"), ("y", "x", "x", "y"), ("f",) * 4, (0, 0, 3, 3), rows)
    found = made.aligned(("b", "a"), ("x", "y"))
    assert list(found) == [0, 3]
    np.testing.assert_array_equal(found[0], [[0.8, 0.2], [0.9, 0.1]])
    np.testing.assert_array_equal(found[3], [[0.7, 0.3], [0, 1]])


def test_alignment_refuses_what_is_missing_or_unknown() -> None:
    """Classes and clips must be exactly those of the protocol, in each seed."""
    made = Predictions(("a", "b"), ("x", "y", "x"), ("f",) * 3, (0, 0, 1), np.full((3, 2), 0.5))
    with pytest.raises(PredictionsError, match="missing: c; unknown: b; expected clip, fold, seed, a, c"):
        made.aligned(("a", "c"), ("x", "y"))
    with pytest.raises(PredictionsError, match=r"seed 1 has 1 clip, expected 2: missing: y; not among .*: none"):
        made.aligned(("a", "b"), ("x", "y"))
    with pytest.raises(PredictionsError, match=r"seed 0 has 2 clips, expected 1: missing: none; not among .*: y"):
        made.aligned(("a", "b"), ("x",))
    with pytest.raises(PredictionsError, match="missing: c0, c1, c2, c3, c4 and 5 more"):
        made.aligned(("a", "b"), [f"c{i}" for i in range(10)])


def test_folds_join_into_a_run() -> None:
    """Parts come together; the same clip twice does not, nor other classes."""
    one = Predictions(("a", "b"), ("x",), ("f",), (0,), np.array([[0.5, 0.5]]))
    joined = concatenate([one, replace(one, clips=("y",), folds=("g",)), replace(one, clips=("z",))])
    assert (joined.clips, joined.folds) == (("x", "y", "z"), ("f", "g", "f"))
    with pytest.raises(PredictionsError, match="doubled: x"):
        concatenate([one, one])
    with pytest.raises(PredictionsError, match="cannot join predictions of 2 lists of classes"):
        concatenate([one, replace(one, classes=("a", "c"), clips=("y",))])


def test_shapes_are_checked() -> None:
    """What a trainer builds is held to the same rules."""
    with pytest.raises(PredictionsError, match=r"1 clip, 1 fold, 1 seed, .* \(2, 2\); expected \(1, 2\)"):
        Predictions(("a", "b"), ("x",), ("f",), (0,), np.full((2, 2), 0.5))
