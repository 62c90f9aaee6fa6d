"""py-feat 2's multitask network (Cheong et al., Affective Science 2023)."""

from pipeline.clip.aligned_clip import ActionUnitEstimator
from pipeline.clip.backends import ACTION_UNITS, ActionUnitBackend, Setup
from pipeline.clip.mesh.geometry import AU_NAMES

BIBTEX = """\
@article{cheong2023pyfeat,
  author  = {Cheong, Jin Hyun and Jolly, Eshin and Xie, Tiankang and Byrne, Sophie and Kenney, Matthew and
             Chang, Luke J.},
  title   = {{Py-Feat}: {Python} Facial Expression Analysis Toolbox},
  journal = {Affective Science},
  volume  = {4},
  number  = {4},
  pages   = {781--796},
  year    = {2023},
  doi     = {10.1007/s42761-023-00191-4}
}"""


@ACTION_UNITS.register("py-feat")
class PyFeatBackend(ActionUnitBackend):
    """The action unit backend ``py-feat``."""

    package = "py-feat"
    weights = "py-feat"
    bibtex = BIBTEX
    names = AU_NAMES
    kind = "activation"
    unit = "probability in [0, 1], not FACS 0-5"

    @classmethod
    def load(cls, setup: Setup) -> ActionUnitEstimator:
        """Load the model."""
        from pipeline.clip.py_feat import PyFeatActionUnits

        return PyFeatActionUnits(setup.weights["py-feat"], device=setup.device)
