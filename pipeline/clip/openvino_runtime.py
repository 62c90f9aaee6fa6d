"""Depth Anything on a CPU through OpenVINO, which is converted from the very model that PyTorch has loaded.

OpenVINO is no dependency of the rest (the extra ``cpu``). Nothing is read from the network and nothing sent: its
converter's command line, which counts its uses, is left out, and its PyTorch frontend called instead.
"""

import warnings
from collections.abc import Callable

import torch
from torch import nn

from schemas.config import DepthRuntime
from schemas.errors import ConfigError


class _Depth(nn.Module):
    """Pixels to depth: one tensor in, one out, as the converter traces it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        depth: torch.Tensor = self.model(pixels).predicted_depth
        return depth


def check_bf16() -> None:
    """Nothing, where this processor has units for bf16.

    Raises:
        ConfigError: it has none, and would be slower with it.
    """
    from openvino import Core

    if "BF16" not in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigError(
            "--depth-runtime openvino-bf16: this processor has no units for bf16, and is slower with it; "
            "choose --depth-runtime openvino"
        )


def compiled(model: nn.Module, size: int, runtime: DepthRuntime) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function ``(1, 3, I, I) float32`` -> ``(1, I, I) float32`` that computes what ``model`` does, on one thread.

    Args:
        model: Depth Anything, in eval mode, on the CPU.
        size: I, px.
        runtime: ``openvino`` computes in fp32, ``openvino-bf16`` in bf16.

    Raises:
        ConfigError: the processor has no units for bf16.
    """
    from openvino import Core
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    half = runtime == "openvino-bf16"
    if half:
        check_bf16()
    example = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing: what depends on the shape is constant, as the shape is
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(
            _Depth(model).eval(), example_input=(example,), trace_kwargs={"check_trace": False}
        )  # the check runs the model thrice more, and takes three times as long as all the rest
        graph = frontend.convert(frontend.load(decoder))
    graph.reshape(list(example.shape))
    precision = "bf16" if half else "f32"
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    network = Core().compile_model(graph, "CPU", options)
    return lambda pixels: torch.from_numpy(network(pixels.numpy())[0].copy())
