"""Transformer baselines: their parts against plain references, order task, compact loss, masked pre-training."""

from collections.abc import Callable
from itertools import combinations, pairwise
from operator import ne

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import ClipClassifier
from training.models.baselines.ceflnet import CEFLNet
from training.models.baselines.est import EST, distant_orders
from training.models.baselines.former_dfer import FormerDFER
from training.models.baselines.mae_dfer import MAEDFER, LocalGlobalBlock, MAEDFERConfig, raster_of_regions
from training.models.baselines.masked_pretraining import (
    MaskedAutoencoder,
    MaskedPretraining,
    hidden_tubes,
    patch_targets,
)
from training.models.baselines.nr_dfernet import NRDFERNet
from training.models.baselines.snippets import windows
from training.models.baselines.stt import STT, FactorisedBlock, compact_loss
from training.models.baselines.transformer import Attention, Block, sinusoids
from training.models.baselines.videomae import VideoMAE

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = {"classes": 3, "frames": 8, "size": 32, "action_units": 5}
RESNET = {"layers": (1, 1, 1, 1)}
TINY_EST: dict[str, object] = {**RESNET, "depth": 1, "hidden": 32, "order_hidden": 64, "dropout": 0.0}
TINY_MASKED: dict[str, object] = {
    "patch": 8,
    "dim": 32,
    "heads": 2,
    "depth": 2,
    "decoder_dim": 32,
    "decoder_depth": 1,
    "decoder_heads": 2,
}
masked_models = pytest.mark.parametrize("build", [VideoMAE.build, MAEDFER.build], ids=["videomae", "mae_dfer"])
Masked = Callable[..., MaskedAutoencoder]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def clips(count: int, *, frames: int = 8, size: int = 32) -> ClipBatch:
    g = torch.Generator().manual_seed(1)
    return ClipBatch(
        texture=torch.randn(count, frames, 3, size, size, generator=g),
        depth=torch.zeros(count, frames, 0, size, size),
        au=torch.zeros(count, 5),
        label=torch.arange(count) % 3,
    )


def with_texture(texture: Tensor) -> ClipBatch:
    return ClipBatch(texture=texture, depth=texture[:, :, :0], au=torch.zeros(len(texture), 5))


def attended(attention: Attention, x: Tensor, context: Tensor) -> Tensor:
    """Attention of ``(N, D)`` to ``(M, D)``, head by head and query by query."""
    q, k, v = attention.query(x), attention.key(context), attention.value(context)
    width = q.shape[-1] // attention.heads
    rows = []
    for query in q:
        heads = []
        for i in range(0, q.shape[-1], width):
            scores = torch.stack([query[i : i + width] @ key[i : i + width] / width**0.5 for key in k])
            heads.append((scores.exp() / scores.exp().sum())[:, None].mul(v[:, i : i + width]).sum(0))
        rows.append(attention.out(torch.cat(heads)))
    return torch.stack(rows)


@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_that_of_the_textbook(bias: bool) -> None:
    """Of tokens among themselves and to others, with heads of any width."""
    attention = Attention(6, 2, 5, bias=bias)
    for layer in (attention.query, attention.value):
        if bias:
            nn.init.normal_(layer.bias)
    x, context = torch.randn(2, 4, 6), torch.randn(2, 3, 6)
    for i in range(2):
        torch.testing.assert_close(attention(x)[i], attended(attention, x[i], x[i]))
        torch.testing.assert_close(attention(x, context)[i], attended(attention, x[i], context[i]))


def test_block_is_that_of_pytorch() -> None:
    """With heads that divide the width, a block is a pre-norm ``nn.TransformerEncoderLayer`` of the same weights."""
    block = Block(8, 2, 4, 12)
    theirs = nn.TransformerEncoderLayer(8, 2, 12, 0.0, F.gelu, batch_first=True, norm_first=True)
    ours, attention = block.attention, theirs.self_attn
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat((ours.query.weight, ours.key.weight, ours.value.weight)))
        attention.in_proj_bias.zero_()
    attention.out_proj.load_state_dict(ours.out.state_dict())
    theirs.linear1.load_state_dict(block.mlp[0].state_dict())
    theirs.linear2.load_state_dict(block.mlp[2].state_dict())
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(block(x), theirs(x))


