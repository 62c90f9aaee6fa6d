"""What is written in a dataset's layout is read back: clips, phases, labels, and the very frames."""

import hashlib
from pathlib import Path

import pytest

from pipeline.clip.frames import Frames
from pipeline.datasets import scan_dataset
from pipeline.synthesis.layouts import SYNTHETIC, SyntheticClip, write_dataset
from schemas.clip import ImageSequence, VideoSegment
from schemas.errors import ConfigError
from schemas.labels import ActionUnit
from tests.pipeline.datasets.tiny_clips import (
    ALL_LAYOUTS,
    APEX,
    OFFSET,
    ONSET,
    UNITS,
    clip_of,
    frame,
    tiny_clips,
    write_tiny,
)

WITHOUT_APEX = ("smic",)


@pytest.mark.parametrize(("dataset", "layout"), ALL_LAYOUTS)
def test_clips_phases_and_labels_round_trip(tmp_path: Path, dataset: str, layout: str) -> None:
    """Every clip comes back under its key, its phases at the written distances, without a finding."""
    keys = write_tiny(dataset, tmp_path, layout)
    _, scan = scan_dataset(tmp_path)
    assert sorted(keys) == [clip.key for clip in scan.clips]
    assert scan.findings == ()
    for key, written in zip(keys, tiny_clips(dataset), strict=True):
        clip = clip_of(scan, key)
        assert clip.findings == ()
        assert clip.usable
        assert clip.onset is not None
        assert clip.offset == clip.onset + OFFSET - ONSET
        assert clip.apex == (None if dataset in WITHOUT_APEX else clip.onset + APEX - ONSET)
        assert clip.label.emotion == written.emotion
        if dataset in WITHOUT_APEX:
            assert clip.label.action_units is None
        else:
            assert clip.label.action_units is not None
            intensity = ("B",) if dataset == "samm" else ()
            assert clip.label.action_units.units == (
                ActionUnit(number=4, intensity=intensity),
                ActionUnit(number=12, side="left"),
            )


@pytest.mark.parametrize(("dataset", "layout"), ALL_LAYOUTS)
def test_frames_are_those_from_onset_to_offset(tmp_path: Path, dataset: str, layout: str) -> None:
    """The source of every clip decodes to exactly the written frames: numbers, count, and pictures."""
    write_tiny(dataset, tmp_path, layout)
    root, scan = scan_dataset(tmp_path)
    for clip in scan.clips:
        assert clip.source is not None
        assert clip.onset is not None
        assert clip.offset is not None
        assert clip.source.numbers == tuple(range(clip.onset, clip.offset + 1))
        pictures = list(Frames(root, clip.source))
        assert len(pictures) == OFFSET - ONSET + 1
        for position, picture in enumerate(pictures, ONSET):
            assert abs(float(picture.mean()) - float(frame(position).mean())) < 5


@pytest.mark.parametrize(("dataset", "layout"), ALL_LAYOUTS)
@pytest.mark.parametrize("quirks", [False, True])
def test_equal_seeds_give_equal_bytes(tmp_path: Path, dataset: str, layout: str, quirks: bool) -> None:
    """Two runs write the same files, byte for byte; another seed writes others wherever anything is left to chance."""
    write_tiny(dataset, tmp_path / "a", layout, quirks=quirks)
    write_tiny(dataset, tmp_path / "b", layout, quirks=quirks)
    assert _tree_hash(tmp_path / "a") == _tree_hash(tmp_path / "b")
    if dataset in ("samm", "smic"):  # the other two number frames from 1
        write_dataset(dataset, tmp_path / "c", tiny_clips(dataset), layout=layout, quirks=quirks, seed=2)
        assert _tree_hash(tmp_path / "c") != _tree_hash(tmp_path / "a")


def _tree_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def test_frame_sources_are_images_or_video_segments(tmp_path: Path) -> None:
    """A video of the whole recording is entered at the onset, image layouts name their files."""
    write_tiny("casme2", tmp_path / "v", "video")
    write_tiny("casme2", tmp_path / "i", "selected")
    video = scan_dataset(tmp_path / "v")[1].clips[0].source
    images = scan_dataset(tmp_path / "i")[1].clips[0].source
    assert isinstance(video, VideoSegment)
    assert (video.start, video.count, video.first_number) == (ONSET, OFFSET - ONSET + 1, ONSET + 1)
    assert isinstance(images, ImageSequence)
    assert images.names[0] == f"img{ONSET + 1}.jpg"


def test_subjects_are_those_that_the_real_datasets_have() -> None:
    """Ids skip the people whom the datasets skip, and there are as many as published."""
    assert {name: len(writer.subjects) for name, writer in SYNTHETIC.items()} == {
        "samm": 29, "casme2": 26, "casme-sq": 22, "casme3": 94, "smic": 16,
    }  # fmt: skip
    assert not {"008", "027", "029"} & set(SYNTHETIC["samm"].subjects)
    assert SYNTHETIC["samm"].subjects[0] == "006"
    assert SYNTHETIC["samm"].subjects[-1] == "037"
    assert not {"s7", "s10", "s16", "s17"} & set(SYNTHETIC["smic"].subjects)
    assert not {"s17", "s18", "s28", "s39"} & set(SYNTHETIC["casme-sq"].subjects)


def test_units_are_written_as_the_dataset_can_express_them(tmp_path: Path) -> None:
    """SAMM's cell carries the intensity, CASME II's does not."""
    write_tiny("samm", tmp_path / "samm")
    write_tiny("casme2", tmp_path / "casme2")
    texts = [scan_dataset(tmp_path / d)[1].clips[0].label.action_units for d in ("samm", "casme2")]
    assert [text and text.raw for text in texts] == ["4B+L12", "4+L12"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": 29}, "the dataset has 29 subjects"),
        ({"emotion": "repression"}, "no emotion 'repression' in this dataset; it has anger"),
        ({"onset": 6}, "expected 0 <= onset <= apex <= offset < 10 frames, found 6, 5, 7"),
        ({"offset": 10}, "expected 0 <= onset <= apex <= offset < 10 frames, found 2, 5, 10"),
    ],
)
def test_what_a_dataset_lacks_is_refused(tmp_path: Path, change: dict[str, int | str], message: str) -> None:
    """A subject, emotion or order of phases that cannot be is an error that says what can."""
    given = {"subject": 0, "emotion": "anger", "onset": ONSET, "offset": OFFSET} | change
    frames = [frame(position) for position in range(10)]
    clip = SyntheticClip(
        subject=int(given["subject"]), index=0, emotion=str(given["emotion"]), action_units=UNITS, frames=frames,
        onset=int(given["onset"]), apex=APEX, offset=int(given["offset"]),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        write_dataset("samm", tmp_path, [clip])


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """An unknown dataset or layout is an error that lists the known ones."""
    with pytest.raises(ConfigError, match="no synthetic dataset 'sam'; known: samm, casme2, casme-sq, casme3, smic"):
        write_dataset("sam", tmp_path, [])
    with pytest.raises(ConfigError, match="samm has no layout 'video'; known: raw, cropped"):
        write_dataset("samm", tmp_path, [], layout="video")
