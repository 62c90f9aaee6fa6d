"""Published weights: every model that takes some computes with them what their publisher's network computes."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification

from schemas.errors import ConfigError, WeightsInvalidError
from schemas.weights import Weights
from training.config import TrainConfig
from training.fit.initial_weights import read_initial_weights
from training.models.base import ClipClassifier
from training.models.registry import create_model, model_facts, model_names

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = {"classes": 3, "frames": 4, "size": 32, "action_units": 5}
BLOCKS = {"layers": (1, 1, 1, 1)}  # of the small ResNet that stands for the published one
TINY = {"patch": 8, "dim": 12, "heads": 3, "depth": 2}

# The last part that is taken, behind those before it; its input and output in each network.
RESNETS: Mapping[str, Callable[[ClipClassifier, Tensor], Tensor]] = {
    "resnet18-lstm": lambda model, frames: model.backbone(frames).mean((2, 3)),
    "resnet18-gru": lambda model, frames: model.backbone(frames).mean((2, 3)),
    "former-dfer": lambda model, frames: model.last_stage(model.stages(model.stem(frames))).mean((2, 3)),
    "ceflnet": lambda model, frames: model.resnet(frames),
    "est": lambda model, frames: model.resnet(frames),
    "stt": lambda model, frames: model.features(frames).mean((2, 3)),
}


def config(model: str, source: str) -> TrainConfig:
    record = Weights(name=source, repository="tests/small", revision=None, file="model.safetensors", sha256="0" * 64)
    return TrainConfig(model=model, published=record)


def spread(network: nn.Module) -> nn.Module:
    """Every weight and statistic at random, so that one in another's place shows."""
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
        else:
            tensor.fill_(7)  # batches that a norm has seen
    return network.eval()


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResNet, Path]:
    """A small ImageNet network, and its file under the published names."""
    network = spread(ResNet(BasicBlock, list(BLOCKS["layers"])))
    path = tmp_path_factory.mktemp("published") / "model.safetensors"
    save_file(network.state_dict(), path)
    network.fc = nn.Identity()
    return network, path


def videomae_file(path: Path, source: str) -> nn.Module:
    """A small VideoMAE saved under the published names, those of transformers 4; the network."""
    about = VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=4, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=48, decoder_num_hidden_layers=1, decoder_hidden_size=12, decoder_num_attention_heads=3,
        num_labels=9, use_mean_pooling=source == "videomae-base-kinetics",
    )  # fmt: skip
    kind = VideoMAEForVideoClassification if source == "videomae-base-kinetics" else VideoMAEForPreTraining
    network = spread(kind(about))
    names = {"query.bias": "q_bias", "value.bias": "v_bias"}
    state = {}
    for name, tensor in network.state_dict().items():
        ending = next((ending for ending in names if name.endswith(ending)), "")
        state[name.removesuffix(ending) + names.get(ending, "")] = tensor
    assert sum(name.endswith("q_bias") for name in state) >= 2
    save_file(state, path)
    return network


def test_who_starts_from_what() -> None:
    """The table: ImageNet for what has a ResNet-18 in it, Kinetics for VideoMAE, nothing for the others."""
    found = {name: model_facts(name).sources for name in model_names() if model_facts(name).sources}
    assert found == {name: ("resnet18-imagenet",) for name in RESNETS} | {
        "videomae": ("videomae-base", "videomae-base-kinetics")
    }


@pytest.mark.parametrize("name", RESNETS)
def test_a_resnet_computes_what_torchvisions_does(name: str, resnet: tuple[ResNet, Path]) -> None:
    """The features of a frame are those of the published network; what is not of it stays as it was."""
    theirs, path = resnet
    model = create_model(name, **SHAPE, **BLOCKS).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    backbone = read_initial_weights(path, config(name, "resnet18-imagenet"))
    backbone.load(model)
    frames = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    stages = nn.Sequential(theirs.conv1, theirs.bn1, theirs.relu, theirs.maxpool, theirs.layer1, theirs.layer2)
    with torch.inference_mode():
        expected = theirs.layer4(theirs.layer3(stages(frames))).mean((2, 3))
        torch.testing.assert_close(RESNETS[name](model, frames), expected)
    fresh = {key for key, value in model.state_dict().items() if torch.equal(value, before[key])}
    assert fresh == before.keys() - backbone.state.keys()
    assert any(key.startswith(model.head_prefixes) for key in fresh)


@pytest.mark.parametrize("source", model_facts("videomae").sources)
def test_videomae_computes_what_theirs_does(source: str, tmp_path: Path) -> None:
    """Tokens are those of the published encoder, biases of queries and values included; the classifier is fresh."""
    theirs = videomae_file(tmp_path / "model.safetensors", source)
    model = create_model("videomae", **SHAPE, **TINY).eval()
    before = model.state_dict()["model.classifier.weight"].clone()
    read_initial_weights(tmp_path / "model.safetensors", config("videomae", source)).load(model)
    video = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs.videomae.layernorm = None  # before the decoder, or none where tokens are pooled
        torch.testing.assert_close(model.encode(video), theirs.videomae(video).last_hidden_state)
    assert torch.equal(model.state_dict()["model.classifier.weight"], before)
    norms = (model.model.fc_norm, nn.LayerNorm(12))
    taken = source == "videomae-base-kinetics"
    assert torch.equal(model.model.fc_norm.weight, theirs.fc_norm.weight if taken else norms[1].weight)


def test_weights_that_do_not_fit_are_named(resnet: tuple[ResNet, Path], tmp_path: Path) -> None:
    """Missing, unknown, misshaped, unreadable, of another model: each says what it is."""
    _, path = resnet
    about = config("est", "resnet18-imagenet")
    full = create_model("est", **SHAPE)  # two blocks a stage, the file has one
    with pytest.raises(
        ConfigError,
        match=r"(?s)do not fit this est; resnet18-imagenet is of its full size: leave out .*"
        r'Missing key\(s\) in state_dict: "resnet\.layer1\.1\.conv1\.weight"',
    ) as error:
        read_initial_weights(path, about).load(full)
    assert "resnet.layer2.0" not in str(error.value)

    narrow = create_model("resnet18-gru", **SHAPE, **BLOCKS, width=16)
    with pytest.raises(
        ConfigError, match=r"(?s)size mismatch for backbone\.0\.weight.*\[64, 3, 7, 7\].*\[16, 3, 7, 7\]"
    ):
        read_initial_weights(path, config("resnet18-gru", "resnet18-imagenet")).load(narrow)

    videomae_file(tmp_path / "videomae.safetensors", "videomae-base")
    with pytest.raises(
        ConfigError, match=r"videomae.safetensors: .* is no weight of resnet18-imagenet, from which est"
    ):
        read_initial_weights(tmp_path / "videomae.safetensors", about)

    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name in ("broken.safetensors", "none.safetensors"):
        with pytest.raises(WeightsInvalidError, match=rf"{name}: cannot be read as safetensors"):
            read_initial_weights(tmp_path / name, about)

    with pytest.raises(
        ConfigError, match="c3d has no published weights 'resnet18-imagenet'; it always starts from rand"
    ):
        read_initial_weights(path, config("c3d", "resnet18-imagenet"))
    with pytest.raises(
        ConfigError, match="no published weights 'resnet18-imagenet'; known are videomae-base, videomae-"
    ):
        read_initial_weights(path, config("videomae", "resnet18-imagenet"))
    with pytest.raises(ValueError, match="start from a pre-training run or from published weights, not from both"):
        TrainConfig(published=about.published, pretrained="0" * 64)
