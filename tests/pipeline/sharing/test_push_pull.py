"""`mer push` and `mer pull` against a real S3 server, a real web server and folders, which fail on purpose."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest
from rich.console import Console
from tenacity import wait_none

from pipeline.inspect.verification import verify
from pipeline.sharing.pack import pack
from pipeline.sharing.pull import Pulled, pull
from pipeline.sharing.push import Pushed, push
from pipeline.sharing.push_target import PushTarget
from schemas.errors import (
    ConfigError,
    ManifestMissingError,
    OutputLockedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    TransferError,
)
from schemas.layout import object_path
from schemas.manifest import StoredObject
from schemas.store import remote
from schemas.store.reader import Store
from tests.schemas.store.object_servers import Fault, Faults, s3_server, web_server
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash

FAULTS: tuple[Fault, ...] = ("500", "cut", "slow", "wrong", "short")
KEYS = ("casme2/sub01/EP01", "casme2/sub01/EP02", "casme2/sub02/EP01")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of three clips."""
    return tiny_store(tmp_path_factory.mktemp("push") / "s.zarr", KEYS)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same store, one clip of it redone."""
    return tiny_store(tmp_path_factory.mktemp("push") / "s.zarr", KEYS, change={KEYS[1]: 5})


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[Faults]:
    """An S3 server with the bucket ``team``; fsspec finds it as a user's would be found, by the environment."""
    with s3_server() as (endpoint, faults), pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint), ("AWS_ACCESS_KEY_ID", "mer"), ("AWS_SECRET_ACCESS_KEY", "mer"),
            ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_MAX_ATTEMPTS", "1"),
        ):  # fmt: skip
            patch.setenv(name, value)
        filesystem = fsspec.get_filesystem_class("s3")
        filesystem.clear_instance_cache()
        patch.setattr(filesystem, "retries", 1)  # it would wait longer each time, besides ours
        fsspec.filesystem("s3").mkdir("team")
        yield faults


@pytest.fixture
def s3(s3_endpoint: Faults, quick: None) -> Faults:
    """The server, all well."""
    s3_endpoint.clear()
    return s3_endpoint


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test does not wait as long between the tries."""
    monkeypatch.setattr(remote, "_WAIT", wait_none())
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bucket(s3: Faults) -> str:
    """A URL that nobody has used."""
    return f"s3://team/{uuid4().hex}/s.zarr"


@pytest.fixture
def memory(quick: None) -> str:
    """A URL that is not local, and needs no server."""
    return f"memory://{uuid4().hex}/s.zarr"


def pushed(store: Store, url: str | Path, **options: bool) -> Pushed:
    return push(store, url, confirm=lambda _: True, console=QUIET, **options)


def pulled(url: str | Path, out: Path, **options: bool) -> Pulled:
    return pull(url, out, console=QUIET, **options)


def test_a_store_goes_to_s3_and_comes_back_to_the_byte(folder: Store, bucket: str, tmp_path: Path) -> None:
    """And nothing else stays there."""
    what = pushed(folder, bucket)
    objects = folder.manifest.all_objects()
    assert (what.objects, what.bytes) == (len(objects), sum(stored["bytes"] for stored in objects.values()))
    assert sorted(PushTarget(bucket).listing()) == sorted([*objects, "manifest.json"])
    got = pulled(bucket, tmp_path / "back.zarr")
    assert (got.objects, got.manifest) == (len(objects), folder.manifest)
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(folder.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.zarr"]


def test_a_packed_store_in_s3_is_read_and_pulled(folder: Store, bucket: str, s3: Faults, tmp_path: Path) -> None:
    """Where it lies, each object by one request; a pull makes a folder of it, named after it."""
    pack(folder, tmp_path / "s.zip")
    place = bucket.replace(".zarr", ".zip")
    fsspec.filesystem("s3").put(str(tmp_path / "s.zip"), place)
    store = Store.open(place)
    s3.clear()
    np.testing.assert_array_equal(store.texture(KEYS[1]), folder.texture(KEYS[1]))
    path = f"GET /{place.removeprefix('s3://')}"
    assert s3.asked[path] == 3, "the list of members, zarr.json, the clip"
    assert verify(store, deep=True) == []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        pull(place, None, console=QUIET)
    assert tree_hash(tmp_path / "s.zarr") == tree_hash(folder.path)
    with pytest.raises(ManifestMissingError, match=r"\.zip: no such file"):
        Store.open(place.replace("s.zip", "t.zip"))


def test_only_what_differs_by_hash_moves(
    folder: Store, changed: Store, bucket: str, s3: Faults, tmp_path: Path
) -> None:
    """Nothing the second time; with one clip redone, that clip's objects, up and down."""
    pushed(folder, bucket)
    pulled(bucket, tmp_path / "back.zarr")
    s3.clear()
    assert (pushed(folder, bucket).objects, pulled(bucket, tmp_path / "back.zarr").objects) == (0, 0)
    assert s3.moved("PUT") == s3.moved("GET") == []
    expected = [object_path("texture", 1), "transform/c/0/0/0"]
    assert pushed(changed, bucket).objects == 2
    assert s3.moved("PUT") == [f"/{bucket.removeprefix('s3://')}/{name}" for name in expected]
    s3.clear()
    assert pulled(bucket, tmp_path / "back.zarr").objects == 2
    assert s3.moved("GET") == [f"/{bucket.removeprefix('s3://')}/{name}" for name in expected]
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(changed.path)


