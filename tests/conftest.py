"""What many tests share: a small dataset of real faces and the store made of it, both built once a session."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
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


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A path that the first worker that needs it makes, for all workers of this run of the tests."""
    ours = factory.getbasetemp()
    folder = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    path, done = folder / name, folder / f"{name}.done"
    with FileLock(folder / f"{name}.done.lock"):
        if not done.exists():
            make(path)
            done.touch()
    return path


@pytest.fixture(scope="session")
def shared_casme2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, two clips each, as CASME II lies on disk. Read only: take ``casme2`` to change it."""

    def make(folder: Path) -> None:
        synthesise("casme2", folder / "casme2", subjects=2, clips=2, frames=10, seed=1)

    return made_once(tmp_path_factory, "raw", make) / "casme2"


@pytest.fixture
def casme2(shared_casme2: Path, tmp_path: Path) -> Path:
    """A copy of the dataset that a test may damage."""
    return Path(shutil.copytree(shared_casme2, tmp_path / "casme2"))


@pytest.fixture(scope="session")
def shared_store(shared_casme2: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of ``shared_casme2``. Read only: take ``store`` to change it."""

    def make(out: Path) -> None:
        assert run_preprocess(shared_casme2, out) == 0

    return Store.open(made_once(tmp_path_factory, "casme2.zarr", make))


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
