"""`mer push`: send a store to a URL, only what differs by hash, objects first, the manifest last.

Until the new manifest is there, readers have the old one. They notice by its hashes where an object is already that
of the new store, and refuse it: no reader ever takes half a store for a whole one. What the new manifest lists no
more is deleted after it is written.

Nothing is locked. A push notes which objects it is about to overwrite, and deletes the note when the manifest is
there. What is noted is not believed: the next push reads it back. Of two pushes at once, one sees at its end that the
other has left a note, or has removed its own: it leaves a new note, writes no manifest, and says so. Whatever slips
through, a reader refuses by its hash, and `--overwrite`, which reads everything back, mends.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console

from pipeline.sharing.push_target import PushTarget
from pipeline.sharing.transfer import in_parallel
from pipeline.sharing.untrusted import same_clips
from schemas.datasets import licences
from schemas.errors import (
    ConfigError,
    ManifestMissingError,
    MerError,
    OutputLockedError,
    StoreExistsError,
    TransferError,
)
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.progress import Progress
from schemas.store.location import StoreLocation
from schemas.store.manifest_file import manifest_bytes
from schemas.store.reader import Store
from schemas.words import count

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
        overwrite: also replace a store that has no clip in common with it, and trust nothing that is there.

    Raises:
        ConfigError: not confirmed, or a URL that cannot be written.
        OutputLockedError: somebody else has pushed there meanwhile.
        StoreDamagedError: an object of the store is not what its manifest says.
        StoreExistsError: there is something else at the target.
        TransferError: it does not answer; the next push goes on with what is written.
    """
    there = PushTarget(target)
    _ask(store.manifest, there, confirm)
    old, notes, files = _manifest_of(there), there.notes(), there.listing()
    listing = {name: files[name] for name in files if name not in notes}
    _refuse_others(there, store.manifest, old, listing, overwrite=overwrite, unfinished=bool(notes))
    wanted = store.manifest.all_objects()
    listed = {} if old is None else old.all_objects()
    doubtful = set(listing) if overwrite else set().union(*map(there.read_note, notes))
    changing = {name: stored for name, stored in wanted.items() if listed.get(name) != stored or name in doubtful}
    changing |= {name: stored for name, stored in wanted.items() if listing.get(name) != stored["bytes"]}
    touched = changing.keys() | doubtful
    note = there.write_note(touched)
    try:
        differing = _not_there(there, changing, [n for n in doubtful if n in changing and n in listing])
        _upload(store, there, differing, console, len(wanted))
        _require_alone(there, note, notes)
        _require_sizes(there, wanted)
    except MerError:
        with suppress(MerError):
            there.write_note(touched)  # under a new name: another push may have read the first one, and deleted it
        raise
    there.replace(MANIFEST_NAME, manifest_bytes(store.path))
    stale = (set(listed) | doubtful) & set(listing) - set(wanted) - {MANIFEST_NAME}
    in_parallel(there.delete, stale | notes | {note}, lambda _: None)
    there.tidy()
    return Pushed(str(there.url), len(differing), sum(stored["bytes"] for stored in differing.values()), len(stale))


def _ask(manifest: Manifest, target: PushTarget, confirm: Confirm) -> None:
    """Faces under licence leave this machine only if somebody says so."""
    if "texture" not in manifest.arrays or target.folder is not None:
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
        return Store.open(target.url, edited=True).manifest  # it is replaced
    except ManifestMissingError:
        return None


def _refuse_others(
    target: PushTarget,
    mine: Manifest,
    old: Manifest | None,
    listing: Mapping[str, int],
    *,
    overwrite: bool,
    unfinished: bool,
) -> None:
    if old is None and listing and not unfinished:
        raise StoreExistsError(f"{target.url}: holds {count(len(listing), 'file')} and no store; choose another URL")
    if old is not None and not overwrite and not same_clips(mine, old):
        raise StoreExistsError(
            f"{target.url}: another store, without a clip in common ({', '.join(old.datasets)}); choose another URL, "
            "or add --overwrite"
        )


def _not_there(
    target: PushTarget, changing: Mapping[str, StoredObject], doubtful: Iterable[str]
) -> dict[str, StoredObject]:
    """What has to be written of what may have changed: without the doubtful ones that turn out to be right."""
    differing = dict(changing)

    def read_back(name: str) -> str | None:
        return name if target.holds(name, changing[name]) else None

    in_parallel(read_back, doubtful, lambda name: differing.pop(name, None) if name else None)
    return differing


def _upload(
    store: Store, target: PushTarget, differing: Mapping[str, StoredObject], console: Console, objects: int
) -> None:
    total = sum(stored["bytes"] for stored in differing.values())
    console.print(f"{target.url}: {len(differing)} of {count(objects, 'object')} to push, {total / 1e6:.1f} MB")

    def upload(item: tuple[str, StoredObject]) -> int:
        target.put(item[0], store.object_blocks(*item))
        return item[1]["bytes"]

    with Progress(console, unit="bytes", total=total, title="push") as progress:
        in_parallel(upload, differing.items(), progress.advance)


def _require_sizes(target: PushTarget, wanted: Mapping[str, StoredObject]) -> None:
    """A last look before the manifest says that all is there."""
    found = target.listing()
    for name, stored in wanted.items():
        if found.get(name) != stored["bytes"]:
            raise TransferError(
                f"{target.url}: {name} has {found.get(name, 'no')} bytes there, expected {stored['bytes']}; "
                "somebody else has written there: push again"
            )


def _require_alone(target: PushTarget, note: str, known: set[str]) -> None:
    """Make sure that nobody else has begun or ended a push there meanwhile."""
    found = target.notes()
    if note not in found or found - known - {note}:
        raise OutputLockedError(
            f"{target.url}: somebody else has pushed there at the same time, so the manifest was not written; push "
            "again when the other push has ended"
        )
