"""`mer merge`: a set union of clips, whose bytes are copied."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.inspect.verification import verify
from pipeline.preprocessing.store_arrays import resized_shard
from pipeline.sharing.diff import diff
from pipeline.sharing.merge import merge
from pipeline.sharing.output import new_output
from pipeline.sharing.pseudonyms import Pseudonyms
from pipeline.sharing.selection import Condition, Selection
from pipeline.sharing.subset import subset
from schemas.errors import (
    ManifestInvalidError,
    ManifestMissingError,
    OutputLockedError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreWriteError,
)
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash

KEYS = tuple(f"casme2/sub{subject:02d}/EP{clip:02d}" for subject in (1, 2) for clip in (1, 2))
FAILED = KEYS[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Four clips of two people, one of which failed; the frame axis is longer than the longest clip."""
    return tiny_store(tmp_path_factory.mktemp("whole") / "whole.zarr", KEYS, failed=[FAILED], frames=9)


def taken(store: Store, out: Path, keys: frozenset[str]) -> Store:
    subset(store, out, selection=Selection((Condition("key", "=", tuple(keys)),)))
    return Store.open(out)


def merged(out: Path, *stores: Store) -> Store:
    assert merge(stores, out) == Store.open(out).manifest
    return Store.open(out)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.frozensets(st.sampled_from(KEYS), min_size=1), min_size=1, max_size=3))
def test_merging_the_parts_of_a_store_gives_the_store(
    whole: Store, tmp_path_factory: pytest.TempPathFactory, pieces: list[frozenset[str]]
) -> None:
    """However it is divided, in whatever order, overlapping or not: to the byte. Parts of a part are parts too."""
    folder = tmp_path_factory.mktemp("pieces")
    pieces.append(frozenset(KEYS) - frozenset().union(*pieces) or pieces[0])
    stores = [taken(whole, folder / f"{i}.zarr", keys) for i, keys in enumerate(pieces)]
    again = merged(folder / "again.zarr", *stores)
    assert again.manifest.content_sha256 == whole.manifest.content_sha256
    assert tree_hash(again.path) == tree_hash(whole.path)


def test_order_and_grouping_do_not_matter(tmp_path: Path) -> None:
    """Of stores with other runs, datasets, frame axes and findings, one of them with a clip of another."""
    a = tiny_store(tmp_path / "a.zarr", KEYS[:2], frames=1030)
    b = tiny_store(tmp_path / "b.zarr", ["samm/006/006_1"], packages={"zarr": "4"})
    c = tiny_store(tmp_path / "c.zarr", KEYS[1:], packages={"zarr": "2"}, subjects=("sub01", "sub02"), device="cuda")
    ab_c = merged(tmp_path / "ab_c.zarr", merged(tmp_path / "ab.zarr", a, b), c)
    ca_b = merged(tmp_path / "c_ab.zarr", c, merged(tmp_path / "ba.zarr", b, a))
    cba = merged(tmp_path / "cba.zarr", c, b, a, a)
    assert tree_hash(ab_c.path) == tree_hash(ca_b.path) == tree_hash(cba.path)
    assert verify(ab_c, deep=True) == []
    assert ab_c.manifest.datasets == ("casme2", "samm")
    assert [licence.dataset for licence in ab_c.manifest.licences] == ["casme2", "samm"]
    runs = {entry.key: ab_c.manifest.provenances[entry.made_by] for entry in ab_c.manifest.clips}
    assert runs[KEYS[0]] == a.manifest.provenance
    assert runs["samm/006/006_1"] == b.manifest.provenance
    assert runs[KEYS[3]] == c.manifest.provenance
    assert len(ab_c.manifest.provenances) == 3


