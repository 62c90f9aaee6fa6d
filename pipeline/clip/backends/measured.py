"""The backend ``measured``: depth that the dataset itself ships, so that an estimator can be judged against it."""

from pipeline.clip.aligned_clip import DepthEstimator
from pipeline.clip.backends import DEPTH, DepthBackend, Setup


@DEPTH.register("measured")
class MeasuredDepthBackend(DepthBackend):
    """The depth backend ``measured``."""

    package = "madv-mer"
    kind = "metric depth"
    unit = "mm, minus the distance from the camera: larger is nearer"
    measured = True

    @classmethod
    def load(cls, setup: Setup) -> DepthEstimator:
        """Nothing has to be loaded but the code."""
        from pipeline.clip.measured_depth import MeasuredDepth

        return MeasuredDepth()
