"""Predictions: class probabilities by clip key, fold and seed. One row a clip and seed, so no epoch can be chosen.

As a file: CSV, or Parquet where pyarrow is installed, with the columns ``clip``, ``fold``, ``seed`` and one a class.
There is no label in it: labels are joined by key from the store.
"""

import codecs
import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from schemas.csv_cells import csv_text, unquoted
from schemas.errors import PredictionsError
from schemas.output import replacing
from schemas.parquet import read_columns, write_columns
from schemas.words import count
from training.protocols.tasks import RESERVED_COLUMNS

_SUM_TOLERANCE = 1e-3  # eight probabilities of four decimals are off by 4e-4 at most
_REFUSED = dict.fromkeys(
    ("label", "true", "target", "y", "y_true", "true_label", "ground_truth"),
    "labels are joined by clip key from the store, never read from the file: remove the column",
) | dict.fromkeys(
    ("epoch", "step", "iteration"),
    "a result has one prediction a clip and seed, made by the epoch that was settled without the test clips: "
    "keep that one, remove the column",
)


@dataclass(frozen=True, eq=False)
class Predictions:
    """N rows; each clip at most once a seed. Checked when made, so that no other kind exists.

    Attributes:
        classes: C names, the columns of ``probabilities``.
        clips: N clip keys.
        folds: N names of the folds that the clips were tested in.
        seeds: N seeds of the runs.
        probabilities: ``(N, C) float64``, rows sum to 1.
        note: what had to be done to the file's own numbers, to be said beside a result.

    Raises:
        PredictionsError: a row is doubled, a probability is none, or two seeds are copies of each other.
    """

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    probabilities: NDArray[np.float64]
    note: str = ""

    def __post_init__(self) -> None:
        rows = len(self.clips)
        if not rows:
            raise PredictionsError("no predictions; expected one row a clip and seed")
        if len(set(self.classes)) < len(self.classes):
            raise PredictionsError(f"class column {_repeated(self.classes)} stands there twice")
        if not rows == len(self.folds) == len(self.seeds) or self.probabilities.shape != (rows, len(self.classes)):
            raise PredictionsError(
                f"{count(rows, 'clip')}, {count(len(self.folds), 'fold')}, {count(len(self.seeds), 'seed')}, "
                f"probabilities of shape {self.probabilities.shape}; expected ({rows}, {len(self.classes)})"
            )
        self._check_rows()
        self._check_probabilities()
        self._check_copies()

    def of_seed(self, seed: int) -> dict[str, int]:
        """Clip key -> row, of one seed."""
        return {self.clips[row]: row for row, own in enumerate(self.seeds) if own == seed}

    def aligned(self, classes: Sequence[str], clips: Sequence[str]) -> dict[int, NDArray[np.float64]]:
        """Seed -> ``(clips, classes)`` probabilities in the given orders.

        Raises:
            PredictionsError: these are not the classes, or of a seed not exactly the clips.
        """
        absent, unknown = _minus(classes, self.classes), _minus(self.classes, classes)
        if absent or unknown:
            raise PredictionsError(
                f"class columns: missing: {_listing(absent)}; unknown: {_listing(unknown)}; "
                f"expected clip, fold, seed, {', '.join(classes)}"
            )
        columns = [self.classes.index(name) for name in classes]
        found = {}
        for seed in sorted(set(self.seeds)):
            rows = self.of_seed(seed)
            absent, unknown = _minus(clips, rows), _minus(rows, clips)
            if absent or unknown:
                raise PredictionsError(
                    f"seed {seed} has {count(len(rows), 'clip')}, expected {len(clips)}: missing: {_listing(absent)}; "
                    f"not among the test clips of the protocol: {_listing(unknown)}"
                )
            found[seed] = self.probabilities[np.ix_([rows[clip] for clip in clips], columns)]
        return found

    @property
    def sha256(self) -> str:
        """Hash of the rows as ``write_predictions`` writes them to CSV."""
        return hashlib.sha256(_csv(self).encode()).hexdigest()

    def _check_rows(self) -> None:
        times = Counter(zip(self.clips, self.seeds, strict=True))
        doubled = [f"{clip} (seed {seed}, {count} rows)" for (clip, seed), count in times.items() if count > 1]
        if doubled:
            raise PredictionsError(f"doubled: {_listing(doubled)}; expected each clip once a seed")
        if not all(self.clips) or not all(self.folds):
            row = next(i for i, pair in enumerate(zip(self.clips, self.folds, strict=True)) if not all(pair))
            raise PredictionsError(f"row {row + 1} has an empty clip or fold")

    def _check_probabilities(self) -> None:
        sums = self.probabilities.sum(axis=1)
        for wrong, what in (
            (~np.isfinite(self.probabilities).all(axis=1), "a probability that is no number"),
            ((self.probabilities < 0).any(axis=1), "a negative probability"),
            (np.abs(sums - 1) > _SUM_TOLERANCE, "probabilities that do not sum to 1"),
        ):
            rows = np.flatnonzero(wrong)
            if len(rows):
                row = rows[0]
                values = ", ".join(f"{value:g}" for value in self.probabilities[row])
                raise PredictionsError(
                    f"{self.clips[row]} (seed {self.seeds[row]}) has {what}: {values} (sum {sums[row]:g}); "
                    f"{len(rows)} such rows; write a softmax, not logits"
                )

    def _check_copies(self) -> None:
        seen: dict[bytes, int] = {}
        for seed in sorted(set(self.seeds)):
            rows = self.of_seed(seed)
            content = b"".join(
                clip.encode() + b"\0" + self.probabilities[rows[clip]].tobytes() for clip in sorted(rows)
            )
            if (other := seen.setdefault(hashlib.sha256(content).digest(), seed)) != seed:
                raise PredictionsError(
                    f"seeds {other} and {seed} hold the same probabilities for every clip; a copy is not another run, "
                    "and would make the spread over seeds look small: keep one"
                )


