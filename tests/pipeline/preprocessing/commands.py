"""`mer preprocess` as a user starts it, in processes of its own, for tests that kill some of them."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from schemas.store.manifest_file import JOURNAL_NAME

OPTIONS = ("--depth", "mesh", "--au", "mesh", "--size", "112", "--device", "cpu")


def command(root: Path, out: Path, *options: str) -> list[str]:
    mer = str(Path(sys.executable).with_name("mer"))
    return [mer, "preprocess", str(root), "--out", str(out), *OPTIONS, *options]


def start(root: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """The command as a user starts it, in a process group of its own as a shell does."""
    return subprocess.Popen(
        command(root, out, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )


def finished_clips(out: Path) -> int:
    """Clips in the journal; none where there is no journal."""
    with suppress(FileNotFoundError):
        return max(0, (out / JOURNAL_NAME).read_bytes().count(b"\n") - 1)
    return 0


def wait_for_clips(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Return once the journal holds at least ``count`` clips."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (out / JOURNAL_NAME).exists() and finished_clips(out) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} clips in the journal: exit {process.poll()}, {process.communicate()[0]}")


def worker_processes(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Dask workers of a command; the resource tracker of multiprocessing is none."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
