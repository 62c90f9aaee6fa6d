"""Where model weights come from: a models folder, the Hugging Face cache, or the hub. Safetensors only.

A models folder holds one folder a model, ``<models>/<name>/<files>``, as ``fetch`` writes it and as one copies
it to a machine without a network. A ``weights.json`` in it (a ``schemas.weights.Weights``, also written by
``fetch``) says which repository and commit the files are from, and may name weights of one's own; without it
the files are taken for those of the registry. Where a sha256 is pinned for that repository the file must have it.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from schemas.errors import ConfigError, WeightsInvalidError, WeightsUnavailableError
from schemas.weights import Weights

MODELS_DIR_VARIABLE = "MER_MODELS"
RECORD_NAME = "weights.json"

_DEPTH_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
_CONNECT_SECONDS = 6.0  # of the design's 10 s, for name look-up, connection and answer together
_PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl"})

_T = TypeVar("_T")


@dataclass(frozen=True)
class ModelSource:
    """A model on the hub.

    Attributes:
        name: as the command line and the models folder call it.
        repository: ``owner/name`` on the hub.
        revision: pinned commit; ``None`` takes the newest, and its sha256 is then recorded at fetch.
        files: all that is needed, the weights last.
        sha256: of the weights at that commit, where it is known.
        licence: of the weights.
    """

    name: str
    repository: str
    revision: str | None
    files: tuple[str, ...]
    sha256: str | None
    licence: str

    @property
    def weights_file(self) -> str:
        """Name of the safetensors file."""
        return self.files[-1]


# Commits and hashes as published by several independent projects that pin the same files. For Base no hash, and
# for py-feat neither (its file of this name is younger than any lock that we found), is public to our knowledge.
_SOURCES = (
    ModelSource(
        name="depth-anything-v2-small",
        repository="depth-anything/Depth-Anything-V2-Small-hf",
        revision="5426e4f0f36572d16453bbda7a8389317b1bef99",
        files=_DEPTH_FILES,
        sha256="3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
        licence="Apache-2.0",
    ),
    ModelSource(
        name="depth-anything-v2-base",
        repository="depth-anything/Depth-Anything-V2-Base-hf",
        revision="b1958afc87fb45a9e3746cb387596094de553ed8",
        files=_DEPTH_FILES,
        sha256=None,
        licence="CC-BY-NC-4.0",
    ),
    ModelSource(
        name="depth-anything-v2-large",
        repository="depth-anything/Depth-Anything-V2-Large-hf",
        revision="7581137eff8d4e94f6e796d3baea0e9fa79b22d2",
        files=_DEPTH_FILES,
        sha256="4e01e34ed5549b529b70b92d53226bc370f03041977b390d3dde45d47f516cf9",
        licence="CC-BY-NC-4.0",
    ),
    ModelSource(
        name="py-feat",
        repository="py-feat/face_multitask_v2",
        revision=None,
        files=("face_multitask_v28.safetensors",),
        sha256=None,
        licence="non-commercial research only",
    ),
)
MODELS: dict[str, ModelSource] = {source.name: source for source in _SOURCES}


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
    """One row of ``mer models list``. ``path`` is the weights file, or the one that is looked for."""

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
        name: one of ``MODELS``.
        models_dir: models folder; ``None`` takes the environment's ``MER_MODELS``, if set.

    Raises:
        ConfigError: no such model.
        WeightsInvalidError: a file is missing from its folder, is no safetensors file, or has another sha256.
        WeightsUnavailableError: not on this machine, and the hub cannot be reached (known within 10 s).
    """
    source, models = _source(name), _models_dir(models_dir)
    return _find(source, models) or _download(source, models)


def fetch(name: str, models_dir: Path | None = None) -> LocatedWeights:
    """Download weights that are not yet on this machine; into the models folder if there is one, else the cache.

    Weights already there are checked and left alone. Arguments and errors are those of ``locate``; a models
    folder without the model is filled even when the cache has it, so that it can be carried elsewhere.
    """
    source, models = _source(name), _models_dir(models_dir)
    found = _find_in_folder(source, models / name) if models else _find_in_cache(source)
    return found or _download(source, models)


def list_models(models_dir: Path | None = None) -> list[ModelListing]:
    """Every known model and whether it is on this machine; looks at names only, without network or hashing."""
    models = _models_dir(models_dir)
    return [_listing(source, models) for source in MODELS.values()]


def _source(name: str) -> ModelSource:
    if name not in MODELS:
        raise ConfigError(f"{name}: no such model; known are {', '.join(MODELS)}")
    return MODELS[name]


def _models_dir(models_dir: Path | None) -> Path | None:
    if models_dir is not None:
        return models_dir
    variable = os.environ.get(MODELS_DIR_VARIABLE)
    return Path(variable) if variable else None


def _find(source: ModelSource, models: Path | None) -> LocatedWeights | None:
    found = _find_in_folder(source, models / source.name) if models else None
    return found or _find_in_cache(source)


