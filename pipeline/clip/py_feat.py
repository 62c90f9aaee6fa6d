"""Action units by py-feat 2's multitask network (Cheong et al., Affective Science 2023; ``feat.multitask``) alone.

No face detector, identity network or pickle of py-feat is loaded: the box is the clip's own, the weights are
safetensors. The 20 outputs are activations in [0, 1], not FACS intensities.
"""

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clip.aligned_clip import AlignedClip
from pipeline.clip.faces import turned
from pipeline.clip.mesh.geometry import AU_NAMES
from pipeline.weights.locate import LocatedWeights
from schemas.errors import ActionUnitError, WeightsInvalidError

_BATCH = 16  # chips; 0.8 MB each, and a GPU is not faster with more (py-feat's own figure)


class PyFeatActionUnits:
    """Activations of ``AU_NAMES`` for single frames of a clip.

    The face chip is cut from the source frame by py-feat's own function: the clip's box, squared to its longer side,
    1.2 times as large, reflected at the frame's edge, 256 px. One object may be shared by the threads of a worker.

    Args:
        located: the weights.
        device: a torch device; on CUDA py-feat runs under bf16 autocast, as the network was trained.

    Raises:
        WeightsInvalidError: not a safetensors file, damaged, of another architecture, or with other action units.
    """

    def __init__(self, located: LocatedWeights, *, device: str = "cpu") -> None:
        if located.path.suffix != ".safetensors":  # py-feat would unpickle any other file
            raise WeightsInvalidError(
                f"{located.path}: expected a .safetensors file; pickled weights can run any code and are refused"
            )
        self.device = torch.device(device)
        with _undisturbed():
            from feat.multitask.inference import CHIP_SIZE, EXPAND_BBOX
            from feat.utils.image_operations import extract_face_square_pad_torch

            self.model = _load(located, self.device)
        self._cut, self._side, self._margin = extract_face_square_pad_torch, CHIP_SIZE, EXPAND_BBOX
        self._lock = threading.Lock()

    def estimate(self, clip: AlignedClip, positions: Sequence[int]) -> NDArray[np.float32]:
        """``(len(positions), 20) float32`` in the order of ``AU_NAMES``, in [0, 1].

        Raises:
            ActionUnitError: the model failed, or an activation is not finite.
        """
        rows = [self._infer(clip, positions[i : i + _BATCH]) for i in range(0, len(positions), _BATCH)]
        return np.concatenate([np.empty((0, len(AU_NAMES)), np.float32), *rows])

    def chip(self, clip: AlignedClip, position: int) -> torch.Tensor:
        """The model's view of one frame, ``(3, 256, 256) float32`` RGB in [0, 1], on the device."""
        source, turns = clip.frames[position], clip.quarter_turns
        corners = turned(np.reshape(clip.box, (2, 2)), turns, source.shape)
        box = torch.tensor([[*corners.min(0).tolist(), *corners.max(0).tolist()]])
        frame = torch.tensor(np.rot90(source, turns).copy()).to(self.device)
        chips: torch.Tensor
        chips, _ = self._cut(frame.permute(2, 0, 1)[None] / 255, box, face_size=self._side, expand_bbox=self._margin)
        return chips[0]

    @torch.inference_mode()
    def _infer(self, clip: AlignedClip, positions: Sequence[int]) -> NDArray[np.float32]:
        chips = [self.chip(clip, position) for position in positions]
        try:
            with self._lock:
                found = np.asarray(self.model(torch.stack(chips)).au, np.float32)
        except RuntimeError as error:
            raise ActionUnitError(f"{clip.frames.paths[0]}: py-feat failed on {self.device}: {error}") from error
        finite = np.isfinite(found).all(axis=1)
        if not finite.all():
            number = clip.frames.numbers[positions[int(np.argmin(finite))]]
            raise ActionUnitError(
                f"{clip.frames.paths[0]}: the action units of frame {number} are not finite; the weights are damaged"
            )
        return found


def _load(located: LocatedWeights, device: torch.device) -> Any:
    from feat.multitask.inference import MultitaskModel

    try:
        model = MultitaskModel(device=device, weights_path=located.path)
    except Exception as error:  # damage shows as RuntimeError, TypeError, KeyError or safetensors' own type
        raise WeightsInvalidError(
            f"{located.path}: cannot be loaded as py-feat's multitask model ({type(error).__name__}: {error}); "
            "the file is damaged or of another model. Fetch or copy it again"
        ) from error
    if tuple(model.au_names) != AU_NAMES:
        raise WeightsInvalidError(
            f"{located.path}: has the action units {', '.join(model.au_names)}; expected {', '.join(AU_NAMES)}"
        )
    return model


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the caller's environment, warning filters and thread count through py-feat's import.

    It sets ``OMP_NUM_THREADS=1``, which would reach every process started later, and installs its own filters.
    Its imports also warn of deprecations in other packages, which nobody here can act upon.
    """
    variable, threads = os.environ.get("OMP_NUM_THREADS"), torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        os.environ.pop("OMP_NUM_THREADS", None)
        if variable is not None:
            os.environ["OMP_NUM_THREADS"] = variable
        torch.set_num_threads(threads)
