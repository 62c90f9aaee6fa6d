"""What a stereo depth camera beside the colour camera would measure of a synthetic face."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_EAR_TO_EAR = 145.0  # mm, bitragion breadth of an adult
_VIEW = np.deg2rad(69.0)  # horizontal field of view of the colour sensor of an Intel RealSense D415
_BASELINE = 55.0  # mm, between its two infrared sensors
_SUBPIXEL = 0.08  # px, deviation of its disparity (Intel, "Tuning depth cameras for best performance")
_SUPPORT = 2.0  # px, deviation of the window over which stereo matching averages
_HOLES = 2.8  # deviations of a smooth random field above which nothing is matched: a quarter of a per cent
_RIM = 9  # px beside the face, where one of the two sensors sees something else

Millimetres = NDArray[np.uint16]


@dataclass(frozen=True)
class DepthCamera:
    """A depth camera whose images are registered to those of the colour camera.

    The deviation of a depth ``z`` is ``z² · subpixel / (focal length · baseline)``, correlated over the window of
    stereo matching and redrawn in each frame; depth comes in whole millimetres. So a micro-expression, which moves the
    skin by a millimetre towards the camera at most, is about as large as the noise of one frame.

    Attributes:
        width: of a frame, px.
        face_width: ear to ear, px; with the field of view it says how far away the person sits.
    """

    width: int
    face_width: float

    @property
    def distance(self) -> float:
        """Of the ears from the camera, mm."""
        return self._focal * _EAR_TO_EAR / self.face_width

    @property
    def noise(self) -> float:
        """Deviation of the depth at that distance, mm."""
        return self.distance**2 * _SUBPIXEL / (self._focal * _BASELINE)

    def measure(self, height: NDArray[np.floating], rng: np.random.Generator) -> Millimetres:
        """The image of depth of one frame.

        Args:
            height: ``(H, W)`` px towards the camera from between the ears; NaN beside the face.
            rng: of the noise.

        Returns:
            ``(H, W) uint16``, mm from the camera; 0 where nothing is measured: beside the face, whose hair and
            shoulders have no known depth, at its rim, and in small holes.
        """
        face = np.isfinite(height).astype(np.uint8)
        seen = cv2.erode(face, np.ones((_RIM, _RIM), np.uint8)).astype(bool)
        noise, holes = (_smooth(rng, height.shape, scale) for scale in (_SUPPORT, 2 * _SUPPORT))
        seen &= holes < _HOLES
        true = self.distance - np.where(seen, height, 0) * _EAR_TO_EAR / self.face_width
        return np.where(seen, np.rint(true + self.noise * noise), 0).astype(np.uint16)

    @property
    def _focal(self) -> float:
        return float(self.width / 2 / np.tan(_VIEW / 2))


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float32]:
    """A random field of deviation 1, correlated over so many px."""
    field = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), scale)
    return np.asarray(field * np.float32(2 * np.sqrt(np.pi) * scale))
