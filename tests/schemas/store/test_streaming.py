"""Stores read at URLs, in place: the same values, each object over the network once, nothing unchecked decoded."""

import pickle
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tenacity import wait_none

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.sharing.merge import merge
from pipeline.sharing.pack import pack, unpack
from pipeline.sharing.pull import pull
from schemas.errors import ConfigError, ManifestMissingError, StoreDamagedError, StoreWriteError, TransferError
from schemas.layout import object_path
from schemas.store import remote
from schemas.store.cache import ObjectCache
from schemas.store.location import StoreUrl, located
from schemas.store.reader import Store
from tests.schemas.store.object_servers import Faults, web_server
from tests.tiny_stores import tiny_store
from training.data.batch import Input
from training.data.clips import ClipReader

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of two clips."""
    return tiny_store(tmp_path_factory.mktemp("web") / "s.zarr", KEYS)


@pytest.fixture(scope="module")
def web(folder: Store) -> Iterator[tuple[str, Faults]]:
    """The URL of that store."""
    with web_server(folder.path.parent) as (url, faults):
        yield f"{url}/s.zarr", faults


@pytest.fixture
def url(web: tuple[str, Faults], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The same, all well, with an empty cache."""
    monkeypatch.setattr(remote, "_WAIT", wait_none())
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    web[1].clear()
    return web[0]


def test_a_store_at_a_url_reads_as_the_folder_does(folder: Store, url: str, tmp_path: Path) -> None:
    """By the reader, after a journey to another process, by verify, inspect, merge and the trainer's reader."""
    store = Store.open(url)
    for opened in (store, pickle.loads(pickle.dumps(store))):
        for key in KEYS:
            np.testing.assert_array_equal(opened.texture(key), folder.texture(key))
            np.testing.assert_array_equal(opened.depth(key), folder.depth(key))
            np.testing.assert_array_equal(opened.action_units(key), folder.action_units(key))
        assert opened.column("clip").tolist() == list(KEYS)
    assert verify(store, deep=True) == []
    assert summarise(store) == summarise(folder)
    assert merge([store], tmp_path / "m.zarr") == folder.manifest
    mine, theirs = (ClipReader([place], KEYS, size=56)[1] for place in (store.path, folder.path))
    assert (mine.texture == theirs.texture).all()
    assert (mine.au == theirs.au).all()


def test_every_object_comes_over_the_network_once(folder: Store, url: str, web: tuple[str, Faults]) -> None:
    """Whoever reads it afterwards, and how often: only the manifest is asked for anew. Nobody else may look."""
    for _ in range(2):
        store = Store.open(url)
        for key in (KEYS[0], KEYS[0]):
            store.texture(key)
    asked = {path.rpartition("s.zarr/")[2]: times for path, times in web[1].asked.items() if path.startswith("GET")}
    assert asked.pop("manifest.json") == 2
    assert asked == {"zarr.json": 1, object_path("texture", 0): 1}
    cache = ObjectCache().folder
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    expected = {stored["sha256"] for name, stored in folder.manifest.all_objects().items() if name in asked}
    assert {path.name for path in cache.rglob("*") if path.is_file() and "locks" not in path.parts} == expected


_CHILD = "import sys; from schemas.store.reader import Store; print(Store.open(sys.argv[1]).texture(sys.argv[2]).sum())"


@pytest.mark.slow
def test_processes_share_the_cache(folder: Store, url: str, web: tuple[str, Faults]) -> None:
    """Several that start at once: one brings an object, the others wait for it, all read the same."""
    web[1].plan("texture", "slow")
    command = [sys.executable, "-c", _CHILD, url, KEYS[1]]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) for _ in range(2)
    ]
    assert [int(child.communicate()[0]) for child in children] == [folder.texture(KEYS[1]).sum()] * 2
    assert [times for path, times in web[1].asked.items() if "GET" in path and "texture/c" in path] == [1]


def test_a_cut_off_object_in_the_cache_is_brought_again(folder: Store, url: str) -> None:
    """As a full disk may leave one."""
    Store.open(url).texture(KEYS[0])
    name = object_path("texture", 0)
    sha256 = folder.manifest.all_objects()[name]["sha256"]
    (ObjectCache().folder / sha256[:2] / sha256).write_bytes(b"cut")
    np.testing.assert_array_equal(Store.open(url).texture(KEYS[0]), folder.texture(KEYS[0]))


def test_what_the_server_does_wrong_is_noticed(url: str, folder: Store, web: tuple[str, Faults]) -> None:
    """Passing failures are not even seen; wrong bytes never enter the cache, and verify looks behind it."""
    store, faults = Store.open(url), web[1]
    for fault in ("500", "cut", "wrong", "short"):
        faults.plan("depth/c/0", fault)
    np.testing.assert_array_equal(store.depth(KEYS[0]), folder.depth(KEYS[0]))
    faults.plan("depth/c/1", "wrong", 99)
    with pytest.raises(StoreDamagedError, match=r"depth/c/1/0/0/0 cannot be used .*have it pushed again"):
        store.depth(KEYS[1])
    assert [(problem.kind, problem.path) for problem in verify(store)] == [("hash", object_path("depth", 1))]
    faults.clear()
    store.depth(KEYS[1])
    faults.plan("depth/c/1", "wrong", 99)
    store.depth(KEYS[1])
    assert [problem.kind for problem in verify(store)] == ["hash"], "the cache has the right bytes, the server not"
    faults.clear()
    faults.plan("texture/c/1", "500", 99)
    with pytest.raises(TransferError, match=r"texture/c/1/0/0/0/0: ClientResponseError: 500.*to go on"):
        store.texture(KEYS[1])
    assert not list(ObjectCache().folder.rglob("coming-*"))