def test_positions_are_sinusoids() -> None:
    """Sine and cosine in turn, over 10000 ** (2 i / D)."""
    table = sinusoids(50, 12)
    for position, i in ((0, 0), (7, 0), (7, 3), (49, 5)):
        angle = position / 10000 ** (2 * i / 12)
        assert table[position, 2 * i : 2 * i + 2].tolist() == pytest.approx([np.sin(angle), np.cos(angle)], abs=1e-5)


def test_former_dfer_knows_the_order_of_frames() -> None:
    """A clip that runs backwards is another clip, though its frames are the same; without positions it is not."""
    model = FormerDFER.build(**SHAPE, **RESNET, temporal_depth=1, temporal_head_dim=8, temporal_hidden=32).eval()
    texture = clips(1).texture
    answer = model(with_texture(texture)).logits
    frames = model.forward_spatial(texture)
    torch.testing.assert_close(model.forward_spatial(texture.flip(1)), frames.flip(1))
    assert not torch.allclose(model(with_texture(texture.flip(1))).logits, answer, atol=1e-3)
    with torch.no_grad():
        model.temporal_positions.zero_()
    torch.testing.assert_close(
        model(with_texture(texture.flip(1))).logits, model(with_texture(texture)).logits, rtol=1e-3, atol=1e-4
    )


def test_windows_spread_over_the_clip() -> None:
    """Side by side as published, overlapping in a shorter clip, and no frame is invented in the shortest."""
    assert windows(35, count=7, length=5).flatten().tolist() == list(range(35))
    found = windows(16, count=7, length=5)
    assert found[:, 0].tolist() == [0, 2, 4, 6, 7, 9, 11]
    assert (found.diff(dim=1) == 1).all()
    assert set(windows(8, count=7, length=5).flatten().tolist()) == set(range(8))
    assert windows(3, count=7, length=5).tolist() == [[0, 1, 2, 2, 2]] * 7


def features_of(model: CEFLNet | EST, video: Tensor) -> list[list[Tensor]]:
    """A snippet's ``(5, D)`` features, for each snippet of each clip."""
    return [[model.resnet(clip[frames]) for frames in model.frames_of] for clip in video]


@torch.no_grad()
def test_ceflnet_sums_up_snippets_as_published() -> None:
    """Frame by frame: [f ; g] weighed by a sigmoid of itself; the maximum over snippets of softmax times feature."""
    model, batch = CEFLNet.build(**SHAPE, **RESNET).eval(), clips(2)
    prediction = model(batch)
    for i, snippets in enumerate(features_of(model, batch.texture)):
        rows = []
        for frames in snippets:
            mixed = model.context.attention(frames[None], frames[None], frames[None])[0][0]
            common = model.context.norm(frames + mixed).max(0).values
            pairs = [torch.cat((frame, common)) for frame in frames]
            weights = [torch.sigmoid(model.frame_weight[1](pair)) for pair in pairs]
            rows.append(model.fuse(sum(w * pair for w, pair in zip(weights, pairs, strict=True)) / sum(weights)))
        scores = torch.cat([model.activation(row) for row in rows]).softmax(0)
        clip = torch.stack([score * row for score, row in zip(scores, rows, strict=True)]).max(0).values
        torch.testing.assert_close(prediction.auxiliary["activation"][i], scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(prediction.logits[i], model.head(model.mlp(clip)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_est_weighs_frames_by_resemblance() -> None:
    """Frame by frame: the cosine to what the snippet has in common, nothing for a frame that points away from it."""
    model, batch = EST.build(**SHAPE, **TINY_EST).eval(), clips(2)
    found = model.forward_snippets(batch.texture)
    for i, snippets in enumerate(features_of(model, batch.texture)):
        for j, frames in enumerate(snippets):
            mixed = model.context.attention(frames[None], frames[None], frames[None])[0][0]
            common = model.context.norm(frames + mixed).max(0).values
            weights = [max(float(frame @ common / frame.norm() / common.norm()), 0.0) for frame in frames]
            expected = sum(w * frame for w, frame in zip(weights, frames, strict=True)) / sum(weights)
            torch.testing.assert_close(found[i, j], expected, rtol=1e-4, atol=1e-5)
    nn.init.constant_(model.context.norm.weight, 0)
    nn.init.constant_(model.context.norm.bias, -1)  # features are behind a ReLU: all of them point away
    assert model.forward_snippets(batch.texture).abs().max() == 0


def test_orders_are_as_unlike_as_can_be() -> None:
    """Ten permutations of seven, the true order first; seven of them share no place, and no two more than two."""
    orders = distant_orders(7, 10).tolist()
    assert orders[0] == list(range(7))
    assert all(sorted(order) == list(range(7)) for order in orders)
    distances = {pair: sum(map(ne, orders[pair[0]], orders[pair[1]])) for pair in combinations(range(10), 2)}
    assert all(distances[pair] == 7 for pair in combinations(range(7), 2))
    assert min(distances.values()) == 5
    assert len({tuple(order) for order in distant_orders(4, 24).tolist()}) == 24


def test_snippets_are_shuffled_in_training_alone() -> None:
    """The encoder reads the true order in eval mode, and in training the one that the order task is told."""
    model, batch = EST.build(**SHAPE, **TINY_EST), clips(6)
    seen: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0] - model.positions))
    assert model.eval()(batch).auxiliary == {}
    model.train()
    model.resnet.eval()  # its batch norm is not what is looked at
    prediction = model(batch)
    drawn = prediction.auxiliary["order"]
    assert len(drawn.unique()) > 1
    for i, order in enumerate(drawn):
        torch.testing.assert_close(seen[1][i], seen[0][i, model.orders[order]])
    terms = model.loss(prediction, batch)
    torch.testing.assert_close(terms["order"], F.cross_entropy(prediction.auxiliary["order_logits"], drawn) / 7)
    assert set(model.loss(model.eval()(batch), batch)) == {"cross_entropy"}


