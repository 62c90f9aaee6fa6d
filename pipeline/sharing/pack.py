"""`mer pack` and `mer unpack`: a store as one zip file, for mail and archives, and back.

Members are stored, not deflated (they are compressed already), so that a packed store is read where it lies.
The same store gives the same zip file, byte for byte. A zip file to be unpacked is taken for a stranger's.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo, is_zipfile

from pipeline.sharing.output import new_output, write_blocks, write_durably
from pipeline.sharing.untrusted import refuse_metadata
from schemas.errors import ConfigError, StoreError
from schemas.manifest import MANIFEST_NAME, Manifest, StoredObject
from schemas.output import require_path
from schemas.store.files import is_safe
from schemas.store.manifest_file import manifest_bytes
from schemas.store.reader import Store

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_UNIX = 3
_PLAIN_FILE = 0o100644 << 16
_THREADS = 8  # hashing releases the GIL, and the rest waits for the disk


def pack(store: Store, out: Path) -> None:
    """Write a store into a zip file; every byte is checked on the way.

    Args:
        store: a folder, or a packed one to be packed anew.
        out: the zip file to write; nothing may be there yet.

    Raises:
        ConfigError: ``out`` does not end in ``.zip``.
        StoreDamagedError: an object is not what the manifest says.
    """
    if out.suffix.lower() != ".zip":
        raise ConfigError(f"-o {out}: expected a name ending in .zip")
    with new_output(out) as unfinished, ZipFile(unfinished, "x") as archive:
        for name, stored in sorted(store.manifest.all_objects().items()):
            with archive.open(_member(name, stored["bytes"]), "w") as member:
                for block in store.object_blocks(name, stored):
                    member.write(block)
        archive.writestr(_member(MANIFEST_NAME), manifest_bytes(store.path))


def unpack(archive: Path, out: Path) -> Manifest:
    """Write the folder that was packed; all of it or nothing, and nothing outside ``out``.

    Raises:
        ConfigError: a URL.
        StoreError: the zip file holds other files than its manifest lists, links, names that lead elsewhere, ...
        StoreDamagedError: a file is not what the manifest says.
    """
    require_path(archive)
    if not is_zipfile(archive):
        raise StoreError(f"{archive}: not a zip file; expected one made by `mer pack`")
    store = Store.open(archive)
    objects = store.manifest.all_objects()
    _refuse_foreign(store, {*objects, MANIFEST_NAME})
    with new_output(out) as path:

        def write(item: tuple[str, StoredObject]) -> None:
            write_blocks(path / item[0], store.object_blocks(*item))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(write, objects.items()))  # raises what a thread has raised
        refuse_metadata(store, path)
        write_durably(path / MANIFEST_NAME, manifest_bytes(archive))
    return store.manifest


def _refuse_foreign(store: Store, expected: set[str]) -> None:
    """The members and the manifest's list must be the same names, all of them names of a store's files."""
    known = {*store.manifest.arrays, "zarr.json", MANIFEST_NAME}
    found = set(store.files.names())
    for why, names in (
        ("is no file of a store", {name for name in expected if not is_safe(name) or name.split("/")[0] not in known}),
        ("is not in its manifest", found - expected),
        ("is missing", expected - found),
    ):
        if names:
            raise StoreError(
                f"{store.path}: {min(names)!r} {why} ({len(names)} such names); "
                "it is not all of what `mer pack` wrote, or not its work: nothing was unpacked"
            )


def _member(name: str, size: int = 0) -> ZipInfo:
    member = ZipInfo(name, _EPOCH)
    member.file_size = size  # tells whether it needs the longer form of a header
    member.compress_type = ZIP_STORED
    member.create_system = _UNIX
    member.external_attr = _PLAIN_FILE
    return member
