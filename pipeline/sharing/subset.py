"""`mer subset`: some clips of a store, or some of its arrays, as a store of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from pipeline.sharing.clip_copies import assemble, frames_of, parts_of, without_arrays
from pipeline.sharing.pseudonyms import Pseudonyms
from pipeline.sharing.selection import Selection
from schemas.errors import ConfigError
from schemas.layout import ClipArrayName
from schemas.manifest import Manifest
from schemas.store.reader import Store
from schemas.words import count


def subset(
    store: Store,
    out: Path,
    *,
    selection: Selection | None = None,
    without: Sequence[ClipArrayName] = (),
    pseudonyms: Pseudonyms | None = None,
) -> Manifest:
    """Write a store with some of the clips of another.

    The frame axis stays as long as it is, so that the parts of a store can be merged to itself again.

    Args:
        store: to take from.
        out: where nothing may be yet.
        selection: which clips; all by default.
        without: arrays to leave out.
        pseudonyms: give subjects and clips these names, and drop what else says where they are from.

    Raises:
        ConfigError: no clip is selected, or an array is to be left out that is not there.
        StoreDamagedError: an object is not what its manifest says.
    """
    manifest = store.manifest
    if missing := [name for name in without if name not in manifest.arrays]:
        raise ConfigError(f"{store.path} has no {', '.join(missing)} to leave out; it has {', '.join(manifest.arrays)}")
    rows = None
    if selection is not None:
        rows = [index for index, entry in enumerate(manifest.rows) if selection.takes(entry)]
    if not (manifest.clips if rows is None else rows):
        raise ConfigError(f"{store.path}: of its {count(len(manifest.clips), 'clip')} none is {selection}")
    parts = parts_of(store, rows)
    datasets = {part.entry.key.split("/")[0] for part in parts}
    left_out = sorted({*manifest.left_out, *without})
    template = manifest.model_copy(
        update={
            "left_out": tuple(left_out),
            "depth": None if "depth" in left_out else manifest.depth,
            "licences": tuple(licence for licence in manifest.licences if licence.dataset in datasets),
            "clips": (),
            "objects": {},
        }
    )
    parts = list(without_arrays(parts, without))
    if pseudonyms is not None:
        parts, template = pseudonyms.renamed(parts, template)
    return assemble(out, parts, template, frames=frames_of(store))


@contextmanager
def partial(store: Store, without: Sequence[ClipArrayName]) -> Iterator[Store]:
    """A store without some of its arrays, for as long as it takes to share it; the store itself where none are named.

    Arguments and errors as of ``subset``; what is left is copied to the folder for temporary files.
    """
    if not without:
        yield store
        return
    with TemporaryDirectory() as scratch:
        part = Path(scratch) / store.path.name
        subset(store, part, without=without)
        yield Store.open(part)


def clip_arrays(text: str | None) -> tuple[ClipArrayName, ...]:
    """Names of clip arrays, separated by commas.

    Raises:
        ConfigError: there is no such clip array.
    """
    names: tuple[ClipArrayName, ...] = get_args(ClipArrayName)
    wanted = [name.strip() for name in text.split(",")] if text is not None else []
    if unknown := [name for name in wanted if name not in names]:
        raise ConfigError(f"--without {unknown[0]!r}: expected {', '.join(names)}")
    return tuple(name for name in names if name in wanted)
