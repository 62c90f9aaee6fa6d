"""A store at a URL is a stranger's: what mer has not written is refused with a message, and nothing else happens."""

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipeline.preprocessing.store_arrays import write_columns
from pipeline.sharing import untrusted
from pipeline.sharing.pack import pack, unpack
from pipeline.sharing.pull import pull
from schemas.errors import ManifestInvalidError, MerError, StoreDamagedError, StoreWriteError
from schemas.manifest import Manifest
from schemas.store import manifest_file, remote
from schemas.store.files import stored_object
from schemas.store.format import Dimensions, array_metadata, create_arrays
from schemas.store.location import StoreUrl
from schemas.store.manifest_file import parsed_manifest
from schemas.store.reader import Store
from schemas.strict_json import strict_json
from tests.command_line import mer
from tests.schemas.store.object_servers import web_server
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01")
URL = StoreUrl("s3://strangers/s.zarr")
QUIET = Console(quiet=True)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of two clips."""
    return tiny_store(tmp_path_factory.mktemp("own") / "s.zarr", KEYS, depth=False)


@pytest.fixture
def theirs(folder: Store, tmp_path: Path) -> Path:
    """A copy that a stranger has changed."""
    return Path(shutil.copytree(folder.path, tmp_path / "theirs" / "s.zarr"))


def sealed(store: Path, change: Callable[[Json], object]) -> None:
    """Change a manifest, and make its seal fit."""
    content = json.loads((store / "manifest.json").read_text())
    change(content)
    content["content_sha256"] = ""
    manifest = Manifest.model_validate(content).sealed()
    (store / "manifest.json").write_text(manifest.model_dump_json(exclude_defaults=True))


def edited(store: Path, change: Callable[[Json], object], *, own: bool = True) -> None:
    """Change the metadata of all arrays, and with ``own`` that of each beside it, and make all hashes fit."""
    root = json.loads((store / "zarr.json").read_text())
    change(root)
    (store / "zarr.json").write_text(json.dumps(root))
    for name, metadata in root["consolidated_metadata"]["metadata"].items() if own else ():
        (store / name).mkdir(exist_ok=True)
        (store / name / "zarr.json").write_text(json.dumps(metadata))

    def rehash(content: Json) -> None:
        for name in content["objects"]:
            content["objects"][name] = stored_object(store / name)

    sealed(store, rehash)


def refused(store: Path, kind: type[MerError], message: str, tmp_path: Path) -> None:
    """A pull says so, writes nothing outside its folder, and leaves no store."""
    outside = tree_hash(store)
    with web_server(store.parent) as (url, faults):
        with pytest.raises(kind) as error:
            pull(f"{url}/s.zarr", tmp_path / "mine" / "s.zarr", console=QUIET)
        assert message in str(error.value)
        assert not [path for path in faults.asked if "texture/c" in path], "no pixel was fetched"
    assert tree_hash(store) == outside
    assert not (tmp_path / "mine" / "s.zarr").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"mine", "theirs"}
    assert {path.name for path in (tmp_path / "mine").glob("*")} <= {"s.zarr.partial", "s.zarr.partial.lock"}


def _object(name: str, **fields: object) -> Callable[[Json], object]:
    return lambda content: content["objects"].update({name: {"bytes": 1, "sha256": "0" * 64} | fields})


MANIFESTS: dict[str, tuple[Callable[[Json], object], str]] = {
    "path traversal": (_object("../evil"), "lists ../evil, which belongs to none"),
    "hidden traversal": (_object("au/../../evil"), "lists au/../../evil, which belongs to none"),
    "absolute": (_object("/tmp/evil"), "lists /tmp/evil, which belongs to none"),
    "backslash": (_object("..\\evil"), "evil"),
    "stranger": (_object(".bashrc"), ".bashrc"),
    "below an array": (_object("au/c/x.py"), "au/c/x.py"),
    "clip of no entry": (_object("texture/c/9/0/0/0/0"), "texture/c/9/0/0/0/0"),
    "manifest in itself": (_object("manifest.json"), "manifest.json"),
    "hash that is a path": (_object("au/c/0/0/0", sha256="../../../evil"), "which mer never writes"),
    "negative size": (_object("au/c/0/0/0", bytes=-1), "which mer never writes"),
    "huge size": (_object("au/c/0/0/0", bytes=10**15), "which mer never writes"),
    "no arrays": (lambda content: content.update(objects={}), "the manifest lists no"),
    "a clip twice": (lambda content: content["clips"].append(content["clips"][0]), "two clips have the same key"),
    "good clip without objects": (lambda content: content["clips"][0].pop("objects"), "lists the arrays none"),
}


@pytest.mark.parametrize(("change", "message"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_hostile_manifest_is_refused(
    theirs: Path, tmp_path: Path, change: Callable[[Json], object], message: str
) -> None:
    """Before anything that it lists is fetched."""
    sealed(theirs, change)
    refused(theirs, MerError, message, tmp_path)


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "key twice": (lambda text: text.replace(b'{"', b'{"clips":[],"', 1), "the key 'clips' is there twice"),
    "deep nesting": (lambda _: b"[" * 10**6, "nested too deep"),
    "no JSON": (lambda _: b"\x80\x04pickle", "not a manifest"),
    "infinite": (lambda text: text.replace(b'"fps":200.0', b'"fps":Infinity'), "Infinity is no number of JSON"),
    "edited": (lambda text: text.replace(b"happiness", b"surprise!"), "manifest"),
}


@pytest.mark.parametrize(("change", "message"), TEXTS.values(), ids=TEXTS)
def test_a_hostile_text_is_refused(
    theirs: Path, tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    """Where the manifest should be."""
    text = (theirs / "manifest.json").read_bytes()
    assert change(text) != text
    (theirs / "manifest.json").write_bytes(change(text))
    refused(theirs, ManifestInvalidError, message, tmp_path)


class _Endless(BaseHTTPRequestHandler):
    """Answers without end, and without saying how long."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            while True:
                self.wfile.write(b"[" * 1000)

    def log_message(self, *args: object) -> None:
        pass


