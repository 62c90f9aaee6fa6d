"""Datasets register themselves: ours by their modules, others by an entry point of their package."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.datasets import DATASETS, scan_dataset
from schemas.datasets import FACTS, people_of
from tests.other_packages import installed
from tests.pipeline.datasets.tiny_clips import save_sheets
from training.protocols.tasks import subject_of

ADAPTER = """
import re

from pipeline.datasets.sheet_adapter import SheetAdapter
from schemas.datasets import Counts, DatasetFacts


class Grins(SheetAdapter):
    facts = DatasetFacts(
        name="grins", title="Grins", fps=50, counts=Counts(clips=2, emotions={"happiness": 2}), sheets=("grins.xlsx",),
        terms="ask Ann", bibtex="@misc{grins}",
    )
    looks_for = "folders such as p1/grin01"
    clip = re.compile(r"(?P<subject>)(?P<name>grin.+)")
    subject = re.compile(r"p(\\d+)")
    columns = {
        "subject": ("Person",), "name": ("Clip",), "onset": ("Start",), "apex": ("Peak",), "offset": ("End",),
        "emotion": ("Feeling",),
    }
    example = "clip such as grin01"

    def identify(self, row):
        return (row["subject"], row["name"]) if row["name"].startswith("grin") else None


GRINS = Grins()
"""


@pytest.fixture(name="installed")
def installed_package(tmp_path: Path) -> Iterator[None]:
    """Another package with one adapter."""
    with installed(DATASETS, tmp_path / "site", "grins = grins_adapter:GRINS", ADAPTER):
        yield


@pytest.mark.usefixtures("installed")
def test_another_package_adds_a_dataset_in_one_file(tmp_path: Path) -> None:
    """It is found by its tree, read by its columns, and its terms go into the store.

    macOS takes the accents of names on disk apart, the sheet does not: they are the same name.
    """
    rows: list[list[object]] = [["Person", "Clip", "Start", "Peak", "End", "Feeling"]]
    rows += [["1", "grin01", 4, 6, 8, "happy"], ["2", "grin é", 3, 5, 5, "Happiness"]]
    root = tmp_path / "Grins"
    save_sheets(root / "grins.xlsx", rows)
    for name, numbers in (("p1/grin01", range(4, 9)), ("p2/grin é", range(1, 6))):
        folder = root / "images" / unicodedata.normalize("NFD", name)
        folder.mkdir(parents=True)
        for number in numbers:
            (folder / f"{number}.png").touch()
    _, scan = scan_dataset(root)
    assert scan.dataset == "grins"
    assert {c.key: (c.onset, c.apex, c.offset, c.fps, c.label.emotion, c.usable) for c in scan.clips} == {
        "grins/1/grin01": (4, 6, 8, 50, "happiness", True),
        "grins/2/grin é": (3, 5, 5, 50, "happiness", True),
    }
    assert scan.expected == {"clips": 2, "emotion:happiness": 2}
    assert [licence.terms for licence in scan.licences] == ["ask Ann"]


def test_every_adapter_is_registered_under_the_name_of_its_facts() -> None:
    """And the facts are those of the one table."""
    assert {name: DATASETS[name].facts for name in DATASETS.names()} == FACTS


def test_the_same_people_of_several_datasets_are_known_as_such() -> None:
    """SMIC's cameras filmed the same people, and its long clips show them too: one subject wherever they are mixed."""
    assert {people_of(name) for name in FACTS if name.startswith("smic")} == {"smic-hs"}
    assert subject_of("smic-nir-e/s3/s3_ne_01") == subject_of("smic-hs/s3/s3_po_02") == "smic-hs/s3"
    assert subject_of("casme2/sub01/EP02_01f") == "casme2/sub01"
    assert people_of("somebody-else") == "somebody-else"
