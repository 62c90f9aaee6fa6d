"""Whatever happens to a store, `mer verify` finds it, and reading raises an error that says what to do."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pipeline.inspect.verification import Problem, verify
from schemas.config import canonical_sha256
from schemas.errors import ManifestInvalidError, ManifestMissingError, MerError, StoreVersionError
from schemas.manifest import MANIFEST_NAME, Manifest
from schemas.store.files import stored_object
from schemas.store.reader import Store
from tests.command_line import mer
from tests.pipeline.inspect.store_damage import DAMAGES, damaged

VANISHED = (
    "no bytes",
    "deleted",
    "a folder",
    "a link to nowhere",
)  # Zarr by itself reads such an object as fill values


@pytest.fixture(scope="module")
def whole(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the store, whole again after each test that takes it."""
    return Store.open(Path(shutil.copytree(shared_store.path, tmp_path_factory.mktemp("damage") / "casme2.zarr")))


def objects_of(store: Store) -> list[str]:
    """One clip's object of each clip array, every chunk of every column, the metadata of all arrays and the group."""
    return [*(f"{name}/c/0" + "/0" * end for name, end in (("texture", 4), ("depth", 3))), *store.manifest.objects]


def others_of(store: Store, name: str) -> Path:
    """Another object of the same kind: the next clip's, the next array's metadata, another column's chunk."""
    clip = name.replace("/c/0/", "/c/1/", 1)
    if name in objects_of(store)[:2]:
        return store.path / clip
    data = (store.path / name).read_bytes()
    same_kind = [path for path in store.manifest.objects if path.endswith("zarr.json") == name.endswith("zarr.json")]
    return next(store.path / path for path in same_kind if (store.path / path).read_bytes() != data)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_finds_every_damage_to_every_object(whole: Store, damage: str) -> None:
    """Each object is named by its path, and nothing else is accused of the damage."""
    for name in objects_of(whole):
        with damaged(whole.path / name, damage, other=others_of(whole, name)):
            problems = verify(Store.open(whole.path))
        accused = {problem.path for problem in problems if problem.kind in ("missing", "size", "hash", "unexpected")}
        assert accused == {name}
    assert verify(whole) == []


@pytest.mark.slow
def test_reading_damage_never_crashes_and_names_clip_and_remedy(whole: Store) -> None:
    """In a process of its own, through our reader, plain Zarr and xarray; only the damaged clip's data is lost."""
    objects = [*objects_of(whole)[:2], "au/c/0/0/0", "clip/c/0", "frame_number/c/0/0", "texture/zarr.json", "zarr.json"]
    command = [sys.executable, "-m", "tests.pipeline.inspect.damaged_reads", str(whole.path), *objects]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    readings = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(name, damage) for name, damage, *_ in readings} == {
        (name, damage) for name in objects for damage in DAMAGES
    }
    for name, damage, reading, error, message in readings:
        chunk = "/c/" in name
        if reading.startswith("Store"):
            lost = damage != "a link to the same bytes" and (chunk or name == "zarr.json")
            if lost and (name == "zarr.json" or reading != "Store.clip1"):
                assert error == "StoreDamagedError", (name, damage, reading)
                assert message.startswith(f"{whole.path}: ")
                assert f"`mer verify {whole.path}` lists all that is damaged: copy the store again" in message
                if chunk:
                    key = whole.manifest.clips[0].key if reading == "Store.clip0" else "all clips"
                    assert f"{name.split('/')[0]} of {key} cannot be read" in message
            else:
                assert error == "", (name, damage, reading, message)
        elif chunk and damage not in (*VANISHED, "another object", "a link to the same bytes"):
            assert error, (name, damage, reading)
    assert verify(whole) == []


@pytest.mark.parametrize("name", ["notes.txt", "texture/c/9/0/0/0/0", "depth/c/0/0/0/0.partial", "spare/zarr.json"])
def test_verify_finds_files_that_belong_to_nothing(store: Store, name: str) -> None:
    """A left-over, a clip too many, another array."""
    (store.path / name).parent.mkdir(parents=True, exist_ok=True)
    (store.path / name).write_text("{}")
    assert [(problem.kind, problem.path) for problem in verify(store)] == [("unexpected", name)]