def test_a_manifest_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read no further than any manifest goes."""
    monkeypatch.setattr(remote, "LARGEST_MANIFEST", 10**6)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endless)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with pytest.raises(StoreDamagedError, match=r"manifest\.json: 1000001 bytes or more; no manifest has as many"):
            Store.open(f"http://127.0.0.1:{server.server_port}/s.zarr")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_huge_manifest_and_a_store_larger_than_the_disk(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is fetched."""
    with monkeypatch.context() as patch:
        patch.setattr(manifest_file, "LARGEST_MANIFEST", 1000)
        refused(theirs, ManifestInvalidError, "no manifest is larger than 1000", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(untrusted.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 5000))
        refused(theirs, StoreWriteError, "5000 are free", tmp_path)


def _array(name: str, **fields: object) -> Callable[[Json], object]:
    return lambda root: root["consolidated_metadata"]["metadata"][name].update(fields)


def _codec(root: Json) -> None:
    sharding = root["consolidated_metadata"]["metadata"]["texture"]["codecs"][0]["configuration"]
    sharding["codecs"][1] = {"name": "numcodecs.pickle", "configuration": {"protocol": 5}}


METADATA: dict[str, tuple[Callable[[Json], object], str]] = {
    "unknown codec": (_codec, "texture: codecs is"),
    "huge shape": (_array("texture", shape=[2, 5, 10**9, 10**9, 3]), "texture: shape is"),
    "huge chunk": (
        _array("fps", chunk_grid={"name": "regular", "configuration": {"chunk_shape": [10**12]}}),
        "fps: chunk_grid is",
    ),
    "huge frame axis": (
        lambda root: [
            _array(name, shape=[2, 10**9, *rest])(root)
            for name, rest in (("frame_number", ()), ("texture", (112, 112, 3)))
        ],
        "bytes to be read at once",
    ),
    "object dtype": (_array("clip", data_type="object"), "clip: data_type is 'object'"),
    "other fill value": (_array("fps", fill_value=1), "fps: fill_value is 1"),
    "link elsewhere": (_array("fps", storage_transformers=[{"name": "x"}]), "fps: storage_transformers is"),
    "strange attribute": (_array("fps", attributes={"x": "y" * 1000}), "fps: attributes is"),
    "array too many": (
        lambda root: root["consolidated_metadata"]["metadata"].update(evil={}),
        "describes the arrays",
    ),
    "array too few": (lambda root: root["consolidated_metadata"]["metadata"].pop("fps"), "describes the arrays"),
    "not a group": (lambda root: root.update(node_type="array"), "the group is"),
    "nothing": (lambda root: root.clear(), "KeyError"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), METADATA.values(), ids=METADATA)
def test_hostile_metadata_is_refused(
    theirs: Path, tmp_path: Path, change: Callable[[Json], object], message: str
) -> None:
    """By pull, and by whoever reads the store in place, at a URL, in a zip file or a folder, before Zarr sees it."""
    edited(theirs, change, own=False)
    refused(theirs, StoreDamagedError, message, tmp_path)
    there = Store.open(theirs)
    with pytest.raises(StoreDamagedError, match="so nothing was decoded"):
        array_metadata(URL, (theirs / "zarr.json").read_bytes(), there.manifest)
    with pytest.raises(StoreDamagedError, match="so nothing was decoded"):
        there.texture(KEYS[0])
    pack(there, tmp_path / "theirs.zip")
    with pytest.raises(StoreDamagedError, match="so nothing was decoded"):
        Store.open(tmp_path / "theirs.zip").texture(KEYS[0])


def test_a_hostile_text_in_a_zip_file_is_refused(folder: Store, tmp_path: Path) -> None:
    """As at a URL."""
    with ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(
            ZipInfo("manifest.json"), (folder.path / "manifest.json").read_text().replace("{", '{"a":1,"a":2,', 1)
        )
    with pytest.raises(ManifestInvalidError, match="the key 'a' is there twice"):
        Store.open(tmp_path / "s.zip")