def test_what_the_new_store_has_no_more_is_deleted(folder: Store, memory: str, tmp_path: Path) -> None:
    """There and here; a clip that moved to another row is not fetched again."""
    pushed(folder, memory)
    pulled(memory, tmp_path / "back.zarr")
    fewer = tiny_store(tmp_path / "fewer.zarr", KEYS[1:], frames=5)
    what = pushed(fewer, memory)
    assert what.deleted == 2
    assert verify(Store.open(memory)) == []
    got = pulled(memory, tmp_path / "back.zarr")
    assert not any(name.startswith(("texture/c", "depth/c")) for name in _fetched(got, folder))
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(fewer.path)


def _fetched(got: Pulled, before: Store) -> set[str]:
    known = {stored["sha256"] for stored in before.manifest.all_objects().values()}
    fetched = {name for name, stored in got.manifest.all_objects().items() if stored["sha256"] not in known}
    assert len(fetched) == got.objects
    return fetched


def test_the_manifest_is_written_last_and_stale_objects_go_after_it(
    folder: Store, changed: Store, bucket: str, s3: Faults
) -> None:
    """A reader who comes before the manifest has the old one; he is told of an object that is new already."""
    pushed(folder, bucket)
    old = Store.open(bucket)
    s3.plan("PUT /" + bucket.removeprefix("s3://") + "/manifest.json", "500", 99)
    with pytest.raises(TransferError, match=r"manifest\.json: .*type the same command again to go on"):
        pushed(changed, bucket)
    assert Store.open(bucket).manifest == folder.manifest
    np.testing.assert_array_equal(old.texture(KEYS[0]), folder.texture(KEYS[0]))
    with pytest.raises(StoreDamagedError, match="somebody is pushing another version of the store"):
        old.texture(KEYS[1])
    s3.clear()
    assert pushed(changed, bucket).objects == 0, "what the first try has written is read back"
    assert verify(Store.open(bucket), deep=True) == []
    assert PushTarget(bucket).notes() == set()


def test_a_store_that_an_unfinished_push_has_half_overwritten_is_pushed_whole_again(
    folder: Store, changed: Store, bucket: str, s3: Faults
) -> None:
    """Its manifest is still there and the sizes are the same: only the note says that objects are others by now."""
    pushed(folder, bucket)
    s3.plan("PUT /" + bucket.removeprefix("s3://") + "/manifest.json", "500", 99)
    with pytest.raises(TransferError):
        pushed(changed, bucket)
    s3.clear()
    pushed(folder, bucket)
    assert verify(Store.open(bucket), deep=True) == []


@pytest.mark.parametrize("server", ["s3", "web"])
def test_a_pull_survives_a_flaky_server(
    folder: Store, request: pytest.FixtureRequest, server: str, tmp_path: Path, quick: None
) -> None:
    """What fails, hangs, ends early or is wrong is noticed, and asked for again."""
    with web_server(folder.path.parent) as (url, faults):
        place = f"{url}/{folder.path.name}"
        if server == "s3":
            place, faults = request.getfixturevalue("bucket"), request.getfixturevalue("s3")
            pushed(folder, place)
            faults.clear()
        names = [object_path(name, index) for index in range(3) for name in ("texture", "depth")]
        for name, fault in zip(names, FAULTS, strict=False):
            faults.plan(name, fault)
        faults.plan("manifest.json", "500")
        faults.plan("au/c/0", "wrong", 3)
        pulled(place, tmp_path / "back.zarr")
        assert faults.left() == 0
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(folder.path)


