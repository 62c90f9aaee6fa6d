"""Commands whose output is on a disk that fills up: they say so, and with more room the same command goes on."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.kills import Command, fingerprint, outcome

_PAGE = 4096  # bytes that every file takes at least, in memory
_AMPLE = 512 * 2**20


def fill_often(command: Command, folder: Path, shares: Sequence[float]) -> tuple[int, tuple[str, ...]]:
    """How often a command met a full disk, and what was not as promised.

    Args:
        command: to run.
        folder: to work in.
        shares: of what the output takes, that the disk has room for.

    Raises:
        OSError: no small file system can be made here: who runs this may mount none.
    """
    with small_disk(folder / "disk", _AMPLE) as disk:
        alone = disk / f"out{command.suffix}"
        assert outcome(command, alone, folder / "alone.txt")[0] == 0
        expected, needed = fingerprint(alone, command.timed), _room(disk)
    met, broken = 0, []
    for share in shares:
        with small_disk(folder / "disk", int(share * needed)) as disk:
            out = disk / f"out{command.suffix}"
            code, said = outcome(command, out, folder / "full.txt")
            if code == 0:
                continue  # what it took was mostly for a while
            met += 1
            if code not in (1, 2) or "free some space" not in said or "Traceback" in said:
                broken.append(f"{share:.0%}: exit {code}: {said.strip()[-200:]}")
            _resize(disk, _AMPLE)
            code, said = outcome(command, out, folder / "again.txt")
            if code != 0 or fingerprint(out, command.timed) != expected:
                broken.append(f"{share:.0%}, with more room: exit {code}, or other bytes")
    return met, tuple(broken)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory, of so many bytes.

    Raises:
        OSError: none can be mounted.
    """
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={max(size, 4 * _PAGE)}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _resize(folder: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", str(folder))


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"no file system can be mounted here: {done.stderr.strip()}")


def _room(folder: Path) -> int:
    return sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in folder.rglob("*") if path.is_file())
