"""Each equation of MADV-Net against plain NumPy written from the formula."""

import math
from typing import TypeVar

import numpy as np
import pytest
import scipy.fft
import torch
from numpy.typing import NDArray
from scipy.special import erf, expit, log_expit, log_softmax, softmax
from torch import Tensor, nn

from training.data.batch import ClipBatch
from training.models.base import Prediction
from training.models.madv_net import MADVNet, MADVNetConfig
from training.models.madv_net.attention import (
    ActionUnitAttention,
    Block,
    ConvolutionalProjection,
    FactorisedAttention,
    MixedAttention,
)
from training.models.madv_net.au_encoder import ActionUnitEncoder, bottleneck
from training.models.madv_net.discard import keep_ratio, kept_tokens, pool_weights
from training.models.madv_net.heads import ConvolutionalFeature, FusionFeature, temporal_bands
from training.models.madv_net.tokens import (
    ClassTokenAndPositions,
    FrameDifference,
    Grid,
    PatchEmbedding,
    VideoToTokens,
    patch_maps,
)

M = TypeVar("M", bound=nn.Module)
Array = NDArray[np.float64]
GRID = Grid(2, 3, 4)
B, T, D, HEAD = 2, 3, 8, 4


def randomised(module: M) -> M:
    """The module in float64 and eval mode, every weight and running statistic random."""
    generator = torch.Generator().manual_seed(0)
    module.double().eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else 0.5 * noise)
    return module


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def array(tensor: Tensor) -> Array:
    return tensor.detach().numpy()


def linear(x: Array, layer: nn.Linear) -> Array:
    return x @ array(layer.weight).T + (0 if layer.bias is None else array(layer.bias))


def layer_norm(x: Array, layer: nn.LayerNorm) -> Array:
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps)
    return normed * array(layer.weight) + array(layer.bias) if layer.elementwise_affine else normed


def batch_norm(x: Array, layer: nn.BatchNorm2d | nn.BatchNorm3d) -> Array:
    """Channels last."""
    normed = (x - array(layer.running_mean)) / np.sqrt(array(layer.running_var) + layer.eps)
    return normed * array(layer.weight) + array(layer.bias) if layer.affine else normed


def gelu(x: Array) -> Array:
    return x * (1 + erf(x / math.sqrt(2))) / 2


def projected(tokens: Array, layer: ConvolutionalProjection, grid: Grid, *, stride: int = 1) -> Array:
    """Eq. 1 by loops: tokens (B, T, 1 + P, D)."""
    kernel = array(layer.depthwise.weight)[:, 0]  # (D, s, s)
    pad = kernel.shape[-1] // 2
    rows, columns = range(0, grid.height, stride), range(0, grid.width, stride)
    out = []
    for frame in tokens.reshape(-1, *tokens.shape[2:]):
        streams = []
        for stream in frame[1:].reshape(*grid, -1):
            padded = np.pad(stream, ((pad, pad), (pad, pad), (0, 0)))
            for y in rows:
                for x in columns:
                    window = padded[y : y + 2 * pad + 1, x : x + 2 * pad + 1]
                    streams.append(np.einsum("yxd,dyx->d", window, kernel))
        patches = batch_norm(np.array(streams), layer.norm)
        out.append(linear(np.concatenate([frame[:1], patches]), layer.pointwise))
    return np.array(out).reshape(*tokens.shape[:2], -1, tokens.shape[-1])


