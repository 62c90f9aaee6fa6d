"""`mer relabel`: the labels that a table gives, everything else as it was, and the change on record."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pipeline.inspect.verification import verify
from pipeline.preprocessing.finish import records_of
from pipeline.sharing.relabel import relabel
from schemas.manifest import MANIFEST_NAME
from schemas.store.reader import Store
from tests.command_line import mer
from tests.pipeline.datasets.real_shapes import workbook
from tests.tiny_stores import tiny_store

KEYS = [f"casme2/sub0{subject}/EP0{clip}" for subject in (1, 2) for clip in (1, 2)]
TABLE = """\
clip,emotion,action_units,objective_class
casme2/sub01/EP01,Sad,R1+15B,III
casme2/sub01/EP02,none,,
casme2/sub02/EP01,,none,
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Happiness, surprise, surprise and disgust, each with the action units 4+12."""
    return tiny_store(tmp_path_factory.mktemp("own") / "s.zarr", KEYS)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_a_table_changes_labels_and_nothing_else(store: Store, tmp_path: Path, suffix: str) -> None:
    """Manifest and column agree; blank cells change nothing; the record names what, from, to, and the table's hash."""
    table = tmp_path / f"labels{suffix}"
    table.write_text(TABLE)
    if suffix == ".xlsx":
        workbook(table, {"labels": [line.split(",") for line in TABLE.splitlines()]})
    done = mer("relabel", store.path, table, "-o", tmp_path / "new.zarr")
    assert done.code == 0, done.error
    assert "3 of 4 clips relabelled" in done.printed
    new = Store.open(tmp_path / "new.zarr")
    assert verify(new, deep=True) == []
    before = [entry.label.emotion for entry in store.manifest.clips]
    assert before == ["happiness", "surprise", "surprise", "disgust"]
    labels = [entry.label for entry in new.manifest.clips]
    assert [label.emotion for label in labels] == ["sadness", None, "surprise", "disgust"]
    assert new.column("emotion").tolist() == ["sadness", "", "surprise", "disgust"]
    assert [label.objective_class for label in labels] == [3, None, None, None]
    units = [[unit.number for unit in label.action_units.units] for label in labels if label.action_units]
    assert units == [[1, 15], [4, 12], [], [4, 12]]

    sha256 = hashlib.sha256(table.read_bytes()).hexdigest()
    records = [[f.message for f in entry.findings if f.kind == "relabelled"] for entry in new.manifest.clips]
    assert records[0] == [
        "emotion 'happiness' -> 'sadness', action_units '4+12' -> 'R1+15B', objective_class None -> 3, "
        f"by labels{suffix}, sha256 {sha256}"
    ]
    assert records[1] == [f"emotion 'surprise' -> None, by labels{suffix}, sha256 {sha256}"]
    assert records[2] == [f"action_units '4+12' -> 'none', by labels{suffix}, sha256 {sha256}"]
    assert new.manifest.clips[3] == store.manifest.clips[3]
    for mine, theirs in zip(store.manifest.clips, new.manifest.clips, strict=True):
        assert mine.objects == theirs.objects
    assert [record.columns for record in records_of(store)] == [record.columns for record in records_of(new)]
    assert "relabelled 3" in " ".join(mer("inspect", tmp_path / "new.zarr").printed.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,emotion\ncasme2/sub09/EP01,anger\n", "row 2: no clip 'casme2/sub09/EP01' in"),
        ("clip,emotion\nEP01,anger\n", "row 2: no clip 'EP01' in"),
        ("clip,emotion\ncasme2/sub01/EP01,bored\n", "row 2, casme2/sub01/EP01: emotion 'bored' is none of anger, "),
        ("clip,action_units\ncasme2/sub01/EP01,soft focus\n", "action units 'soft focus': not understood: soft focus"),
        ("clip,objective_class\ncasme2/sub01/EP01,many\n", "objective class 'many': expected a number"),
        ("clip,emotion\ncasme2/sub01/EP01,anger\ncasme2/sub01/EP01,fear\n", "row 3: casme2/sub01/EP01 has a row"),
        ("clip,emotion\ncasme2/sub01/EP01,happiness\n", "has all of these labels already"),
        ("clip,emotoin\ncasme2/sub01/EP01,anger\n", "some of emotion, action_units, objective_class, found"),
        ("clip\ncasme2/sub01/EP01\n", "some of emotion, action_units, objective_class, found no label"),
        ("name,emotion\ncasme2/sub01/EP01,anger\n", "expected one with the columns clip"),
        ("", "zero bytes"),
    ],
)
def test_a_table_that_is_wrong_changes_nothing(store: Store, tmp_path: Path, text: str, message: str) -> None:
    """One line that names the file, the row and what was expected."""
    (tmp_path / "labels.csv").write_text(text)
    done = mer("relabel", store.path, tmp_path / "labels.csv", "-o", tmp_path / "new.zarr")
    assert done.code == 2
    assert message in done.error
    assert "labels.csv" in done.error
    assert done.error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_a_word_that_the_store_has_as_an_emotion_is_one(store: Store, tmp_path: Path) -> None:
    """Tables of anybody's clips have classes in their own words; a word that is in none is a slip."""
    word = "boredom"
    entry = store.manifest.clips[0]
    label = entry.label.model_copy(update={"emotion": None, "raw_emotion": word})
    changed = store.manifest.model_copy(
        update={"clips": (entry.model_copy(update={"label": label}), *store.manifest.clips[1:])}
    )
    (tmp_path / "labels.csv").write_text(f"clip,emotion\n{KEYS[1]},{word}\n")
    manifest, count = relabel(Store(store.path, changed), tmp_path / "labels.csv", tmp_path / "new.zarr")
    assert count == 1
    assert manifest.clips[1].label.raw_emotion == word
    assert manifest.clips[1].label.emotion is None


