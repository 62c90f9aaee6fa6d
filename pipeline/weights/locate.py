"""Where model weights come from: a models folder, the Hugging Face cache, or the hub. Safetensors only.

A models folder holds one folder a model, ``<models>/<name>/<files>``, as ``fetch`` writes it and as one copies
it to a machine without a network. A ``weights.json`` beside them (a ``schemas.weights.Weights``, also written by
``fetch``) says which repository and commit they are from, and may name a repository of one's own; without it they
are taken for those of the registry. The file must have the sha256 of the record, and the pinned one if there is one.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipeline.weights import hub
from pipeline.weights.sources import WEIGHTS, ModelSource
from schemas.errors import WeightsInvalidError, WeightsUnavailableError
from schemas.weights import Weights

MODELS_DIR_VARIABLE = "MER_MODELS"
RECORD_NAME = "weights.json"

_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})


@dataclass(frozen=True)
class LocatedWeights:
    """Weights on this machine, hashed: ``folder`` holds every file of the model; ``record`` is for the manifest."""

    folder: Path
    record: Weights

    @property
    def path(self) -> Path:
        """The safetensors file."""
        return self.folder / self.record.file


@dataclass(frozen=True)
class ModelListing:
    """One row of ``mer weights list``. ``path`` is the weights file, or the one that is looked for."""

    name: str
    repository: str
    revision: str | None
    licence: str
    state: Literal["present", "incomplete", "absent"]
    path: Path


def locate(name: str, models_dir: Path | None = None) -> LocatedWeights:
    """Weights by name: from the models folder, else from the Hugging Face cache, else downloaded.

    The file is hashed on every call, at about 1 GB/s: a remembered hash would miss the damage that it is for.
    A run locates once and hands the result to its workers.

    Args:
        name: one of ``WEIGHTS``.
        models_dir: models folder; ``None`` takes the environment's ``MER_MODELS``, if set.

    Raises:
        ConfigError: no such model.
        WeightsInvalidError: a file is missing from its folder, is no safetensors file, or has another sha256.
        WeightsUnavailableError: not on this machine, and the hub cannot be reached (known within 10 s).
    """
    source, models = WEIGHTS[name], _models_dir(models_dir)
    return _find(source, models) or _download(source, models)


def fetch(name: str, models_dir: Path | None = None) -> LocatedWeights:
    """Download weights that are not yet on this machine; into the models folder if there is one, else the cache.

    Weights already there are checked and left alone, an incomplete folder is completed, and a models folder is filled
    even when the cache has the model, so that it can be carried elsewhere. Arguments and errors: as ``locate``.
    """
    source, models = WEIGHTS[name], _models_dir(models_dir)
    if models is None:
        return _find_in_cache(source) or _download(source, models)
    if _missing(source, models / name):
        return _download(source, models)
    return _find_in_folder(source, models / name)


def list_models(models_dir: Path | None = None) -> list[ModelListing]:
    """Every known model and whether it is on this machine; looks at names only, without network or hashing."""
    models = _models_dir(models_dir)
    return [_listing(WEIGHTS[name], models) for name in WEIGHTS.names()]


def _models_dir(models_dir: Path | None) -> Path | None:
    if models_dir is not None:
        return models_dir
    variable = os.environ.get(MODELS_DIR_VARIABLE)
    return Path(variable) if variable else None


def _find(source: ModelSource, models: Path | None) -> LocatedWeights | None:
    if models and (models / source.name).is_dir():
        return _find_in_folder(source, models / source.name)
    return _find_in_cache(source)


def _missing(source: ModelSource, folder: Path) -> list[str]:
    return [file for file in source.files if not (folder / file).is_file()]


def _find_in_folder(source: ModelSource, folder: Path) -> LocatedWeights:
    for file in _missing(source, folder):
        raise WeightsInvalidError(_missing_file_message(source, folder, file))
    path = folder / source.weights_file
    found = _sha256(path)
    # Of bare files only a pinned hash can tell the commit.
    bare = _record(source, source.revision if source.sha256 else None, found)
    record = _read_record(source, folder / RECORD_NAME) or bare
    _check_sha256(path, expected=record.sha256, found=found)
    if (record.repository, record.revision) == (source.repository, source.revision):
        _check_sha256(path, expected=source.sha256, found=found)
    return LocatedWeights(folder, record)


def _record(source: ModelSource, revision: str | None, sha256: str) -> Weights:
    return Weights(
        name=source.name, repository=source.repository, revision=revision, file=source.weights_file, sha256=sha256
    )


def _missing_file_message(source: ModelSource, folder: Path, file: str) -> str:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles and file == source.weights_file:
        return (
            f"{folder / pickles[0]}: expected {file}; pickled weights can run any code when they are opened and are "
            f"refused. Take {file} of {source.repository}"
        )
    return (
        f"{folder / file}: no such file; expected {', '.join(source.files)} of {source.repository} in that folder. "
        f"Copy it there, or run: mer weights fetch {source.name} --models-dir {folder.parent}"
    )


def _read_record(source: ModelSource, path: Path) -> Weights | None:
    if not path.is_file():
        return None
    try:
        record = Weights.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsInvalidError(
            f"{path}: not a record of weights ({'.'.join(map(str, first['loc']))}: {first['msg']}); expected "
            f"the fields {', '.join(Weights.model_fields)}. Correct it, or remove it"
        ) from error
    if (record.name, record.file) != (source.name, source.weights_file):
        raise WeightsInvalidError(
            f"{path}: is of {record.name}, file {record.file}; expected {source.name}, file {source.weights_file}. "
            "Correct it, or remove it"
        )
    return record


def _find_in_cache(source: ModelSource) -> LocatedWeights | None:
    folder = hub.cached_folder(source.repository, source.files, source.revision)
    return _checked(source, folder, folder.name) if folder else None


def _download(source: ModelSource, models: Path | None) -> LocatedWeights:
    into = models / source.name if models else None
    try:
        folder, commit = hub.download(source.repository, source.files, source.revision, into)
    except ConnectionError as error:
        raise WeightsUnavailableError(_unavailable_message(source, models, str(error))) from error
    located = _checked(source, folder, commit)
    if into:
        (into / RECORD_NAME).write_text(located.record.model_dump_json(indent=2) + "\n")
    return located


def _checked(source: ModelSource, folder: Path, commit: str) -> LocatedWeights:
    path = folder / source.weights_file
    found = _sha256(path)
    _check_sha256(path, expected=source.sha256, found=found)
    return LocatedWeights(folder, _record(source, commit, found))


def _unavailable_message(source: ModelSource, models: Path | None, reason: str) -> str:
    folder = (models or Path("models")) / source.name
    looked_in = f"{folder} nor in " if models else ""
    return (
        f"{source.name}: {source.weights_file} of {source.repository} is not in {looked_in}the Hugging Face cache "
        f"({hub.cache_root(source.repository)}) and cannot be downloaded from {hub.endpoint()}: {reason}\n"
        "Do one of these:\n"
        f"  with a network      mer weights fetch {source.name}\n"
        f"  without a network   bring {', '.join(source.files)} (revision {source.revision or 'main'}) from another "
        f"machine into the folder {folder} and give --models-dir {folder.parent}, or set {MODELS_DIR_VARIABLE}\n"
        f"  without a download  {source.instead}"
    )


def _listing(source: ModelSource, models: Path | None) -> ModelListing:
    state: Literal["present", "incomplete", "absent"] = "present"
    folder = hub.cached_folder(source.repository, source.files, source.revision)
    if models and ((models / source.name).is_dir() or folder is None):
        folder = models / source.name
        state = "absent" if not folder.is_dir() else "incomplete" if _missing(source, folder) else "present"
    elif folder is None:
        folder, state = hub.cache_root(source.repository), "absent"
    path = folder / source.weights_file
    return ModelListing(source.name, source.repository, source.revision, source.licence, state, path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sha256(path: Path, *, expected: str | None, found: str) -> None:
    if expected is not None and found != expected:
        raise WeightsInvalidError(
            f"{path}: sha256 expected {expected}, found {found}; the file is damaged or is another version. "
            f"Remove it and fetch or copy it again"
        )