@pytest.mark.slow
def test_order_can_be_learned() -> None:
    """Of one clip whose snippets all differ, the order that they come in is soon told; chance is ln 10."""
    model = EST.build(**SHAPE, **TINY_EST, length=2)
    model.resnet.requires_grad_(False)
    batch = with_texture(clips(1).texture.expand(8, -1, -1, -1, -1))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(30):
        auxiliary = model(batch).auxiliary
        loss = F.cross_entropy(auxiliary["order_logits"], auxiliary["order"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 * np.log(10)


@torch.no_grad()
def test_stt_attends_in_time_then_in_space() -> None:
    """Place by place along time, frame by frame over places, token by token in the MLP; each after its norm."""
    block = FactorisedBlock(2, 4, 8)
    x = torch.randn(2, 3, 4, 512)
    found = block(x)
    for clip, expected in zip(x, found, strict=True):
        after = clip.clone()
        for place in range(4):
            track = block.time_norm(clip[:, place])
            after[:, place] += attended(block.time, track, track)
        for frame in after:
            tokens = block.space_norm(frame)
            frame += attended(block.space, tokens, tokens)
        torch.testing.assert_close(expected, after + block.mlp(block.mlp_norm(after)), rtol=1e-4, atol=1e-4)


def test_compact_loss_is_a_divergence_of_the_wrong_classes() -> None:
    """KL from uniform by hand; 0 where the wrong classes are alike or but one; the right one's logit is not in it."""
    logits, target = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 3, 1, 1, 2])
    expected = []
    for row, right in zip(logits.tolist(), target.tolist(), strict=True):
        wrong = np.exp([value for i, value in enumerate(row) if i != right])
        expected.append(sum(np.log((1 / 3) / q) / 3 for q in wrong / wrong.sum()))
    loss = compact_loss(logits, target)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    right = F.one_hot(target, 4).bool()
    assert (logits.grad[right] == 0).all()
    assert (logits.grad[~right] != 0).all()
    assert compact_loss(torch.tensor([[5.0, 1.0, 1.0]]), torch.tensor([0])).item() == pytest.approx(0, abs=1e-6)
    assert compact_loss(torch.tensor([[5.0, -3.0]]), torch.tensor([0])) == 0

    model, batch = STT.build(**SHAPE, **RESNET, depth=1, head_dim=4, hidden=8, compact_weight=0.25), clips(3)
    prediction = model(batch)
    terms = model.loss(prediction, batch)
    assert set(terms) == {"cross_entropy", "compact"}
    torch.testing.assert_close(terms["compact"], compact_loss(prediction.logits, batch.targets()) / 4)


def tiny_nr_dfernet(**options: object) -> NRDFERNet:
    torch.manual_seed(0)
    return NRDFERNet.build(**SHAPE, width=4, depth=1, head_dim=4, spatial_hidden=8, temporal_hidden=8, **options).eval()


