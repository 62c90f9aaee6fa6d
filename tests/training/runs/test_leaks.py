"""What pre-training has seen is followed whole; people and clips that it may have seen are never under test."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.config import canonical_sha256
from schemas.errors import ProtocolError
from schemas.manifest import MANIFEST_NAME
from schemas.store.reader import Store
from tests.training.small_stores import MODEL, PROTOCOL, small_store
from training.fit.folder import Run
from training.protocols.protocol import Protocol, find_protocol
from training.protocols.splits import CrossDataset, Holdout, Loso, make_folds
from training.protocols.tasks import DatasetRule, LabelledClip, Task
from training.runs.plan import PlannedRun, plan_self_supervised_pretraining, plan_training
from training.runs.recipes import resolve

CONFIG = resolve("paper", {"counts": "any", "size": 32, "frames": 8, "model_options": MODEL})


def renamed(store: Store, path: Path, rename: Callable[[str], str], **fields: Any) -> Store:
    """A copy of a store under other names, its pixels untouched."""
    shutil.copytree(store.path, path)
    clips = tuple(entry.model_copy(update={"key": rename(entry.key)}) for entry in store.manifest.clips)
    edited = store.manifest.model_copy(update={"clips": clips, **fields}).sealed()
    (path / MANIFEST_NAME).write_text(edited.model_dump_json(exclude_defaults=True))
    return Store.open(path)


def as_dataset(name: str) -> Callable[[str], str]:
    return lambda key: "/".join([name, *key.split("/")[1:]])


def two_classes(*datasets: str, split: Any = None) -> Protocol:
    """Happiness and surprise of some datasets."""
    classes = {"happiness": "happy", "surprise": "surprised"}
    rules = tuple(
        DatasetRule(dataset=name, classes=classes, expected={"happy": 6, "surprised": 6}, expected_subjects=3)
        for name in datasets
    )
    task = Task(name="two", title="two classes", classes=("happy", "surprised"), datasets=rules)
    return Protocol(task=task, split=split or Loso())


def trained_on(store: Store, protocol: Protocol, before: Run | None = None) -> PlannedRun:
    return plan_training([store], CONFIG, "cpu", protocol=protocol, pretraining=before)


def taught_by(store: Store) -> Run:
    return plan_self_supervised_pretraining([store], CONFIG, "cpu").run


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("leaks") / "casme2.zarr")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Another dataset, other people, other pixels."""
    return small_store(tmp_path_factory.mktemp("leaks") / "samm.zarr", dataset="samm")


def test_a_chain_of_pretraining_is_followed_whole(casme2: Store, other: Store) -> None:
    """Pre-trained on the people under test, then trained on others, then on the first again."""
    first = taught_by(casme2)
    between = trained_on(other, two_classes("samm", split=Holdout(test_fraction=0.34)), first).run
    again = Run.model_validate_json(between.model_dump_json())
    assert [step.run_sha256 for step in again.seen(again.folds)] == [first.sha256, between.sha256]
    with pytest.raises(
        ProtocolError, match=r"seen 3 of the people who are under test \(in an earlier training, on casme2.zarr\)"
    ):
        trained_on(casme2, two_classes("casme2"), again)


def test_who_chose_the_epoch_was_seen_too(tmp_path: Path) -> None:
    """Held-back people of a holdout run are none of its training clips, and its test people were only scored."""
    config = CONFIG.model_copy(update={"validation": 0.5})
    protocol, four = (
        two_classes("casme2", split=Holdout(test_fraction=0.25)),
        small_store(tmp_path / "4.zarr", subjects=4),
    )
    run = plan_training([four], config, "cpu", protocol=protocol).run
    (fold,) = run.folds
    assert fold.validation
    held_back, tested = fold.validation[0].rsplit("/", 1)[0], fold.test[0].rsplit("/", 1)[0]
    people = run.seen(run.folds)[0].people
    assert held_back in people
    assert tested not in people