def _find_in_folder(source: ModelSource, folder: Path) -> LocatedWeights | None:
    if not folder.is_dir():
        return None
    claim = _read_record(folder / RECORD_NAME)
    files = (*source.files[:-1], claim.file if claim else source.weights_file)
    for file in files:
        if not (folder / file).is_file():
            raise WeightsInvalidError(_missing_file_message(source, folder, file))
    if claim is None:
        # Of a bare file only a pinned hash can tell the commit.
        return _checked(source, folder, revision=source.revision if source.sha256 else None)
    path = folder / claim.file
    sha256 = _sha256(path)
    _check_sha256(path, expected=claim.sha256, found=sha256)
    if (claim.repository, claim.revision) == (source.repository, source.revision):
        _check_sha256(path, expected=source.sha256, found=sha256)
    return LocatedWeights(folder, claim.model_copy(update={"name": source.name}))


def _record(source: ModelSource, revision: str | None, sha256: str) -> Weights:
    return Weights(
        name=source.name, repository=source.repository, revision=revision, file=source.weights_file, sha256=sha256
    )


def _missing_file_message(source: ModelSource, folder: Path, file: str) -> str:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    if pickles and Path(file).suffix == ".safetensors":
        return (
            f"{folder / pickles[0]}: expected {file}; pickled weights can run any code when they are opened and are "
            f"refused. Take {file} from {source.repository}"
        )
    return (
        f"{folder / file}: no such file, expected {', '.join(source.files)} from {source.repository} in that folder; "
        f"copy it there, or remove the folder and run: mer models fetch {source.name}"
    )


def _read_record(path: Path) -> Weights | None:
    try:
        record = Weights.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise WeightsInvalidError(
            f"{path}: not a record of weights ({error.error_count()} errors, first: {error.errors()[0]['msg']}); "
            f"expected the fields {', '.join(Weights.model_fields)}. Correct it, or remove it"
        ) from error
    if Path(record.file).name != record.file or Path(record.file).suffix != ".safetensors":
        raise WeightsInvalidError(
            f"{path}: file is {record.file!r}, expected the bare name of a .safetensors file beside it; pickled "
            "weights can run any code when they are opened and are refused"
        )
    return record


def _find_in_cache(source: ModelSource) -> LocatedWeights | None:
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(source.repository, file, revision=source.revision) for file in source.files]
    paths = [Path(path) for path in cached if isinstance(path, str)]
    if len(paths) < len(source.files):
        return None
    folder = paths[-1].parent
    return _checked(source, folder, revision=folder.name)  # the cache names its folders by commit


def _checked(source: ModelSource, folder: Path, *, revision: str | None) -> LocatedWeights:
    sha256 = _sha256(folder / source.weights_file)
    _check_sha256(folder / source.weights_file, expected=source.sha256, found=sha256)
    return LocatedWeights(folder, _record(source, revision, sha256))


def _download(source: ModelSource, models: Path | None) -> LocatedWeights:
    """All files of one commit; the hub is asked once before, since its client retries for 20 s when it is away."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(source.repository, source.weights_file, revision=source.revision)
    try:
        metadata = _within(_CONNECT_SECONDS, lambda: get_hf_file_metadata(url, timeout=_CONNECT_SECONDS / 2))
        commit = metadata.commit_hash or source.revision
        folder = models / source.name if models else None
        paths = [
            Path(hf_hub_download(source.repository, file, revision=commit, local_dir=folder)) for file in source.files
        ]
    except Exception as error:  # the client's own errors, its transport's and the disk's share no narrower base
        raise WeightsUnavailableError(_unavailable_message(source, models, error)) from error
    located = _checked(source, paths[-1].parent, revision=commit)
    if models:
        (located.folder / RECORD_NAME).write_text(located.record.model_dump_json(indent=2) + "\n")
    return located


def _within(seconds: float, ask: Callable[[], _T]) -> _T:
    """The result of ``ask``, or ``TimeoutError``: looking up a host name cannot be given a time limit itself."""
    results: list[_T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(ask())
        except Exception as error:  # handed to the caller below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]


def _unavailable_message(source: ModelSource, models: Path | None, error: Exception) -> str:
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    folder = (models or Path("models")) / source.name
    looked_in = [str(folder)] if models else []
    looked_in.append(f"the Hugging Face cache ({HF_HUB_CACHE})")
    files = ", ".join(source.files)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"{source.name}: {source.weights_file} of {source.repository} is not in {' nor in '.join(looked_in)}, "
        f"and it cannot be downloaded from {ENDPOINT} ({reason}). One of:\n"
        f"  with a network:     mer models fetch {source.name}\n"
        f"  without a network:  bring {files} (revision {source.revision or 'main'}) from another machine into "
        f"{folder} and pass --models-dir {folder.parent}, or set {MODELS_DIR_VARIABLE}={folder.parent}\n"
        "  without a download: --depth mesh --au mesh"
    )


def _listing(source: ModelSource, models: Path | None) -> ModelListing:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    state: Literal["present", "incomplete", "absent"]
    if models and (models / source.name).is_dir():
        path = models / source.name / source.weights_file
        state = "present" if all((path.parent / file).is_file() for file in source.files) else "incomplete"
    elif isinstance(
        cached := try_to_load_from_cache(source.repository, source.weights_file, revision=source.revision), str
    ):
        path, state = Path(cached), "present"
    else:
        cache = Path(HF_HUB_CACHE) / repo_folder_name(repo_id=source.repository, repo_type="model")
        path, state = (models / source.name if models else cache) / source.weights_file, "absent"
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
