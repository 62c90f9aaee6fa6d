"""Run folders as `mer train` leaves them, with answers and curves that are made up and models that learnt nothing."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from schemas.output import write_text
from schemas.store.reader import Store
from training.config import TrainConfig
from training.data.preparation import Normalisation
from training.evaluation.evaluate import evaluate
from training.evaluation.predictions import Predictions, concatenate, write_predictions
from training.fit.folder import FoldFailure, FoldFolder, Run, RunFolder, RunStore
from training.models.trained_model import TrainedModel, TrainedModelHeader
from training.protocols.protocol import Protocol
from training.protocols.splits import make_folds
from training.protocols.tasks import select_clips

EPOCHS = 3


def make_run_folder(
    path: Path,
    stores: Sequence[Store],
    protocol: Protocol,
    *,
    seeds: tuple[int, ...] = (0, 1),
    validation: float | None = None,
    failed: Sequence[str] = (),
    model: dict[str, Any] | None = None,
    network: str = "madv_net",
) -> RunFolder:
    """A run folder; ``result.json`` is in it where no fold failed.

    Args:
        path: of the folder.
        stores: of the labels.
        protocol: task and split.
        seeds: of the run.
        validation: share of subjects held back.
        failed: names of the folds that have no predictions, with every seed.
        model: options of a small model that each fold saves, whose loss has two terms; none without.
        network: which it is.
    """
    path.mkdir(parents=True)
    manifests = [store.manifest for store in stores]
    selection = select_clips(protocol.task, manifests, counts="any")
    units = manifests[0].action_units.names
    run = Run(
        config=TrainConfig(
            model=network,
            model_options=model or {},
            seeds=seeds,
            counts="any",
            validation=validation,
            frames=8,
            size=32,
        ),
        protocol=protocol,
        stores=tuple(
            RunStore(
                name=store.path.name,
                clips=len(store.manifest.clips),
                content_sha256=store.manifest.content_sha256,
                preprocess=store.manifest.provenance.config,
            )
            for store in stores
        ),
        action_units=units,
        folds=make_folds(protocol.split, selection.clips, validation=validation),
        device="cpu",
        packages={"torch": torch.__version__},
        git="0123abc",
    )
    folder = RunFolder(path)
    folder.write(run)
    label_of = {clip.key: clip.label for clip in selection.clips}
    answers = []
    for fold in folder.folds(run):
        fold.path.mkdir(parents=True)
        if fold.fold.name in failed:
            failure = FoldFailure(error="TrainingDivergedError", message="the loss of epoch 2 is <nan>")
            write_text(fold.failure, failure.model_dump_json())
            write_metrics(fold, epochs=1)
            continue
        write_metrics(fold, epochs=EPOCHS, held_back=validation is not None, terms=model is not None)
        if model is not None:
            _untrained(run, fold).save(fold.model)
        answers.append(_guess(run, fold, label_of))
        write_predictions(fold.predictions, answers[-1])
    if not failed:
        write_predictions(folder.predictions, concatenate(answers))
        result = evaluate(concatenate(answers), manifests, protocol, counts="any")
        write_text(folder.result, result.model_dump_json())
    return folder


def write_metrics(fold: FoldFolder, *, epochs: int, held_back: bool = False, terms: bool = False) -> None:
    """Curves that depend on the seed: the loss of epoch e is ``4 / e + seed``."""
    names = ("loss_a", "loss_b") if terms else ("loss_a",)
    with fold.metrics.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", "lr", "loss", *names, "accuracy", "validation_loss", "validation_accuracy"))
        for epoch in range(1, epochs + 1):
            loss, accuracy = 4 / epoch + fold.seed, epoch / (epoch + 1)
            held = (loss + 1, accuracy / 2) if held_back else ("", "")
            writer.writerow((epoch, 0.001, loss, *[loss / len(names)] * len(names), accuracy, *held))


def _guess(run: Run, fold: FoldFolder, label_of: dict[str, int]) -> Predictions:
    """Noise that leans towards the truth."""
    tests, classes = fold.fold.test, run.classes
    logits = np.random.default_rng([fold.seed, *fold.fold.name.encode()]).normal(size=(len(tests), len(classes)))
    logits[range(len(tests)), [label_of[key] for key in tests]] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(classes, tests, (fold.fold.name,) * len(tests), (fold.seed,) * len(tests), probabilities)


def _untrained(run: Run, fold: FoldFolder) -> TrainedModel:
    config = run.config
    header = TrainedModelHeader(
        model=config.model,
        model_options=config.model_options,
        classes=run.classes,
        frames=config.frames,
        size=config.size,
        action_units=run.action_units,
        normalisation=Normalisation(texture=(), depth=(), au=((0.0, 1.0),) * len(run.action_units)),
        fold=fold.fold.name,
        seed=fold.seed,
        epoch=EPOCHS,
        threads=1,
    )
    torch.manual_seed(fold.seed)
    network = header.build().eval()
    pixels = {"texture": ((0.5, 0.2),) * 3, "depth": ((0.5, 0.2),)}
    read = {name: value for name, value in pixels.items() if name in network.inputs}
    normalisation = header.normalisation.model_copy(update=read)
    return TrainedModel(header.model_copy(update={"normalisation": normalisation}), network)