@torch.no_grad()
def test_nr_dfernet_adds_motion_to_each_step() -> None:
    """The dynamic branch reads differences of adjacent frames: nothing where the clip stands still."""
    model, texture = tiny_nr_dfernet(), clips(2).texture
    read: list[Tensor] = []
    model.dynamic.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    steps = model.forward_steps(texture)
    model.forward_steps(texture[:, :1].expand_as(texture))
    assert steps.shape == (2, 7, 16)
    maps = [model.features(frame) for frame in texture.transpose(0, 1)]
    expected = torch.stack([after - before for before, after in pairwise(maps)], 1)
    torch.testing.assert_close(read[0].unflatten(0, (2, 7)), expected, rtol=1e-4, atol=1e-5)
    assert read[1].abs().max() < 1e-5


@torch.no_grad()
def test_class_token_is_the_mean_step() -> None:
    """What the temporal transformer reads first is the mean of the steps, at a place of its own."""
    model = tiny_nr_dfernet()
    read: list[Tensor] = []
    model.temporal.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0] - model.times))
    steps = torch.randn(2, 7, 16)
    model.forward_head(steps, first=0)
    torch.testing.assert_close(read[0], torch.cat((steps.mean(1, keepdim=True), steps), 1))


@torch.no_grad()
def test_snippet_filter_doubts_neutral_alone() -> None:
    """A clip found neutral takes the mean of its snippets that are not; any other, and all in training, stay."""
    plain = tiny_nr_dfernet()
    nn.init.zeros_(plain.head.bias)
    nn.init.normal_(plain.head.weight)
    state, batch = plain.state_dict(), clips(12)
    logits = plain(batch).logits
    neutral = int(logits.argmax(1).mode().values)
    filtered = tiny_nr_dfernet(neutral=neutral, filter_steps=2)
    filtered.load_state_dict(state)
    found, steps, changed = filtered(batch).logits, filtered.forward_steps(batch.texture), 0
    for i, row in enumerate(logits):
        parts = [filtered.forward_head(steps[i : i + 1, j : j + 2], first=j)[0] for j in (0, 2, 4)]
        moved = [part for part in parts if part.argmax() != neutral]
        replaced = row.argmax() == neutral and moved
        changed += bool(replaced)
        torch.testing.assert_close(found[i], torch.stack(moved).mean(0) if replaced else row, rtol=1e-4, atol=1e-4)
    assert 0 < changed < len(logits)
    filtered.train()
    plain.train()
    torch.testing.assert_close(filtered(batch).logits, plain(batch).logits)


@pytest.mark.parametrize(
    ("grid", "window", "few"),
    [
        ((8, 10, 10), (10, 10), 90),
        ((8, 10, 10), (5, 10), 45),
        ((4, 4, 4), (4, 4), 14),
        ((2, 2, 2), (2, 2), 3),
        ((2, 6, 4), (3, 2), 5),
    ],
)
def test_tubes_hide_equally_many_everywhere(grid: tuple[int, int, int], window: tuple[int, int], few: int) -> None:
    """Nine tenths of every window, rounded down, the same places in all frames, others in each clip, each drawn."""
    hidden = hidden_tubes(40, grid, window, 0.9, torch.device("cpu")).view(40, *grid)
    assert (hidden == hidden[:, :1]).all()
    counts = hidden[:, 0].unfold(1, window[0], window[0]).unfold(2, window[1], window[1]).sum((-2, -1))
    assert (counts == few).all()
    assert not (hidden[0] == hidden).all()
    assert hidden[:, 0].any(0).all()


