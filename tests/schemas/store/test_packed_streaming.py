"""Packed stores read at URLs, in place: as the folder, by parts of the file, and as distrustful as of any other."""

import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4
from zipfile import ZipFile, ZipInfo

import fsspec
import numpy as np
import pytest
from rich.console import Console
from tenacity import wait_none

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.sharing.merge import merge
from pipeline.sharing.pack import pack
from pipeline.sharing.pull import pull
from pipeline.sharing.push import push
from schemas.errors import (
    ConfigError,
    ManifestMissingError,
    MerError,
    StoreDamagedError,
    StoreError,
    TransferError,
)
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME
from schemas.store import remote
from schemas.store.reader import Store
from tests.schemas.store.object_servers import Faults, web_server
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash
from training.data.clips import ClipReader

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01")
QUIET = Console(quiet=True)
_HEADER = 30  # bytes of a zip file before each member's name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of two clips, and ``s.zip`` beside it."""
    path = tmp_path_factory.mktemp("web") / "s.zarr"
    store = tiny_store(path, KEYS)
    pack(store, path.with_name("s.zip"))
    return store


@pytest.fixture(scope="module")
def web(folder: Store) -> Iterator[tuple[str, Faults]]:
    """The URL of its folder."""
    with web_server(folder.path.parent) as server:
        yield server


