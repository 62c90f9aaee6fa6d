"""`mer diff` and `mer cite`: what a store is, and what it is not."""

import re
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.clip.backends.depth_anything import BIBTEX
from pipeline.sharing.cite import cite
from pipeline.sharing.diff import diff
from pipeline.sharing.merge import merge
from pipeline.sharing.selection import Selection
from pipeline.sharing.subset import subset
from schemas.datasets import FACTS, licences
from schemas.errors import StoreDamagedError
from schemas.manifest import Manifest
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

KEYS = ("casme2/sub01/EP01", "casme2/sub02/EP01", "casme2/sub02/EP02")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three clips of two people."""
    return tiny_store(tmp_path_factory.mktemp("diff") / "s.zarr", KEYS)


def found(mine: Store, theirs: Store) -> dict[tuple[str, str], tuple[object, object]]:
    return {(d.kind, d.name): (d.mine, d.theirs) for d in diff(mine, theirs)}


def edited(store: Store, **fields: object) -> Store:
    return Store(store.path, store.manifest.model_copy(update=fields).sealed())


def test_equal_stores_do_not_differ(store: Store, tmp_path: Path) -> None:
    """Wherever they lie."""
    assert diff(store, tiny_store(tmp_path / "other.zarr", KEYS)) == []


def test_config_versions_and_clips(store: Store, tmp_path: Path) -> None:
    """Field by field; a clip that only one has is named once."""
    other = tiny_store(tmp_path / "o.zarr", KEYS[:2], packages={"zarr": "4"}, apex="middle", change={KEYS[1]: 3})
    differences = found(store, other)
    assert differences[("config", "apex")] == ("motion", "middle")
    assert differences[("version", "packages.zarr")] == ("3", "4")
    assert differences[("clip", KEYS[2])] == ("ok", "absent")
    assert {kind for kind, name in differences if name.startswith(KEYS[1])} == {"array", "column"}
    assert differences[("array", f"{KEYS[1]}: texture")][0] == store.manifest.clips[1].objects["texture"]["sha256"]
    assert not any(name.startswith(KEYS[0]) for _, name in differences)


def test_labels(store: Store) -> None:
    """A corrected label is one difference."""
    first, *rest = store.manifest.clips
    label = first.label.model_copy(update={"emotion": "sadness"})
    other = edited(store, clips=(first.model_copy(update={"label": label}), *rest))
    assert found(store, other) == {("label", f"{KEYS[0]}: emotion"): (first.label.emotion, "sadness")}


def test_what_was_left_out(store: Store, tmp_path: Path) -> None:
    """Both that it was, and which bytes."""
    subset(store, tmp_path / "o.zarr", without=["depth"])
    differences = found(store, Store.open(tmp_path / "o.zarr"))
    assert differences[("store", "left_out")] == ([], ["depth"])
    assert differences[("array", f"{KEYS[0]}: depth")][1] == "absent"


def test_no_two_manifests_of_other_content_pass_for_equal(store: Store) -> None:
    """Whatever field it is in."""
    for field in set(Manifest.model_fields) - {"format", "format_version", "content_sha256"}:
        value = {
            "provenance": store.manifest.provenance.model_copy(update={"layout": "other"}),
            "action_units": store.manifest.action_units.model_copy(update={"version": "1"}),
            "clips": store.manifest.clips[:2],
            "objects": dict(list(store.manifest.objects.items())[1:]),
            "further_provenances": (store.manifest.provenance,),
            "config_sha256": "0",
            "pseudonyms": "0",
            "left_out": ("depth",),
            "synthetic": True,
        }.get(field, None if field == "depth" else ())
        with suppress(StoreDamagedError):  # of arrays that contradict the manifest
            assert diff(store, edited(store, **{field: value})), field


def test_the_citation_names_store_datasets_and_tools(store: Store, tmp_path: Path) -> None:
    """The content id first; each paper once; Depth Anything only where it was used."""
    other = tiny_store(tmp_path / "smic.zarr", ["smic-hs/s01/s1_ne_01", "smic-vis/s01/s1_ne_01"])
    merge([store, other], tmp_path / "both.zarr")
    both = Store.open(tmp_path / "both.zarr")
    text = cite(both)
    assert text.startswith(f"% mer store, format 1, content sha256:{both.manifest.content_sha256}\n")
    assert "% 5 clips of 4 subjects: casme2, smic-hs, smic-vis\n" in text
    assert "% casme2: for research, under the agreement signed" in text
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)
    assert keys == ["yan2014casme2", "li2013smic", "cheong2023pyfeat", "kong2025madvnet", "mer"]
    assert text.count("{") == text.count("}")
    assert store.manifest.depth is not None
    deep = store.manifest.depth.model_copy(update={"tool": "depth-anything-v2-small"})
    assert BIBTEX in cite(edited(store, depth=deep))


def test_mer_is_cited_in_the_versions_that_made_the_clips(store: Store) -> None:
    """Not in the one that prints the citation; a store that says nothing has no version."""
    first = store.manifest.provenance
    one, other = (first.model_copy(update={"packages": {"madv-mer": name}}) for name in ("7.1.0", "6.0.2"))
    assert "Software, version 6.0.2, 7.1.0}" in cite(edited(store, provenance=one, further_provenances=(other,)))
    assert "Software}" in cite(edited(store, provenance=first.model_copy(update={"packages": {}})))


@pytest.mark.parametrize("name", ["samm", "casme2", "casme-sq", "smic-hs", "smic-vis", "smic-nir", "smic-hs-e"])
def test_every_published_dataset_has_terms_and_a_reference(name: str) -> None:
    """BibTeX with balanced braces and the fields that a reader needs; one's own videos have neither."""
    dataset = FACTS[name]
    assert dataset.bibtex.count("{") == dataset.bibtex.count("}")
    for field in ("author", "title", "year", "doi"):
        assert re.search(rf"^  {field} +=", dataset.bibtex, re.MULTILINE), field
    assert [licence.dataset for licence in licences([name, "video"])] == [name]


def test_a_part_names_only_its_own_datasets(store: Store, tmp_path: Path) -> None:
    """Terms go with the clips."""
    other = tiny_store(tmp_path / "samm.zarr", ["samm/006/006_1"])
    merge([store, other], tmp_path / "both.zarr")
    subset(Store.open(tmp_path / "both.zarr"), tmp_path / "s.zarr", selection=Selection.parse(where="dataset=samm"))
    assert [licence.dataset for licence in Store.open(tmp_path / "s.zarr").manifest.licences] == ["samm"]
