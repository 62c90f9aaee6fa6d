"""Pre-training by masked frame differences: what is hidden, what is asked for, and that it can be learned."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from schemas.errors import ConfigError
from tests.training.small_stores import MODEL
from training.data.batch import INPUTS, ClipBatch, Input
from training.models.base import ClipClassifier, Prediction
from training.models.frame_difference import FrameDifferencePretraining, hidden_blocks
from training.models.registry import create_model

SIDE, FRAMES = 32, 8


class Plain(ClipClassifier):
    """One convolution, which keeps what it was shown."""

    head_prefixes = ()

    def __init__(self, inputs: frozenset[Input] = INPUTS, *, maps: bool = True) -> None:
        super().__init__()
        self.inputs = inputs
        self.feature_width = 4 if maps else None
        self.convolution = nn.Conv3d(4, 4, 3, padding=1)
        self.shown: list[ClipBatch] = []

    def forward(self, batch: ClipBatch) -> Prediction:
        """Logits from the means of the maps."""
        return Prediction(self.feature_maps(batch).mean((2, 3, 4))[:, :2])

    def feature_maps(self, batch: ClipBatch) -> Tensor:
        """``(B, 4, T, H, W)``."""
        self.shown.append(batch)
        video = torch.cat([batch.texture, batch.depth], 2).transpose(1, 2)
        return torch.as_tensor(self.convolution(video))


def clips(count: int = 4) -> ClipBatch:
    """A still noise in which one corner brightens."""
    random = torch.Generator().manual_seed(0)
    still = torch.randn(count, 1, 4, SIDE, SIDE, generator=random).expand(-1, FRAMES, -1, -1, -1).clone()
    still[:, :, :, :8, :8] += torch.linspace(0, 3, FRAMES).view(-1, 1, 1, 1)
    still = still + 0.05 * torch.randn(still.shape, generator=random)
    return ClipBatch(
        texture=still[:, :, :3], depth=still[:, :, 3:], au=torch.randn(count, 4, generator=random),
        label=torch.zeros(count, dtype=torch.int64),
    )  # fmt: skip


def run(network: Plain, batch: ClipBatch) -> tuple[ClipBatch, Prediction]:
    """What the network was shown, and the answer; the draw is always the same."""
    torch.manual_seed(3)
    prediction = FrameDifferencePretraining(network)(batch)
    return network.shown[-1], prediction


def test_what_is_hidden_has_no_influence() -> None:
    """Hidden blocks whose motion is reversed, which leaves the draw as it is, show the network the same clip."""
    network, batch = Plain(), clips()
    shown, prediction = run(network, batch)
    hidden = nn.functional.interpolate(prediction.auxiliary["hidden"][:, 0, 0].float()[:, None], SIDE)[:, None] > 0

    def reversed_there(video: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, 2 * video[:, :1] - video, video)

    def reversed_in(where: Tensor) -> ClipBatch:
        return replace(
            batch, texture=reversed_there(batch.texture, where), depth=reversed_there(batch.depth, where)
        )  # fmt: skip

    shown_hidden, prediction_hidden = run(network, reversed_in(hidden))
    assert torch.equal(prediction_hidden.auxiliary["hidden"], prediction.auxiliary["hidden"])
    assert torch.equal(shown_hidden.texture, shown.texture)
    assert torch.equal(shown_hidden.depth, shown.depth)
    assert not torch.allclose(prediction_hidden.auxiliary["target"], prediction.auxiliary["target"], atol=0.1)

    shown_rest, _ = run(network, reversed_in(~hidden))
    assert not torch.equal(shown_rest.texture, shown.texture)


def test_a_hidden_block_shows_its_onset_throughout() -> None:
    """Half of the blocks do, in all frames of texture and depth alike; the others show the clip as it is."""
    batch = clips()
    shown, prediction = run(Plain(), batch)
    hidden = nn.functional.interpolate(prediction.auxiliary["hidden"][:, 0, 0].float()[:, None], SIDE)[:, None] > 0
    assert hidden.float().mean((1, 2, 3, 4)).tolist() == [0.5] * 4
    for name in ("texture", "depth"):
        before, after = getattr(batch, name), getattr(shown, name)
        assert torch.equal(after, torch.where(hidden, before[:, :1], before))


def test_action_units_are_not_seen() -> None:
    """They would tell what moved."""
    shown, _ = run(Plain(), clips())
    assert not shown.au.any()


def test_the_target_is_the_difference_from_onset() -> None:
    """Means over cells of 2 x 2 pixels here; 0 in the first frame."""
    batch = clips()
    _, prediction = run(Plain(), batch)
    target = prediction.auxiliary["target"]
    video = torch.cat([batch.texture, batch.depth], 2)
    cells = (video - video[:, :1]).unflatten(-1, (16, 2)).unflatten(-3, (16, 2)).mean((-1, -3)).transpose(1, 2)
    torch.testing.assert_close(target, cells)
    assert not target[:, :, 0].any()


def test_only_what_the_model_reads_is_asked_for() -> None:
    """Without depth three channels are, and a model that knows nothing has loss 1 whatever the motion's size."""
    batch = clips()
    for inputs, channels in ((INPUTS, 4), (frozenset[Input](["texture", "au"]), 3), (frozenset[Input](["depth"]), 1)):
        pretraining = FrameDifferencePretraining(Plain(inputs))
        nn.init.zeros_(pretraining.decoder.weight)
        assert pretraining.decoder.bias is not None
        nn.init.zeros_(pretraining.decoder.bias)
        for scale in (1, 10):
            scaled = replace(batch, texture=scale * batch.texture, depth=scale * batch.depth)
            prediction = pretraining(scaled)
            assert prediction.auxiliary["target"].shape == (4, channels, FRAMES, 16, 16)
            assert pretraining.loss(prediction, scaled)["reconstruction"].item() == pytest.approx(1, rel=1e-5)