def test_an_array_that_says_otherwise_about_itself_is_refused(theirs: Path, tmp_path: Path) -> None:
    """Other readers of Zarr look there."""
    edited(theirs, lambda _: None)
    own = json.loads((theirs / "fps" / "zarr.json").read_text())
    (theirs / "fps" / "zarr.json").write_text(json.dumps(own | {"shape": [10**12]}))
    edited(theirs, lambda _: None, own=False)
    message = "fps/zarr.json is not what zarr.json says of fps"
    refused(theirs, StoreDamagedError, message, tmp_path)
    pack(Store.open(theirs), tmp_path / "theirs.zip")
    with pytest.raises(StoreDamagedError, match=message):
        unpack(tmp_path / "theirs.zip", tmp_path / "unpacked.zarr")
    assert not (tmp_path / "unpacked.zarr").exists()


@pytest.mark.parametrize("depth", [True, False])
@pytest.mark.parametrize("frames", [5, 1025])
def test_what_mer_writes_is_not_refused(tmp_path: Path, depth: bool, frames: int) -> None:
    """Whatever arrays, however long; so that a change of the writer is noticed here."""
    dimensions = Dimensions(2, frames, 112, ("AU04", "AU12"), depth=depth, au_frames=depth)
    create_arrays(tmp_path / "s.zarr", dimensions)
    write_columns(tmp_path / "s.zarr", {"fps": [1.0, 2.0]})
    made = tiny_store(tmp_path / "m.zarr", KEYS, depth=depth, au_frames="all" if depth else "apex").manifest
    found = array_metadata(URL, (tmp_path / "s.zarr" / "zarr.json").read_bytes(), made)
    assert set(found) == set(dimensions.names)
    for name, metadata in found.items():
        assert json.loads((tmp_path / "s.zarr" / name / "zarr.json").read_text()) == metadata


# Only errors of ours, whatever the bytes

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, inner in pairs for found in paths_of(inner, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A JSON value with another part."""
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = replaced(copy[path[0]], path[1:], other)
    return copy


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_manifest_is_read_or_refused(folder: Store, data: st.DataObject) -> None:
    """With any part of it replaced, and any byte flipped or cut off."""
    content = json.loads((folder.path / "manifest.json").read_text())
    path = data.draw(st.sampled_from(paths_of(content)))
    text = json.dumps(replaced(content, path, data.draw(_VALUES))).encode()
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(text) - 1))
        text = text[:place] + data.draw(st.binary(max_size=2)) + text[place + data.draw(st.integers(0, 3)) :]
    try:
        store = Store(URL, parsed_manifest(URL, text))
        untrusted.refuse_foreign(store)
        assert store.files is not None
    except MerError:
        return
    assert store.manifest == folder.manifest, "its seal fits"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_metadata_is_that_of_mer_or_refused(folder: Store, data: st.DataObject) -> None:
    """With any part of it replaced."""
    text = (folder.path / "zarr.json").read_bytes()
    content = json.loads(text)
    path = data.draw(st.sampled_from(paths_of(content)))
    changed = replaced(content, path, data.draw(_VALUES))
    try:
        array_metadata(URL, json.dumps(changed).encode(), folder.manifest)
    except MerError:
        return
    kept = {key: value for key, value in changed["consolidated_metadata"].items() if key == "metadata"}
    assert kept == {"metadata": content["consolidated_metadata"]["metadata"]}


@pytest.mark.parametrize("shape", [[], [2], [2, -1], [2, None]])
def test_arrays_without_a_frame_axis_are_refused(folder: Store, shape: list[int | None]) -> None:
    """``frame_number`` says how long the frame axis is; one of no or one dimension has none."""
    content = json.loads((folder.path / "zarr.json").read_bytes())
    changed = replaced(content, ("consolidated_metadata", "metadata", "frame_number", "shape"), shape)
    with pytest.raises(StoreDamagedError, match="not what mer writes"):
        array_metadata(URL, json.dumps(changed).encode(), folder.manifest)


@given(st.binary(max_size=50) | st.text(alphabet='[]{}",:0eE-.\\u ', max_size=30).map(str.encode))
def test_strict_json_fails_in_one_way(text: bytes) -> None:
    """With ``ValueError``, whatever the text."""
    try:
        strict_json(text)
    except ValueError:
        return
    json.loads(text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["manifest.json", "zarr.json", "texture/c/0/0/0/0/0", "fps/c/0"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_or_socket_is_refused_and_not_waited_for(theirs: Path, tmp_path: Path, kind: str, name: str) -> None:
    """Nobody will ever write into it."""
    file = theirs / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        os.mknod(file, stat.S_IFSOCK | 0o600)
    assert mer("verify", theirs).code in (1, 2)
    for command in (
        "pull S out/a.zarr",
        "push S out/b.zarr",
        "pack S out/c.zip",
        "subset S --subjects sub01 -o out/d.zarr",
    ):
        done = mer(*command.replace("S", str(theirs)).replace("out", str(tmp_path)).split())
        assert done.code == 2, command
        assert name in done.error, command
    assert not [*tmp_path.glob("?.zarr/manifest.json"), *tmp_path.glob("c.zip")], "no store is whole"
