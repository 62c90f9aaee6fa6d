"""What inputs are worth: shares and scores by hand, and a model that reads one of its two inputs."""

from dataclasses import replace

import pytest
import torch

from training.data.batch import ClipBatch
from training.data.preparation import Normalisation
from training.evaluation.input_effects import AlteredAnswers, FoldInputs, inert_inputs, input_effects
from training.fit.altered import altered, altered_answers
from training.models.base import ClipClassifier, Prediction
from training.models.trained_model import TrainedModel, TrainedModelHeader


def test_shares_and_scores_by_hand() -> None:
    """Four clips of two classes, two folds: freezing turns one right answer wrong, swapping changes nothing."""
    plain = {0: {"a": 0, "b": 0, "c": 1, "d": 1}}
    labels = {"a": 0, "b": 0, "c": 1, "d": 1}
    folds = [
        FoldInputs(
            altered=(
                AlteredAnswers(input="au", change="frozen", answers={"a": 0, "b": 1}),
                AlteredAnswers(input="au", change="swapped", answers={"a": 0, "b": 0}),
            )
        ),
        FoldInputs(altered=(AlteredAnswers(input="au", change="frozen", answers={"c": 1, "d": 1}),)),
    ]
    frozen, swapped = input_effects([(0, fold) for fold in folds], plain, labels, 2)
    assert (frozen.title, frozen.changed, frozen.clips) == ("au frozen", 0.25, 4)
    assert frozen.uf1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert frozen.uf1_unaltered == 1
    assert (swapped.title, swapped.changed, swapped.clips) == ("au swapped", 0, 2)
    assert inert_inputs([frozen, swapped]) == []
    assert inert_inputs([swapped]) == ["au"]


class _ReadsDepth(ClipClassifier):
    """Says class 1 where depth ends higher than it began; texture is let in, and not looked at."""

    inputs = frozenset({"texture", "depth"})

    def forward(self, batch: ClipBatch) -> Prediction:
        rise = (batch.depth[:, -1] - batch.depth[:, 0]).mean((1, 2, 3))
        return Prediction(torch.stack([torch.zeros_like(rise), 100 * (rise - 0.1)], 1))


def test_a_path_that_is_not_read_is_found() -> None:
    """Depth frozen takes class 1 away, swapped gives each clip the answer of the one before; texture does nothing."""
    rise = torch.tensor([1.0, 0.0, 1.0, 1.0])
    ramp = torch.linspace(0, 1, 5).view(1, 5, 1, 1, 1) * rise.view(4, 1, 1, 1, 1)
    batch = ClipBatch(
        texture=torch.randint(255, (4, 5, 3, 8, 8)), depth=ramp.expand(-1, -1, 1, 8, 8).half(), au=torch.zeros(4, 2)
    )
    header = TrainedModelHeader(
        model="none", model_options={}, classes=("still", "rises"), frames=5, size=8, action_units=("a", "b"),
        normalisation=Normalisation(texture=(), depth=(), au=()), fold="f", seed=0, epoch=1, threads=1,
    )  # fmt: skip
    found = altered_answers(TrainedModel(header, _ReadsDepth()), "abcd", batch).altered
    answers = {(one.input, one.change): list(one.answers.values()) for one in found}
    assert answers == {
        ("texture", "frozen"): [1, 0, 1, 1],
        ("texture", "swapped"): [1, 0, 1, 1],
        ("depth", "frozen"): [0, 0, 0, 0],
        ("depth", "swapped"): [1, 1, 0, 1],
    }
    alone = altered_answers(TrainedModel(header, _ReadsDepth()), "a", batch.select(torch.tensor([0]))).altered
    assert [one.change for one in alone] == ["frozen", "frozen"]


def test_frozen_action_units_and_flow_are_none() -> None:
    """The change of an action unit from onset to apex is 0 where nothing moves, and so is optical flow."""
    batch = ClipBatch(
        texture=torch.zeros(2, 3, 0, 4, 4), depth=torch.ones(2, 3, 1, 4, 4), au=torch.ones(2, 3),
        flow=torch.ones(2, 3, 2, 4, 4),
    )  # fmt: skip
    assert (altered(batch, "au", "frozen").au == 0).all()
    assert (altered(batch, "texture", "frozen").flow == 0).all()
    other = replace(batch, flow=torch.stack([batch.flow[0], 2 * batch.flow[1]]))
    assert (altered(other, "texture", "swapped").flow[0] == 2).all()