def test_files_that_a_file_manager_dropped_are_harmless(store: Store) -> None:
    """They are named, and a problem only with ``--strict``; a note that somebody wrote beside them always is one."""
    dropped = [".DS_Store", "._zarr.json", "texture/.DS_Store", "depth/c/0/Thumbs.db", "au/Desktop.ini", "@eaDir/x"]
    for name in dropped:
        (store.path / name).parent.mkdir(exist_ok=True)
        (store.path / name).write_bytes(b"\0\0\0\1Bud1")
    code, printed, _ = mer("verify", store.path, "--deep")
    assert code == 0
    assert f"extra files, harmless: {', '.join(sorted(dropped, key=Path))}\n" in printed
    assert "sound, every clip decodes" in printed
    assert {problem["path"] for problem in json.loads(mer("verify", store.path, "--json").printed)} == set(dropped)
    code, printed, _ = mer("verify", store.path, "--strict")
    assert code == 1
    assert f"{len(dropped)} problems" in printed
    (store.path / "Thumbs.db.txt").touch()
    code, printed, _ = mer("verify", store.path)
    assert code == 1
    assert "unexpected: Thumbs.db.txt" in printed
    assert "1 problem" in printed


def test_verify_as_a_command(store: Store) -> None:
    """A line a problem, their number, exit code 1; as JSON too."""
    (store.path / "fps" / "c" / "0").write_bytes(b"12345")
    code, printed, _ = mer("verify", store.path)
    assert code == 1
    assert "size: fps/c/0: expected " in printed
    assert "bytes, found 5\n" in printed
    assert "1 problem; copy the store again, or preprocess with --overwrite" in printed
    code, printed, _ = mer("verify", store.path, "--json")
    assert code == 1
    assert [problem["path"] for problem in json.loads(printed)] == ["fps/c/0"]


# The manifest


def edit(path: Path, change: Callable[[dict[str, Any]], object], *, forge: bool = False) -> list[Problem]:
    """Problems after a change of the manifest, a forger's with a fresh ``content_sha256``; shallow, then deep."""
    content = json.loads((path / MANIFEST_NAME).read_bytes())
    change(content)
    if forge:
        del content["content_sha256"]
        content["content_sha256"] = Manifest.model_validate(content).expected_sha256()
    (path / MANIFEST_NAME).write_text(json.dumps(content))
    return verify(Store.open(path, edited=True), deep=forge)


def swap(clips: list[Any]) -> None:
    clips[0], clips[1] = clips[1], clips[0]


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "label": lambda content: content["clips"][0]["label"].update(emotion="sadness"),
    "raw label": lambda content: content["clips"][0]["label"].update(raw_emotion="sadness"),
    "key": lambda content: content["clips"][0].update(key="casme2/sub01/EP99_01"),
    "same key twice": lambda content: content["clips"][0].update(key=content["clips"][1]["key"]),
    "clip removed": lambda content: content["clips"].pop(),
    "clip repeated": lambda content: content["clips"].append(content["clips"][0]),
    "clips swapped": lambda content: swap(content["clips"]),
    "fewer frames": lambda content: content["clips"][0].update(n_frames=5),
    "more frames": lambda content: content["clips"][0].update(n_frames=999),
    "onset": lambda content: content["clips"][0].update(onset=content["clips"][0]["onset"] + 1),
    "frame rate": lambda content: content["clips"][0].update(fps=100),
    "failed": lambda content: content["clips"][0].update(status="failed"),
    "size": lambda content: content["provenance"]["config"].update(size=224),
    "subjects": lambda content: content["provenance"]["config"].update(subjects=["sub01"]),
    "names of units": lambda content: content["action_units"]["names"].reverse(),
    "unit left out": lambda content: content["action_units"]["names"].pop(),
    "object left out": lambda content: content["objects"].pop("emotion/c/0"),
    "foreign object": lambda content: content["objects"].update({"../x": {"bytes": 1, "sha256": "0"}}),
    "clip's object left out": lambda content: content["clips"][0]["objects"].pop("depth"),
}


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_verify_finds_every_edit_of_the_manifest(store: Store, change: Callable[[dict[str, Any]], object]) -> None:
    """A plain verify does, labels included: the manifest's own hash covers them. Nothing else opens such a store."""
    problems = edit(store.path, change)
    assert any(problem.kind == "manifest" and "content_sha256 is " in problem.message for problem in problems)
    with pytest.raises(ManifestInvalidError, match=r"manifest\.json: the manifest was edited .*`mer relabel`"):
        Store.open(store.path)


