"""What many tests share: a small dataset of real faces and the store made of it, both built once a session."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from rich.console import Console

from pipeline.preprocessing.preprocess import preprocess
from pipeline.synthesis.generator import synthesise
from schemas.config import Execution
from schemas.store.reader import Store

# A shell that starts the tests in the background has it ignored, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Bytecode is kept whatever the shell says: else each of the many processes here compiles PyTorch again, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile("mer", deadline=None)  # a busy machine is no failure
settings.load_profile("mer")

MESH = {"depth": "mesh", "au": "mesh", "size": 112}


def run_preprocess(root: Path, out: Path, *, workers: int = 0, retry_failed: bool = False, **options: object) -> int:
    """`mer preprocess ROOT --out OUT` with the mesh backend at 112 px, in this process; returns the exit code."""
    return preprocess(
        root,
        out=out,
        options={**MESH, **options},
        config_file=None,
        execution=Execution(workers=workers, device="cpu"),
        overwrite=False,
        retry_failed=retry_failed,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="session")
def shared_casme2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, two clips each, as CASME II lies on disk. Read only: take ``casme2`` to change it."""
    root = tmp_path_factory.mktemp("raw") / "casme2"
    synthesise("casme2", root, subjects=2, clips=2, frames=10, seed=1)
    return root


@pytest.fixture
def casme2(shared_casme2: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may damage."""
    return Path(shutil.copytree(shared_casme2, tmp_path / "casme2"))


@pytest.fixture(scope="session")
def shared_store(shared_casme2: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of ``shared_casme2``. Read only: take ``store`` to change it."""
    out = tmp_path_factory.mktemp("stores") / "casme2.zarr"
    assert run_preprocess(shared_casme2, out) == 0
    return Store.open(out)


@pytest.fixture
def store(shared_store: Store, tmp_path: Path) -> Store:
    """A copy of the store that a test may damage."""
    return Store.open(Path(shutil.copytree(shared_store.path, tmp_path / "casme2.zarr")))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For a module of tiny tensors: threads would only cost."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