def test_one_synthetic_store_makes_the_whole_synthetic(tmp_path: Path) -> None:
    """Which every copy of it stays, whoever is named first."""
    real = tiny_store(tmp_path / "a.zarr", KEYS[:1])
    other = tiny_store(tmp_path / "b.zarr", ["samm/006/006_1"])
    made_up = Store(other.path, other.manifest.model_copy(update={"synthetic": True}).sealed())
    for name, stores in (("ab", (real, made_up)), ("ba", (made_up, real))):
        both = merged(tmp_path / f"{name}.zarr", *stores)
        assert both.manifest.synthetic
        subset(both, tmp_path / f"{name}-again.zarr", pseudonyms=Pseudonyms.random())
        assert Store.open(tmp_path / f"{name}-again.zarr").manifest.synthetic
    assert not merged(tmp_path / "aa.zarr", real, real).manifest.synthetic


def test_a_merged_dataset_comes_apart_again(tmp_path: Path, whole: Store) -> None:
    """Its runs and terms are those of the clips that are left."""
    other = tiny_store(tmp_path / "samm.zarr", ["samm/006/006_1"], frames=9)
    both = merged(tmp_path / "both.zarr", whole, other)
    for name, expected in (("casme2", whole), ("samm", other)):
        subset(both, tmp_path / f"{name}-again.zarr", selection=Selection.parse(where=f"dataset={name}"))
        assert diff(Store.open(tmp_path / f"{name}-again.zarr"), expected) == []


def test_chunks_are_copied_and_only_an_index_of_another_length_is_written_anew(tmp_path: Path) -> None:
    """A frame axis beyond 1024 needs room for more chunks; up to there even the object is the same."""
    short = tiny_store(tmp_path / "short.zarr", KEYS[:1], lengths={KEYS[0]: 20})
    longer = tiny_store(tmp_path / "longer.zarr", KEYS[1:2], frames=500)
    longest = tiny_store(tmp_path / "longest.zarr", KEYS[2:3], frames=1025)
    same = merged(tmp_path / "same.zarr", short, longer)
    other = merged(tmp_path / "other.zarr", short, longest)
    for name in ("texture", "depth"):
        source = (short.path / object_path(name, 0)).read_bytes()
        assert (same.path / object_path(name, 0)).read_bytes() == source
        grown = (other.path / object_path(name, 0)).read_bytes()
        index = 16 * 64 + 4
        assert grown[: -index - 16 * 64] == source[:-index]
        assert len(grown) == len(source) + 16 * 64
        assert resized_shard(grown, chunks=128, room=64) == source
    assert verify(other, deep=True) == []
    np.testing.assert_array_equal(other.texture(KEYS[0]), short.texture(KEYS[0]))
    assert merged(tmp_path / "again.zarr", short, other).manifest == other.manifest, "equal but for the index"


def test_an_index_is_not_cut_below_its_chunks(tmp_path: Path) -> None:
    """Nor is a damaged one carried over."""
    store = tiny_store(tmp_path / "s.zarr", KEYS[:1], lengths={KEYS[0]: 40})
    data = (store.path / object_path("depth", 0)).read_bytes()
    with pytest.raises(ValueError, match="more than 2 chunks"):
        resized_shard(data, chunks=64, room=2)
    with pytest.raises(ValueError, match="its index is damaged"):
        resized_shard(data[:-1] + bytes([data[-1] ^ 1]), chunks=64, room=128)
    with pytest.raises(ValueError, match="hold no index of 64 chunks"):
        resized_shard(data[:100], chunks=64, room=128)


def test_conflicting_clips_are_listed_and_refused(tmp_path: Path, whole: Store) -> None:
    """Pixels, and a clip that failed on one side; clips that agree are not mentioned."""
    other = tiny_store(tmp_path / "other.zarr", KEYS, frames=9, change={KEYS[2]: 5})
    with pytest.raises(StoreError) as error:
        merge([whole, other], tmp_path / "out.zarr")
    message = str(error.value)
    assert message.startswith("2 clips are in several stores and differ:\n")
    assert f"{FAILED}: " in message
    assert "status 'failed' / 'ok'" in message
    assert f"{KEYS[2]}: columns.transform" in message
    assert ", texture '" in message
    assert KEYS[0] not in message
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"depth": False}, "config.depth 'mesh' / 'none'"),
        ({"apex": "middle"}, "config.apex 'motion' / 'middle'"),
        ({"depth_size": 224}, "config.depth_size 518 / 224"),
    ],
)
def test_stores_that_were_made_in_other_ways_do_not_go_together(
    tmp_path: Path, whole: Store, fields: dict[str, object], expected: str
) -> None:
    """The fields are named."""
    other = tiny_store(tmp_path / "other.zarr", ["casme2/sub09/EP01"], **fields)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="do not go together: ") as error:
        merge([whole, other], tmp_path / "out.zarr")
    assert expected in str(error.value)