def test_targets_are_normalised_patches_and_their_differences() -> None:
    """By hand for one patch: values over a tubelet have mean 0 and variance 1 a channel; then differences of frames."""
    video = torch.randn(2, 4, 3, 16, 24) * 5 + 7
    plain = patch_targets(video, 8, 2, difference=False)
    assert plain.shape == (2, 2 * 2 * 3, 2 * 8 * 8 * 3)
    patch = video[1, 2:4, :, 8:16, 16:24]  # the last of the raster
    mean, deviation = patch.mean((0, 2, 3), keepdim=True), patch.std((0, 2, 3), keepdim=True)
    normal = ((patch - mean) / deviation).permute(0, 2, 3, 1)
    torch.testing.assert_close(plain[1, -1], normal.flatten(), rtol=1e-4, atol=1e-5)
    moved = patch_targets(video, 8, 2, difference=True)
    expected = torch.stack((normal[0], normal[1] - normal[0]))
    torch.testing.assert_close(moved[1, -1], expected.flatten(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(patch_targets(video * 3 - 1, 8, 2, difference=False), plain, rtol=1e-3, atol=1e-4)


def test_videomae_pretrains_as_transformers_does() -> None:
    """With the same weights and the same patches hidden, the reconstruction and the loss are the library's."""
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    network, batch = VideoMAE.build(**SHAPE, **TINY_MASKED), clips(2)
    ours = MaskedPretraining(network)
    theirs = VideoMAEForPreTraining(
        VideoMAEConfig(
            image_size=32,
            patch_size=8,
            num_frames=8,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            decoder_hidden_size=32,
            decoder_num_hidden_layers=1,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=128,
            use_mean_pooling=False,  # the norm after the encoder
        )
    )
    nn.init.normal_(ours.norm.weight)
    nn.init.normal_(ours.mask_token)
    encoder = network.model.videomae.state_dict()
    theirs.videomae.load_state_dict(encoder | {f"layernorm.{k}": v for k, v in ours.norm.state_dict().items()})
    theirs.encoder_to_decoder.load_state_dict(ours.narrow.state_dict())
    theirs.decoder.load_state_dict(ours.decoder.state_dict())
    theirs.mask_token = ours.mask_token

    torch.manual_seed(5)
    prediction = ours(batch)
    torch.manual_seed(5)
    hidden = hidden_tubes(2, (4, 4, 4), (4, 4), 0.9, torch.device("cpu"))
    expected = theirs(batch.texture, bool_masked_pos=hidden)
    torch.testing.assert_close(prediction.auxiliary["reconstruction"], expected.logits)
    torch.testing.assert_close(ours.loss(prediction, batch)["reconstruction"], expected.loss)


@pytest.mark.parametrize(
    ("size", "frames", "region"),
    [(160, 16, (2, 5, 10)), (112, 16, (2, 7, 7)), (224, 16, (2, 7, 14)), (64, 8, (2, 4, 4)), (112, 10, (1, 7, 7))],
)
def test_regions_tile_the_clip(size: int, frames: int, region: tuple[int, int, int]) -> None:
    """By default as the paper has them, at its size and others; each token is in one region, with its neighbours."""
    config = MAEDFERConfig(classes=3, frames=frames, size=size, action_units=1)
    assert config.regions_of == region
    index = raster_of_regions(config.grid, region)
    assert index.flatten().sort().values.tolist() == list(range(index.numel()))
    places = np.stack(np.unravel_index(index.numpy(), config.grid), -1)  # (R, S, 3)
    assert (np.ptp(places, axis=1) + 1 == region).all()


@torch.no_grad()
def test_local_global_block_region_by_region() -> None:
    """Within a region with its representative, among the representatives, from these to every token, MLP."""
    block = LocalGlobalBlock(8, 2, 0.0)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, 1 + 4, 8)
    found = block(x)
    for clip, expected in zip(x, found, strict=True):
        after = clip.clone()
        for region in after:
            tokens = block.local_norm(region)
            region += attended(block.local, tokens, tokens)
        heads = block.among_norm(after[:, 0])
        after[:, 0] += attended(block.among, heads, heads)
        source = block.source_norm(after[:, 0])
        for region in after:
            region[1:] += attended(block.spread, block.spread_norm(region[1:]), source)
        torch.testing.assert_close(expected, after + block.mlp(block.mlp_norm(after)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_regions_come_back_in_raster_order() -> None:
    """With blocks that do nothing, tokens leave the encoder where they entered it, hidden ones left out."""
    model, video = MAEDFER.build(**SHAPE, **TINY_MASKED, region=(2, 2, 2)), clips(2).texture
    model.blocks = nn.Sequential()
    tokens = model.embedding(video.transpose(1, 2)).flatten(2).transpose(1, 2) + model.positions
    torch.testing.assert_close(model.encode(video), tokens)
    hidden = hidden_tubes(2, (4, 4, 4), (2, 2), 0.5, video.device)
    torch.testing.assert_close(model.encode(video, hidden), tokens[~hidden].view(2, -1, 32))


@masked_models
def test_hidden_patches_are_not_seen(build: Masked) -> None:
    """Whatever a hidden patch holds, the reconstruction is the same; what a shown one holds does matter."""
    pretraining, batch = MaskedPretraining(build(**SHAPE, **TINY_MASKED)).eval(), clips(2)
    network = pretraining.network

    def reconstructed(changed: Callable[[Tensor], Tensor]) -> Tensor:
        torch.manual_seed(3)
        hidden = hidden_tubes(2, (4, 4, 4), network.window, 0.9, torch.device("cpu"))
        places = changed(hidden).view(2, 4, 4, 4).repeat_interleave(2, 1)
        pixels = places.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, None]
        torch.manual_seed(3)
        with torch.no_grad():
            return pretraining(with_texture(batch.texture + 9 * pixels)).auxiliary["reconstruction"]

    before = reconstructed(torch.zeros_like)
    assert torch.equal(reconstructed(lambda hidden: hidden), before)
    assert (reconstructed(lambda hidden: ~hidden) - before).abs().max() > 1e-6


@pytest.mark.slow
@masked_models
def test_pretraining_learns_and_leaves_the_head(build: Masked) -> None:
    """Of clips that slope to the left or to the right it learns which, through the classifier's own encoder."""
    network = build(**SHAPE, **TINY_MASKED)
    pretraining = network.pretraining()
    assert pretraining is not None
    assert pretraining.network is network
    assert pretraining.epochs == 50
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ramp = torch.linspace(-1, 1, 32) * torch.linspace(1, 2, 8)[:, None, None, None]
    batch = with_texture(torch.tensor([1.0, -1.0] * 4).view(8, 1, 1, 1, 1) * ramp.expand(8, 3, 32, 32))
    optimiser = torch.optim.AdamW(pretraining.parameters(), lr=1e-3)
    losses = []
    for _ in range(80):
        loss = pretraining.loss(pretraining(batch), batch)["reconstruction"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.3 * losses[0]
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, before[name])}
    assert same == {name for name in before if any(part in name for part in ("classifier", "fc_norm", "head."))} | {
        name for name in before if name in ("norm.weight", "norm.bias")
    }
    assert build(**SHAPE, **TINY_MASKED, pretrain_epochs=0).pretraining() is None


@masked_models
def test_blocks_are_skipped_in_fine_tuning_alone(build: Masked) -> None:
    """Some clips skip a part of the last block, none of the first; none where patches are hidden, or in eval mode."""
    model, batch = build(**SHAPE, **TINY_MASKED, drop_path=0.5), clips(4)
    assert model.config.drop_rates == (0, 0.5)

    def answers(network: ClipClassifier) -> int:
        with torch.no_grad():
            found = [network.feature_maps(batch) for _ in range(6)]
        return len({tuple(maps.flatten().tolist()) for maps in found})

    assert answers(model.eval()) == 1
    assert answers(model.train()) > 1
    assert answers(MaskedPretraining(model).train().network) == 1
    assert answers(model.train()) > 1
    assert answers(build(**SHAPE, **TINY_MASKED).train()) == 1


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (VideoMAE.build, {"size": 45}, r"size 45 must be a multiple of patch 16"),
        (MAEDFER.build, {"frames": 7}, r"frames 7 must be a multiple of tubelet 2"),
        (MAEDFER.build, {"dim": 100}, r"dim 100 must be a multiple of heads 8"),
        (VideoMAE.build, {"patch": 32}, r"size 32 must be more than one patch"),
        (MAEDFER.build, {"region": (2, 3, 2)}, r"regions of \(2, 3, 2\) tokens do not tile the \(4, 2, 2\) of a clip"),
        (NRDFERNet.build, {"neutral": 3}, r"neutral 3 is none of the 3 classes"),
        (EST.build, {"order": 3}, r"order\s+Extra inputs are not permitted"),
    ],
)
def test_impossible_options_are_named(build: Callable[..., object], options: dict[str, object], message: str) -> None:
    """What cannot be built says which option, what was found and what may be."""
    with pytest.raises(ValueError, match=message):
        build(**(SHAPE | options))


def test_another_shape_is_refused() -> None:
    """Clips of another length or side than the model was built for stop with both named."""
    model = STT.build(**SHAPE, **RESNET, depth=1)
    with pytest.raises(ValueError, match=r"clips are 8 frames of 48x48 px, this model was built for 8 of 32x32"):
        model(clips(1, size=48))
    with pytest.raises(ValueError, match=r"clips are 9 frames of 32x32 px"):
        model(clips(1, frames=9))
