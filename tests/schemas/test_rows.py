"""Clips of a manifest as structs: the values and the seal that the contract gives, and nothing that it refuses."""

import json
import pickle
from pathlib import Path
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from schemas.clip import ExpressionInterval, Finding
from schemas.config import canonical_sha256
from schemas.errors import ManifestInvalidError
from schemas.labels import ActionUnit, ActionUnitCode, Label
from schemas.manifest import ClipEntry, Failure, Manifest, Quality, Source
from schemas.rows import Table, row_type
from schemas.store.location import StoreUrl
from schemas.store.manifest_file import parsed_manifest
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

DATA = Path(__file__).parents[1] / "data"
KEYS = ("casme2/sub01/EP01", "casme2/sub01/EP02", "casme2/sub02/EP01")
PLACE, STRANGER = Path("s.zarr"), StoreUrl("https://example.org/s.zarr")
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
entries = st.builds(
    ClipEntry,
    key=st.builds("{}/{}/{}".format, *3 * [st.text("aé0-", min_size=1, max_size=3)]),
    status=st.sampled_from(["ok", "failed"]),
    label=st.builds(
        Label,
        raw_emotion=st.none() | texts,
        emotion=st.sampled_from([None, "fear"]),
        action_units=st.none()
        | st.builds(ActionUnitCode, raw=texts, units=st.tuples(st.builds(ActionUnit, number=st.integers(0, 99)))),
    ),
    fps=numbers,
    onset=st.none() | st.integers(-(10**9), 10**9),
    apex=st.none(),
    offset=st.integers(0, 9),
    n_frames=st.integers(0, 10**6),
    source=st.none() | st.builds(Source, path=texts, files=st.just(1), bytes=st.just(2), sha256=texts),
    findings=st.just(()) | st.tuples(st.builds(Finding, kind=st.just("cut"), clip=texts, message=texts)),
    quality=st.none()
    | st.builds(
        Quality,
        detected_on=st.just("apex"),
        detection_probability=numbers,
        faces=st.just(1),
        padded=st.booleans(),
        inter_eye_px=numbers,
        residual_motion_px=numbers,
    ),
    failure=st.none() | st.builds(Failure, stage=st.just("face"), error=texts, message=texts),
    objects=st.just({}) | st.just({"texture": {"bytes": 1, "sha256": "0" * 64}}),
    times=st.lists(numbers, max_size=3).map(tuple),
    intervals=st.just(())
    | st.tuples(st.builds(ExpressionInterval, onset=st.just(1), apex=st.none(), offset=st.just(2))),
    metadata=st.dictionaries(texts, texts, max_size=2),
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_store(tmp_path_factory.mktemp("rows") / "s.zarr", KEYS, failed=KEYS[1:2]).manifest


def text_of(manifest: Manifest) -> bytes:
    return (manifest.model_dump_json(exclude_defaults=True) + "\n").encode()


@given(clips=st.lists(entries, max_size=3).map(tuple))
def test_what_is_read_is_what_was_written_with_the_seal_of_pythons_json(
    manifest: Manifest, clips: tuple[ClipEntry, ...]
) -> None:
    """Also for numbers that Python and msgspec write differently, as 5e-05 and 0.00005."""
    written = manifest.model_copy(update={"clips": clips, "content_sha256": ""})
    plain = json.loads(written.model_dump_json(exclude_defaults=True))
    written = written.model_copy(update={"content_sha256": canonical_sha256(plain)})
    read = parsed_manifest(PLACE, text_of(written))
    assert tuple(read.clips) == clips
    assert read == written
    assert read.model_dump_json() == written.model_dump_json()
    assert read.sealed() == written.sealed() == written


@pytest.mark.parametrize("place", [DATA / "format-1.zip", DATA / "format-1-shard-of-frame-axis.zip"])
def test_stores_of_every_version_are_read_the_fast_way(place: Path) -> None:
    """Else nobody would notice that no store is."""
    assert isinstance(Store.open(place).manifest.clips, Table)


def test_a_store_of_recordings_is_read_the_fast_way(manifest: Manifest) -> None:
    """With expressions whose label is none, which is a default that is a model."""
    interval = ExpressionInterval(onset=1, apex=None, offset=2)
    clips = (manifest.clips[0].model_copy(update={"intervals": (interval,)}), *manifest.clips[1:])
    written = manifest.model_copy(update={"clips": clips}).sealed()
    read = parsed_manifest(PLACE, text_of(written))
    assert isinstance(read.clips, Table)
    assert read == written


def test_a_table_behaves_as_the_tuple(manifest: Manifest) -> None:
    """Indices, slices, unpacking, equality, a journey to another process."""
    entries = parsed_manifest(PLACE, text_of(manifest)).clips
    first, *rest = entries
    assert (first, tuple(rest)) == (manifest.clips[0], manifest.clips[1:])
    assert (entries[-1], entries[:2], len(entries)) == (manifest.clips[-1], manifest.clips[:2], 3)
    assert entries == manifest.clips == pickle.loads(pickle.dumps(entries))
    assert entries != manifest.clips[:2]
    with pytest.raises(IndexError):
        entries[3]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"status":"ok"', '"status":"ok","colour":"red"'),
        ('"status":"ok"', '"status":"failed","status":"ok"'),
        ('"bytes":', '"mode":1,"bytes":'),
        ('"provenance":{', '"colour":"red","provenance":{'),
        ('"key":"casme2/sub01/EP01"', '"key":"casme2/EP01"'),
        ('"key":"casme2/sub01/EP01"', '"key":"casme2/sub01/../EP01"'),
        ('"n_frames":3', '"n_frames":-3'),
        ('"n_frames":3', '"n_frames":3.5'),
        ('"fps":200.0', '"fps":1e999'),
        ('"fps":200.0', '"fps":"fast"'),
        ('"status":"ok"', '"status":"fine"'),
        ('"findings":[', '"made_by":7,"findings":['),
        ('"emotion":"', '"emotion":"joy"}},{"emotion":"'),
        ('"raw_emotion":"', '"raw_emotion":"\\ud800'),
    ],
)
def test_what_the_contract_refuses_is_refused_whatever_its_seal_says(manifest: Manifest, old: str, new: str) -> None:
    """The seal is that of the content with the change, and that of the content without it."""
    text = text_of(manifest).decode()
    assert old in text
    changed = text.replace(old, new, 1)
    seals = [manifest.content_sha256]
    try:
        content = json.loads(changed)
        content.pop("content_sha256")
        seals.append(canonical_sha256(content))
    except ValueError:  # what is no JSON, or no UTF-8, has no hash
        pass
    for seal in seals:
        with pytest.raises(ManifestInvalidError):
            parsed_manifest(STRANGER, changed.replace(manifest.content_sha256, seal).encode())


def test_the_validators_of_a_model_are_run_on_its_rows() -> None:
    """Types and bounds are not all of a contract."""
    read = msgspec.json.Decoder(row_type(ExpressionInterval)).decode
    assert read(b'{"onset":3,"offset":5}').offset == 5
    with pytest.raises(msgspec.ValidationError, match="offset 2 before onset 3"):
        read(b'{"onset":3,"offset":2}')


def test_a_constraint_that_rows_cannot_check_is_refused() -> None:
    """Before anything is read with less than the contract."""

    class Even(BaseModel):
        number: Annotated[int, Field(multiple_of=2)]

    class Holder(BaseModel):
        even: Even

    with pytest.raises(TypeError, match="MultipleOf"):
        row_type(Holder)