def test_damage_and_edits_are_not_laundered(tmp_path: Path) -> None:
    """A merge checks every byte that it copies; nothing is left of one that is refused."""
    store = tiny_store(tmp_path / "a.zarr", KEYS[:2])
    file = store.path / object_path("depth", 1)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreDamagedError, match=r"depth/c/1/0/0/0 cannot be read \(its bytes are not those that were"):
        merge([store], tmp_path / "out.zarr")
    file.write_bytes(data)
    manifest = store.path / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"fps":200.0', '"fps":100.0', 1))
    with pytest.raises(ManifestInvalidError, match="the manifest was edited"):
        merge([Store.open(store.path)], tmp_path / "out.zarr")
    assert {path.name for path in tmp_path.iterdir()} <= {"a.zarr", "out.zarr.partial.lock"}


def test_an_output_that_is_there_is_left_alone(tmp_path: Path, whole: Store) -> None:
    """Be it a store or anything else."""
    (tmp_path / "out.zarr").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"out.zarr: exists; choose another name, or delete it first"):
        merge([whole], tmp_path / "out.zarr")
    assert (tmp_path / "out.zarr").read_text() == "mine"


def test_two_writers_of_one_output(tmp_path: Path, whole: Store) -> None:
    """The second is told, and leaves the first alone."""
    with new_output(tmp_path / "out.zarr") as unfinished:
        unfinished.mkdir()
        (unfinished / "mine").touch()
        with pytest.raises(OutputLockedError, match=r"out.zarr.partial: another run is writing there"):
            merge([whole], tmp_path / "out.zarr")
        assert (unfinished / "mine").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_cleaning_up_does_not_hide_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of Zarr that still write delete their own temporary files, and the folder changes while it is deleted."""

    def gone(*arguments: object, **options: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def fill_the_disk() -> None:
        with monkeypatch.context() as patched, new_output(tmp_path / "out") as unfinished:
            unfinished.mkdir()
            patched.setattr("os.rmdir", gone)
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreWriteError, match="the disk is full"):
        fill_the_disk()
    with new_output(tmp_path / "out") as unfinished:
        assert not unfinished.exists(), "what was left is deleted by the next run"
        unfinished.touch()


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.preprocessing import finish
from pipeline.sharing import clip_copies, merge
from schemas.store.reader import Store

def killed(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*{"objects": (clip_copies, "write_durably", killed), "manifest": (finish, "write_text", killed)}[sys.argv[3]])
merge.merge([Store.open(sys.argv[1])], Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["objects", "manifest"])
def test_a_killed_merge_leaves_nothing_that_opens(tmp_path: Path, whole: Store, moment: str) -> None:
    """Killed for real, at its first object or before its manifest; the same command then starts anew."""
    out = tmp_path / "out.zarr"
    command = [sys.executable, "-c", KILLED, str(whole.path), str(out), moment]
    assert subprocess.run(command, check=False, cwd=Path(__file__).parents[3]).returncode == -signal.SIGKILL
    left = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert [path.name for path in left] == ["out.zarr.partial"]
    with pytest.raises(ManifestMissingError):
        Store.open(left[0])
    assert tree_hash(merged(out, whole).path) == tree_hash(whole.path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]


def test_equal_clips_are_taken_once(tmp_path: Path, whole: Store) -> None:
    """Merging a store with itself, or with a part of itself, changes nothing."""
    part = taken(whole, tmp_path / "part.zarr", frozenset(KEYS[:2]))
    assert tree_hash(merged(tmp_path / "out.zarr", part, whole, whole).path) == tree_hash(whole.path)
