"""Random damage to a store and to a run: all of it has to be found, and none of it may be used."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.inspect.verification import verify
from schemas.errors import MerError
from schemas.store.reader import Store

Damage = Callable[[bytes, random.Random], bytes | None]  # None: the file is deleted


def _flip(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def _zeros(data: bytes, chance: random.Random) -> bytes:
    """A block that never reached the disk."""
    start = chance.randrange(len(data))
    end = min(len(data), start + 4096)
    zeroed = data[:start] + bytes(end - start) + data[end:]
    return zeroed if zeroed != data else _flip(data, chance)


DAMAGES: dict[str, Damage] = {
    "bit flipped": _flip,
    "cut": lambda data, chance: data[: chance.randrange(len(data))],
    "zeros": _zeros,
    "longer": lambda data, chance: data + chance.randbytes(chance.randint(1, 64)),
    "deleted": lambda data, chance: None,
}


@dataclass(frozen=True)
class Found:
    """How many damages were made, and how many `mer verify` missed."""

    damages: int
    missed: tuple[str, ...]


def damage_often(store: Store, *, damages: int, seed: int = 0) -> Found:
    """Damage one random file of a store at a time, each in a random way, and look whether verifying names it.

    The store is as before when this ends.
    """
    chance, missed = random.Random(seed), []
    files = sorted(path for path in Path(str(store.path)).rglob("*") if path.is_file())
    for number in range(damages):
        file, kind = chance.choice(files), list(DAMAGES)[number % len(DAMAGES)]
        whole = file.read_bytes()
        spoilt = DAMAGES[kind](whole, chance)
        if spoilt is None:
            file.unlink()
        else:
            file.write_bytes(spoilt)
        if not _noticed(Path(str(store.path)), file):
            missed.append(f"{kind}: {file.relative_to(str(store.path))}")
        file.write_bytes(whole)
    return Found(damages, tuple(missed))


def _noticed(store: Path, file: Path) -> bool:
    name = file.relative_to(store).as_posix()
    try:
        return any(problem.path == name for problem in verify(Store.open(store)))
    except MerError as error:
        return name in str(error)


def copied(store: Store, to: Path) -> Store:
    """A copy that may be damaged."""
    return Store.open(Path(shutil.copytree(str(store.path), to)))
