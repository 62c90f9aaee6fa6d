"""The journal: what a kill can leave of it, and what is made of that."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preprocessing.journal import ClipColumns, ClipRecord, Journal, JournalHeader
from schemas.config import PreprocessConfig
from schemas.errors import ManifestInvalidError
from schemas.labels import Label
from schemas.manifest import ClipEntry, Provenance
from schemas.rows import table_of
from schemas.store.manifest_file import JOURNAL_NAME

HEADER = JournalHeader(
    provenance=Provenance(
        config=PreprocessConfig(dataset="samm"), layout="raw", annotation=None, device="cpu", packages={}, weights=()
    ),
    keys_sha256="0" * 64,
    frames=7,
)


def record(index: int) -> ClipRecord:
    entry = ClipEntry(key=f"samm/006/c{index}", status="ok", label=Label(), fps=200, onset=1, apex=2, offset=3)
    columns = ClipColumns(
        frame_numbers=(1, 2, 3), onset_index=0, apex_index=1, transform=((1, 0, 0.1), (0, 1, -0.7)),
        au=((0.0, 0.1), (1 / 3, 2e-7)),
    )  # fmt: skip
    return ClipRecord(index=index, entry=entry, columns=columns)


def test_records_come_back_exactly(tmp_path: Path) -> None:
    """Floats included: the columns are written from what the journal gives back."""
    journal = Journal(tmp_path)
    assert journal.read() is None
    journal.begin(HEADER, table_of(ClipRecord, [record(0)]))
    journal.append(record(1))
    journal.close()
    assert Journal(tmp_path).read() == (HEADER, (record(0), record(1)))


@given(cut=st.integers(min_value=1))
def test_a_torn_last_line_costs_only_its_clip(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Wherever a kill or a full disk cuts the file, the whole lines before the cut still count."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    journal.begin(HEADER, table_of(ClipRecord, [record(0)]))
    whole = (folder / JOURNAL_NAME).read_bytes()
    journal.append(record(1))
    journal.close()
    torn = (folder / JOURNAL_NAME).read_bytes()[:-1]
    (folder / JOURNAL_NAME).write_bytes(torn[: max(len(whole), len(torn) - cut)])
    assert Journal(folder).read() == (HEADER, (record(0),))


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    """What no kill can do is not repaired in silence."""
    journal = Journal(tmp_path)
    journal.begin(HEADER, table_of(ClipRecord, [record(0), record(1)]))
    journal.close()
    path = tmp_path / JOURNAL_NAME
    path.write_bytes(path.read_bytes().replace(b'"index":0', b'"index":x'))
    with pytest.raises(ManifestInvalidError, match=r"journal\.jsonl: damaged.*--overwrite"):
        Journal(tmp_path).read()
