"""`mer subset`: which clips, which arrays, and under which names."""

import json
from pathlib import Path

import pytest

from pipeline.inspect.inspection import summarise
from pipeline.inspect.verification import verify
from pipeline.sharing.merge import merge
from pipeline.sharing.pseudonyms import Pseudonyms
from pipeline.sharing.selection import Selection
from pipeline.sharing.subset import clip_arrays, subset
from schemas.errors import ConfigError, StoreError
from schemas.layout import ClipArrayName, object_path
from schemas.manifest import MANIFEST_NAME
from schemas.store.reader import Store
from tests.tiny_stores import tiny_store

KEYS = [f"casme2/sub{subject:02d}/EP{clip:02d}" for subject in (1, 2, 3) for clip in (1, 2)]
FAILED = "casme2/sub03/EP02"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three people, two clips each: surprise, disgust, ... as their keys have it."""
    return tiny_store(tmp_path_factory.mktemp("whole") / "whole.zarr", KEYS, failed=[FAILED])


def selected(store: Store, **options: str) -> list[str]:
    selection = Selection.parse(**options)
    return [entry.key.removeprefix("casme2/") for entry in store.manifest.clips if selection.takes(entry)]


def test_the_options_mean_what_they_say(whole: Store) -> None:
    """Commas within an option are or for names and and for conditions; options together are and."""
    emotion = {e.key.removeprefix("casme2/"): e.label.emotion for e in whole.manifest.clips}
    assert len(set(emotion.values())) == 4, "the three emotions, and none of the failed clip"
    good = [key for key in emotion if emotion[key]]
    everybody = list(emotion)
    happy = [key for key in good if emotion[key] == "happiness"]
    for options, expected in (
        ({}, everybody),
        ({"subjects": "sub01, sub03"}, [key for key in everybody if not key.startswith("sub02")]),
        ({"labels": "happiness"}, happy),
        ({"labels": "happiness,surprise"}, [key for key in good if emotion[key] != "disgust"]),
        ({"where": "emotion=happiness|surprise, subject!=sub01"},
         [key for key in good if emotion[key] != "disgust" and not key.startswith("sub01")]),
        ({"subjects": "sub01", "labels": "happiness"}, [key for key in happy if key.startswith("sub01")]),
        ({"where": "emotion=none"}, ["sub03/EP02"]),
        ({"where": "emotion!=none"}, good),
        ({"where": "status=ok"}, good),
        ({"where": "expression_type=micro,fps>=200,frames>2,residual_motion_px<0.5"}, good),
        ({"where": "fps<200"}, []),
        ({"where": "au=12"}, good),
        ({"where": "au=4|99"}, good),
        ({"where": "au=99"}, []),
        ({"where": "au!=12"}, ["sub03/EP02"]),
        ({"where": "finding=layout_chosen"}, good),
        ({"where": "key=casme2/sub02/EP01"}, ["sub02/EP01"]),
        ({"where": "clip=EP01,inter_eye_px>=60.0"}, ["sub01/EP01", "sub02/EP01", "sub03/EP01"]),
    ):  # fmt: skip
        assert selected(whole, **options) == expected, options


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"where": "emotions=happiness"}, "clips have no 'emotions'; did you mean emotion?"),
        ({"where": "colour=red"}, "clips have no 'colour'; there are dataset, subject, clip"),
        ({"where": "emotion"}, "expected FIELD=VALUE"),
        ({"where": "__import__('os')"}, "expected FIELD=VALUE"),
        ({"where": ""}, "expected FIELD=VALUE"),
        ({"where": "fps>fast"}, "expected one number after >"),
        ({"where": "fps>1|2"}, "expected one number after >"),
        ({"where": "emotion="}, "a value is empty; write none"),
        ({"subjects": "sub01,,sub02"}, "a value is empty"),
    ],
)
def test_what_is_no_condition_is_refused(options: dict[str, str], expected: str) -> None:
    """With what would be one; nothing is evaluated."""
    with pytest.raises(ConfigError) as error:
        Selection.parse(**options)
    assert expected in str(error.value)


def test_a_subset_is_a_store(tmp_path: Path, whole: Store) -> None:
    """With the clips that were asked for, sound, and of the same values."""
    subset(whole, tmp_path / "s.zarr", selection=Selection.parse(subjects="sub02"))
    store = Store.open(tmp_path / "s.zarr")
    assert list(store.manifest.index) == ["casme2/sub02/EP01", "casme2/sub02/EP02"]
    assert verify(store, deep=True) == []
    for key in store.manifest.index:
        assert (store.texture(key) == whole.texture(key)).all()
        assert (store.action_units(key) == whole.action_units(key)).all()


def test_a_subset_of_nothing_is_refused(tmp_path: Path, whole: Store) -> None:
    """The condition is repeated."""
    with pytest.raises(ConfigError, match="of its 6 clips none is subject=sub77 and fps<3"):
        subset(whole, tmp_path / "s.zarr", selection=Selection.parse(subjects="sub77", where="fps < 3"))
    with pytest.raises(ConfigError, match=r"has no au_frames to leave out; it has texture, depth, clip"):
        subset(whole, tmp_path / "s.zarr", without=["au_frames"])


def test_names_of_arrays() -> None:
    """As they stand behind ``--without``."""
    assert clip_arrays(None) == ()
    assert clip_arrays("depth, texture") == ("texture", "depth")
    with pytest.raises(ConfigError, match="--without 'au': expected texture, depth, au_frames"):
        clip_arrays("texture,au")


@pytest.mark.parametrize("without", ["texture", "depth"])
def test_arrays_can_be_left_out(tmp_path: Path, whole: Store, without: ClipArrayName) -> None:
    """Not a byte of them is there, reading says so, and such a store does not merge with a whole one."""
    subset(whole, tmp_path / "s.zarr", without=[without])
    store = Store.open(tmp_path / "s.zarr")
    assert verify(store, deep=True) == []
    assert not (store.path / without).exists()
    assert without not in store.manifest.arrays
    assert without not in summarise(store)["arrays"]
    with pytest.raises(StoreError, match=f"s.zarr was shared without {without}"):
        store.clip_array(without, KEYS[0])
    rest: ClipArrayName = "depth" if without == "texture" else "texture"
    assert (store.clip_array(rest, KEYS[0]) == whole.clip_array(rest, KEYS[0])).all()
    assert store.manifest.provenance == whole.manifest.provenance, "what was run is not denied"
    with pytest.raises(StoreError, match=r"do not go together: .*left_out"):
        merge([whole, store], tmp_path / "m.zarr")


def test_anonymised_stores_name_nobody(tmp_path: Path, whole: Store) -> None:
    """Neither subject nor clip nor path nor frame number nor words of the original are in any file's text."""
    chosen = tiny_store(tmp_path / "chosen.zarr", KEYS, subjects=("sub01", "sub02", "sub03"), failed=[FAILED])
    subset(chosen, tmp_path / "s.zarr", pseudonyms=Pseudonyms.random())
    store = Store.open(tmp_path / "s.zarr")
    assert verify(store, deep=True) == []
    text = (store.path / MANIFEST_NAME).read_text()
    for word in ("sub0", "EP0", "raw/", "coding.xlsx", "row names", "two layouts", "no face", '"onset":10', "0" * 64):
        assert word in (chosen.path / MANIFEST_NAME).read_text()
        assert word not in text, word
    columns = [str(store.column(name).tolist()) for name in ("clip", "subject")]
    assert not any(word in column for word in ("sub0", "EP0") for column in columns)
    assert store.column("frame_number").min(initial=99, where=store.column("frame_number") >= 0) == 1
    assert sorted(len({e.key for e in s.manifest.clips}) for s in (store, chosen)) == [6, 6]
    assert len({entry.subject for entry in store.manifest.clips}) == 3
    assert store.manifest.licences == chosen.manifest.licences