def concatenate(parts: Iterable[Predictions]) -> Predictions:
    """All rows of several predictions of the same classes, as folds and seeds of a run come in.

    Raises:
        PredictionsError: their classes differ, or together they double a clip.
    """
    listed = list(parts)
    if len({part.classes for part in listed}) != 1:
        raise PredictionsError(f"cannot join predictions of {len({p.classes for p in listed})} lists of classes")
    return Predictions(
        listed[0].classes,
        tuple(clip for part in listed for clip in part.clips),
        tuple(fold for part in listed for fold in part.folds),
        tuple(seed for part in listed for seed in part.seeds),
        np.concatenate([part.probabilities for part in listed]),
    )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write ``.csv`` or ``.parquet``, whole or not at all. Probabilities keep every bit.

    Raises:
        PredictionsError: another suffix.
        ConfigError: Parquet without pyarrow.
    """
    csv_format = _format(path) == "csv"
    with replacing(path) as file:
        if csv_format:
            file.write(_csv(predictions).encode())
        else:
            write_columns(file, columns_of(predictions))


def read_predictions(path: Path) -> Predictions:
    """Read ``.csv`` or ``.parquet``; columns may stand in any order, those that are not reserved are classes.

    A CSV file may be as spreadsheet programs write it: UTF-16, semicolons or tabs, decimal commas, blank lines.

    Raises:
        PredictionsError: the file is missing or unreadable, or anything in it is not as it must be.
    """
    try:
        read = _read_csv if _format(path) == "csv" else read_columns
        with path.open("rb") as file:
            return from_columns(read(file))
    except FileNotFoundError as error:
        raise PredictionsError(f"{path}: no such file") from error
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionsError(f"{path}: not a CSV file in UTF-8 or UTF-16: {error}") from error
    except ValueError as error:
        raise PredictionsError(f"{path}: {error}") from error


def from_columns(columns: Mapping[str, Sequence[Any]]) -> Predictions:
    """Predictions from a table's columns, name -> N values; raises ``PredictionsError`` as ``read_predictions``."""
    for name in columns:
        if name.strip().lower() in _REFUSED:
            raise PredictionsError(f"column {name!r}: {_REFUSED[name.strip().lower()]}")
    absent = _minus(RESERVED_COLUMNS, columns)
    if absent:
        raise PredictionsError(f"no column {_listing(absent)}; expected {', '.join(RESERVED_COLUMNS)} and one a class")
    classes = tuple(name for name in columns if name not in RESERVED_COLUMNS)
    clips = tuple(map(str, columns["clip"]))
    probabilities = np.empty((len(clips), len(classes)))
    for index, name in enumerate(classes):
        probabilities[:, index] = [_number(v, clip, name) for clip, v in zip(clips, columns[name], strict=True)]
    seeds = tuple(_seed(value, clip) for clip, value in zip(clips, columns["seed"], strict=True))
    probabilities, note = _renormalised(probabilities)
    return Predictions(classes, clips, tuple(map(str, columns["fold"])), seeds, probabilities, note)


