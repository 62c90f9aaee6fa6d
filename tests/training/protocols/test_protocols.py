"""Protocols by name, from a file, and by what predictions hold."""

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.labelled_manifests import CASME2_2019, casme2, samm, smic
from training.protocols.catalogue import TASKS
from training.protocols.protocol import Protocol, choose_protocol, find_protocol, infer_protocol, protocol_names
from training.protocols.splits import KFold

FILE = """
[task]
name = "mine"
title = "two classes"
classes = ["good", "bad"]
[[task.datasets]]
dataset = "smic-hs"
classes = {positive = "good", negative = "bad"}
expected = {good = 51, bad = 70}
expected_subjects = 16
[split]
kind = "holdout"
test_fraction = 0.25
"""


def test_every_listed_name_is_found() -> None:
    """Listed names are names, and each stands for another protocol."""
    found = [find_protocol(name) for name in protocol_names()]
    assert [protocol.name for protocol in found] == list(protocol_names())
    assert len({protocol.sha256 for protocol in found}) == len(found)


def test_a_task_alone_means_leave_one_subject_out() -> None:
    """And k-fold takes its number of folds from its name."""
    assert find_protocol("megc2019") == find_protocol("megc2019/loso")
    assert find_protocol("samm-5/kfold-10").split == KFold(folds=10)


def test_a_split_alone_is_of_the_stores_own_task() -> None:
    """And without any name the stores' own protocol is taken, split by subject."""
    assert choose_protocol(None, [smic()]) == choose_protocol("loso", [smic()]) == find_protocol("smic-3/loso")
    assert choose_protocol("kfold-4", [smic()]) == find_protocol("smic-3/kfold-4")
    assert choose_protocol("samm-5", [smic()]) == find_protocol("samm-5/loso")
    with pytest.raises(ConfigError, match="no split 'kfold-x'"):
        choose_protocol("kfold-x", [smic()])


def test_the_hash_is_of_all_that_matters() -> None:
    """Another seed of the folds or version of the task is another protocol; the same survives JSON."""
    one = find_protocol("samm-5/kfold")
    assert one.sha256 != Protocol(task=one.task, split=KFold(seed=1)).sha256
    assert one.sha256 != Protocol(task=one.task.model_copy(update={"version": 2}), split=one.split).sha256
    assert one.sha256 == Protocol.model_validate_json(one.model_dump_json()).sha256


def test_names_are_forgiven() -> None:
    """Case and punctuation do not matter, neither of the task nor of the split."""
    for name in ("CASME2-5/LOSO", "casme2_5/loso", "CASME2 5"):
        assert find_protocol(name).name == "casme2-5/loso"
    assert find_protocol("samm-5/KFold-10").name == find_protocol("samm-5/kfold-10").name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("casme2-6", "no protocol 'casme2-6'; did you mean casme2-5"),
        ("quite another", "known: megc2019, smic-3"),
        ("samm-5/los", "no split 'los'; did you mean loso"),
        ("samm-5/kfold-1", "no split 'kfold-1'"),
        ("samm-5/kfold-x", "kfold may carry its number of folds"),
        ("gone.toml", "gone.toml: no such protocol file"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    """A wrong name is answered with the near or the known ones."""
    with pytest.raises(ConfigError, match=message):
        find_protocol(name)


def test_protocol_from_a_file(tmp_path: Path) -> None:
    """Anybody's own task, with its counts."""
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    protocol = find_protocol(str(path))
    assert protocol.name == "mine/holdout"
    assert protocol.task.classes == ("good", "bad")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "holdout"', 'kind = "random"', "mine.toml: not a protocol: split: .*'random'"),
        ("expected_subjects = 16", "", "task.datasets.0.expected_subjects: Field required"),
        ("bad = 70", "", "must cover each of good, bad"),
        ("[task]", "[task", "mine.toml: not TOML"),
        ("test_fraction = 0.25", "fraction = 0.25", "fraction: Extra inputs"),
    ],
)
def test_broken_protocol_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    """A file that is no protocol names the field."""
    path = tmp_path / "mine.toml"
    path.write_text(FILE.replace(old, new).replace("51, }", "51}"))
    with pytest.raises(ConfigError, match=message):
        find_protocol(str(path))


def test_inference_from_classes_and_stores() -> None:
    """The one task with these classes and datasets; published counts tell the two of CASME II apart."""
    three = ("surprise", "negative", "positive")
    assert infer_protocol(three, [casme2(), samm(), smic()]) == find_protocol("megc2019")
    assert infer_protocol(three, [smic()]) == find_protocol("smic-3")
    five = TASKS["casme2-5"].classes
    assert infer_protocol(five, [casme2()]).task.name == "casme2-5"
    assert infer_protocol(five, [casme2(counts=CASME2_2019)]).task.name == "casme2-5-2019"


def test_inference_does_not_guess() -> None:
    """None or several fitting tasks are named in the error."""
    with pytest.raises(ConfigError, match="fitting protocols: none; name one with --protocol"):
        infer_protocol(("a", "b"), [smic()])
    partial = casme2()
    partial = partial.model_copy(update={"clips": partial.clips[:200]})
    with pytest.raises(ConfigError, match="fitting protocols: casme2-5, casme2-5-2019"):
        infer_protocol(TASKS["casme2-5"].classes, [partial])
