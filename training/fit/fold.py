"""One fold: fit a model to its training clips, choose the epoch without its test clips, score those once."""

import logging
import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from schemas.errors import ConfigError, TrainingDivergedError
from schemas.output import write_text
from training.config import LoggerName, Optimisation
from training.data.clips import Clips, ClipSource
from training.data.dataset import BatchReader, StoreDataset, join
from training.data.mixing import Mixer
from training.data.preparation import Augmenter, measure_normalisation
from training.data.sampling import batches, draw_seed, epoch_order
from training.evaluation.input_effects import joined
from training.evaluation.predictions import Predictions, write_predictions
from training.fit.altered import altered_answers
from training.fit.checkpoint import Checkpoint, restore, write_checkpoint
from training.fit.epoch_metrics import Means, Metrics, metrics_csv
from training.fit.folder import FoldFolder, Run
from training.fit.initial_weights import InitialWeights
from training.fit.loggers import MetricLogger, fold_logger
from training.fit.optimisation import autocast_of, build_optimiser, learning_rate, set_learning_rate
from training.fit.update import Update, Updates, alone
from training.models.base import ClipClassifier, Pretraining
from training.models.frame_difference import FrameDifferencePretraining
from training.models.tensor_file import read_tensors
from training.models.trained_model import TrainedModel, TrainedModelHeader

log = logging.getLogger("mer")
_EXPLODED = 100  # times the first epoch's loss


def fold_updates(
    run: Run,
    folder: FoldFolder,
    clips: Clips,
    source: ClipSource,
    *,
    device: torch.device,
    threads: int,
    loaders: int = 0,
    weights: InitialWeights | None = None,
    logger: LoggerName = "tensorboard",
    on_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None,
) -> Updates[None]:
    """Train one fold to its end, or go on with it where it was killed; whoever drives it makes its updates.

    On a CPU the files are the same bytes either way, where each update is made by itself.

    Args:
        run: what is trained.
        folder: of the fold; its ``done.json`` is written last.
        clips: of the run.
        source: the same clips, opened.
        device: to train on.
        threads: of PyTorch, unless an earlier part of the fold had another number.
        loaders: reading processes; 0 for a source that is in memory.
        weights: pre-trained ones to start from.
        logger: where the metrics of epochs go beside ``metrics.csv``.
        on_epoch: called after each epoch with its number, from 1, and its metrics.

    Raises:
        TrainingDivergedError: the loss is NaN or infinite, or has exploded; the last good checkpoint stays.
        ConfigError: the model does not fit, or there is nothing to train on.
    """
    if len(folder.fold.train) < 2:
        raise ConfigError(f"{folder.name}: {len(folder.fold.train)} training clips; a model needs two or more")
    folder.path.mkdir(parents=True, exist_ok=True)
    for leftover in (folder.failure, *folder.path.glob(".*.partial")):  # of a run that failed or was killed
        leftover.unlink(missing_ok=True)
    dataset = StoreDataset(source, clips.labels, frames=run.config.frames)
    before = torch.get_num_threads()
    try:
        with BatchReader(dataset, device=device, loaders=loaders) as reader:
            fit = _Fit(run, folder, clips, reader, device=device, threads=threads, weights=weights)
            with fold_logger(logger, folder.run, folder.name, run.config, folder.tensorboard) as fit.logger:
                fit.show(*fit.state.history)
                for epoch in range(fit.state.epoch, run.config.optimisation.epochs):
                    on_epoch(epoch + 1, (yield from fit.epoch(epoch)))
                fit.finish()
    finally:
        torch.set_num_threads(before)


