"""Every network of the registry learns small motion from pixels, with the input and the rate of its ``fast`` recipe."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from training.config import TrainConfig
from training.data.batch import ClipBatch
from training.data.motion import flow_from_onset
from training.data.preparation import measure_normalisation
from training.fit.optimisation import build_optimiser
from training.models.base import ClipClassifier
from training.models.registry import create_model, model_names
from training.runs.recipes import resolve

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

CLIPS, CLASSES, SIDE, UNITS = 40, 4, 32, 5
SHIFTS = (0, 0, 1, 2, 3, 2, 1, 0)  # px, a frame; the fifth is the apex
EPOCHS = 10


def quarters() -> ClipBatch:
    """Soft random pictures, each another, of which one quarter moves up and back: the quarter is the class."""
    random = torch.Generator().manual_seed(1)
    label = torch.arange(CLIPS) % CLASSES
    wide = F.interpolate(torch.rand(CLIPS, 3, 9, 9, generator=random), (SIDE + 8, SIDE + 8), mode="bicubic")
    video = torch.stack([wide[..., 4:-4, 4:-4]] * len(SHIFTS), 1).clone()
    for clip, quarter in enumerate(label.tolist()):
        y, x = (SIDE // 2 * place for place in divmod(quarter, 2))
        for frame, shift in enumerate(SHIFTS):
            moved = wide[clip, :, 4 + shift : 4 + shift + SIDE, 4:-4]
            video[clip, frame, :, y : y + SIDE // 2, x : x + SIDE // 2] = moved[:, y : y + SIDE // 2, x : x + SIDE // 2]
    video = (video + 0.01 * torch.randn(video.shape, generator=random)).clamp(0, 1)
    return ClipBatch(
        texture=(video * 255).byte(),
        depth=video.mean(2, keepdim=True).half(),
        au=0.2 * torch.randn(CLIPS, UNITS, generator=random),  # they know nothing of the class
        label=label,
        apex=torch.full((CLIPS,), 4),
    )


def read_by(model: ClipClassifier, config: TrainConfig) -> ClipBatch:
    """The clips as the trainer hands them to a model."""
    clips = quarters()
    if "texture" not in model.inputs:
        clips = replace(clips, au=clips.au + F.one_hot(clips.classes(), UNITS))
    elif config.motion == "flow":
        flow = torch.stack([flow_from_onset(texture, 0) for texture in clips.texture])
        clips = replace(clips, texture=clips.texture[:, :, :0], flow=flow)
    return measure_normalisation([clips], motion=config.motion, depth_motion=config.depth_motion).apply(clips)


SOLVED = {"au-logistic", "flow-logistic"}  # by scikit-learn, to convergence


@pytest.mark.parametrize("name", sorted(set(model_names()) - SOLVED))
def test_forty_clips_are_learned(name: str) -> None:
    """Within ten epochs more than nine of ten are told, and the loss has fallen."""
    torch.manual_seed(0)
    config = resolve("fast", {"model": name})
    model = create_model(name, classes=CLASSES, frames=8, size=SIDE, action_units=UNITS, **config.model_options)
    clips = read_by(model, config)
    model.on_fold(torch.bincount(clips.classes()))
    optimiser = build_optimiser(model, config.optimisation)
    order, losses, right = torch.Generator().manual_seed(0), [], 0.0
    while right <= 0.9 or len(losses) < 2:
        assert len(losses) < EPOCHS, (right, losses)
        model.train()
        model.on_epoch(len(losses), EPOCHS)
        total = 0.0
        for part in torch.randperm(CLIPS, generator=order).split(config.optimisation.batch_size):
            batch = clips.select(part)
            loss = torch.stack(list(model.loss(model(batch), batch).values())).sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimisation.clip_norm)
            optimiser.step()
            total += loss.item()
        losses.append(total)
        model.eval()
        with torch.no_grad():
            right = (model(clips).logits.argmax(-1) == clips.classes()).float().mean().item()
    assert losses[-1] < losses[0]
