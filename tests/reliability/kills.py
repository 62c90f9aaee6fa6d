"""Commands that are killed at random moments, typed again until they end, and compared with one that was left alone."""

import hashlib
import multiprocessing
import random
import sys
import time
from collections.abc import Callable, Collection
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

_PRELOAD = ["tests.reliability.kills", "cli", "torch._dynamo", "pipeline.clip.mesh.backend", "pipeline.clip.faces"]
_FOR_PEOPLE = {".log", ".lock", ".html", ".svg", ".pdf", ".png"}
_TRIES = 60  # that one output takes at most; a command that gets nowhere between two kills would never end


@dataclass(frozen=True)
class Command:
    """A command of `mer` that writes one output.

    Attributes:
        name: in the table.
        arguments: for an output.
        suffix: of the output's name.
        timed: files that say how long something took, so that no two are equal: names anywhere, or paths from the
            output on, ``./name`` at its top.
    """

    name: str
    arguments: Callable[[Path], list[str]]
    suffix: str = ""
    timed: frozenset[str] = frozenset({"time.json", "done.json"})


@dataclass(frozen=True)
class Kills:
    """What killing a command showed: ``different`` outputs of ``finished`` ones, after ``kills`` SIGKILLs."""

    command: str
    kills: int
    finished: int
    different: int


def kill_often(command: Command, folder: Path, *, kills: int, seed: int = 0) -> Kills:
    """Kill a command at random moments of its life, at least so often, typing it again each time until it ends."""
    moments = random.Random(seed)
    alone = folder / f"{command.name}-alone{command.suffix}"
    first = _context().Process(target=_nothing)
    first.start()
    first.join()  # it brought the imports, which are no part of a lifetime
    started = time.monotonic()
    _check(command, _started(command, alone), alone)
    lifetime = time.monotonic() - started
    expected = fingerprint(alone, command.timed)
    killed = finished = different = 0
    while killed < kills:
        out = folder / f"{command.name}-{finished}{command.suffix}"
        for number in range(_TRIES):
            process = _started(command, out)
            process.join(moments.uniform(0, (1.1 + number / 10) * lifetime))  # a machine may be busier than at first
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            killed += 1
        _check(command, process, out)
        different += fingerprint(out, command.timed) != expected
        finished += 1
    return Kills(command.name, killed, finished, different)


def outcome(command: Command, out: Path, log: Path) -> tuple[int | None, str]:
    """Exit code of a command that nobody kills, and what it printed."""
    process = _context().Process(target=_run, args=(command.arguments(out), log))
    process.start()
    process.join()
    return process.exitcode, log.read_text()


def fingerprint(out: Path, timed: Collection[str] = ()) -> str:
    """One hash of everything below an output that has to be equal to the byte: no times, no logs, no pictures."""
    listing = hashlib.sha256()
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if {path.name, f"./{name}"} & set(timed) or path.suffix in _FOR_PEOPLE or "tensorboard" in path.parts:
            continue
        listing.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return listing.hexdigest()


def _check(command: Command, process: ForkServerProcess, out: Path) -> None:
    process.join()
    if process.exitcode != 0:
        said = _log(out).read_text()[-2000:]
        raise AssertionError(f"{command.name} into {out}: exit {process.exitcode}: {said}")


def _started(command: Command, out: Path) -> ForkServerProcess:
    """The command, forked from a process that has its imports behind it, so that kills hit the work."""
    process = _context().Process(target=_run, args=(command.arguments(out), _log(out)))
    process.start()
    return process


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def _nothing() -> None:
    pass


def _run(arguments: list[str], log: Path) -> None:
    import torch

    import cli

    torch.set_num_threads(1)
    sys.argv = ["mer", *arguments]
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        cli.main()


def _log(out: Path) -> Path:
    return out.with_name(f"{out.name}.txt")
