"""``manifest.json`` of a store, wherever it is: read, bounded in size, validated, its seal checked."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from schemas.errors import ManifestInvalidError, ManifestMissingError, MerError, StoreVersionError
from schemas.manifest import FORMAT_VERSION, MANIFEST_NAME, ClipEntry, Manifest
from schemas.rows import Table, row_type
from schemas.store.files import LARGEST_MANIFEST, UNREADABLE, SourceFiles, is_foreign, open_files
from schemas.store.location import StoreLocation
from schemas.store.remote import remote_files
from schemas.strict_json import strict_json

JOURNAL_NAME = "journal.jsonl"

_EXPECTED = "expected a store made by `mer preprocess`"
_LARGE = 16 * 2**20  # bytes; some 20,000 clips


def manifest_bytes(place: StoreLocation) -> bytes:
    """``manifest.json`` of a store as it is.

    Raises:
        ManifestMissingError: it is not there, or cannot be read.
        ManifestInvalidError: it is a folder, or larger than any manifest.
        TransferError: a URL that does not answer.
    """
    file = f"{place}/{MANIFEST_NAME}"
    files: SourceFiles = open_files(place) if isinstance(place, Path) else remote_files(place)
    try:
        if (size := files.size(MANIFEST_NAME)) is not None and size > LARGEST_MANIFEST:
            raise ManifestInvalidError(f"{file}: {size} bytes; no manifest is larger than {LARGEST_MANIFEST}")
        with files.open(MANIFEST_NAME) as stream:
            return stream.read()
    except MerError:
        raise
    except NotADirectoryError as error:
        raise ManifestMissingError(f"{place}: not a folder; {_EXPECTED}") from error
    except IsADirectoryError as error:
        raise ManifestInvalidError(f"{file}: a folder; expected the manifest of a store") from error
    except FileNotFoundError as error:
        what = f"{place}: no such folder" if isinstance(place, Path) and not place.exists() else f"{file}: no such file"
        raise ManifestMissingError(f"{what}; {_EXPECTED}") from error
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestMissingError(f"{file}: cannot be read ({reason}); check its permissions") from error


def read_manifest(place: StoreLocation, *, edited: bool = False) -> Manifest:
    """Read and validate ``manifest.json`` of a store; arguments and errors as of ``Store.open``."""
    try:
        text = manifest_bytes(place)
    except ManifestMissingError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        if missing and isinstance(place, Path) and (place / JOURNAL_NAME).is_file():
            raise ManifestMissingError(
                f"{place}: this run has not finished (no {MANIFEST_NAME} yet); "
                "type the same `mer preprocess` command again to go on"
            ) from error
        raise
    return parsed_manifest(place, text, edited=edited)


def parsed_manifest(place: StoreLocation, text: bytes, *, edited: bool = False) -> Manifest:
    """The manifest in the text of a ``manifest.json``; one from a URL or a zip file is untrusted.

    Args:
        place: of the store.
        text: of the file.
        edited: also take a manifest whose seal does not fit.

    Raises:
        ManifestInvalidError: it is none, or was edited.
        StoreVersionError: written by a newer version of the format.
    """
    file = f"{place}/{MANIFEST_NAME}"
    if (manifest := _as_written(text)) is None:
        manifest = _validated(file, text, foreign=is_foreign(place))
    if not edited and manifest.content_sha256 != manifest.expected_sha256():
        raise ManifestInvalidError(
            f"{file}: the manifest was edited or damaged: its content_sha256 is "
            f"{manifest.content_sha256[:12] or 'missing'}, but its content has another hash; restore it, or "
            "preprocess again with --overwrite. To change labels, use `mer relabel`"
        )
    return manifest


def _as_written(text: bytes) -> Manifest | None:
    """The manifest in a text that is byte for byte what mer writes, its clips as a table; else ``None``.

    What is written again as it stood has no key twice, no unknown field, no space: nothing that was read otherwise
    than it is meant. Its clips have the types and bounds of the contract; all the rest Pydantic validates.
    """
    try:
        found = _decoder().decode(text)
        if msgspec.json.encode(found) != text.removesuffix(b"\n"):
            return None
        head = msgspec.json.encode(msgspec.structs.replace(found, clips=[]))
        strict_json(head)
        manifest = Manifest.model_validate_json(head)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # the first is of neither of the others
        return None
    if any(row.made_by >= len(manifest.provenances) for row in found.clips):
        return None
    return manifest.model_copy(update={"clips": Table(ClipEntry, found.clips)})


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    """Of manifests: clips are read, and the rest is left as it stands."""
    fields: list[Any] = [(name, msgspec.Raw, msgspec.Raw()) for name in Manifest.model_fields]
    fields[list(Manifest.model_fields).index("clips")] = ("clips", list[row_type(ClipEntry)])  # type: ignore[misc]
    text = msgspec.defstruct("ManifestText", fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True)
    return msgspec.json.Decoder(text)


def _validated(file: str, text: bytes, *, foreign: bool) -> Manifest:
    """The manifest in any text.

    Raises:
        ManifestInvalidError: it is none.
        StoreVersionError: written by a newer version of the format.
    """
    if foreign:
        try:
            strict_json(text)
        except ValueError as error:
            raise ManifestInvalidError(f"{file}: not a manifest: {error}; ask whoever made the store") from error
    with _collector_paused(len(text)):
        try:
            return Manifest.model_validate_json(text)
        except ValidationError as error:
            _check_version(file, text)
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ManifestInvalidError(
                f"{file}: not a valid manifest: {where}: {first['msg']} ({error.error_count()} problems); "
                "it was edited or damaged: restore it, or preprocess again with --overwrite"
            ) from error


def _check_version(file: str, text: bytes) -> None:
    try:
        found = json.loads(text)["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(found, int) and found > FORMAT_VERSION:
        raise StoreVersionError(
            f"{file}: store format {found}, this version of mer reads up to {FORMAT_VERSION}; upgrade mer"
        )


@contextmanager
def _collector_paused(size: int) -> Iterator[None]:
    """A manifest is up to a million small objects, none of them garbage: collecting meanwhile takes four times as long.

    The first collection after a large one would take another second; its objects are therefore frozen,
    which leaves them to reference counting.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        if size > _LARGE:
            gc.freeze()
    finally:
        if was_on:
            gc.enable()
