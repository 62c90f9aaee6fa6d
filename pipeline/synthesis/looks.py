"""More faces than photographs: each can be given other looks, so that no network learns eleven faces by heart.

All looks of a photograph are one subject, so that folds that are split by subject are split by photograph.
"""

import cv2
import numpy as np

from pipeline.synthesis.anatomy import mirror, muscles, smooth_field
from pipeline.synthesis.recording import Camera, Portrait
from pipeline.synthesis.rendering import Stage

_SHAPE = 0.025  # of the face's width, deviation of a vertex
_CROOKED = 0.2  # of it that differs from one half of the face to the other
_SMOOTH = 0.3  # face widths over which neighbours are moved alike: brows and lips keep their form
_CONTRAST, _COLOUR = 0.15, 0.04  # deviations of the logarithms of a gamma, and of each channel's gain


def another_look(portrait: Portrait, camera: Camera, rng: np.random.Generator) -> Portrait:
    """The portrait of somebody who does not exist: its face reshaped, its skin toned, mirrored as often as not.

    Args:
        portrait: made of a photograph.
        camera: that it was taken with.
        rng: draws the look.
    """
    stage = Stage(portrait, camera)
    drawn = smooth_field(muscles(portrait, rng).place, rng, scale=_SMOOTH, columns=3)
    opposite = drawn[mirror()] * [-1, 1, 1]
    moved = _SHAPE * portrait.face_width * ((drawn + opposite) + _CROOKED * (drawn - opposite)) / 2**0.5
    forward = stage.forward(moved[:, :2], np.zeros(6))
    image = stage.resample(stage.backward(forward))
    points = np.column_stack([stage.follow(forward), portrait.points[:, 2] + moved[:, 2]])
    gain = np.exp(rng.normal(0, _COLOUR, image.shape[2]))
    toned = 255 * (np.clip(image, 0, 255) / 255) ** np.exp(rng.normal(0, _CONTRAST)) * gain
    image = np.asarray(np.clip(toned, 0, 255), np.float32)
    if rng.random() < 0.5:
        image = np.asarray(cv2.flip(image, 1), np.float32).reshape(image.shape)
        points = points[mirror()] * [-1, 1, 1] + [camera.width - 1, 0, 0]
    return Portrait(image, points)