class _Fit:
    """The moving parts of one fold: network, optimiser, scaler, and where they stand."""

    logger: MetricLogger

    def __init__(
        self,
        run: Run,
        folder: FoldFolder,
        clips: Clips,
        reader: BatchReader,
        *,
        device: torch.device,
        threads: int,
        weights: InitialWeights | None,
    ) -> None:
        self.run, self.folder, self.reader, self.device = run, folder, reader, device
        self.config, self.seed = run.config, folder.seed
        self.train = clips.positions(folder.fold.train)
        self.validation = clips.positions(folder.fold.validation or ())
        self.test = clips.positions(folder.fold.test)
        self.labels = [clips.labels[index] for index in self.train]
        self.augmenter = Augmenter(run.config.augmentation, run.action_units)

        resumed = read_tensors(folder.checkpoint, Checkpoint, device=device) if folder.checkpoint.is_file() else None
        torch.set_num_threads(threads if resumed is None else resumed[1].threads)
        if resumed is None:
            fixed = reader.read(batches(np.array(self.train), self.config.optimisation.batch_size))
            normalisation = measure_normalisation(
                fixed, motion=self.config.motion, depth_motion=self.config.depth_motion
            )
            self.state = Checkpoint(epoch=0, threads=threads, normalisation=normalisation)
        else:
            self.state = resumed[1]
        torch.manual_seed(draw_seed(self.seed, "weights"))
        network: ClipClassifier = self._header().build()
        if weights is not None:
            weights.load(network)
        self.mixer = Mixer(self.config, len(run.classes)) if run.classes else None
        if run.objective == "frame_difference":
            network = FrameDifferencePretraining(network)
        self.architecture = type(network), *((name, weight.shape) for name, weight in network.named_parameters())
        self.autocast = autocast_of(self.config.amp, device)
        if resumed is None and weights is None:
            self._pretrain(network)
        self.network = network.to(device)
        self.network.on_fold(torch.bincount(torch.tensor(self.labels), minlength=max(len(run.classes), 2)).to(device))
        self.optimiser = build_optimiser(self.network, self.config.optimisation)
        self.scaler = self._new_scaler()
        self.best: dict[str, Tensor] = {}
        if resumed is not None:
            self.best = restore(resumed[0], self.network, self.optimiser)
            if self.state.scaler:
                self.scaler.load_state_dict(self.state.scaler)

    def epoch(self, epoch: int) -> Updates[Metrics]:
        """Train for one epoch, look at the validation part, save; the metrics of the epoch."""
        if self.network.solved:
            means, lr = self._solved, 0.0
        else:
            means, lr = yield from self._train(
                self.network, self.optimiser, self.scaler, self.config.optimisation, epoch
            )
        metrics: Metrics = {"epoch": epoch + 1, "lr": lr, **self._losses(means)}  # of the last step
        metrics |= self._validate()
        self._check(metrics)
        self._save(epoch + 1, metrics)
        self.show(metrics)
        return metrics

    @cached_property
    def _solved(self) -> dict[str, float]:
        """The means of a model that is solved, fitted once: every epoch would end at the same weights."""
        raw = list(self.reader.read(batches(np.array(self.train), self.config.optimisation.batch_size)))
        batch = self.state.normalisation.apply(join(raw))
        self.network.solve(batch)
        sums = Means()
        with torch.no_grad():
            prediction = self.network(batch)
            right = (prediction.logits.argmax(-1) == batch.classes()).float().mean()
            sums.add(len(batch), {**self.network.loss(prediction, batch), "accuracy": right})
        return sums.means()

    def _pretrain(self, network: ClipClassifier) -> None:
        """What a model's authors train first, on the training clips of the fold alone; begun again after a kill."""
        first = network.pretraining()
        if first is None:
            return
        first = first.to(self.device)
        config = self.config.optimisation.model_copy(update={"epochs": first.epochs})
        optimiser, scaler = build_optimiser(first, config), self._new_scaler()
        for epoch in range(first.epochs):
            means, _ = alone(self._train(first, optimiser, scaler, config, epoch, "pre-training"))
            loss = self._losses(means)["loss"]
            log.info("%s: pre-training, epoch %d of %d, loss %s", self.folder.name, epoch + 1, first.epochs, loss)
            if loss is None or not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"{self.folder.name}: the loss of pre-training epoch {epoch + 1} is {loss}; "
                    f"lower lr ({config.lr:g}) or lengthen the warm-up"
                )

    def _new_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device.type, enabled=self.autocast.fast_dtype is torch.float16)

    def _train(
        self,
        network: ClipClassifier,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        config: Optimisation,
        epoch: int,
        *phase: str,
    ) -> Updates[tuple[dict[str, float], float]]:
        """One epoch over the training clips: means of the loss terms and of the accuracy, and the last rate."""
        torch.manual_seed(draw_seed(self.seed, self.folder.fold.name, epoch, "network", *phase))
        drawn = draw_seed(self.seed, self.folder.fold.name, epoch, "clips", *phase)
        order = epoch_order(self.labels, sampling=self.config.sampling, random=np.random.default_rng(drawn))
        parts = list(batches(np.array(self.train)[order], config.batch_size))
        augmentation = torch.Generator().manual_seed(drawn)
        jitter = drawn if self.config.augmentation.frame_jitter else None

        network.train()
        network.on_epoch(epoch, config.epochs)
        sums = Means()
        for step, raw in enumerate(self.reader.read(parts, jitter=jitter)):
            batch = self.state.normalisation.apply(self.augmenter.apply(raw, augmentation))
            if self.mixer and not phase:  # what is trained first reads no labels
                batch = self.mixer.apply(batch, augmentation)
            lr = learning_rate(epoch + step / len(parts), config)
            set_learning_rate(optimiser, lr)
            norm = self.config.optimisation.clip_norm
            done = yield Update(network, optimiser, scaler, self.autocast, norm, batch, self.architecture)
            assert done is not None, "an update that was asked for is made"
            terms, right = done
            sums.add(len(batch), {**terms, "accuracy": right})
        return sums.means(), lr

    def finish(self) -> None:
        """Write the model of the chosen epoch, score the test clips with it, once, and mark the fold as done."""
        if self.best:
            self.network.load_state_dict(self.best)
        network = self.network.network if isinstance(self.network, Pretraining) else self.network
        trained = TrainedModel(self._header(), network.eval())
        trained.save(self.folder.model)
        if tests := self.folder.fold.test:
            parts = list(batches(np.arange(len(tests)), self.config.optimisation.batch_size))
            rows, inputs = [], []
            for part, batch in zip(parts, self.reader.read([np.array(self.test)[part] for part in parts]), strict=True):
                rows.append(trained.probabilities(batch).cpu())
                inputs.append(altered_answers(trained, [tests[index] for index in part], batch))
            probabilities = torch.cat(rows).numpy()
            write_text(self.folder.inputs, joined(inputs).model_dump_json() + "\n")
            folds, seeds = (self.folder.fold.name,) * len(tests), (self.seed,) * len(tests)
            write_predictions(
                self.folder.predictions, Predictions(self.run.classes, tests, folds, seeds, probabilities)
            )
        self.folder.finish()

    @torch.inference_mode()
    def _validate(self) -> Metrics:
        if not self.validation:
            return {"validation_loss": None, "validation_accuracy": None}
        self.network.eval()
        sums = Means()
        for raw in self.reader.read(batches(np.array(self.validation), self.config.optimisation.batch_size)):
            batch = self.state.normalisation.apply(raw)
            logits = self.network(batch).logits.float()
            loss = torch.nn.functional.cross_entropy(logits, batch.targets())
            right = (logits.argmax(-1) == batch.targets()).float().mean()
            sums.add(len(batch), {"validation_loss": loss, "validation_accuracy": right})
        return dict(sums.means())

    def show(self, *lines: Metrics) -> None:
        """Log the metrics of epochs."""
        for line in lines:
            values = {name: value for name, value in line.items() if name != "epoch" and value is not None}
            self.logger.log(int(line["epoch"] or 0), values)

    def _losses(self, means: dict[str, float]) -> Metrics:
        terms = {name: value for name, value in means.items() if name != "accuracy"}
        named = {f"loss_{name}": value for name, value in terms.items()}
        return {"loss": math.fsum(terms.values()), **named, "accuracy": means["accuracy"] if self.run.classes else None}

    def _check(self, metrics: Metrics) -> None:
        loss, held_back = metrics["loss"], metrics["validation_loss"]
        assert loss is not None
        first = self.state.history[0]["loss"] if self.state.history else None
        if not math.isfinite(loss):
            what = f"the loss is {_named(loss)}"
        elif first is not None and loss > _EXPLODED * max(first, 1.0):
            what = f"the loss is {loss:g}, {_EXPLODED} times that of the first epoch"
        elif not all(bool(value.isfinite().all()) for value in self.network.parameters()):
            what = "the last step left weights that are NaN or infinite"
        elif held_back is not None and not math.isfinite(held_back):
            what = f"the validation loss is {_named(held_back)}"
        else:
            return
        last = f"the last good state, of epoch {self.state.epoch}, is in {self.folder.checkpoint}"
        raise TrainingDivergedError(
            f"{self.folder.name}, epoch {metrics['epoch']:.0f}: {what}; "
            f"{last if self.state.epoch else 'no epoch went well'}. Lower lr ({self.config.optimisation.lr:g}) "
            "or lengthen the warm-up; `mer verify --deep` finds clips that hold NaN or infinite values"
        )

    def _save(self, epoch: int, metrics: Metrics) -> None:
        history = [*self.state.history, metrics]
        best, losses = self.state.best, [line["validation_loss"] for line in history]
        if losses[-1] is not None and losses[-1] == min(loss for loss in losses if loss is not None):
            best = epoch
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        update = {"epoch": epoch, "history": history, "best": best, "scaler": self.scaler.state_dict()}
        self.state = self.state.model_copy(update=update)
        write_checkpoint(self.folder.checkpoint, self.state, self.network, self.optimiser, self.best)
        write_text(self.folder.metrics, metrics_csv(history))

    def _header(self) -> TrainedModelHeader:
        config = self.config
        return TrainedModelHeader(
            model=config.model,
            model_options=config.model_options,
            classes=self.run.classes,
            frames=config.frames,
            size=config.size,
            action_units=self.run.action_units,
            normalisation=self.state.normalisation,
            fold=self.folder.fold.name,
            seed=self.seed,
            epoch=self.state.best or self.state.epoch,
            threads=self.state.threads,
            history=self.run.seen([self.folder.fold]),
        )


def _named(number: float) -> str:
    return "NaN" if math.isnan(number) else f"{number:g}"
