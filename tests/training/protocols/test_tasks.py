"""Tasks: the published clips and no others, and nothing left out without a word."""

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import ConfigError, ProtocolError
from schemas.labels import Emotion, Label
from schemas.manifest import Manifest
from tests.tiny_stores import tiny_store
from tests.training.labelled_manifests import CASME2_2019, casme2, casme_sq, make_entry, make_manifest, mmew, samm, smic
from training.protocols.catalogue import TASKS
from training.protocols.tasks import DatasetRule, Task, select_clips

PUBLISHED = {  # clips and subjects as the literature counts them
    "megc2019": (442, 68),
    "smic-3": (164, 16),
    "casme2-5": (246, 26),
    "casme2-5-2019": (249, 26),
    "casme-sq-7": (357, 22),
    "casme-sq-micro-4": (57, 14),
    "samm-8": (159, 29),
    "samm-5": (136, 27),
    "samm-objective-7": (159, 29),
    "mmew-7": (300, None),
    "mmew-4": (263, None),
    "mmew-3": (234, None),
    "casme3-7": (860, 94),  # of which nobody has published how many a class
    "casme3-4": (860, 94),
    "casme3-3": (None, None),
    "dfme-7": (1856, None),
}


def manifests_of(task: Task) -> list[Manifest]:
    """Stores with the published counts."""
    counts = {"counts": CASME2_2019} if task.name == "casme2-5-2019" else {}
    makers = {
        "casme2": lambda: casme2(**counts),
        "samm": samm,
        "smic-hs": smic,
        "casme-sq": casme_sq,
        "mmew": mmew,
        "casme3": lambda: anybody("casme3", 860, 94, "others"),
        "dfme": lambda: anybody("dfme", 1856, 400, "contempt"),
    }
    return [makers[name]() for name in task.dataset_names]


def anybody(dataset: str, clips: int, people: int, seventh: Emotion) -> Manifest:
    """A dataset of seven emotions, as many of each."""
    words: list[Emotion] = ["happiness", "disgust", "fear", "anger", "sadness", "surprise", seventh]
    entries = [make_entry(f"{dataset}/s{i % people}/{i}", Label(emotion=words[i % 7])) for i in range(clips)]
    return make_manifest(dataset, entries)


def without(manifest: Manifest, *keys: str) -> Manifest:
    return manifest.model_copy(update={"clips": tuple(e for e in manifest.clips if e.key not in keys)})


@pytest.mark.parametrize("name", TASKS)
def test_published_data_gives_published_counts(name: str) -> None:
    """Every shipped task finds its clips in data of the published shape, and says so."""
    selection = select_clips(TASKS[name], manifests_of(TASKS[name]))
    clips, subjects = PUBLISHED[name]
    assert clips in (None, len(selection.clips))
    assert subjects in (None, len({clip.subject for clip in selection.clips}))
    assert not selection.differences
    assert not selection.failed


def test_classes_of_casme3() -> None:
    """Anger, disgust, fear and sadness are negative; the third choice leaves others out."""
    manifest = anybody("casme3", 861, 94, "others")
    for name, expected in (
        ("casme3-4", {"negative": 492, "positive": 123, "surprise": 123, "others": 123}),
        ("casme3-3", {"negative": 492, "positive": 123, "surprise": 123}),
    ):
        found = Counter(TASKS[name].classes[clip.label] for clip in select_clips(TASKS[name], [manifest]).clips)
        assert found == expected


def test_megc2019_merges_and_excludes_as_published() -> None:
    """250 negative, 109 positive, 83 surprise; the two clips that are left out by name are accounted for."""
    selection = select_clips(TASKS["megc2019"], [casme2(), samm(), smic()])
    found = Counter(TASKS["megc2019"].classes[clip.label] for clip in selection.clips)
    assert found == {"negative": 250, "positive": 109, "surprise": 83}
    assert selection.left_out == {
        "casme2: emotion fear": 2,
        "casme2: emotion others": 99,
        "casme2: emotion sadness": 7,
        "casme2: excluded by name": 2,
        "samm: emotion others": 26,
    }
    assert not {"casme2/sub04/EP12_01f", "casme2/sub05/EP09_05f"} & {clip.key for clip in selection.clips}


def test_macro_expressions_and_self_reports() -> None:
    """CAS(ME)^2 by self-report takes macro-expressions too, its four micro classes do not."""
    seven = select_clips(TASKS["casme-sq-7"], [casme_sq()])
    assert not seven.left_out
    assert select_clips(TASKS["casme-sq-micro-4"], [casme_sq()]).left_out == {"casme-sq: macro-expression": 300}