def _renormalised(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Rows that sum to 1 again if rounding alone can be why they don't, and a note that says so."""
    sums = probabilities.sum(axis=1, keepdims=True)
    off = np.abs(sums - 1).max(initial=0)
    for decimals in (2, 3):
        most = 0.5 * 10.0**-decimals * probabilities.shape[1] + 1e-9
        if _SUM_TOLERANCE < off <= most and np.allclose(probabilities, probabilities.round(decimals), 0, 1e-9):
            rows = int((np.abs(sums - 1) > 1e-9).sum())
            return probabilities / sums, (
                f"The probabilities are rounded to {decimals} decimals: {rows} of {len(sums)} rows did not sum to 1 "
                "and were renormalised."
            )
    return probabilities, ""


def _number(value: Any, clip: str, name: str) -> float:
    try:
        return float(value.replace(",", ".") if isinstance(value, str) else value)
    except (TypeError, ValueError) as error:
        raise PredictionsError(f"{clip}: {value!r} in class column {name!r} is no number") from error


def _seed(value: Any, clip: str) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise PredictionsError(f"{clip}: seed {value!r} is no whole number") from error


def columns_of(predictions: Predictions) -> dict[str, Sequence[Any]]:
    """The columns of the file, name -> N values."""
    columns: dict[str, Sequence[Any]] = {
        "clip": predictions.clips,
        "fold": predictions.folds,
        "seed": predictions.seeds,
    }
    return columns | {n: predictions.probabilities[:, i].tolist() for i, n in enumerate(predictions.classes)}


def _csv(predictions: Predictions) -> str:
    columns = columns_of(predictions)
    return csv_text([columns, *zip(*columns.values(), strict=True)])


def _read_csv(file: IO[bytes]) -> dict[str, list[str]]:
    data = file.read()
    text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header = [unquoted(name) for name in next(reader, [])]
    if len(set(header)) < len(header):
        raise PredictionsError(f"column {_repeated(header)!r} stands there twice")
    rows = []
    for row in reader:
        if not any(map(str.strip, row)):
            continue  # a blank line
        if len(row) != len(header):
            advice = "; with decimal commas, separate cells by semicolons" if len(row) > len(header) else ""
            raise PredictionsError(f"line {reader.line_num} has {len(row)} cells, the header has {len(header)}{advice}")
        rows.append([unquoted(cell) for cell in row])
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def _delimiter(text: str) -> str:
    """What separates the reserved columns in the header; names of classes may hold the others."""
    for delimiter in ",;\t":
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if set(RESERVED_COLUMNS) <= set(header):
            return delimiter
    return ","


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise PredictionsError(f"{path}: predictions are .csv or .parquet, found {suffix or 'no suffix'!r}")
    return suffix[1:]


def _minus(names: Iterable[str], others: Iterable[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]


def _repeated(names: Sequence[str]) -> str:
    return next(name for name, count in Counter(names).items() if count > 1)


def _listing(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