@pytest.mark.parametrize("fault", ["500", "cut", "wrong", "short"])
def test_what_fails_each_time_is_refused_by_name(folder: Store, fault: Fault, tmp_path: Path, quick: None) -> None:
    """Without a store being there; when the server is well again, the pull goes on."""
    name = object_path("texture", 1)
    expected: type[StoreError] = StoreDamagedError if fault in ("wrong", "short") else TransferError
    with web_server(folder.path.parent) as (url, faults):
        faults.plan(name, fault, 99)
        with pytest.raises(expected, match=name):
            pulled(f"{url}/{folder.path.name}", tmp_path / "back.zarr")
        assert not (tmp_path / "back.zarr").exists()
        faults.clear()
        fetched = pulled(f"{url}/{folder.path.name}", tmp_path / "back.zarr").objects
    assert 0 < fetched < len(folder.manifest.all_objects())
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(folder.path)


def test_a_push_survives_a_flaky_server(folder: Store, bucket: str, s3: Faults) -> None:
    """Requests that fail are sent again, also where only the answer was lost."""
    s3.plan("PUT /team", "cut", 2)
    s3.plan("texture/c", "500", 3)
    pushed(folder, bucket)
    s3.clear()
    assert verify(Store.open(bucket)) == []


_CHILD = """
import sys
from pathlib import Path
from rich.console import Console
from pipeline.sharing.pull import pull
from pipeline.sharing.push import push
from schemas.store.reader import Store
what, source, target = sys.argv[1:]
if what == "push":
    push(Store.open(source), target, confirm=lambda _: True, console=Console(quiet=True))
else:
    pull(source, Path(target), console=Console(quiet=True))
"""


