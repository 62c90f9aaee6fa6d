"""What a run that goes on takes over of what is there, and what it makes again."""

import shutil
from pathlib import Path

import pytest

from pipeline.preprocessing.finish import records_of
from pipeline.preprocessing.journal import ClipRecord, Journal, JournalHeader
from schemas.config import canonical_sha256
from schemas.layout import object_path
from schemas.manifest import MANIFEST_NAME
from schemas.rows import table_of
from schemas.store.reader import Store
from tests.conftest import run_preprocess
from tests.tree_hash import tree_hash


@pytest.fixture
def begun(shared_store: Store, tmp_path: Path) -> Path:
    """The run of which every clip is done, killed before its manifest was written."""
    assert isinstance(shared_store.path, Path)
    out = tmp_path / "begun.zarr"
    shutil.copytree(shared_store.path, out)
    (out / MANIFEST_NAME).unlink()
    manifest, journal = shared_store.manifest, Journal(out)
    header = JournalHeader(
        provenance=manifest.provenance,
        keys_sha256=canonical_sha256([entry.key for entry in manifest.clips]),
        frames=shared_store.array("frame_number").shape[1],
    )
    journal.begin(header, table_of(ClipRecord, records_of(shared_store)))
    journal.close()
    return out


@pytest.mark.parametrize("damage", ["nothing", "other bytes", "other length", "gone"])
def test_a_clip_that_is_not_as_it_was_written_is_made_again(
    shared_casme2: Path, shared_store: Store, begun: Path, damage: str
) -> None:
    """Whether a look at its size shows it, or only its hash; the others stay, and are not even touched."""
    file, other = (begun / object_path("texture", index) for index in (0, 1))
    data, untouched = file.read_bytes(), other.stat().st_ino
    if damage == "gone":
        file.unlink()
    elif damage != "nothing":
        file.write_bytes(data[:-1] + (b"" if damage == "other length" else bytes([data[-1] ^ 1])))
    assert run_preprocess(shared_casme2, begun) == 0
    assert tree_hash(begun) == tree_hash(shared_store.path)
    assert other.stat().st_ino == untouched


@pytest.mark.parametrize("place", ["texture/c/0/0/0/0/0", "texture/zarr.json", "fps/c/0", "zarr.json"])
def test_what_a_killed_write_has_left_is_swept(
    shared_casme2: Path, shared_store: Store, begun: Path, place: str
) -> None:
    """Zarr's own temporary files, beside an object of a clip in flight, a column, or metadata."""
    (begun / f"{place}.0123abcd.partial").write_bytes(b"half")
    (begun / object_path("texture", 0)).unlink()  # it was in flight
    assert run_preprocess(shared_casme2, begun) == 0
    assert tree_hash(begun) == tree_hash(shared_store.path)
