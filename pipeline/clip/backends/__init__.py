"""Face detectors, depth backends and action unit backends: chosen by name, each a class that says what it is.

The classes here import the model itself when they load it: planning a run needs what they say alone, and PyTorch
takes seconds to import. Other packages add theirs by entry points of the groups ``mer.detectors``, ``mer.depth`` and
``mer.action_units``, each of which names a class.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from pipeline.clip.aligned_clip import ActionUnitEstimator, DepthEstimator
from pipeline.clip.faces import FaceDetector
from pipeline.weights.locate import LocatedWeights
from schemas.config import DepthRuntime, Device, PreprocessConfig
from schemas.manifest import ActionUnitKind, DepthKind
from schemas.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """What a backend is loaded with, once in every process.

    Attributes:
        config: the run's config.
        device: the device to run on.
        weights: weights on this machine, by name: all that the run's backends need.
    """

    config: PreprocessConfig
    device: Device
    weights: dict[str, LocatedWeights]


class Backend(ABC, Generic[T]):
    """A model that is chosen by name.

    Attributes:
        package: distribution whose version decides the result; the manifest records it.
        weights: name of its weights in ``pipeline.weights.sources``; ``None`` if it needs none.
        bibtex: the paper to cite, if there is one.
        revision: raised when it gives other values although ``package`` has the same version; the manifest records it.
    """

    package: ClassVar[str]
    weights: ClassVar[str | None] = None
    bibtex: ClassVar[str] = ""
    revision: ClassVar[int] = 1

    @classmethod
    @abstractmethod
    def load(cls, setup: Setup) -> T:
        """Load the model."""


class DetectorBackend(Backend[FaceDetector]):
    """A face detector."""


class DepthBackend(Backend[DepthEstimator]):
    """A depth backend.

    Attributes:
        kind: what its values mean.
        unit: unit of its values before they are normalised.
        prior: whether the shape is that of faces at large rather than measured on the person.
        measured: whether it reads the depth that the dataset ships.
        runtimes: what can compute it on a CPU.
    """

    kind: ClassVar[DepthKind]
    unit: ClassVar[str]
    prior: ClassVar[bool] = False
    measured: ClassVar[bool] = False
    runtimes: ClassVar[tuple[DepthRuntime, ...]] = ("torch",)

    @classmethod
    def advice_on_cpu(cls, config: PreprocessConfig) -> str:
        """What would make this config faster without a GPU; empty where nothing would."""
        return ""


class ActionUnitBackend(Backend[ActionUnitEstimator]):
    """An action unit backend.

    Attributes:
        names: its action units, in the order of its values.
        kind: what its values mean.
        unit: unit of its values.
    """

    names: ClassVar[tuple[str, ...]]
    kind: ClassVar[ActionUnitKind]
    unit: ClassVar[str]


DETECTORS: Registry[type[DetectorBackend]] = Registry("detectors", __name__, "face detectors")
DEPTH: Registry[type[DepthBackend]] = Registry("depth", __name__, "depth backends")
ACTION_UNITS: Registry[type[ActionUnitBackend]] = Registry("action_units", __name__, "action unit backends")