@pytest.mark.parametrize("camera", ["smic-vis", "smic-nir", "smic-hs-e", "smic-vis-e"])
def test_the_cameras_of_smic_show_the_same_people(casme2: Store, tmp_path: Path, camera: str) -> None:
    """Under the same ids, with other pixels."""
    mine = renamed(casme2, tmp_path / "hs.zarr", as_dataset("smic-hs"))
    theirs = small_store(tmp_path / "theirs.zarr", dataset=camera)
    with pytest.raises(ProtocolError, match="seen 3 of the people who are under test, among them smic-hs/sub01"):
        trained_on(mine, two_classes("smic-hs"), taught_by(theirs))


def test_two_cameras_in_one_task_share_their_folds(tmp_path: Path) -> None:
    """A person is on one side, in either camera; and one camera cannot test what the other taught."""
    clips = [
        LabelledClip(f"{dataset}/s{subject}/clip{label}", label)
        for dataset in ("smic-hs", "smic-vis") for subject in (1, 2, 3) for label in (0, 1)
    ]  # fmt: skip
    folds = make_folds(Loso(), clips)
    assert [fold.name for fold in folds] == ["smic-hs/s1", "smic-hs/s2", "smic-hs/s3"]
    for fold in folds:
        subject = fold.name.split("/")[1]
        assert {key.split("/")[0] for key in fold.test} == {"smic-hs", "smic-vis"}
        assert {key.split("/")[1] for key in fold.test} == {subject}
        assert subject not in {key.split("/")[1] for key in fold.train}
    with pytest.raises(ProtocolError, match="smic-hs/s1 is in smic-hs and in smic-vis, and would teach"):
        make_folds(CrossDataset(), clips)


def test_the_same_pixels_are_known_under_any_name(casme2: Store, tmp_path: Path) -> None:
    """A copy with other names for dataset, people and clips."""

    def anonymous(key: str) -> str:
        _, subject, clip = key.split("/")
        return f"x/p{subject[-1]}/{clip[::-1]}"

    secret = renamed(casme2, tmp_path / "anonymous.zarr", anonymous, pseudonyms="abc")
    what = r"seen the clip casme2/sub0\d/.*, there called x/.*: the pixels are the same"
    with pytest.raises(ProtocolError, match=what):
        trained_on(casme2, two_classes("casme2"), taught_by(secret))


def test_one_clip_under_the_names_of_two_people_is_refused(casme2: Store, tmp_path: Path) -> None:
    """In two stores of one task: whoever is tested was also taught."""
    copy = renamed(casme2, tmp_path / "copy.zarr", as_dataset("samm"))
    with pytest.raises(ProtocolError, match=r"casme2/sub01/happiness0 and samm/sub01/happiness0 are the same clip"):
        plan_training([casme2, copy], CONFIG, "cpu", protocol=two_classes("casme2", "samm"))


def test_what_cannot_be_known_is_said(casme2: Store, other: Store, tmp_path: Path) -> None:
    """Pseudonyms, and runs of earlier versions; a pre-training of which all is known needs no word."""
    protocol = two_classes("casme2")
    assert trained_on(casme2, protocol, taught_by(other)).caveats == ()
    hidden = renamed(other, tmp_path / "hidden.zarr", as_dataset("samm"), pseudonyms="abc")
    (caveat,) = trained_on(casme2, protocol, taught_by(hidden)).caveats
    assert "Subjects have pseudonyms" in caveat
    old = taught_by(other)
    config = old.config.model_copy(update={"pretrained": "0" * 64})
    old = old.model_copy(update={"config": config, "pixels": {}})
    caveats = trained_on(casme2, protocol, old).caveats
    assert (
        "Pre-training itself started from another run, of which nothing is recorded: whom that saw is unknown."
        in caveats
    )
    assert any("could not be compared" in caveat for caveat in caveats)


def test_a_run_of_an_earlier_version_keeps_its_hash(casme2: Store) -> None:
    """Runs name what they started from by it."""
    run = trained_on(casme2, find_protocol_of(casme2)).run
    fields = run.model_dump(mode="json")
    for name in ("history", "pixels", "sources", "pseudonyms", "git"):
        del fields[name]
    for store in fields["stores"]:
        del store["synthetic"]
    assert canonical_sha256(fields) == run.sha256


def find_protocol_of(store: Store) -> Protocol:
    path = store.path.with_name("two.toml")
    path.write_text(PROTOCOL)
    return find_protocol(str(path))
