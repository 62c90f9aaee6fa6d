"""`mer pull`: fetch a store to this machine, only what is not here already, all of it or nothing.

A pull works in ``STORE.partial`` beside the target, which a killed one leaves; the same command goes on there, and
hashes again what it finds. The target is exchanged at the end by renaming, so that it is whole at any time.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipeline.sharing.transfer import in_parallel
from pipeline.sharing.untrusted import refuse_foreign, refuse_metadata, refuse_too_large, same_clips
from schemas.errors import ConfigError, StoreExistsError
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.output import locked, output_errors, replacing, require_path
from schemas.progress import Progress
from schemas.store.files import stored_object
from schemas.store.location import StoreLocation, StoreUrl, located
from schemas.store.manifest_file import manifest_bytes, parsed_manifest
from schemas.store.reader import Store
from schemas.store.remote import remote_files
from schemas.words import count


@dataclass(frozen=True)
class Pulled:
    """What a pull has done.

    Attributes:
        path: of the store.
        manifest: of the store.
        objects: that were fetched.
        bytes: that were fetched.
    """

    path: Path
    manifest: Manifest
    objects: int
    bytes: int


def pull(source: StoreLocation | str, out: Path | None, *, console: Console, overwrite: bool = False) -> Pulled:
    """Make the store at ``out`` the one at a URL, or in another folder.

    Args:
        source: the URL, of a packed store too, or a folder.
        out: the store to write; by default named as the source, in the current folder.
        console: for progress.
        overwrite: also replace a store that has no clip in common with it.

    Raises:
        ConfigError: ``out`` is a URL, or ``source`` is neither a URL nor a folder.
        ManifestMissingError: there is no store.
        ManifestInvalidError: it is no manifest that mer has written; nothing was fetched.
        StoreDamagedError: objects are not what the manifest lists, or not what mer writes.
        StoreExistsError: there is something else at ``out``.
        OutputLockedError: another pull is writing ``out``.
        TransferError: the source does not answer.
        StoreWriteError: disk full, read-only, gone.
    """
    place = located(source)
    target = out or _default(place)
    require_path(target)
    url = place if isinstance(place, StoreUrl) else _url_of(place)
    text = manifest_bytes(url)
    theirs = Store(url, parsed_manifest(url, text))
    refuse_foreign(theirs)
    unfinished = target.with_name(f"{target.name}.partial")
    with output_errors(target), locked(unfinished):
        mine = _replaceable(target, theirs.manifest, overwrite)
        fetched = _complete(unfinished, theirs, mine, text, console)
        _exchange(unfinished, target)
    return Pulled(target, theirs.manifest, len(fetched), sum(stored["bytes"] for stored in fetched.values()))


def _default(place: StoreLocation) -> Path:
    packed = isinstance(place, StoreUrl) and place.is_packed
    return Path(place.name).with_suffix(".zarr") if packed else Path(place.name)


def _url_of(folder: Path) -> StoreUrl:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a URL, or the folder of a store; `mer unpack` reads zip files")
    return StoreUrl(f"file://{folder.absolute()}")


def _replaceable(target: Path, manifest: Manifest, overwrite: bool) -> Store | None:
    """The store that is there already."""
    previous = _previous(target)
    if previous.exists() and not target.exists():
        previous.rename(target)  # killed between the two renames
    if not os.path.lexists(target):
        return None
    if target.is_symlink() or not (target / MANIFEST_NAME).is_file():
        raise StoreExistsError(f"{target}: exists, and is no complete store; choose another name, or delete it first")
    mine = Store.open(target, edited=True)  # it is replaced
    if not overwrite and not same_clips(mine.manifest, manifest):
        raise StoreExistsError(
            f"{target}: another store, without a clip in common ({', '.join(mine.manifest.datasets)}); choose another "
            "name, or add --overwrite"
        )
    return mine


def _complete(
    folder: Path, theirs: Store, mine: Store | None, manifest: bytes, console: Console
) -> dict[str, StoredObject]:
    """Make a folder the store, from what it has, from what the previous store has, and from the URL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    wanted = theirs.manifest.all_objects()
    _delete_others(folder, set(wanted))
    assert isinstance(theirs.path, StoreUrl)
    remote, here = remote_files(theirs.path, wanted), _by_hash(mine)
    missing = dict[str, StoredObject]()

    def look(item: tuple[str, StoredObject]) -> tuple[str, StoredObject] | None:
        return None if _is_here(folder / item[0], item[1], here) else item

    in_parallel(look, wanted.items(), lambda item: item and missing.update([item]))
    total = sum(stored["bytes"] for stored in missing.values())
    console.print(f"{theirs.path}: {len(missing)} of {count(len(wanted), 'object')} to fetch, {total / 1e6:.1f} MB")
    refuse_too_large(theirs, folder, total)
    with Progress(console, unit="bytes", total=total, title="pull") as progress:

        def fetch(item: tuple[str, StoredObject]) -> int:
            with replacing(folder / item[0]) as file:
                remote.download(*item, file)
            return item[1]["bytes"]

        metadata = {name for name in missing if name.endswith("zarr.json")}
        in_parallel(fetch, [item for item in missing.items() if item[0] in metadata], progress.advance)
        refuse_metadata(theirs, folder)  # before the gigabytes
        in_parallel(fetch, [item for item in missing.items() if item[0] not in metadata], progress.advance)
    with replacing(folder / MANIFEST_NAME) as file:
        file.write(manifest)
    return missing


def _delete_others(folder: Path, wanted: set[str]) -> None:
    """What an earlier pull has left and this one has no use for."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _by_hash(store: Store | None) -> dict[str, Path]:
    """sha256 -> file, as the manifest of the store says."""
    if store is None:
        return {}
    assert isinstance(store.path, Path)
    return {stored["sha256"]: store.path / name for name, stored in store.manifest.all_objects().items()}


def _is_here(file: Path, expected: StoredObject, here: dict[str, Path]) -> bool:
    """Whether an object is in its place, or could be put there without the network."""
    if _holds(file, expected):
        return True
    source = here.get(expected["sha256"])
    if source is None or not _holds(source, expected):
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    try:
        os.link(source, file)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, file)
    return True


def _holds(file: Path, expected: StoredObject) -> bool:
    if file.is_symlink() or not file.is_file() or file.stat().st_size != expected["bytes"]:
        return False
    return stored_object(file) == expected


def _exchange(unfinished: Path, target: Path) -> None:
    """Put a whole store where an older one may be; killed half way, the next pull mends it."""
    previous = _previous(target)
    if target.exists():
        if previous.exists():
            shutil.rmtree(previous)
        target.rename(previous)
    unfinished.rename(target)
    if previous.exists():
        shutil.rmtree(previous)


def _previous(target: Path) -> Path:
    return target.with_name(f"{target.name}.previous")