def attended(q: Array, k: Array, v: Array, allowed: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
    """Multi-head attention of one sequence, (L, D), and its weights (heads, L, L')."""
    outs, weights = [], []
    for start in range(0, q.shape[-1], HEAD):
        head = slice(start, start + HEAD)
        logits = q[:, head] @ k[:, head].T / math.sqrt(HEAD)
        if allowed is not None:
            logits = np.where(allowed, logits, -np.inf)
        weight = softmax(logits, -1)
        outs.append(weight @ v[:, head])
        weights.append(weight)
    return np.concatenate(outs, -1), np.array(weights)


def some_kept() -> Tensor:
    """(B, T, 1 + P) bool: CLS always, one patch never, one frame without patches."""
    kept = random(B, T, 1 + GRID.patches) > -0.3
    kept[..., 0], kept[..., 5], kept[0, 1, 1:] = True, False, False
    return kept


def test_eq1_projection() -> None:
    """Depthwise s x s, BN, pointwise on each frame and stream; CLS meets the pointwise map alone."""
    layer, tokens = randomised(ConvolutionalProjection(D, 3)), random(B, T, 1 + GRID.patches, D)
    np.testing.assert_allclose(array(layer(tokens, GRID)), projected(array(tokens), layer, GRID), atol=1e-12)


def test_eq1_projection_with_stride() -> None:
    """A strided projection has a token for every stride-th row and column."""
    layer, tokens = randomised(ConvolutionalProjection(D, 3, stride=2)), random(B, T, 1 + GRID.patches, D)
    expected = projected(array(tokens), layer, GRID, stride=2)
    assert expected.shape == (B, T, 1 + 2 * 2 * 2, D)
    np.testing.assert_allclose(array(layer(tokens, GRID)), expected, atol=1e-12)


def test_eq2_video_to_tokens() -> None:
    """Conv3d with stride (1, 2, 2), BN, max pool 3 with stride 2, all padded."""
    layer, video = randomised(VideoToTokens(2, 3, (3, 7, 7))), random(1, 2, 5, 9, 8)
    conv, norm = layer[0], layer[1]
    padded = np.pad(array(video)[0], ((0, 0), (1, 1), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 7, 7), (1, 2, 3))[:, :, ::2, ::2]
    z = batch_norm(np.einsum("ctyxabd,ocabd->tyxo", windows, array(conv.weight)), norm)
    padded = np.pad(z, ((1, 1), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), (0, 1, 2))[::2, ::2, ::2].max((-1, -2, -3))
    out = layer(video)
    assert out.shape == (1, 3, 3, 3, 2)  # ceil(5 / 2), ceil(9 / 4), ceil(8 / 4)
    np.testing.assert_allclose(array(out)[0], np.moveaxis(pooled, -1, 0), atol=1e-12)


def test_patch_embedding() -> None:
    """A stage starts with a strided 3 x 3 convolution of each frame and LayerNorm over channels."""
    layer, maps = randomised(PatchEmbedding(3, D, 2)), random(1, 2, 2, 3, 5, 4)
    padded = np.pad(array(maps), ((0, 0),) * 4 + ((1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (4, 5))[:, :, :, :, ::2, ::2]
    expected = np.einsum("btscyxij,ocij->btsyxo", windows, array(layer.conv.weight)) + array(layer.conv.bias)
    np.testing.assert_allclose(array(layer(maps)), layer_norm(expected, layer.norm), atol=1e-12)


def test_frame_difference() -> None:
    """f_t + alpha_t (f_{t+1} - f_t), alpha = 1 + MLP of the frame's mean; the last frame stays."""
    layer, x = randomised(FrameDifference(D, 4)), random(B, T, *GRID, D)
    f, out = array(x), array(layer(x))
    for b in range(B):
        for t in range(T):
            for s in range(GRID.streams):
                alpha = 1 + linear(gelu(linear(f[b, t, s].mean((0, 1)), layer.hidden)), layer.out)
                after = f[b, t + 1, s] if t + 1 < T else f[b, t, s]
                expected = f[b, t, s] + alpha * (after - f[b, t, s])
                np.testing.assert_allclose(out[b, t, s], expected, atol=1e-12)


def test_frame_difference_keeps_motion() -> None:
    """A fresh model's factor is 1 for every channel: the whole of a change goes through, whatever stands still."""
    model = MADVNet(MADVNetConfig(classes=2, frames=8, size=32))
    difference, x = model.stages[0].difference, torch.randn(1, 2, 1, 2, 2, 64)
    still = x[:, :1].expand_as(x)
    torch.testing.assert_close(difference(still), still)
    moved = difference(x)[:, 0] - x[:, 0]
    torch.testing.assert_close(moved, x[:, 1] - x[:, 0])


def test_eq13_class_token_and_positions() -> None:
    """[CLS, patches] of every frame plus positions: one vector per token, one per frame."""
    layer, x = randomised(ClassTokenAndPositions(GRID, T, D)), random(B, T, *GRID, D)
    out = array(layer(x))
    cls, space, frames = array(layer.cls), array(layer.space), array(layer.time)
    assert out.shape == (B, T, 1 + GRID.patches, D)
    for b in range(B):
        for t in range(T):
            np.testing.assert_allclose(out[b, t, 0], cls + space[0] + frames[t])
            for i, patch in enumerate(array(x)[b, t].reshape(-1, D)):
                np.testing.assert_allclose(out[b, t, 1 + i], patch + space[1 + i] + frames[t])
    torch.testing.assert_close(
        patch_maps(layer(x), GRID).movedim(3, -1),
        torch.from_numpy(out[:, :, 1:].reshape(B, T, *GRID, D)),
    )


@pytest.mark.parametrize("frames", [2, 7])
def test_eq13_time_positions_of_other_lengths(frames: int) -> None:
    """Another number of frames reads the learned time positions in between, first and last kept."""
    layer = randomised(ClassTokenAndPositions(GRID, 4, D))
    out, at = array(layer.time_positions(frames)), np.linspace(0, 3, frames)
    for d in range(D):
        np.testing.assert_allclose(out[:, d], np.interp(at, np.arange(4), array(layer.time)[:, d]))


@pytest.mark.parametrize("masked", [False, True])
def test_mixed_attention(masked: bool) -> None:
    """Attention among all tokens of a frame, discarded ones no keys; CLS's row averaged over heads."""
    layer, tokens = randomised(MixedAttention(D, HEAD, 3, 1)), random(B, T, 1 + GRID.patches, D)
    kept = some_kept() if masked else None
    out, weights = layer(tokens, GRID, kept)
    q, k, v = (projected(array(tokens), p, GRID) for p in (layer.query, layer.key, layer.value))
    for b in range(B):
        for t in range(T):
            allowed = None if kept is None else kept[b, t].numpy()
            expected, weight = attended(q[b, t], k[b, t], v[b, t], allowed)
            np.testing.assert_allclose(array(out)[b, t], linear(expected, layer.out), atol=1e-10)
            np.testing.assert_allclose(array(weights)[b, t], weight.mean(0)[0, 1:], rtol=1e-5, atol=1e-9)


def test_mixed_attention_with_strided_keys() -> None:
    """A strided key stands for its stride x stride patches: it stays while one does, and shares its weight with all."""
    layer, tokens, kept = randomised(MixedAttention(D, HEAD, 3, 2)), random(B, T, 1 + GRID.patches, D), some_kept()
    out, weights = layer(tokens, GRID, kept)
    q = projected(array(tokens), layer.query, GRID)
    k, v = (projected(array(tokens), p, GRID, stride=2) for p in (layer.key, layer.value))
    for b in range(B):
        for t in range(T):
            maps = kept[b, t, 1:].numpy().reshape(GRID)
            coarse = [maps[s, y : y + 2, x : x + 2].any() for s in range(2) for y in (0, 2) for x in (0, 2)]
            expected, weight = attended(q[b, t], k[b, t], v[b, t], np.array([True, *coarse]))
            np.testing.assert_allclose(array(out)[b, t], linear(expected, layer.out), atol=1e-10)
            fine = weight.mean(0)[0, 1:].reshape(2, 2, 2).repeat(2, 1).repeat(2, 2)[:, :3]
            np.testing.assert_allclose(array(weights)[b, t], fine.ravel(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_factorised_attention(masked: bool) -> None:
    """Every position attends over its own frames; a discarded token is a key of nothing but itself."""
    layer, tokens = randomised(FactorisedAttention(D, HEAD, 3)), random(B, T, 1 + GRID.patches, D)
    kept = some_kept() if masked else None
    out = array(layer(tokens, GRID, kept))
    q, k, v = (projected(array(tokens), p, GRID) for p in (layer.query, layer.key, layer.value))
    for b in range(B):
        for i in range(1 + GRID.patches):
            allowed = None if kept is None else kept[b, :, i].numpy()[None] | np.eye(T, dtype=bool)
            expected, _ = attended(q[b, :, i], k[b, :, i], v[b, :, i], allowed)
            np.testing.assert_allclose(out[b, :, i], linear(expected, layer.out), atol=1e-10)


def test_action_unit_attention() -> None:
    """Every token queries the AU tokens of its clip."""
    layer = randomised(ActionUnitAttention(D, HEAD, 3, 5))
    tokens, au = random(B, T, 1 + GRID.patches, D), random(B, 2, 5)
    out, q = array(layer(tokens, GRID, au)), projected(array(tokens), layer.query, GRID)
    for b in range(B):
        k, v = linear(array(au)[b], layer.key), linear(array(au)[b], layer.value)
        for t in range(T):
            np.testing.assert_allclose(out[b, t], linear(attended(q[b, t], k, v)[0], layer.out), atol=1e-10)


def test_eq16_block_order() -> None:
    """A block is mixed, factorised, AU attention and MLP, each on its own norm and added."""
    block = randomised(Block(D, HEAD, kernel=3, kv_stride=1, mlp_ratio=4, au_width=5))
    tokens, au = random(B, T, 1 + GRID.patches, D), random(B, 2, 5)
    x = tokens + block.mixed(block.norm_mixed(tokens), GRID, None)[0]
    x = x + block.factorised(block.norm_factorised(x), GRID, None)
    x = x + block.au(block.norm_au(x), GRID, au)
    expected = array(x) + linear(gelu(linear(layer_norm(array(x), block.norm_mlp), block.mlp[0])), block.mlp[2])
    np.testing.assert_allclose(array(block(tokens, GRID, au, None)[0]), expected, atol=1e-10)


def test_eq3_to_8_au_encoder() -> None:
    """v_i = LN(GELU(F_i(m v_{i-1}))), a gate and a bottleneck term per layer, the classifier last."""
    encoder = randomised(ActionUnitEncoder(6, 3, width=5, layers=2, beta=0.3, scale=2.0))
    au = random(B, 6)
    code, v = encoder(au), array(au)
    for i, layer in enumerate(encoder.layers):
        v = layer_norm(gelu(linear(v, layer.transform)), layer.norm)
        mu = expit(linear(v, layer.theta))
        term = (0.3 * (mu * v) ** 2 + ((v - mu * v) / 2.0) ** 2).mean(-1)
        np.testing.assert_allclose(array(code.bottleneck)[:, i], term, rtol=1e-5)  # the term is float32
        v = mu * v
        np.testing.assert_allclose(array(code.tokens)[:, i], v, atol=1e-12)
    np.testing.assert_allclose(array(code.logits), linear(v, encoder.classifier), atol=1e-12)


@pytest.mark.parametrize("beta", [0.1, 1.0, 3.0])
def test_eq8_gate_without_task_settles_at_one_over_one_plus_beta(beta: float) -> None:
    """For r = 1 the bottleneck alone is least at m = 1 / (1 + beta), whatever v is."""
    v, gates = torch.tensor([2.0]).double(), torch.linspace(0, 1, 4001)[:, None].double()
    best = gates[bottleneck(v, gates, beta=beta, scale=1.0).argmin()].item()
    assert best == pytest.approx(1 / (1 + beta), abs=5e-4)


def test_eq8_trains_gates_not_scale() -> None:
    """Inside its term v is a constant: without a task the features' own norm cannot shrink."""
    encoder = ActionUnitEncoder(6, 3, width=5, layers=2, beta=0.1, scale=1.0)
    optimiser, au = torch.optim.Adam(encoder.parameters(), lr=0.05), torch.randn(16, 6)
    for _ in range(200):
        optimiser.zero_grad()
        encoder(au).bottleneck.sum(1).mean().backward()
        optimiser.step()
    passed = encoder(au).tokens.square().mean().item()  # LayerNorm makes v's mean square 1
    assert passed == pytest.approx((1 / 1.1) ** 2, abs=0.02)


def test_eq17_convolutional_feature() -> None:
    """Depthwise 3 x 3 x 3 over streams as channels, pointwise, BN, GELU, mean."""
    layer, maps = randomised(ConvolutionalFeature(2, 3)), random(B, T, 2, 3, 4, 5)
    x = array(maps).reshape(B, T, 6, 4, 5)
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), (1, 3, 4))
    z = np.einsum("btcyxijk,cijk->btyxc", windows, array(layer.depthwise.weight)[:, 0])
    z = batch_norm(z @ array(layer.pointwise.weight)[:, :, 0, 0, 0].T, layer.norm)
    np.testing.assert_allclose(array(layer(maps)), gelu(z).mean((1, 2, 3)), atol=1e-12)


def test_eq14_15_fusion() -> None:
    """[f_Att ; f_Conv ; earlier stages' mean patches]: f_Att is an MLP of CLS."""
    layer, cls = randomised(FusionFeature(2, (2, 3, 5))), random(B, 5)
    maps = [random(B, T, 2, dim, 4, 5) for dim in (2, 3, 5)]
    norm, first, _, second = layer.attention
    f_att = linear(gelu(linear(layer_norm(array(cls), norm), first)), second)
    earlier = [layer_norm(array(m).mean((1, 2, 4, 5)), n) for m, n in zip(maps, layer.earlier, strict=False)]
    expected = np.concatenate([f_att, array(layer.convolution(maps[-1])), *earlier], -1)
    assert expected.shape == (B, layer.width)
    np.testing.assert_allclose(array(layer(cls, maps)), expected, atol=1e-10)


@pytest.mark.parametrize("frames", [4, 8, 11])
def test_temporal_bands(frames: int) -> None:
    """The DCT alternative: root mean square of each third of SciPy's orthonormal DCT-II over time."""
    sequence = random(B, frames, D)
    thirds = np.array_split(scipy.fft.dct(array(sequence), axis=1, norm="ortho"), 3, axis=1)
    for band, coefficients in zip(temporal_bands(sequence), thirds, strict=True):
        np.testing.assert_allclose(array(band), np.sqrt((coefficients**2).mean(1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.25, 0.001])
def test_discard_keeps_the_heaviest(ratio: float) -> None:
    """All frames of a clip keep CLS and the round(ratio P) patches that are heaviest over the clip, at least one."""
    weights = random(B, T, GRID.patches).softmax(-1)
    kept = kept_tokens(weights, torch.tensor(ratio)).numpy()
    count = max(1, round(ratio * GRID.patches))
    assert kept[..., 0].all()
    for b in range(B):
        for t in range(T):
            best = set(np.argsort(-array(weights)[b].mean(0))[:count])
            assert set(np.flatnonzero(kept[b, t, 1:])) == best


def test_discard_anneals() -> None:
    """The ratio falls from 1 to 0.7 over 10 epochs and stays; a shorter run arrives in its last epoch."""
    ratios = [keep_ratio(epoch, 300, final=0.7, over=10) for epoch in (0, 5, 10, 299)]
    assert ratios == pytest.approx([1, 0.85, 0.7, 0.7])
    assert [keep_ratio(epoch, 3, final=0.7, over=10) for epoch in range(3)] == pytest.approx([1, 0.85, 0.7])
    assert keep_ratio(0, 1, final=0.7, over=10) == 0.7
    assert keep_ratio(0, 300, final=0.7, over=0) == 0.7


def test_discard_weights_of_the_next_stage() -> None:
    """A coarse patch weighs what the patches that its 3 x 3 convolution reads weigh on average."""
    weights = random(1, 1, GRID.patches)
    pooled = array(pool_weights(weights, GRID, 2)).reshape(2, 2, 2)
    maps = array(weights).reshape(GRID)
    for s in range(2):
        for y in range(2):
            for x in range(2):
                window = maps[s, max(0, 2 * y - 1) : 2 * y + 2, max(0, 2 * x - 1) : 2 * x + 2]
                assert pooled[s, y, x] == pytest.approx(window.mean())


def test_eq11_12_and_18_to_23_joint_loss() -> None:
    """Every term of the joint loss, written out for given logits and every weight other than 1."""
    config = MADVNetConfig(
        classes=3,
        frames=8,
        size=32,
        frequency_weights=(0.2, 0.3, 0.5),
        weight_multiclass=0.7,
        weight_frequency=2.0,
        weight_au=3.0,
        weight_coded=0.4,
        action_units=2,
        focal_lambda=1.5,
    )
    logits = {name: random(4, 3) + i for i, name in enumerate(("main", "low", "mid", "high", "au"))}
    terms = random(4, 2).abs()
    units, coded = random(4, 2), torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [torch.nan, torch.nan], [0.0, torch.nan]])
    auxiliary = {name: x for name, x in logits.items() if name != "main"} | {"bottleneck": terms, "coded": units}
    label = torch.tensor([0, 2, 1, 2])
    batch = ClipBatch(texture=torch.zeros(4), depth=torch.zeros(4), au=torch.zeros(4), label=label, coded=coded)
    losses = MADVNet(config).loss(Prediction(logits["main"], auxiliary), batch)

    y = np.eye(3)[label.numpy()]
    p = softmax(array(logits["main"]), -1)[np.arange(4), label.numpy()]
    sigmoid = expit(array(logits["au"]))
    expected = {
        "multiclass": 0.7 * (-((1 - p) ** 1.5) * np.log(p)).mean(),
        "au_bottleneck": 3.0 * array(terms).sum(1).mean(),
        "coded": 0.4 * -log_expit(np.array([-units[0, 0], units[0, 1], units[1, 1], -units[3, 0]])).mean(),
        "au_class": 3.0 * (-y * np.log(sigmoid) - (1 - y) * np.log(1 - sigmoid)).mean(),
    }
    for level, weight in (("low", 0.2), ("mid", 0.3), ("high", 0.5)):
        cross_entropy = -(y * log_softmax(array(logits[level]), -1)).sum(-1).mean()
        expected[f"frequency_{level}"] = 2.0 * weight * cross_entropy
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-5)