@pytest.fixture
def url(web: tuple[str, Faults], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The zip file's URL, all well, with an empty cache."""
    monkeypatch.setattr(remote, "_WAIT", wait_none())
    monkeypatch.setattr(remote, "_TAIL", 500)  # else all of so small a file would come at first
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    web[1].clear()
    return f"{web[0]}/s.zip"


def in_memory(data: bytes) -> str:
    """The URL of a zip file with these bytes."""
    url = f"memory://{uuid4().hex}/s.zip"
    fsspec.filesystem("memory").pipe_file(url, data)
    return url


def test_a_packed_store_reads_as_the_folder_does(folder: Store, url: str, tmp_path: Path) -> None:
    """By the reader, after a journey to another process, by verify, inspect, merge, pull and the trainer's reader."""
    store = Store.open(url)
    for opened in (store, pickle.loads(pickle.dumps(store))):
        for key in KEYS:
            np.testing.assert_array_equal(opened.texture(key), folder.texture(key))
            np.testing.assert_array_equal(opened.depth(key), folder.depth(key))
            np.testing.assert_array_equal(opened.action_units(key), folder.action_units(key))
    assert verify(store, deep=True) == []
    assert summarise(store) == summarise(folder) | {"store": "s.zip"}
    assert merge([store], tmp_path / "m.zarr") == folder.manifest
    mine, theirs = (ClipReader([opened.path], KEYS, size=56)[1] for opened in (store, folder))
    assert (mine.texture == theirs.texture).all()
    assert pull(url, tmp_path / "back.zarr", console=QUIET).manifest == folder.manifest
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(folder.path)


def test_only_what_is_asked_for_comes_and_once(folder: Store, url: str, web: tuple[str, Faults]) -> None:
    """A clip's object, not the whole file; nothing, where the same object was read from a folder before."""

    def sent(url: str, *names: str) -> int:
        before = web[1].sent
        store = Store.open(url)
        for name in names:
            store.files.open(name).close()
        return web[1].sent - before

    opened, size = sent(url), {name: stored["bytes"] for name, stored in folder.manifest.all_objects().items()}
    listed = opened - (folder.path / MANIFEST_NAME).stat().st_size - _HEADER - len(MANIFEST_NAME)
    texture, depth = (object_path(name, 1) for name in ("texture", "depth"))
    assert sent(url, texture) == opened + listed + size[texture] + _HEADER + len(texture)
    assert sent(url, texture) == opened, "it is kept"
    sent(f"{web[0]}/s.zarr", depth)
    assert sent(url, depth) == opened, "it is the same object"


def test_passing_failures_are_not_seen(folder: Store, url: str, web: tuple[str, Faults]) -> None:
    """Of the list, of the manifest, of an object."""
    for fault in ("500", "cut", "wrong", "short"):
        web[1].plan("GET /s.zip", fault)
        store = Store.open(url)
        assert web[1].left() == 0
        web[1].plan("GET /s.zip", fault)
        np.testing.assert_array_equal(store.depth(KEYS[0]), folder.depth(KEYS[0]))
        assert web[1].left() == 0
        for file in [*store.files.cache.folder.rglob("*")]:  # type: ignore[attr-defined]
            file.unlink() if file.is_file() else None


def test_lasting_failures_are_told_apart(folder: Store, url: str, web: tuple[str, Faults]) -> None:
    """A server that fails, wrong bytes, no file, no zip file, and a server that sends whole files only."""
    store = Store.open(url)
    assert store.files.size("zarr.json")
    web[1].plan("GET /s.zip", "wrong", 99)
    with pytest.raises(StoreDamagedError, match=r"depth/c/1/0/0/0 cannot be used .*those that were packed"):
        store.depth(KEYS[1])
    web[1].clear()
    web[1].plan("GET /s.zip", "500", 99)
    with pytest.raises(TransferError, match=r"s\.zip: .*500"):
        Store.open(url)
    web[1].clear()
    with pytest.raises(ManifestMissingError, match=r"t\.zip: no such file; expected one made by `mer pack`"):
        Store.open(f"{web[0]}/t.zip")
    with (
        web_server(folder.path.parent, ranges=False) as (plain, _),
        pytest.raises(ConfigError, match=r"sends whole files only.*download it"),
    ):
        Store.open(f"{plain}/s.zip")
    for content in (b"", b"hello", b"x" * 100_000):
        with pytest.raises(StoreError, match=r"s\.zip: not a zip file that can be read"):
            Store.open(in_memory(content))


def test_nothing_is_pushed_into_a_packed_store(folder: Store, tmp_path: Path) -> None:
    """Not at a URL, not at a path."""
    for target in ("memory://here/s.zip", str(tmp_path / "s.zip")):
        with pytest.raises(ConfigError, match=r"a name ending in \.zip is that of a packed store"):
            push(folder, target, confirm=lambda _: True, console=QUIET)
    assert not list(tmp_path.iterdir())


def test_a_strangers_zip_file_is_refused(folder: Store, url: str, tmp_path: Path) -> None:
    """Names that lead elsewhere, members outside of the file, a list of any length, an object that was exchanged."""
    file = folder.path.with_name("s.zip")
    with ZipFile(file) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}

    def packed(content: dict[str, bytes]) -> bytes:
        with ZipFile(tmp_path / "new.zip", "w") as archive:
            for name, data in content.items():
                archive.writestr(ZipInfo(name), data)
        return (tmp_path / "new.zip").read_bytes()

    with pytest.raises(StoreError, match=r"'\.\./evil' is no name inside a store"):
        Store.open(in_memory(packed({**members, "../evil": b"x"})))
    data = bytearray(packed(members))
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 42, len(data) - 30)
    with pytest.raises(StoreError, match="lists members that lie outside of it"):
        Store.open(in_memory(bytes(data)))
    name = object_path("texture", 0)
    other = Store.open(in_memory(packed({**members, name: members[object_path("texture", 1)]})))
    with pytest.raises(StoreDamagedError, match=f"{name} cannot be used"):
        other.texture(KEYS[0])
    assert [problem.path for problem in verify(other)] == [name]
    fewer = Store.open(in_memory(packed({key: value for key, value in members.items() if key != name})))
    with pytest.raises(StoreDamagedError, match=f"{name} is missing"):
        fewer.texture(KEYS[0])


def test_any_cut_or_flipped_byte_of_the_list_is_an_error_of_ours(folder: Store, url: str) -> None:
    """Never another exception, never other values; in a file of this machine neither."""
    data = folder.path.with_name("s.zip").read_bytes()
    start, random = data.index(b"PK\x01\x02"), np.random.default_rng(0)
    for number, place in enumerate(map(int, random.integers(start, len(data), 300))):
        flipped = data[place] ^ (1 << number % 8)
        damaged = data[:place] if number % 10 == 0 else data[:place] + bytes([flipped]) + data[place + 1 :]
        file = folder.path.with_name("damaged.zip")
        file.write_bytes(damaged)
        for bad in (in_memory(damaged), file):
            try:
                assert Store.open(bad).manifest == folder.manifest
            except MerError:
                continue