def test_the_same_secret_gives_the_same_names(tmp_path: Path, whole: Store) -> None:
    """So that parts which were anonymised apart can be merged; with another secret one person would be two."""
    secret = Pseudonyms.from_file(tmp_path / "names.key")
    assert (tmp_path / "names.key").stat().st_mode & 0o777 == 0o600
    parts = []
    for i, subjects in enumerate(["sub01", "sub01,sub02"]):
        chosen = Selection.parse(subjects=subjects)
        kept = Pseudonyms.from_file(tmp_path / "names.key")
        subset(whole, tmp_path / f"{i}.zarr", selection=chosen, pseudonyms=kept)
        parts.append(Store.open(tmp_path / f"{i}.zarr"))
    assert merge(parts, tmp_path / "both.zarr") == parts[1].manifest
    assert parts[0].manifest.pseudonyms == secret.fingerprint
    subset(whole, tmp_path / "other.zarr", selection=Selection.parse(subjects="sub02"), pseudonyms=Pseudonyms.random())
    with pytest.raises(StoreError, match="do not go together: pseudonyms"):
        merge([parts[0], Store.open(tmp_path / "other.zarr")], tmp_path / "no.zarr")
    assert secret.secret.hex() not in json.dumps(parts[0].manifest.model_dump(mode="json"))


@pytest.mark.parametrize("content", ["hello", "00ff", "\N{SNOWMAN}"])
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: str) -> None:
    """Rather than taken for a weak one."""
    (tmp_path / "names.key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--key .*names.key: "):
        Pseudonyms.from_file(tmp_path / "names.key")


def test_depth_alone_has_the_same_bytes(tmp_path: Path, whole: Store) -> None:
    """Copied, although its row may be another."""
    subset(whole, tmp_path / "s.zarr", selection=Selection.parse(subjects="sub02"), without=["texture"])
    here = (tmp_path / "s.zarr" / object_path("depth", 0)).read_bytes()
    assert here == (whole.path / object_path("depth", 2)).read_bytes()
