"""MTCNN (Zhang et al., IEEE SPL 2016; facenet-pytorch, whose wheel carries the weights)."""

from pipeline.clip.backends import DETECTORS, DetectorBackend, Setup
from pipeline.clip.faces import FaceDetector


@DETECTORS.register("mtcnn")
class MtcnnBackend(DetectorBackend):
    """The face detector ``mtcnn``."""

    package = "facenet-pytorch"
    revision = 2  # found at half scale, placed by the median of 13 passes

    @classmethod
    def load(cls, setup: Setup) -> FaceDetector:
        """Load the model."""
        from pipeline.clip.mtcnn import Mtcnn

        return Mtcnn(setup.device)