def test_a_missing_clip_is_an_error_unless_partial_is_said() -> None:
    """A clip fewer is refused with found and expected counts; `any` takes it and keeps the words."""
    whole = smic()
    partial = without(whole, whole.clips[0].key)
    gone = whole.clips[0].label.emotion
    with pytest.raises(ProtocolError, match=rf"smic-3: .* smic-hs: {gone} \d+, expected \d+\. .*--partial"):
        select_clips(TASKS["smic-3"], [partial])
    selection = select_clips(TASKS["smic-3"], [partial], counts="any")
    assert len(selection.differences) == 1
    assert f"{gone} " in selection.differences[0]
    assert len(selection.clips) == 163


def test_a_failed_clip_is_named() -> None:
    """A clip that preprocessing lost is not silently one clip fewer."""
    whole = smic()
    lost = whole.clips[7]
    failed = whole.model_copy(
        update={"clips": tuple(make_entry(e.key, e.label, failed=e.key == lost.key) for e in whole.clips)}
    )
    with pytest.raises(ProtocolError, match=f"failed in preprocessing: {lost.key}"):
        select_clips(TASKS["smic-3"], [failed])
    assert select_clips(TASKS["smic-3"], [failed], counts="any").failed == (lost.key,)


def test_the_other_annotation_is_pointed_to() -> None:
    """CASME II with labels of 2019 is not the 246 clips, and the message names the task that fits."""
    with pytest.raises(ProtocolError, match=r"surprise 28, expected 25 .*casme2-5-2019"):
        select_clips(TASKS["casme2-5"], [casme2(counts=CASME2_2019)])


def test_a_missing_dataset_of_a_composite() -> None:
    """A composite without one of its stores is refused, or recorded as partial."""
    with pytest.raises(ProtocolError, match="samm: no clip, expected 133"):
        select_clips(TASKS["megc2019"], [casme2(), smic()])
    assert "samm: no clip, expected 133" in select_clips(TASKS["megc2019"], [smic()], counts="any").differences


def test_foreign_and_doubled_stores() -> None:
    """A store of another dataset, or the same twice, is a mistake of the command."""
    with pytest.raises(ConfigError, match="smic-3 takes no clips of this dataset, only of smic-hs"):
        select_clips(TASKS["smic-3"], [smic(), samm()])
    with pytest.raises(ConfigError, match="is in two of the stores"):
        select_clips(TASKS["smic-3"], [smic(), smic()])


def test_a_class_without_clips_is_an_error_even_of_partial_data() -> None:
    """There is no score of a class that has no clip."""
    two = make_manifest("smic-hs", [make_entry(f"smic-hs/s{i}/a", Label(emotion="negative")) for i in (1, 2)])
    with pytest.raises(ProtocolError, match="no clip of class positive, surprise among 2 clips"):
        select_clips(TASKS["smic-3"], [two], counts="any")


def test_subjects_of_two_datasets_do_not_collide() -> None:
    """Subject 1 of one dataset is not subject 1 of the other."""
    rule = {"classes": {"positive": "p", "negative": "n"}, "expected": {"p": 1, "n": 1}, "expected_subjects": 1}
    task = Task(name="t", title="t", classes=("p", "n"), datasets=[DatasetRule(dataset=name, **rule) for name in "ab"])
    stores = [
        make_manifest(name, [make_entry(f"{name}/1/{e}", Label(emotion=e)) for e in ("positive", "negative")])
        for name in "ab"
    ]
    assert {clip.subject for clip in select_clips(task, stores).clips} == {"a/1", "b/1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("p", "seed")}, "classes must differ and be none of clip, fold, seed"),
        ({"classes": ("p", "p")}, "classes must differ"),
        ({"classes": ("p", "n", "x")}, "must cover each of p, n, x"),
        ({"twice": True}, "two rules for one dataset"),
    ],
)
def test_inconsistent_tasks_are_refused(change: dict[str, object], message: str) -> None:
    """A task that could drop a class without a word cannot be written down."""
    rule = DatasetRule(
        dataset="a", classes={"positive": "p", "negative": "n"}, expected={"p": 1, "n": 1}, expected_subjects=1
    )
    datasets = (rule, rule) if change.pop("twice", False) else (rule,)
    with pytest.raises(ValidationError, match=message):
        Task(**{"name": "t", "title": "t", "classes": ("p", "n"), "datasets": datasets} | change)


def test_a_store_of_long_recordings_is_refused_where_clips_are_needed(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "long.zarr", ["samm/006/006_1"], depth=False, intervals={}, long=True)
    with pytest.raises(ConfigError, match=r"the store of samm holds long recordings.*mer spot STORE"):
        select_clips(TASKS["samm-5"], [store.manifest], counts="any")
