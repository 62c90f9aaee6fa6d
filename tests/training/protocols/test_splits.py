"""Splits: whatever the population, no subject on two sides, every clip tested once, equal seeds equal folds."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.errors import ProtocolError
from tests.training.labelled_manifests import casme2, samm, smic
from training.protocols.catalogue import TASKS
from training.protocols.splits import CrossDataset, Fold, Holdout, KFold, Loso, Lovo, Predefined, Split, make_folds
from training.protocols.tasks import LabelledClip, select_clips, subject_of

EXHAUSTIVE = [Loso(), Lovo(), KFold(folds=3), CrossDataset()]
DISJOINT = [Loso(), KFold(folds=3), KFold(folds=3, seed=5), CrossDataset()]


@st.composite
def populations(draw: st.DrawFn) -> list[LabelledClip]:
    """Two datasets with the same subject names, 6 to 14 subjects of 1 to 6 clips, three classes."""
    sizes = draw(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=6, max_size=14))
    clips = []
    for number, labels in enumerate(sizes):
        subject = f"{'ab'[number % 2]}/{number // 2}"
        clips += [LabelledClip(f"{subject}/clip{i}", label) for i, label in enumerate(labels)]
    return clips


def megc2019() -> tuple[LabelledClip, ...]:
    return select_clips(TASKS["megc2019"], [casme2(), samm(), smic()]).clips


def folds_or_none(split: Split, clips: list[LabelledClip], **options: float) -> tuple[Fold, ...]:
    """Folds; populations that are too small for them are none."""
    try:
        return make_folds(split, clips, **options)
    except ProtocolError:
        assume(False)
        raise


def subjects(keys: tuple[str, ...]) -> set[str]:
    return {subject_of(key) for key in keys}


@pytest.mark.parametrize("split", EXHAUSTIVE, ids=lambda split: split.kind)
@given(clips=populations())
@settings(max_examples=25)
def test_each_clip_is_tested_once_and_nothing_is_lost(split: Split, clips: list[LabelledClip]) -> None:
    """The test parts partition the clips; the parts of each fold partition them too."""
    folds = folds_or_none(split, clips)
    keys = sorted(clip.key for clip in clips)
    assert sorted(key for fold in folds for key in fold.test) == keys
    assert all(sorted(fold.train + fold.test) == keys and fold.validation is None for fold in folds)


@pytest.mark.parametrize("split", [*DISJOINT, Holdout(test_fraction=0.3)], ids=lambda split: split.kind)
@pytest.mark.parametrize("validation", [None, 0.34])
@given(clips=populations())
@settings(max_examples=25)
def test_no_subject_is_in_two_parts(split: Split, validation: float | None, clips: list[LabelledClip]) -> None:
    """Training, validation and test share no subject, and together hold every clip."""
    for fold in folds_or_none(split, clips, validation=validation):
        parts = [fold.train, fold.validation or (), fold.test]
        assert sorted(key for part in parts for key in part) == sorted(clip.key for clip in clips)
        everyone = [subject for part in parts for subject in subjects(part)]
        assert len(everyone) == len(set(everyone))
        assert fold.train
        assert fold.test
        assert (fold.validation is None) == (validation is None)


@given(clips=populations(), seed=st.integers(0, 3), data=st.data())
@settings(max_examples=25)
def test_equal_seeds_give_equal_folds(clips: list[LabelledClip], seed: int, data: st.DataObject) -> None:
    """Folds depend on the clips, not on their order, nor on anything that happened before."""
    split = KFold(folds=3, seed=seed)
    shuffled = data.draw(st.permutations(clips))
    one = folds_or_none(split, clips, validation=0.5, seed=seed)
    assert one == make_folds(split, shuffled, validation=0.5, seed=seed)


@given(clips=populations())
@settings(max_examples=15)
def test_validation_of_lovo_is_disjoint_from_what_is_trained(clips: list[LabelledClip]) -> None:
    """The inner split is by subject under any outer split."""
    for fold in folds_or_none(Lovo(), clips[:10], validation=0.5):
        assert not subjects(fold.train) & subjects(fold.validation or ())
        assert len(fold.test) == 1


def test_loso_of_megc2019() -> None:
    """68 folds, named after the subject that each tests."""
    folds = make_folds(Loso(), megc2019(), validation=0.2)
    assert len(folds) == 68
    assert all(subjects(fold.test) == {fold.name} for fold in folds)


def test_validation_leaves_the_test_parts_alone() -> None:
    """Holding clips back, with any seed, changes only what is trained on; another seed holds back others."""
    clips = megc2019()
    plain = make_folds(KFold(), clips)
    one, other = (make_folds(KFold(), clips, validation=0.2, seed=seed) for seed in (0, 1))
    assert [f.test for f in plain] == [f.test for f in one] == [f.test for f in other]
    assert [f.validation for f in one] != [f.validation for f in other]
    share = len(one[0].validation or ()) / len(plain[0].train)
    assert share == pytest.approx(0.2, abs=0.08)


def test_kfold_is_stratified_and_seeded() -> None:
    """Folds have about the classes' shares of the whole, and another seed gives other folds."""
    clips = megc2019()
    label = {clip.key: clip.label for clip in clips}
    folds = make_folds(KFold(folds=5), clips)
    for fold in folds:
        shares = [sum(label[key] == c for key in fold.test) / len(fold.test) for c in range(3)]
        assert shares == pytest.approx([250 / 442, 109 / 442, 83 / 442], abs=0.12)
    assert [f.test for f in folds] != [f.test for f in make_folds(KFold(folds=5, seed=1), clips)]


