"""Every model of the registry as ONNX: one graph for any number of clips, in which onnxruntime finds what PyTorch does.

The smallest of each: an export takes its time for every layer.
"""

from typing import Any

import onnx
import pytest
import torch

from training.data.preparation import Normalisation
from training.inference.export import TOLERANCE, largest_difference, onnx_graph
from training.models.registry import model_facts, model_names
from training.models.trained_model import TrainedModel, TrainedModelHeader

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

SMALLER: dict[str, dict[str, Any]] = {
    "madv_net": {"dims": (16, 16, 16), "depths": (1, 1, 1), "head_dim": 16, "stem_width": 4, "au_layers": 1},
    "nr-dfernet": {"depth": 1},
    "videomae": {"depth": 1},
    "mae-dfer": {"depth": 1},
    "ststnet": {"flow_warps": 1, "flow_iterations": 2},
}


def trained(name: str) -> TrainedModel:
    """As if after some epochs: no weight where it began, discarding on."""
    header = TrainedModelHeader(
        model=name,
        model_options={**model_facts(name).fast, **SMALLER.get(name, {})},
        classes=("a", "b", "c"),
        frames=8 if name == "madv_net" else 4,
        size=32,
        action_units=("AU01", "AU12", "AU25"),
        normalisation=Normalisation(texture=(), depth=(), au=((0.1, 0.5),) * 3),
        fold="all",
        seed=0,
        epoch=7,
        threads=1,
    )
    torch.manual_seed(0)
    network = header.build().eval()
    network.on_epoch(60, 61)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    pixels = {
        "texture": ((0.5, 0.2), (0.4, 0.3), (0.3, 0.1)) if "texture" in network.inputs else (),
        "depth": ((0.4, 0.3),) if "depth" in network.inputs else (),
    }
    return TrainedModel(
        header.model_copy(update={"normalisation": header.normalisation.model_copy(update=pixels)}), network
    )


@pytest.mark.parametrize("name", model_names())
def test_graph_answers_as_the_model_does(name: str) -> None:
    """On one clip and on three, moving and still."""
    model = trained(name)
    graph = onnx_graph(model)
    onnx.checker.check_model(graph, full_check=True)
    reads = model.inputs | ({"apex"} if model.network.reads_apex else set())
    assert {entry.name for entry in graph.graph.input} == reads
    assert largest_difference(graph, model) <= TOLERANCE