def test_the_next_clips_come_while_one_is_read(tmp_path: Path, url: str) -> None:
    """A few, never all; each once; the same values as without; who stops reading stops fetching."""
    keys = [f"casme2/sub{number:02d}/EP01" for number in range(12)]
    store = tiny_store(tmp_path / "t.zarr", keys, change={keys[10]: 20, keys[11]: 20})  # all pixels differ
    with web_server(tmp_path) as (server, faults):
        there, texture = [StoreUrl(f"{server}/t.zarr")], frozenset[Input]({"texture"})
        reader = ClipReader(there, keys, size=56, inputs=texture)

        def asked() -> list[str]:
            return [path for path in faults.asked if "texture/c" in path or "depth/c" in path]

        clips = reader.read(range(12))
        assert (next(clips).texture == ClipReader([store.path], keys, size=56)[0].texture).all()
        deadline = time.monotonic() + 30
        while len(asked()) < 9:
            assert time.monotonic() < deadline, "eight more than the one that was read"
            time.sleep(0.01)
        clips.close()
        assert len(asked()) == 9
        order = [5, 11, 0, 5]
        for index, clip in zip(order, reader.read(order), strict=True):
            assert (clip.texture == ClipReader([store.path], keys, size=56)[index].texture).all()
        assert len(list(ClipReader(there, keys, size=56, inputs=frozenset({"au"})).read([9, 10]))) == 2
        assert len(asked()) == 10, "of the last two orders only clip 11 was new: no pixel is fetched unread"
        assert all(faults.asked[path] == 1 for path in asked())


def test_an_error_comes_when_its_clip_is_read(tmp_path: Path, url: str) -> None:
    """Not before, although the clip is fetched before; by name."""
    keys = [f"casme2/sub01/EP{number:02d}" for number in range(4)]
    store = tiny_store(tmp_path / "t.zarr", keys)
    (store.path / object_path("texture", 3)).unlink()
    with web_server(tmp_path) as (server, faults):
        faults.plan("texture/c/2", "wrong", 99)
        reader = ClipReader([StoreUrl(f"{server}/t.zarr")], keys, size=56)
        clips = reader.read(range(4))
        assert len([next(clips), next(clips)]) == 2
        with pytest.raises(StoreDamagedError, match="texture/c/2/0/0/0/0 cannot be used"):
            next(clips)
        with pytest.raises(StoreDamagedError, match=f"texture of {keys[3]} .*texture/c/3/0/0/0/0 is missing"):
            list(reader.read([0, 3]))


def test_a_missing_object_and_a_missing_store_are_told_apart(tmp_path: Path, url: str) -> None:
    """By name."""
    store = tiny_store(tmp_path / "t.zarr", KEYS)
    (store.path / object_path("texture", 1)).unlink()
    with web_server(tmp_path) as (server, _):
        there = Store.open(f"{server}/t.zarr")
        with pytest.raises(StoreDamagedError, match=f"texture of {KEYS[1]} .*texture/c/1/0/0/0/0 is missing"):
            there.texture(KEYS[1])
        assert [(problem.kind, problem.path) for problem in verify(there)] == [("missing", object_path("texture", 1))]
        with pytest.raises(ManifestMissingError, match=r"nothing\.zarr/manifest\.json: no such file"):
            Store.open(f"{server}/nothing.zarr")
    with pytest.raises(TransferError, match="check the URL, your permissions and the network"):
        Store.open(f"{server}/t.zarr")


def test_a_cache_that_cannot_be_written(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Says which, and what to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreWriteError, match="MER_CACHE"):
        Store.open(url).texture(KEYS[0])


def test_what_a_user_types_is_a_path_or_a_url() -> None:
    """A password is used, and not printed."""
    assert located("a/b.zarr") == Path("a/b.zarr")
    assert located("file:///a/b.zarr") == Path("/a/b.zarr")
    url = located("SFTP://me:secret@host/a/b.zarr/")
    assert isinstance(url, StoreUrl)
    assert (url.url, str(url), url.name) == (
        "sftp://me:secret@host/a/b.zarr", "sftp://***@host/a/b.zarr", "b.zarr",
    )  # fmt: skip
    assert "secret" not in repr(url)
    for wrong in ("s3://", "https://host/s.zarr?token=1", "https://host/s\n.zarr"):
        with pytest.raises(ConfigError, match="expected the URL of a store's folder or zip file"):
            located(wrong)


def test_a_url_where_a_path_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder named after its scheme is made; a path with a colon is a path."""
    monkeypatch.chdir(tmp_path)
    store = tiny_store(tmp_path / "a:b.zarr", KEYS[:1])
    url = Path("s3://team/s.zip")  # as a command line's option makes of it
    for command in (
        lambda: pack(store, url),
        lambda: unpack(url, Path("u.zarr")),
        lambda: merge([store], url),
        lambda: pull(str(store.path), url, console=Console(quiet=True)),
    ):
        with pytest.raises(ConfigError, match=r"s3://team/s\.zip: a URL, where a path is needed; `mer push`"):
            command()
    pack(store, Path("c:d.zip"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a:b.zarr", "c:d.zip"]


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("sftp", "paramiko")])
def test_a_package_that_is_missing_is_named(scheme: str, package: str) -> None:
    """With what to do, and no advice that would not help."""
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ConfigError, match=rf"{scheme}://team/s\.zarr: .*{package}.*; install that package beside mer"):
        Store.open(f"{scheme}://team/s.zarr")