def test_holdout_keeps_every_class_on_both_sides() -> None:
    """Also where one class is rare, and about a fifth of the subjects is tested."""
    (fold,) = make_folds(Holdout(), megc2019())
    label = {clip.key: clip.label for clip in megc2019()}
    assert {label[key] for key in fold.train} == {label[key] for key in fold.test} == {0, 1, 2}
    assert len(subjects(fold.test)) == pytest.approx(68 / 5, abs=1)


def test_cross_dataset_tests_each_dataset_by_the_others() -> None:
    """One fold a dataset."""
    folds = make_folds(CrossDataset(), megc2019())
    assert [fold.name for fold in folds] == ["casme2", "samm", "smic-hs"]
    assert [{key.split("/")[0] for key in fold.test} for fold in folds] == [{"casme2"}, {"samm"}, {"smic-hs"}]


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        (CrossDataset(), {}, "cross-dataset needs two datasets or more; found a"),
        (KFold(folds=9), {}, "9-fold cross-validation needs 9 subjects .* found 4 subjects"),
        (Loso(), {"validation": 0.2}, "needs 5 subjects .* found 3 subjects"),
        (Loso(), {"validation": 0.9}, "expected more than 0 and at most 0.5"),
        (Holdout(), {}, "none of 200 draws of 20% of 4 subjects leaves every class on both sides"),
    ],
)
def test_too_few_subjects(split: Split, options: dict[str, float], message: str) -> None:
    """What cannot be split says how many it needs and found."""
    clips = [LabelledClip(f"a/{subject}/{clip}", label=subject % 2) for subject in range(4) for clip in range(3)]
    with pytest.raises(ProtocolError, match=message):
        make_folds(split, clips, **options)


def test_one_subject_cannot_be_left_out() -> None:
    """LOSO of one person has nothing to train on."""
    with pytest.raises(ProtocolError, match="loso needs two subjects or more; found a/1"):
        make_folds(Loso(), [LabelledClip("a/1/x", 0), LabelledClip("a/1/y", 1)])


def in_parts(*rows: str) -> list[LabelledClip]:
    """Rows such as ``ann/smile1 train``."""
    words = [row.split() for row in rows]
    return [LabelledClip(f"clips/{key}", number % 2, *part) for number, (key, *part) in enumerate(words)]


@pytest.mark.parametrize("validation", [None, 0.3])
def test_predefined_parts_are_those_of_the_table(validation: float | None) -> None:
    """Whoever wrote them in which way, and whatever share is held back elsewhere."""
    clips = in_parts("ann/a Train", "bob/b test", "cid/c val", "ann/d training", "dan/e TEST", "eve/f dev")
    assert make_folds(Predefined(), clips, validation=validation) == (
        Fold(
            name="test",
            train=("clips/ann/a", "clips/ann/d"),
            validation=("clips/cid/c", "clips/eve/f"),
            test=("clips/bob/b", "clips/dan/e"),
        ),
    )


def test_without_a_predefined_validation_part_one_is_taken_from_the_training_part() -> None:
    """By whole subjects, as of every other split."""
    clips = in_parts("a/1 train", "a/2 train", "b/1 train", "b/2 train", "c/1 test", "c/2 test")
    (fold,) = make_folds(Predefined(), clips, validation=0.5)
    assert fold.test == ("clips/c/1", "clips/c/2")
    assert {fold.train, fold.validation} == {("clips/a/1", "clips/a/2"), ("clips/b/1", "clips/b/2")}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("ann/a train", "ann/b test"), "clips/ann is in two parts: clips/ann/a in train, clips/ann/b in test"),
        (("ann/a train", "bob/b"), "clips/bob/b: has no split; expected train, val or test in the column split"),
        (("ann/a train", "bob/b 2"), "clips/bob/b: split '2'; expected train, val or test"),
        (("ann/a train", "bob/b val"), "no clip is in the part test"),
    ],
)
def test_predefined_parts_that_are_no_split_by_subject(rows: tuple[str, ...], message: str) -> None:
    """Are refused, with the clip."""
    with pytest.raises(ProtocolError, match=message):
        make_folds(Predefined(), in_parts(*rows))
