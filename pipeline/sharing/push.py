"""`mer push`: bring a store to a URL, only what differs by hash, objects first, the manifest last.

Until the new manifest is there, readers have the old one. They notice by its hashes where an object is already that
of the new store, and refuse it: no reader ever takes half a store for a whole one. What the new manifest lists no
more is deleted after it is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console

from pipeline.sharing.assembly import require_sealed
from pipeline.sharing.push_lock import PushLock
from pipeline.sharing.push_target import PushJournal, PushTarget, what_is_there
from pipeline.sharing.transfer import in_parallel
from pipeline.sharing.trust import same_clips
from schemas.datasets import licences
from schemas.errors import ConfigError, ManifestMissingError, StoreExistsError, TransferError
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.progress import Progress
from schemas.store.files import read_file
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from schemas.store.remote_files import is_of_push

Confirm = Callable[[str], bool]


@dataclass(frozen=True)
class Pushed:
    """What a push has done.

    Attributes:
        url: where the store is now, as it is printed.
        objects: that were written.
        bytes: that were written.
        deleted: objects that the store has no more.
    """

    url: str
    objects: int
    bytes: int
    deleted: int


def push(
    store: Store, target: StoreLocation | str, *, confirm: Confirm, console: Console, overwrite: bool = False
) -> Pushed:
    """Make the store at a URL, or in another folder, this one.

    Args:
        store: to be pushed; every byte is checked on the way.
        target: the URL, or a folder.
        confirm: asked whether faces may leave this machine; gets the terms of their datasets.
        console: for progress.
        overwrite: also replace a store that has no clip in common with it.

    Raises:
        ConfigError: not confirmed, or a URL that cannot be written.
        ManifestInvalidError: the manifest was edited.
        OutputLockedError: somebody else is pushing there.
        StoreDamagedError: an object of the store is not what its manifest says.
        StoreExistsError: there is something else at the target.
        TransferError: it does not answer; what is written is known to the next push.
    """
    require_sealed(store)
    there = PushTarget(target)
    _ask(store.manifest, there, confirm)
    with PushLock(there) as lock:
        old, listing = _manifest_of(there), there.listing()
        journal = PushJournal(there, listing)
        _refuse_others(there, store.manifest, old, listing, journal, overwrite)
        wanted = store.manifest.all_objects()
        listed = {} if old is None else old.all_objects()
        known = what_is_there(listing, listed, journal.known)
        differing = {
            name: stored
            for name, stored in wanted.items()
            if known.get(name) != stored["sha256"] or listing[name] != stored["bytes"]
        }
        _upload(store, there, differing, journal, console, len(wanted))
        _require_sizes(there, wanted)
        lock.require()
        there.replace(MANIFEST_NAME, read_file(store.path, MANIFEST_NAME))
        stale = (set(listed) | set(journal.known)) & set(listing) - set(wanted) - {MANIFEST_NAME}
        in_parallel(there.delete, stale, lambda _: None)
        there.tidy()
    return Pushed(str(there.url), len(differing), sum(stored["bytes"] for stored in differing.values()), len(stale))


def _ask(manifest: Manifest, target: PushTarget, confirm: Confirm) -> None:
    """Faces under licence leave this machine only if somebody says so."""
    if "texture" not in manifest.arrays or target.is_local:
        return
    terms = manifest.licences or licences(manifest.datasets)
    lines = [f"{licence.dataset}: {licence.terms}" for licence in terms]
    named = {licence.dataset for licence in terms}
    lines += [f"{name}: no terms known; ask whoever recorded it" for name in manifest.datasets if name not in named]
    question = "\n".join([*lines, f"This store shows their faces. Push it to {target.url}?"])
    if not confirm(question):
        raise ConfigError(
            f"{target.url}: not pushed: the store shows faces; --yes confirms that whoever reads there may see them, "
            "`mer subset --without texture` leaves them out"
        )


def _manifest_of(target: PushTarget) -> Manifest | None:
    try:
        return Store.open(target.url).manifest
    except ManifestMissingError:
        return None


def _refuse_others(
    target: PushTarget,
    mine: Manifest,
    old: Manifest | None,
    listing: Mapping[str, int],
    journal: PushJournal,
    overwrite: bool,
) -> None:
    if old is None and not journal.known and (files := [name for name in listing if not is_of_push(name)]):
        raise StoreExistsError(f"{target.url}: holds {len(files)} files that are no store; choose another URL")
    if old is not None and not overwrite and not same_clips(mine, old):
        raise StoreExistsError(
            f"{target.url}: another store, without a clip in common ({', '.join(old.datasets)}); choose another URL, "
            "or add --overwrite"
        )


def _upload(
    store: Store,
    target: PushTarget,
    differing: Mapping[str, StoredObject],
    journal: PushJournal,
    console: Console,
    objects: int,
) -> None:
    total = sum(stored["bytes"] for stored in differing.values())
    console.print(f"{target.url}: {len(differing)} of {objects} objects to push, {total / 1e6:.1f} MB")
    journal.overwriting(differing)

    def upload(item: tuple[str, StoredObject]) -> tuple[str, StoredObject]:
        target.put(item[0], store.object_blocks(*item))
        return item

    with Progress(console, unit="bytes", total=total, title="push") as progress:

        def done(item: tuple[str, StoredObject]) -> None:
            progress.advance(item[1]["bytes"])
            journal.written(item[0], item[1]["sha256"])

        try:
            in_parallel(upload, differing.items(), done)
        finally:
            journal.flush()


def _require_sizes(target: PushTarget, wanted: Mapping[str, StoredObject]) -> None:
    """A last look before the manifest says that all is there."""
    found = target.listing()
    for name, stored in wanted.items():
        if found.get(name) != stored["bytes"]:
            raise TransferError(
                f"{target.url}: {name} has {found.get(name, 'no')} bytes there, expected {stored['bytes']}; "
                "somebody else has written there: push again"
            )