def test_a_still_clip_is_no_division_by_zero() -> None:
    """Nothing moves, nothing is to be learned, the loss stays a number."""
    batch = clips()
    still = replace(batch, texture=batch.texture[:, :1].expand_as(batch.texture).contiguous(),
                    depth=batch.depth[:, :1].expand_as(batch.depth).contiguous())  # fmt: skip
    pretraining = FrameDifferencePretraining(Plain())
    loss = pretraining.loss(pretraining(still), still)["reconstruction"]
    loss.backward()
    assert torch.isfinite(loss)


def test_what_moves_is_hidden_more_often() -> None:
    """A block with nine tenths of the motion nearly always; half of the blocks every time, never all the same."""
    torch.manual_seed(0)
    motion = torch.full((400, 1, 2, 16, 16), 0.1)
    motion[..., :2, :2] = 3
    hidden = hidden_blocks(motion)
    assert hidden.flatten(1).sum(1).tolist() == [32] * 400
    often = hidden.float().mean(0)
    assert often[0, 0] > 0.99
    assert often.flatten()[1:].min() > 0.4
    assert often.flatten()[1:].max() < 0.6


@pytest.mark.slow
def test_the_loss_falls() -> None:
    """MADV-Net learns how the hidden blocks of a few clips moved, better than to know nothing."""
    torch.manual_seed(0)
    network = create_model("madv_net", classes=2, frames=FRAMES, size=SIDE, action_units=4, **MODEL)
    pretraining, batch = FrameDifferencePretraining(network), clips()
    optimiser = torch.optim.AdamW(pretraining.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = pretraining.loss(pretraining(batch), batch)["reconstruction"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.8 * sum(losses[:5]) / 5
    assert sum(losses[-5:]) / 5 < 0.8


def test_a_model_without_feature_maps_is_refused() -> None:
    """By its name, before anything is trained."""
    with pytest.raises(ConfigError, match="Plain has no feature maps, and cannot be pre-trained in this way"):
        FrameDifferencePretraining(Plain(maps=False))
