"""Models by name, their cost, and the batch that all of them read."""

from dataclasses import replace

import pytest
import torch

from schemas.errors import ConfigError
from training.data.batch import ClipBatch
from training.models.base import ClipClassifier, Prediction
from training.models.registry import create_model, model_facts, model_info, model_name, model_names

SHAPE = {"classes": 3, "frames": 8, "size": 32, "action_units": 5}
NARROW = {"stem_width": 8, "dims": (8, 8, 16), "head_dim": 8, "au_width": 16}


@pytest.mark.parametrize("name", model_names())
def test_every_model_keeps_the_interface(name: str) -> None:
    """Each name builds a model that predicts, has a loss of scalar terms, and bears the trainer's hooks."""
    model = create_model(name, **SHAPE, **model_facts(name).fast)
    batch = ClipBatch(
        texture=torch.randn(2, 8, 3, 32, 32),
        depth=torch.randn(2, 8, 1, 32, 32),
        au=torch.randn(2, 5),
        label=torch.tensor([0, 2]),
    )
    model.on_fold(torch.tensor([1, 0, 1]))
    model.on_epoch(0, 2)
    prediction = model(batch)
    assert prediction.logits.shape == (2, 3)
    loss = torch.stack(list(model.loss(prediction, batch).values())).sum()
    loss.backward()
    assert torch.isfinite(loss)
    prefixes = tuple(f"{prefix}." for prefix in model.head_prefixes)
    assert any(parameter.startswith(prefixes) for parameter, _ in model.named_parameters())
    model.eval()
    coded = replace(batch, coded=torch.ones(2, 5))
    assert torch.equal(model(batch).logits, model(coded).logits), "annotated units are never an input"


@pytest.mark.parametrize(
    ("text", "name"),
    [("MADV-Net", "madv_net"), ("madvnet", "madv_net"), ("R(2+1)D-18", "r2plus1d-18"), ("3d resnet-18", "r3d-18")],
)
def test_a_model_is_found_by_what_tables_call_it(text: str, name: str) -> None:
    """Case and punctuation do not matter."""
    assert model_name(text) == name
    with pytest.raises(ConfigError, match=r"no model 'madvnat'; did you mean madv_net"):
        model_name("madvnat")


def test_unknown_model_names_the_nearest() -> None:
    """A misspelt name is answered with the right one, a strange one with all."""
    with pytest.raises(ConfigError, match=r"'madvnet' is not among the models; did you mean madv_net\?"):
        create_model("madvnet", **SHAPE)
    with pytest.raises(ConfigError, match=r"'xyz' is not among the models; there are .*madv_net"):
        create_model("xyz", **SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dept": False}, r"model madv_net: dept: Extra inputs are not permitted, got False"),
        ({"frames": 4}, r"frames: .*greater than or equal to 8, got 4"),
        ({"projection_kernel": 4}, r"projection_kernel: .*must be odd"),
        ({"dims": (64, 100, 128)}, r"dims \(64, 100, 128\) must be multiples of head_dim 32"),
        ({"discard_keep": 0.0}, r"discard_keep: .*greater than 0"),
    ],
    ids=str,
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    """An unknown or impossible option says which, what was found and what may be."""
    with pytest.raises(ConfigError, match=message):
        create_model("madv_net", **(SHAPE | options))