def killed(what: str, source: object, target: object, *, after: Callable[[], bool]) -> None:
    """Start a push or pull in a process of its own, and kill it as soon as so much has happened."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen([sys.executable, "-c", _CHILD, what, str(source), str(target)], env=environment)
    deadline = time.monotonic() + 60
    while not after():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_push_goes_on(tmp_path: Path, bucket: str, s3: Faults) -> None:
    """What has arrived is not sent again; no reader has seen a store."""
    store = tiny_store(tmp_path / "s.zarr", [f"casme2/sub01/EP{number:02d}" for number in range(24)], depth=False)
    s3.plan("texture/c/2", "slow", 99)
    killed("push", store.path, bucket, after=lambda: len(PushTarget(bucket).listing()) > 32)
    with pytest.raises(ManifestMissingError, match=r"no such file; expected a store"):
        Store.open(bucket)
    s3.clear()
    what = pushed(store, bucket)
    assert what.objects <= len(store.manifest.all_objects()) - 32
    pulled(bucket, tmp_path / "back.zarr")
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(store.path)
    assert not [name for name in PushTarget(bucket).listing() if "push" in name]


def test_a_killed_pull_goes_on(folder: Store, tmp_path: Path, quick: None) -> None:
    """It fetches only what is missing, and there is no store before it has ended."""
    out = tmp_path / "back.zarr"
    arrived = tmp_path / "back.zarr.partial" / object_path("depth", 0)
    with web_server(folder.path.parent) as (url, faults):
        faults.plan("texture/c/2", "slow", 99)
        killed("pull", f"{url}/{folder.path.name}", out, after=arrived.exists)
        assert not out.exists()
        arrived.write_bytes(b"torn")  # as a power cut may leave it
        faults.clear()
        assert 0 < pulled(f"{url}/{folder.path.name}", out).objects < len(folder.manifest.all_objects())
        assert object_path("depth", 0) in " ".join(faults.asked)
    assert tree_hash(out) == tree_hash(folder.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.zarr"]


class _Meanwhile:
    """A store during whose push something happens, once: when its first object is read, or all are written."""

    def __init__(self, store: Store, happens: Callable[[], object], *, at: str) -> None:
        self.store, self.happens, self.at = store, happens, at
        self.manifest, self.path = store.manifest, store.path

    def object_blocks(self, name: str, expected: StoredObject) -> Iterator[bytes]:
        yield from self.store.object_blocks(name, expected)
        if name == self.at:
            self.happens()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["s3", "memory"])
def test_two_pushes_at_once_never_leave_a_store_that_looks_whole_and_is_not(
    folder: Store, changed: Store, place: str, request: pytest.FixtureRequest, quick: None
) -> None:
    """One push begins and ends within another: the other, which has overwritten objects after it, writes no manifest.

    The next push mends what is there, although names and sizes fit.
    """
    url: str = request.getfixturevalue("bucket" if place == "s3" else place)
    slow = _Meanwhile(changed, lambda: pushed(folder, url), at=object_path("texture", 1))
    with pytest.raises(OutputLockedError, match=r"somebody else has pushed there at the same time.*push again"):
        pushed(slow, url)  # type: ignore[arg-type]
    assert Store.open(url).manifest == folder.manifest
    wrong = {problem.path for problem in verify(Store.open(url))}
    assert object_path("texture", 1) in wrong, "it is of the same size, and readers notice"
    pushed(folder, url)
    assert verify(Store.open(url), deep=True) == []
    assert PushTarget(url).notes() == set()


def test_a_push_that_begins_later_and_ends_later_is_told(folder: Store, changed: Store, memory: str) -> None:
    """The first sees its note, writes none of its manifest, and leaves a note that the second sees."""
    second = PushTarget(memory)
    slow = _Meanwhile(changed, lambda: second.write_note(["texture/c/0/0/0/0/0"]), at=object_path("texture", 1))
    with pytest.raises(OutputLockedError, match="push again when the other push has ended"):
        pushed(slow, memory)  # type: ignore[arg-type]
    with pytest.raises(ManifestMissingError):
        Store.open(memory)
    assert len(second.notes()) == 3, "its own two, and the other's"


def test_overwrite_mends_what_no_note_speaks_of(folder: Store, memory: str) -> None:
    """Whatever has happened there: everything is read back."""
    pushed(folder, memory)
    name = object_path("texture", 1)
    size = folder.manifest.all_objects()[name]["bytes"]
    PushTarget(memory).put(name, [bytes(size)])
    assert pushed(folder, memory).objects == 0, "the manifest is believed"
    assert pushed(folder, memory, overwrite=True).objects == 1
    assert verify(Store.open(memory), deep=True) == []


def test_faces_leave_the_machine_only_when_somebody_says_so(folder: Store, memory: str, tmp_path: Path) -> None:
    """The question names the terms; a folder, or a store without texture, needs no answer."""
    asked: list[str] = []
    with pytest.raises(ConfigError, match="not pushed: the store shows faces; --yes"):
        push(folder, memory, confirm=lambda text: bool(asked.append(text)), console=QUIET)
    assert "casme2: for research, under the agreement" in asked[0]
    assert memory in asked[0]
    assert PushTarget(memory).listing() == {}
    push(folder, tmp_path / "copy.zarr", confirm=lambda _: False, console=QUIET)
    assert tree_hash(tmp_path / "copy.zarr") == tree_hash(folder.path)


def test_another_store_is_not_overwritten_by_mistake(folder: Store, memory: str, tmp_path: Path) -> None:
    """Neither there nor here, unless it is said; nor anything that is no store."""
    other = tiny_store(tmp_path / "other.zarr", ["samm/006/006_1"])
    pushed(other, memory)
    with pytest.raises(StoreExistsError, match=r"another store, without a clip in common \(samm\).*--overwrite"):
        pushed(folder, memory)
    before = tree_hash(other.path)
    pushed(folder, memory, overwrite=True)
    with pytest.raises(StoreExistsError, match=r"another store, without a clip in common \(samm\).*--overwrite"):
        pulled(memory, other.path)
    assert tree_hash(other.path) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match="exists, and is no complete store"):
        pulled(memory, tmp_path / "notes", overwrite=True)
    with pytest.raises(StoreExistsError, match="holds 1 file and no store"):
        pushed(folder, tmp_path / "notes")
    pulled(memory, other.path, overwrite=True)
    assert tree_hash(other.path) == tree_hash(folder.path)


def test_a_damaged_store_is_not_pushed(memory: str, tmp_path: Path) -> None:
    """The manifest is not written; what is there then is no store."""
    store = tiny_store(tmp_path / "s.zarr", KEYS)
    file = store.path / object_path("texture", 1)
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(StoreDamagedError, match="texture/c/1/0/0/0/0 cannot be read"):
        pushed(store, memory)
    with pytest.raises(ManifestMissingError):
        Store.open(memory)


def test_places_that_cannot_be_pushed_to_or_pulled_from(folder: Store, tmp_path: Path, s3: Faults) -> None:
    """Each is told with what is to be done."""
    with pytest.raises(ConfigError, match="a web server can be read, not written"):
        pushed(folder, "https://example.org/s.zarr")
    with pytest.raises(ConfigError, match="Protocol not known: nonsense"):
        pushed(folder, "nonsense://b/s.zarr")
    with pytest.raises(TransferError, match="a bucket has to be there"):
        pushed(folder, "s3://no-such-bucket/s.zarr")
    with pytest.raises(ManifestMissingError, match=r"s3://team/nothing/manifest\.json: no such file; expected a store"):
        pulled("s3://team/nothing", tmp_path / "s.zarr")
    with pytest.raises(ConfigError, match="without \\? and #"):
        pulled("s3://team/x?versionId=1", tmp_path / "s.zarr")
