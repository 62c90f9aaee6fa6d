"""Test clips with one input altered, for what the trained model makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from training.data.batch import ClipBatch
from training.evaluation.input_effects import AlteredAnswers, Change, FoldInputs
from training.models.trained_model import TrainedModel

_INPUTS = ("texture", "depth", "au")


def altered_answers(trained: TrainedModel, keys: Sequence[str], batch: ClipBatch) -> FoldInputs:
    """What a model answers to raw clips with each of its inputs frozen, and swapped.

    Args:
        trained: the model.
        keys: of the clips.
        batch: the clips, as stores hold them.
    """
    found = []
    for name in _INPUTS:
        for change in get_args(Change):
            if name in trained.network.inputs and (change == "frozen" or len(batch) > 1):
                chosen = trained.probabilities(altered(batch, name, change)).argmax(-1).tolist()
                answers = dict(zip(keys, chosen, strict=True))
                found.append(AlteredAnswers(input=name, change=change, answers=answers))
    return FoldInputs(altered=tuple(found))


def altered(batch: ClipBatch, name: str, change: Change) -> ClipBatch:
    """Raw clips one of whose inputs holds still, or is that of the clip before in the batch."""
    if change == "swapped":
        around = torch.arange(len(batch), device=batch.au.device).roll(1)
        other = batch.select(around)
        if name == "texture":
            return replace(batch, texture=other.texture, flow=other.flow)
        return replace(batch, **{name: getattr(other, name)})
    if name == "texture":
        flow = None if batch.flow is None else torch.zeros_like(batch.flow)
        return replace(batch, texture=batch.texture[:, :1].expand_as(batch.texture), flow=flow)
    if name == "depth":
        return replace(batch, depth=batch.depth[:, :1].expand_as(batch.depth))
    return replace(batch, au=torch.zeros_like(batch.au))
