"""Files from the Hugging Face hub or its cache on this machine, with an answer in seconds when there is no network."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Of 10 s in all: for the look-up of the host's name, and within it for the connection and for the answer.
_ANSWER_SECONDS = 6.0
_CONNECT_SECONDS = 3.0

_T = TypeVar("_T")


def cached_folder(repository: str, files: tuple[str, ...], revision: str | None) -> Path | None:
    """The cache's folder of one commit, named by it, if it holds all the files; ``None`` if not."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, file, revision=revision) for file in files]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(files) else None


def cache_root(repository: str) -> Path:
    """Where the cache keeps a repository, whether it is there or not."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def endpoint() -> str:
    """Address of the hub, as the environment's ``HF_ENDPOINT`` may set it."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


def download(repository: str, files: tuple[str, ...], revision: str | None, into: Path | None) -> tuple[Path, str]:
    """Download files of one commit into a folder, or into the cache; the folder that holds them and the commit.

    The hub is asked for the commit first, once and with a time limit: its client would retry for 20 s when the
    network is away.

    Raises:
        ConnectionError: not reachable, no such file, or not to be written; the message is the first line of the reason.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repository, files[-1], revision=revision)
    try:
        metadata = _within(_ANSWER_SECONDS, lambda: get_hf_file_metadata(url, timeout=_CONNECT_SECONDS))
        commit = metadata.commit_hash
        if commit is None:
            raise ConnectionError("the answer names no commit: not a Hugging Face hub")
        # The cache finds a file without a pinned commit again only under the branch that it was asked for.
        wanted = commit if into else revision
        paths = [Path(hf_hub_download(repository, file, revision=wanted, local_dir=into)) for file in files]
    except Exception as error:  # the client's own errors, its transport's and the disk's share no narrower base
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConnectionError(reason) from error
    folder = paths[0].parent
    return folder, commit if into else folder.name


def _within(seconds: float, ask: Callable[[], _T]) -> _T:
    """The result of ``ask``, or ``TimeoutError``: the look-up of a host's name cannot be given a time limit itself."""
    results: list[_T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(ask())
        except Exception as error:  # raised in the caller's thread below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]
