"""Frames are ordered by the part of their names that changes, as a number would be, or not at all."""

import random

import pytest

from pipeline.datasets.frame_files import index_frames


@pytest.mark.parametrize(
    ("in_order", "numbers"),
    [
        (["img9.jpg", "img10.jpg", "img11.jpg"], (9, 10, 11)),
        (["006_05562.jpg", "006_05563.jpg", "006_05570.jpg"], (5562, 5563, 5570)),
        (["frame0001_cam2.jpg", "frame0002_cam2.jpg", "frame0010_cam2.jpg"], (1, 2, 10)),
        (["00001_640x360.png", "00002_640x360.png"], (1, 2)),
        (["00-00-01-967.jpg", "00-00-02-000.jpg", "00-01-00-033.jpg"], (1, 2, 3)),
        (["a_0h00m59s900.jpg", "a_0h01m00s000.jpg"], (1, 2)),
        (["00-00-01-967.jpg", "00-00-02-001.jpg", "00-00-02-034.jpg"], (1, 2, 3)),
        (["frame_0.967.jpg", "frame_1.000.jpg", "frame_1.033.jpg"], (1, 2, 3)),
        (["frame_0.033.jpg", "frame_0.067.jpg", "frame_0.100.jpg"], (1, 2, 3)),
        (["frame_0.9.jpg", "frame_0.967.jpg", "frame_1.05.jpg", "frame_10.1.jpg"], (1, 2, 3, 4)),
        (["scene1.8.jpg", "scene1.9.jpg", "scene1.10.jpg"], (8, 9, 10)),
        (["20240101_1200_7.jpg", "20240101_1201_8.jpg"], (7, 8)),
        (["one.jpg"], ()),
    ],
)
def test_the_number_is_what_changes(in_order: list[str], numbers: tuple[int, ...]) -> None:
    """Whatever order the names come in; times are numbered from 1; a name without digits is no frame."""
    shuffled = random.Random(0).sample(in_order, len(in_order))
    found = index_frames(shuffled)
    assert found.numbers == numbers
    assert found.names == tuple(in_order[: len(numbers)])
    assert found.duplicates == ()
    assert found.problem == ""


def test_what_cannot_be_told_is_refused() -> None:
    """Two cameras in one folder: neither are half the frames doubles, nor do the last digits decide."""
    found = index_frames(["cam1_1.jpg", "cam1_2.jpg", "cam2_1.jpg", "cam2_2.jpg"])
    assert found.names == found.duplicates == ()
    assert found.problem == (
        "cam1_1.jpg and others differ in several numbers: which of them counts the frames cannot be told"
    )


def test_two_paddings_of_one_number_are_doubles() -> None:
    """The first by name is taken."""
    found = index_frames(["img1.jpg", "img01.jpg", "img2.jpg"])
    assert (found.names, found.numbers, found.duplicates) == (("img01.jpg", "img2.jpg"), (1, 2), ("img1.jpg",))
