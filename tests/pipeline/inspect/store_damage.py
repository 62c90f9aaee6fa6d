"""What can happen to a file of a store, undone when the test has looked."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Damage = Callable[[Path, Path], object]  # the file, and another object of the same store


def _flip(share: float) -> Damage:
    def do(file: Path, _: Path) -> None:
        data = bytearray(file.read_bytes())
        data[round(share * (len(data) - 1))] ^= 1
        file.write_bytes(data)

    return do


def _cut(share: float) -> Damage:
    return lambda file, _: file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def _folder(file: Path, _: Path) -> None:
    file.unlink()
    file.mkdir()


def _link(file: Path, target: Path | str) -> None:
    file.unlink()
    file.symlink_to(target)


def _link_to_the_same(file: Path, _: Path) -> None:
    """As somebody leaves it who has moved a file to another disk."""
    moved = file.rename(elsewhere(file))
    file.symlink_to(moved)


def elsewhere(file: Path) -> Path:
    """A place outside the store."""
    store = next(folder for folder in file.parents if (folder / "manifest.json").is_file())
    return store.with_name("elsewhere")


DAMAGES: dict[str, Damage] = {
    "cut in half": _cut(0.5),
    "cut by a byte": lambda file, _: file.write_bytes(file.read_bytes()[:-1]),
    "first bit flipped": _flip(0),
    "middle bit flipped": _flip(0.5),
    "last bit flipped": _flip(1),
    "garbage appended": lambda file, _: file.write_bytes(file.read_bytes() + b"garbage"),
    "no bytes": lambda file, _: file.write_bytes(b""),
    "deleted": lambda file, _: file.unlink(),
    "another object": lambda file, other: shutil.copyfile(other, file),
    "a folder": _folder,
    "a link to another object": _link,
    "a link to nowhere": lambda file, _: _link(file, "nowhere"),
    "a link to the same bytes": _link_to_the_same,
}


@contextmanager
def damaged(file: Path, damage: str, other: Path) -> Iterator[None]:
    """``file`` damaged, and whole again afterwards."""
    whole = file.read_bytes()
    DAMAGES[damage](file, other)
    try:
        yield
    finally:
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.write_bytes(whole)
        elsewhere(file).unlink(missing_ok=True)