@pytest.fixture
def edited(store: Store, tmp_path: Path) -> Path:
    """A copy in whose manifest two emotions were swapped by hand."""
    folder = Path(shutil.copytree(store.path, tmp_path / "edited.zarr"))
    text = (folder / MANIFEST_NAME).read_text()
    swapped = text.replace('"emotion":"happiness"', "X").replace('"emotion":"disgust"', '"emotion":"happiness"')
    (folder / MANIFEST_NAME).write_text(swapped.replace("X", '"emotion":"disgust"'))
    assert len(swapped) != len(text)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "train --store S --partial --workers 0 -o new",
        "pretrain --store S --workers 0 -o new",
        "compare --store S --partial --workers 0 -o new",
        "evaluate p.csv --store S --partial",
        "show S casme2/sub01/EP01 -o new.png",
        "diff S S",
        "merge S -o new.zarr",
        "subset S -o new.zarr --subjects sub01",
        "relabel S labels.csv -o new.zarr",
        "pack S new.zip",
        "push S new.zarr --yes",
        "pull S new.zarr",
        "cite S",
    ],
)
def test_labels_that_were_edited_by_hand_are_used_by_no_command(
    edited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Each names the file and `mer relabel`, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text("clip,fold,seed,a,b\n")
    (tmp_path / "labels.csv").write_text(TABLE)
    done = mer(*words.replace("S", str(edited)).split())
    assert done.code == 2
    assert f"{edited}/manifest.json: the manifest was edited" in done.error
    assert "`mer relabel`" in done.error
    assert {path.name for path in tmp_path.iterdir()} == {"edited.zarr", "p.csv", "labels.csv"}


def test_an_edited_store_can_be_looked_at_and_mended(store: Store, edited: Path, tmp_path: Path) -> None:
    """`inspect` and `verify` say that it was edited; a pull or a push of the whole store over it makes it whole."""
    inspected = mer("inspect", edited)
    assert inspected.code == 0
    assert "the manifest is not as it was written" in inspected.printed
    assert json.loads(mer("inspect", edited, "--json").printed)["edited"]
    assert not json.loads(mer("inspect", store.path, "--json").printed)["edited"]
    verified = mer("verify", edited)
    assert verified.code == 1
    assert "content_sha256 is" in verified.printed
    again = shutil.copytree(edited, tmp_path / "again.zarr")
    assert mer("pull", store.path, edited).code == 0
    assert mer("push", store.path, again).code == 0
    assert Store.open(edited).manifest == Store.open(again).manifest == store.manifest