@pytest.mark.parametrize(
    "change", [change for name, change in EDITS.items() if name not in ("raw label",)],
    ids=[name for name in EDITS if name not in ("raw label",)],
)  # fmt: skip
def test_a_forged_manifest_contradicts_the_arrays(store: Store, change: Callable[[dict[str, Any]], object]) -> None:
    """With the hash made to fit, --deep still finds what the arrays say otherwise."""
    problems = edit(store.path, change, forge=True)
    assert problems
    assert not any("content_sha256" in problem.message for problem in problems)


def test_a_manifest_without_its_hash_is_edited(store: Store) -> None:
    """Leaving the hash out does not help; writing the same content in another way does no harm."""
    assert edit(store.path, lambda content: None) == []
    problems = edit(store.path, lambda content: content.pop("content_sha256"))
    assert [problem.message.split(",")[0] for problem in problems] == ["content_sha256 is missing"]


def test_any_flipped_bit_of_the_manifest_is_found(store: Store) -> None:
    """Either it is no manifest any more, or its hash tells."""
    file, places = store.path / MANIFEST_NAME, random.Random(0)
    data = file.read_bytes()
    for _ in range(150):
        flipped = bytearray(data)
        flipped[places.randrange(len(data))] ^= 1 << places.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(MerError, match=r"manifest\.json"):
            Store.open(store.path)


