"""The embedded backend ``mesh``: depth and action units from the canonical face mesh, with no weights to fetch."""

from pipeline.clip.aligned_clip import ActionUnitEstimator, DepthEstimator
from pipeline.clip.backends import ACTION_UNITS, DEPTH, ActionUnitBackend, DepthBackend, Setup
from pipeline.clip.backends.py_feat import BIBTEX  # whose face model the mesh is
from pipeline.clip.mesh.geometry import AU_NAMES


@DEPTH.register("mesh")
class MeshDepthBackend(DepthBackend):
    """The depth backend ``mesh``."""

    package = "madv-mer"
    revision = 2  # follows the fast flow
    bibtex = BIBTEX
    kind = "relative depth"
    unit = "px of the crop, larger is nearer"
    prior = True

    @classmethod
    def load(cls, setup: Setup) -> DepthEstimator:
        """Load the mesh."""
        from pipeline.clip.mesh.estimators import MeshDepth

        return MeshDepth(setup.config.size)


@ACTION_UNITS.register("mesh")
class MeshActionUnitBackend(ActionUnitBackend):
    """The action unit backend ``mesh``."""

    package = "madv-mer"
    bibtex = BIBTEX
    names = AU_NAMES
    kind = "activation"
    unit = "activation of py-feat's linear face mesh model against onset (0 to about 1), not FACS 0-5"

    @classmethod
    def load(cls, setup: Setup) -> ActionUnitEstimator:
        """Load the mesh."""
        from pipeline.clip.mesh.estimators import MeshActionUnits

        return MeshActionUnits(setup.config.size)