def test_info_counts_parameters_and_macs() -> None:
    """The counted MACs are those of every product written out by hand, the printed ones the paper's; time is real."""
    info = model_info("madv_net", **SHAPE, **NARROW, repeats=1)
    model = create_model("madv_net", **SHAPE, **NARROW)
    assert info.parameters == sum(p.numel() for p in model.parameters())

    frames, classes, mlp, s = 4, 3, 4, 9  # tokens in time; Eq. 1's kernel area
    macs = printed = 8 * 16 * 16 * 8 * (3 + 1) * (3 * 7 * 7)  # both stems
    macs += 5 * 16 + 16 * 16 + 2 * 16 * 16 + 16 * classes  # AU encoder: transforms, gates, classifier
    for side, width, dim, depth in ((4, 8, 8, 1), (2, 8, 8, 2), (1, 8, 16, 2)):
        patches = 2 * side * side
        tokens = frames * (1 + patches)
        macs += frames * patches * dim * width * 9  # embedding
        macs += 2 * frames * 2 * dim * (dim // 4)  # adaptive factor, per frame and stream
        projection = frames * patches * dim * s + tokens * dim * dim
        mixed = 3 * projection + 2 * tokens * (1 + patches) * dim + tokens * dim * dim + tokens * dim  # last: CLS row
        factorised = 3 * projection + 2 * tokens * frames * dim + tokens * dim * dim
        au = projection + 2 * 2 * 16 * dim + 2 * tokens * 2 * dim + tokens * dim * dim
        macs += depth * (mixed + factorised + au + 2 * tokens * dim * mlp * dim)
        length = 1 + patches  # Eqs. 24 and 25
        printed += frames * depth * (3 * length * dim**2 + length**2 * dim + 2 * length * dim * (mlp * dim))
        macs += dim * dim + dim * classes  # stage head
    macs += 2 * 16 * 16  # Eq. 15
    macs += frames * (2 * 16 * 27 + 2 * 16 * 16)  # Eq. 17
    macs += (16 + 16 + 8 + 8) * classes  # Eq. 14
    assert info.macs == macs
    assert info.printed_macs == printed
    assert info.latency > 0
    assert (info.name, info.frames, info.size, info.device) == ("madv_net", 8, 32, "cpu")


def test_batch_without_labels_has_no_loss() -> None:
    """A loss on unlabelled clips says what is missing."""
    batch = ClipBatch(texture=torch.zeros(1, 8, 3, 32, 32), depth=torch.zeros(1, 8, 1, 32, 32), au=torch.zeros(1, 5))
    model = create_model("madv_net", **SHAPE, **NARROW)
    with pytest.raises(ValueError, match="the batch has no labels"):
        model.loss(model(batch), batch)


def test_batch_moves_as_one() -> None:
    """Moving or selecting touches every tensor, and what is absent stays absent."""
    batch = ClipBatch(
        texture=torch.rand(3, 2, 3, 4, 4),
        depth=torch.rand(3, 2, 1, 4, 4),
        au=torch.rand(3, 5),
        n_frames=torch.tensor([2, 1, 2]),
    )
    assert len(batch) == 3
    chosen = batch.select(torch.tensor([1]))
    assert len(chosen) == 1
    assert torch.equal(chosen.au, batch.au[1:2])
    assert chosen.n_frames is not None
    assert chosen.n_frames.tolist() == [1]
    assert chosen.label is None
    meta = batch.to("meta")
    assert {meta.texture.device.type, meta.depth.device.type, meta.au.device.type} == {"meta"}
    held = chosen.held()
    assert held.n_frames is None
    assert torch.equal(held.texture[0, 1], batch.texture[1, 0])


def test_plain_model_needs_only_logits() -> None:
    """A model that says nothing of its loss is trained on cross entropy, and ignores the hooks."""

    class MeanColour(ClipClassifier):
        head_prefixes = ("head",)

        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3, 2)

        def forward(self, batch: ClipBatch) -> Prediction:
            return Prediction(self.head(batch.held().texture.mean((1, 3, 4))))

    batch = ClipBatch(
        texture=torch.rand(4, 2, 3, 4, 4),
        depth=torch.rand(4, 2, 1, 4, 4),
        au=torch.rand(4, 5),
        label=torch.tensor([0, 1, 1, 0]),
    )
    model = MeanColour()
    model.on_fold(torch.tensor([2, 2]))
    model.on_epoch(0, 1)
    prediction = model(batch)
    loss = model.loss(prediction, batch)
    expected = -prediction.logits.log_softmax(-1)[torch.arange(4), batch.targets()].mean()
    assert list(loss) == ["cross_entropy"]
    torch.testing.assert_close(loss["cross_entropy"], expected)
