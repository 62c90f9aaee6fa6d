"""`mer export --onnx`: a trained model as an ONNX graph that takes raw clips, checked against PyTorch.

onnx, onnxscript and onnxruntime are no dependency of the rest (the extra ``onnx``).
"""

import importlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from schemas.errors import ConfigError, RunFolderError
from schemas.output import replacing
from training.data.batch import ClipBatch
from training.fit.folder import RunFolder
from training.inference.predict import Ensemble
from training.models.trained_model import TrainedModel, load_trained_model

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # of probabilities and logits
OUTPUTS = ("probabilities", "logits")

_OPSET = 20
_ORDER = ("texture", "flow", "depth", "au", "apex")
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_CHECKED_BATCHES = (1, 3)  # clips; one alone, and another number than the graph was traced with


@dataclass(frozen=True)
class OnnxExport:
    """What was written.

    Attributes:
        path: of the file.
        model: whose it is: seed and fold.
        inputs: names of the graph's inputs.
        difference: largest from PyTorch that the check found.
    """

    path: Path
    model: str
    inputs: tuple[str, ...]
    difference: float


def export_onnx(run_folder: RunFolder, out: Path, *, fold: str | None = None, seed: int | None = None) -> OnnxExport:
    """Write one fold's model as ONNX, once onnxruntime agrees with PyTorch on it.

    Inputs are raw clips as stores hold them, B of them, those alone that the model reads: ``texture``
    ``(B, T, 3, S, S) uint8`` RGB, or ``flow`` ``(B, T, 2, S, S) float32`` in its place; ``depth`` ``(B, T, 1, S, S)
    float32``; ``au`` ``(B, A) float32``, apex minus onset; ``apex`` ``(B,) int64``, which frame it is. Motion and
    normalisation are part of the graph. Outputs are ``probabilities`` and ``logits``, ``(B, C) float32``. Classes,
    names of the AU columns and which model it is stand in the metadata.

    Args:
        run_folder: made by `mer train`.
        out: file to write.
        fold: name of the fold; by default the first one that has a model.
        seed: of the model; by default the first one.

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is not installed.
        RunFolderError: no run, no such model, or one that onnxruntime does not agree with PyTorch on.
    """
    _check_packages()
    ensemble = Ensemble.open(run_folder, fold=fold, seed=seed)
    chosen = ensemble.folders[0]
    model = load_trained_model(chosen.model, classes=ensemble.run.classes)
    graph = onnx_graph(model)
    difference = largest_difference(graph, model)
    if not difference <= TOLERANCE:
        raise RunFolderError(
            f"{chosen.model}: onnxruntime and PyTorch differ by {difference:.2g}, more than {TOLERANCE:g}; "
            f"{out} is not written. Another version of PyTorch, onnxscript or onnxruntime may agree"
        )
    with replacing(out) as file:
        file.write(graph.SerializeToString())
    return OnnxExport(out, chosen.name, _inputs(model), difference)


def onnx_graph(model: TrainedModel) -> "onnx.ModelProto":
    """The graph of a model with its normalisation, for any number of clips."""
    import onnx
    from torch.export import Dim

    names = _inputs(model)
    batch = Dim("batch", min=1)
    with warnings.catch_warnings(), torch.no_grad():
        # Every input has the same first dimension, and PyTorch says that it keeps one name for it. The other two are
        # about what it does itself with a recurrent layer.
        warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
        warnings.filterwarnings("ignore", message=r"The tensor attributes .*_flat_weights", category=UserWarning)
        warnings.filterwarnings("ignore", message="_check_is_size will be removed", category=FutureWarning)
        program = torch.onnx.export(
            _RawClips(model).eval(),
            tuple(_noise(model, 2, seed=0)[name] for name in names),
            dynamo=True,
            dynamic_shapes={"clips": tuple({0: batch} for _ in names)},
            input_names=names,
            output_names=OUTPUTS,
            opset_version=_OPSET,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort()},
            verbose=False,
        )
    assert program is not None, "dynamo=True returns a program"
    graph: onnx.ModelProto = program.model_proto
    header = model.header
    about = header.model_dump(mode="json", exclude={"format", "format_version", "normalisation", "threads"})
    onnx.helper.set_model_props(
        graph, {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    )
    onnx.checker.check_model(graph)
    return graph


def largest_difference(graph: "onnx.ModelProto", model: TrainedModel) -> float:
    """Largest absolute difference of an output between onnxruntime and PyTorch, on noise, moving and standing still."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    network, differences = _RawClips(model).eval(), []
    for count in _CHECKED_BATCHES:
        moving = _noise(model, count, seed=count)
        still = {name: v if name in ("au", "apex") else v[:, :1].expand_as(v) for name, v in moving.items()}
        for clips in (moving, still):
            fed = {name: clips[name].contiguous() for name in _inputs(model)}
            with torch.no_grad():
                expected = network(*fed.values())
            found = session.run(OUTPUTS, {name: tensor.numpy() for name, tensor in fed.items()})
            differences += [
                (torch.from_numpy(mine) - theirs).abs().max() for mine, theirs in zip(found, expected, strict=True)
            ]
    return float(torch.stack(differences).max())  # NaN stays NaN


class _RawClips(nn.Module):
    """A trained model as a function of the raw tensors that it reads, in the order of ``_inputs``."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self._model, self._names = model, _inputs(model)
        self.network = model.network

    def forward(self, *clips: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C)`` probabilities and logits."""
        given, header = dict(zip(self._names, clips, strict=True)), self._model.header
        count, first = clips[0].shape[0], clips[0]
        absent = first.new_zeros((count, header.frames, 0, header.size, header.size), dtype=torch.float32)
        batch = ClipBatch(
            texture=given.get("texture", absent),
            depth=given.get("depth", absent),
            au=given.get("au", first.new_zeros((count, len(header.action_units)), dtype=torch.float32)),
            flow=given.get("flow"),
            apex=given.get("apex"),
        )
        logits = self.network(self._model.prepare(batch)).logits.float()
        return logits.softmax(-1), logits


def _inputs(model: TrainedModel) -> tuple[str, ...]:
    names = {*model.inputs, "apex"} if model.network.reads_apex else model.inputs
    return tuple(name for name in _ORDER if name in names)


def _noise(model: TrainedModel, count: int, *, seed: int) -> dict[str, Tensor]:
    """Clips of noise, in the ranges of raw ones."""
    header, random = model.header, torch.Generator().manual_seed(seed)
    shape = (count, header.frames, 3, header.size, header.size)
    return {
        "texture": torch.randint(256, shape, generator=random, dtype=torch.uint8),
        "depth": torch.rand((*shape[:2], 1, *shape[3:]), generator=random),
        "au": torch.rand(count, len(header.action_units), generator=random) - 0.3,
        "flow": torch.randn((*shape[:2], 2, *shape[3:]), generator=random),
        "apex": torch.randint(1, header.frames, (count,), generator=random),
    }


def _stable_sort() -> Callable[..., Any]:
    """ONNX for ``aten.sort.stable``, which PyTorch's exporter lacks: TopK leaves equal values in their order."""
    op: Any = importlib.import_module("onnxscript").opset20  # its own types refuse its own tensors

    def sort(self: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Sequence[Any]:
        size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))
        ordered: Sequence[Any] = op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)
        return ordered

    return sort


def _check_packages() -> None:
    missing = []
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"exporting to ONNX needs {', '.join(missing)}, not installed here; "
            f"`uv sync --extra onnx`, or `pip install {' '.join(missing)}`"
        )