DEEP = b"[" * 100_000
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no bytes": (lambda data: b"", "EOF while parsing"),
    "cut in half": (lambda data: data[: len(data) // 2], "EOF while parsing"),
    "no JSON": (lambda data: b"hello", "Invalid JSON"),
    "no text": (lambda data: b"\xff\xfe\x00" * 99, "Invalid JSON"),
    "a list": (lambda data: b"[]", "should be an object"),
    "null": (lambda data: b"null", "should be an object"),
    "an empty object": (lambda data: b"{}", "Field required"),
    "deeply nested": (lambda data: DEEP, "recursion limit exceeded"),
    "deeply nested inside": (lambda data: b'{"clips":' + DEEP, "recursion limit exceeded"),
    "10 MB of garbage": (lambda data: bytes(range(1, 251)) * 40_000, "Invalid JSON"),
    "twice": (lambda data: data + data, "trailing characters"),
    "unknown field": (lambda data: data.replace(b'{"', b'{"speed":3,"', 1), "speed: Extra inputs are not permitted"),
    "not a number": (lambda data: data.replace(b'"fps":200.0', b'"fps":NaN', 1), "clips.0.fps: Input should be"),
    "key without subject": (lambda data: data.replace(b"casme2/sub01/", b"casme2-", 1), "clips.0.key: String should"),
    "negative count": (lambda data: data.replace(b'"n_frames":', b'"n_frames":-', 1), "clips.0.n_frames: Input should"),
    "unknown array": (lambda data: data.replace(b'{"texture":', b'{"textur":', 1), "clips.0.objects.textur"),
    "other format": (lambda data: data.replace(b'{"', b'{"format":"zip","', 1), "format: Input should be 'mer-store'"),
    "older": (lambda data: data.replace(b'{"', b'{"format_version":0,"', 1), "format_version: Input should be 1"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_manifest_is_refused(store: Store, change: Callable[[bytes], bytes], expected: str) -> None:
    """A typed error with file, place and problem, and what to do; never another exception."""
    file = store.path / MANIFEST_NAME
    data = file.read_bytes()
    file.write_bytes(change(data))
    assert file.read_bytes() != data
    with pytest.raises(ManifestInvalidError) as error:
        Store.open(store.path)
    assert str(error.value).startswith(f"{file}: not a valid manifest: ")
    assert expected in str(error.value)
    assert "restore it, or preprocess again with --overwrite" in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_newer_store_names_both_versions(store: Store) -> None:
    """Whatever else the newer format has."""
    file = store.path / MANIFEST_NAME
    file.write_text('{"format": "mer-store", "format_version": 2, "streams": []}')
    with pytest.raises(StoreVersionError, match="store format 2, this version of mer reads up to 1; upgrade mer"):
        Store.open(store.path)
    assert mer("inspect", store.path) == (2, "", f"error: {file}: store format 2, this version of mer reads up to 1; "
                                                 "upgrade mer\n")  # fmt: skip


def test_a_manifest_that_is_gone_or_a_folder(store: Store) -> None:
    """Without it there is no store."""
    (store.path / MANIFEST_NAME).unlink()
    with pytest.raises(ManifestMissingError, match=r"manifest.json: no such file; expected a store made by"):
        Store.open(store.path)
    (store.path / MANIFEST_NAME).mkdir()
    with pytest.raises(ManifestInvalidError, match=r"manifest.json: a folder; expected the manifest of a store"):
        Store.open(store.path)


# Forgeries: an object replaced, and its hash in the manifest with it


def forge(store: Store, name: str, index: object, value: object) -> list[Problem]:
    """Overwrite values, make every hash fit, and verify deeply; a plain verify must find nothing."""
    array = zarr.open_group(store.path, mode="r+")[name]
    assert isinstance(array, zarr.Array)
    array.with_config({"write_empty_chunks": True})[index] = value  # type: ignore[index]
    content = json.loads((store.path / MANIFEST_NAME).read_bytes())
    for path, stored in all_objects(content):
        stored.update(stored_object(store.path / path))
    assert edit(store.path, lambda now: now.update(content), forge=True) == verify(Store.open(store.path), deep=True)
    assert verify(Store.open(store.path)) == []
    return verify(Store.open(store.path), deep=True)


def all_objects(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from content["objects"].items()
    for index, entry in enumerate(content["clips"]):
        for name, stored in entry["objects"].items():
            yield f"{name}/c/{index}" + "/0" * (4 if name == "texture" else 3), stored


@pytest.mark.parametrize(
    ("name", "index", "value", "path", "message"),
    [
        ("depth", (0, 3, 5, 5), np.nan, "depth/c/0/0/0/0", "values that are not finite"),
        ("depth", (0, 3, 5, 5), np.inf, "depth/c/0/0/0/0", "values that are not finite"),
        ("depth", (0, slice(5, 9)), 0, "depth/c/0/0/0/0", "no depth on frames 5, 6, 7, 8 of the clip"),
        ("au", (0, 1, 2), np.nan, "au", "values that are not finite"),
        ("n_frames", 0, 5, "n_frames", "5, the manifest says 9"),
        ("fps", 0, 100, "fps", "100.0, the manifest says 200.0"),
        ("clip", 0, "casme2/sub09/EP01_01", "clip", "the manifest says casme2/sub01/EP02_01"),
        ("subject", 0, "casme2/sub09", "subject", "casme2/sub09, the manifest says casme2/sub01"),
        ("emotion", 0, "sadness", "emotion", "sadness, the manifest says disgust"),
        ("onset_index", 0, 2, "onset_index", "frame 9, the manifest says 7"),
        ("apex_index", 0, 99, "apex_index", "99 lies outside the clip"),
        ("apex_index", 0, -1, "apex_index", "-1 lies outside the clip"),
        ("frame_number", (0, 2), -1, "frame_number", "not 9 rising numbers"),
        ("frame_number", (0, 2), 8, "frame_number", "not 9 rising numbers"),
        ("transform", 0, 0, "transform", "cannot be inverted"),
        ("depth_scale", 0, np.nan, "depth_scale", "values that are not finite"),
        ("phase", 0, "offset", "phase", "holds ['offset', 'apex'], expected ['onset', 'apex']"),
        ("action_unit", 0, "AU99", "action_unit", "holds ['AU99', "),
    ],
)
def test_deep_finds_what_a_consistent_forgery_leaves(
    store: Store, name: str, index: Sequence[object], value: object, path: str, message: str
) -> None:
    """All sizes and hashes agree, yet the values contradict the manifest or reason."""
    problems = forge(store, name, index, value)
    assert [(problem.kind, problem.path) for problem in problems] == [("value", path)]
    assert message in problems[0].message


def test_the_seal_does_not_depend_on_the_order_of_keys(store: Store) -> None:
    """The hash is that of the canonical form, which sorts keys: what `sha256sum` would say of it."""
    content = store.manifest.model_dump(mode="json", exclude_defaults=True)
    seal = content.pop("content_sha256")
    assert canonical_sha256(dict(reversed(content.items()))) == seal
