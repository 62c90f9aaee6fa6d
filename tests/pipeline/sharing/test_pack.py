"""`mer pack` and `mer unpack`: a store in one file, read where it lies; a stranger's file can do no harm."""

import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
import pytest
import xarray
from zarr.storage import ZipStore

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.sharing.merge import merge
from pipeline.sharing.pack import pack, unpack
from schemas.errors import ConfigError, MerError, StoreDamagedError, StoreError
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME, Manifest
from schemas.store.reader import Store
from tests.command_line import mer
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01")
Members = list[tuple[ZipInfo, bytes]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of two clips."""
    return tiny_store(tmp_path_factory.mktemp("pack") / "s.zarr", KEYS)


@pytest.fixture(scope="module")
def packed(folder: Store) -> Path:
    """The same in one file."""
    pack(folder, folder.path.with_name("s.zip"))
    return folder.path.with_name("s.zip")


def test_a_packed_store_comes_back_to_the_byte(folder: Store, packed: Path, tmp_path: Path) -> None:
    """And the same store gives the same file, from a folder or from a zip, whenever it is packed."""
    unpack(packed, tmp_path / "back.zarr")
    assert tree_hash(tmp_path / "back.zarr") == tree_hash(folder.path)
    pack(Store.open(tmp_path / "back.zarr"), tmp_path / "again.zip")
    pack(Store.open(packed), tmp_path / "thrice.zip")
    assert packed.read_bytes() == (tmp_path / "again.zip").read_bytes() == (tmp_path / "thrice.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.zip", "back.zarr", "thrice.zip"]


def test_a_packed_store_is_read_where_it_lies(folder: Store, packed: Path, tmp_path: Path) -> None:
    """By the reader, after a journey to another process, by verify, inspect, merge, xarray."""
    store = Store.open(packed)
    for opened in (store, Store.open(str(packed)), pickle.loads(pickle.dumps(store))):
        for key in KEYS:
            np.testing.assert_array_equal(opened.texture(key), folder.texture(key))
            np.testing.assert_array_equal(opened.depth(key), folder.depth(key))
            np.testing.assert_array_equal(opened.action_units(key), folder.action_units(key))
    assert verify(store, deep=True) == []
    assert mer("verify", packed, "--deep") == (0, f"{packed}: sound, every clip decodes\n", "")
    assert summarise(store) == summarise(folder) | {"store": "s.zip"}
    assert merge([store], tmp_path / "m.zarr") == folder.manifest
    with ZipStore(packed, mode="r") as plain:
        dataset = xarray.open_zarr(plain)
        np.testing.assert_array_equal(dataset.sel(clip=KEYS[0]).texture[:3], folder.texture(KEYS[0])[:3])


def test_damage_inside_a_packed_store_is_found(folder: Store, packed: Path, tmp_path: Path) -> None:
    """By verify, by the reader, by unpack; nothing else of the store is accused."""
    name = object_path("depth", 0)
    data, wanted = bytearray(packed.read_bytes()), (folder.path / name).read_bytes()
    data[data.index(wanted) + 5] ^= 1
    (tmp_path / "bad.zip").write_bytes(data)
    bad = Store.open(tmp_path / "bad.zip")
    assert [(problem.kind, problem.path) for problem in verify(bad)] == [("hash", name)]
    with pytest.raises(StoreDamagedError, match=f"depth of {KEYS[0]} cannot be read"):
        bad.depth(KEYS[0])
    np.testing.assert_array_equal(bad.depth(KEYS[1]), folder.depth(KEYS[1]))
    with pytest.raises(StoreDamagedError, match=f"{name} cannot be read"):
        unpack(tmp_path / "bad.zip", tmp_path / "out.zarr")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out.zarr") and path.suffix != ".lock"]


@pytest.mark.parametrize("offset", [0, 26, 29], ids=["signature", "length of the name", "length of what follows"])
def test_damage_in_front_of_a_member_is_found(packed: Path, tmp_path: Path, offset: int) -> None:
    """In its local header (APPNOTE.TXT 4.3.7), beyond which a reader would run into the next member, or off the end."""
    with ZipFile(packed) as archive:
        members = archive.infolist()
    for member in (members[0], members[-2]):
        data = bytearray(packed.read_bytes())
        data[member.header_offset + offset] ^= 0xFF
        (tmp_path / "bad.zip").write_bytes(data)
        verified = mer("verify", tmp_path / "bad.zip")
        assert verified.code == 1
        assert member.filename in verified.printed
        unpacked = mer("unpack", tmp_path / "bad.zip", tmp_path / "out.zarr")
        assert unpacked.code == 2
        assert "cannot be read" in unpacked.error


def test_a_damaged_store_is_not_packed(tmp_path: Path) -> None:
    """What is sent is what was made."""
    store = tiny_store(tmp_path / "s.zarr", KEYS)
    (store.path / object_path("texture", 1)).write_bytes(b"")
    with pytest.raises(StoreDamagedError, match=r"texture/c/1/0/0/0/0 cannot be read \(it has 0 bytes"):
        pack(store, tmp_path / "s.zip")
    with pytest.raises(ConfigError, match=r"expected a name ending in \.zip"):
        pack(store, tmp_path / "s.tar")
    assert not (tmp_path / "s.zip").exists()


# A stranger's zip file


def plain(name: str, mode: int = stat.S_IFREG | 0o644) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = mode << 16
    return info


def renamed(members: Members, old: str, new: str) -> None:
    """A member that its manifest knows under the new name too, the seal made to fit."""
    index = next(i for i, (info, _) in enumerate(members) if info.filename == old)
    members[index] = (plain(new), members[index][1])
    info, text = members[-1]
    manifest = Manifest.model_validate_json(text)
    objects = {new if name == old else name: stored for name, stored in manifest.objects.items()}
    forged = manifest.model_copy(update={"objects": objects}).sealed()
    members[-1] = (info, forged.model_dump_json(exclude_defaults=True).encode())


def deflated(members: Members) -> None:
    members[0] = (plain(members[0][0].filename), bytes(10_000_000))
    members[0][0].compress_type = ZIP_DEFLATED


ATTACKS: dict[str, tuple[Callable[[Members], object], str]] = {
    "path traversal": (lambda m: m.append((plain("../evil"), b"x")), "'../evil' is no name inside a store"),
    "hidden traversal": (lambda m: m.append((plain("au/../../evil"), b"x")), "is no name inside a store"),
    "absolute": (lambda m: m.append((plain("/tmp/evil"), b"x")), "'/tmp/evil' is no name inside a store"),
    "drive": (lambda m: m.append((plain("C:evil"), b"x")), "'C:evil' is no name inside a store"),
    "backslash": (lambda m: m.append((plain("..\\evil"), b"x")), "is no name inside a store"),
    "folder entry": (lambda m: m.append((plain("evil/"), b"")), "'evil/' is no name inside a store"),
    "symlink": (lambda m: m.append((plain("evil", stat.S_IFLNK | 0o777), b"/etc")), "'evil' is a link or a device"),
    "twice": (lambda m: m.append((plain("zarr.json"), b"{}")), "'zarr.json' is in it twice"),
    "zip bomb": (deflated, "is compressed"),
    "file too many": (lambda m: m.append((plain("evil"), b"x")), "'evil' is not in its manifest"),
    "file too few": (lambda m: m.pop(0), "is missing (1 such names)"),
    "listed traversal": (lambda m: renamed(m, "zarr.json", "../zarr.json"), "'../zarr.json' is no name inside"),
    "listed stranger": (lambda m: renamed(m, "zarr.json", ".bashrc"), "'.bashrc' is no file of a store"),
    "other bytes": (lambda m: m.__setitem__(0, (m[0][0], m[0][1][:-1] + b"\0")), "its bytes are not those that were"),
    "more bytes": (lambda m: m.__setitem__(0, (m[0][0], m[0][1] + bytes(99))), "expected"),
}


@pytest.mark.parametrize(("attack", "expected"), ATTACKS.values(), ids=ATTACKS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_strangers_zip_file_does_no_harm(
    packed: Path, tmp_path: Path, attack: Callable[[Members], object], expected: str
) -> None:
    """It is refused with the reason, and nothing is written anywhere."""
    with ZipFile(packed) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    attack(members)
    (tmp_path / "in").mkdir()
    with ZipFile(tmp_path / "in" / "evil.zip", "w", ZIP_STORED) as archive:
        for info, data in members:
            archive.writestr(info, data)
    before = tree_hash(tmp_path)
    with pytest.raises(StoreError) as error:
        unpack(tmp_path / "in" / "evil.zip", tmp_path / "in" / "out.zarr")
    assert expected in str(error.value)
    (tmp_path / "in" / "out.zarr.partial.lock").unlink(missing_ok=True)
    assert tree_hash(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_member_that_lies_about_its_size_is_refused(packed: Path, tmp_path: Path) -> None:
    """The central directory declares a gigabyte where there are a few bytes."""
    data = bytearray(packed.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the manifest's, written last
    for field in (20, 24):  # compressed and plain size
        data[entry + field : entry + field + 4] = (10**9).to_bytes(4, "little")
    (tmp_path / "evil.zip").write_bytes(data)
    with pytest.raises(StoreError, match="declares more bytes than the file has"):
        unpack(tmp_path / "evil.zip", tmp_path / "out.zarr")


def test_any_cut_or_flipped_byte_is_an_error_of_ours(packed: Path, tmp_path: Path) -> None:
    """Never another exception, and never a store that is not what was packed."""
    data, random = packed.read_bytes(), np.random.default_rng(0)
    names = data.rindex(MANIFEST_NAME.encode(), 0, data.index(b"PK\x01\x02"))
    places = [*random.integers(len(data) - 2500, len(data), 20), *random.integers(names, len(data), 10)]
    for number, place in enumerate(map(int, places)):
        damaged = data[:place] if number % 5 == 0 else data[:place] + bytes([data[place] ^ 8]) + data[place + 1 :]
        (tmp_path / "bad.zip").write_bytes(damaged)
        try:
            unpack(tmp_path / "bad.zip", tmp_path / f"{number}.zarr")
        except MerError:
            continue
        assert verify(Store.open(tmp_path / f"{number}.zarr")) == []


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_packed_store(tmp_path: Path, content: bytes) -> None:
    """Not a zip file, or one of nothing."""
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.zip"):
        unpack(tmp_path / "x.zip", tmp_path / "out.zarr")
    with pytest.raises(StoreError, match=r"x\.zip"):
        Store.open(tmp_path / "x.zip")
