"""Parquet files, where pyarrow is installed: it is no dependency, since few need it and it is large."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import IO, Any

from schemas.errors import ConfigError

PARQUET_MAGIC = b"PAR1"


def read_columns(file: IO[bytes]) -> dict[str, list[Any]]:
    """Columns by name.

    Raises:
        ConfigError: pyarrow is not installed.
        ValueError: not a Parquet file.
    """
    parquet = _pyarrow("pyarrow.parquet")
    try:
        table = parquet.read_table(file)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise ValueError(f"not a Parquet file: {error}") from error
    return {name: table.column(index).to_pylist() for index, name in enumerate(table.column_names)}


def write_columns(file: IO[bytes], columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    _pyarrow("pyarrow.parquet").write_table(_pyarrow("pyarrow").table(columns), file)


def _pyarrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow, which is not installed: pip install 'madv-mer[parquet]', or use .csv"
        ) from error
