"""The mark that something is done, with the hashes of its files: nothing else than it was finished with is used."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from schemas.model import Model
from schemas.output import write_text


class FoldDone(Model):
    """``done.json``: sha256 of each file of a finished fold, by its name."""

    format: Literal["mer-fold"] = "mer-fold"
    format_version: Literal[1] = 1
    sha256: dict[str, str]


def finish(record: Path, files: Iterable[Path]) -> None:
    """Write the mark for files that lie beside it, those of them that are there."""
    done = FoldDone(sha256={file.name: _sha256(file) for file in files if file.is_file()})
    write_text(record, done.model_dump_json(indent=1) + "\n")


def damage(record: Path) -> str | None:
    """What is wrong with what a mark says is done; ``None`` if nothing is. It reads every file."""
    try:
        expected = FoldDone.model_validate_json(record.read_bytes()).sha256
    except ValidationError:
        return f"{record.name} is damaged"
    for name, sha256 in expected.items():
        try:
            found = _sha256(record.parent / Path(name).name)
        except FileNotFoundError:
            return f"{name} is missing"
        if found != sha256:
            return f"{name} is not what it was when the fold was finished"
    return None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
