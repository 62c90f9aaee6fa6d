"""Weights that a fold starts from: those of an earlier run, or those that others have published."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from schemas.errors import ConfigError, WeightsInvalidError
from training.config import TrainConfig
from training.models.base import ClipClassifier
from training.models.registry import published_weights
from training.models.tensor_file import read_tensors
from training.models.trained_model import TrainedModelHeader


@dataclass(frozen=True)
class InitialWeights:
    """A pre-trained state, by the names of the model that takes it.

    Attributes:
        state: the tensors.
        parts: of the model that they are of; ``None``: all but the heads.
        misfit: what is said where they do not fit.
    """

    state: dict[str, Tensor]
    parts: tuple[str, ...] | None
    misfit: str

    def load(self, network: ClipClassifier) -> None:
        """Put the weights into a network; what they are not of stays as it is.

        Raises:
            ConfigError: a weight is missing, unknown, or of another shape.
        """
        try:
            network.load_backbone(self.state, self.parts)
        except RuntimeError as error:
            raise ConfigError(f"{self.misfit}: {error}") from error


def read_initial_weights(path: Path, config: TrainConfig) -> InitialWeights:
    """The weights of a run, or the published ones that the config names.

    Args:
        path: a safetensors file.
        config: of the run that starts from it.

    Raises:
        ConfigError: the model takes no such published weights, or the file has parts that they have not.
        RunFolderError: not a file of a run that this version reads.
        WeightsInvalidError: the published file is missing, or no safetensors.
    """
    misfit = f"the pre-trained weights do not fit this {config.model}; "
    if config.published is None:
        state = read_tensors(path, TrainedModelHeader)[0]
        return InitialWeights(state, None, f"{misfit}pre-train with the same model, frames and size")
    layout = published_weights(config.model, config.published.name)
    try:
        theirs = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsInvalidError(f"{path}: cannot be read as safetensors ({error}); fetch or copy it again") from error
    if unknown := layout.unknown(theirs):
        raise ConfigError(
            f"{path}: {unknown[0]} is no weight of {layout.source}, from which {config.model} can start; is it a file "
            f"of another model?"
        )
    misfit += f"{layout.source} is of its full size: leave out the options that change it, as --recipe fast does"
    return InitialWeights(layout.renamed(theirs), layout.parts, misfit)
