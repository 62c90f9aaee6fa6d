"""Training runs and evaluations to look at: predictions and metrics as tables, models as PyTorch modules."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from madv_mer.store import Store
from schemas import options
from schemas.errors import RunFolderError
from schemas.settings import validated
from schemas.words import count
from training.config import TrainConfig, TrainExecution

if TYPE_CHECKING:
    from madv_mer.network import ClipModel
    from training.evaluation.result import EvaluationResult
    from training.fit.folder import Run as RunRecord
    from training.fit.folder import RunFolder


def open_run(path: Path | str) -> "Run":
    """Open a run folder of ``mer train``, finished or not.

    Raises:
        RunFolderError: there is none, or it is damaged.
    """
    from training.fit.folder import RunFolder

    folder = RunFolder(Path(path))
    return Run(folder, folder.read())


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Scores, and what must be said beside them.

    Attributes:
        result: everything that was computed: confusion matrices, scores by seed and subject, chance levels.
    """

    result: "EvaluationResult"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What must be known to judge the scores, in sentences."""
        return self.result.caveats

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each dataset (and their ``composite``) and metric.

        ``mean`` and ``sd`` are over seeds, ``low`` and ``high`` the 95 % interval over subjects (bootstrap); beside
        them what guessing reaches: ``majority class`` and ``class-prior guesser``. All are in [0, 1].
        """
        rows = []
        for group, found in self.result.groups.items():
            for metric, spread in found.metrics.items():
                low, high = (None, None) if spread.interval is None else (spread.interval.low, spread.interval.high)
                floors = {floor.name: floor.metrics[metric].expected for floor in found.floors}
                rows.append(
                    {"group": group, "metric": metric, "mean": spread.mean, "sd": spread.sd, "low": low, "high": high}
                    | floors
                )
        return pd.DataFrame(rows).set_index(["group", "metric"]).astype(float)

    def __repr__(self) -> str:
        return "\n".join([self.metrics.to_string(), *(f"caveat: {caveat}" for caveat in self.caveats)])

    def _repr_html_(self) -> str:
        caveats = "".join(f"<li>{escape(caveat)}</li>" for caveat in self.caveats)
        return f"<ul>{caveats}</ul>{self.metrics.to_html()}"


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A training run: what was trained, what it answered, and its models.

    Attributes:
        folder: where its files lie.
        record: ``run.json``: config, protocol, folds, stores, versions.
    """

    folder: "RunFolder"
    record: "RunRecord"

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def config(self) -> TrainConfig:
        """What it was trained with."""
        return self.record.config

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the models' answers."""
        return self.record.classes

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, such as ``casme2/sub01``."""
        return tuple(fold.name for fold in self.record.folds)

    @property
    def predictions(self) -> pd.DataFrame:
        """Of the test clips: ``clip``, ``fold``, ``seed``, and the probability of each class; a row a clip and seed.

        Raises:
            PredictionsError: the run is unfinished.
        """
        from training.evaluation.predictions import columns_of, read_predictions

        return pd.DataFrame(columns_of(read_predictions(self.folder.predictions)))

    @cached_property
    def evaluation(self) -> Evaluation:
        """Its scores and caveats.

        Raises:
            RunFolderError: folds failed or are unfinished, or the file is damaged.
        """
        from pydantic import ValidationError

        from training.evaluation.result import EvaluationResult

        file = self.folder.result
        try:
            return Evaluation(EvaluationResult.model_validate_json(file.read_bytes()))
        except FileNotFoundError as error:
            raise RunFolderError(f"{file}: no such file; train the run again to finish its folds") from error
        except (OSError, ValidationError) as error:
            raise RunFolderError(f"{file}: cannot be read; train the run again to make it anew") from error

    @property
    def metrics(self) -> pd.DataFrame:
        """See ``Evaluation.metrics``; ``evaluation`` has the caveats too."""
        return self.evaluation.metrics

    def model(self, fold: str | None = None, seed: int | None = None) -> "ClipModel":
        """The network of one fold and seed as ``torch.nn.Module``, on the CPU; by default the first one.

        Raises:
            RunFolderError: there is no such model, or it is damaged.
        """
        from madv_mer.network import ClipModel
        from training.inference.predict import Ensemble
        from training.models.trained_model import load_trained_model

        first = Ensemble.open(self.folder, fold=fold, seed=seed).folders[0]
        return ClipModel(load_trained_model(first.model, classes=self.classes))

    def predict(
        self,
        source: Path | str | Store,
        *,
        fold: str | None = None,
        seed: int | None = None,
        window: str = "0.5s",
        stride: str | None = None,
        fps: float | None = None,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Class probabilities for the clips of a store, or for sliding windows over new videos.

        Args:
            source: a store, or a video, a folder of videos or of image frames, whose faces are not kept.
            fold: take this fold alone; by default the mean over all.
            seed: take this seed alone; by default the mean over all.
            window: length of a window: ``0.5s``, or ``16f`` for frames.
            stride: from window to window; by default half a window.
            fps: frames per second, where the frames do not say.
            device: ``auto``, ``cpu`` or ``cuda``.

        Returns:
            A row a clip, or a window by video, ``start_s`` and ``end_s`` in s: ``predicted``, the probability of each
            class, and ``reason`` where there is none. ``attrs["caveats"]`` says what the probabilities are not; the
            caveats are printed too, such as that a subject was trained on.

        Raises:
            ConfigError: the store has not what the models read, or the source cannot be cut into windows.
            DatasetNotFoundError: there is no video.
            RunFolderError: a model is missing or damaged.
        """
        from pipeline.preprocessing.cluster import choose_device
        from pipeline.preprocessing.windows import Windowing
        from training.cli.videos import clips_to_predict
        from training.inference.predict import Ensemble, predict_store

        execution = validated(TrainExecution, {"device": device, "workers": 0})
        ensemble = Ensemble.open(self.folder, fold=fold, seed=seed)
        chosen = choose_device(execution)
        if isinstance(source, Store):
            return _predicted(predict_store(ensemble, source._store, device=chosen))
        windowing = validated(Windowing, {"window": window, "stride": stride})
        with clips_to_predict(source, self.record, windowing, execution, fps=fps, folder=None) as (store, windows):
            if windows is None:
                return _predicted(predict_store(ensemble, store, device=chosen))
            return _predicted(predict_store(ensemble, store, device=chosen, left_out=windows.doubts), windows.spans)

    def __repr__(self) -> str:
        protocol = "without labels" if self.record.protocol is None else self.record.protocol.name
        return f"<Run {self.path}: {self.config.model}, {protocol}, {count(len(self.config.seeds), 'seed')}>"

    def _repr_html_(self) -> str:
        scores = self.evaluation._repr_html_() if self.folder.result.is_file() else "<p>unfinished: no result</p>"
        return f"<p>{escape(repr(self))}</p>{scores}"


def _predicted(prediction: Any, spans: Any = None) -> pd.DataFrame:
    """A prediction as a table; windows are named by video and time."""
    from rich.text import Text

    table = pd.DataFrame(prediction.probabilities, columns=list(prediction.classes))
    table.insert(0, "predicted", prediction.predicted)
    table["reason"] = prediction.reasons
    if spans is None:
        table.index = pd.Index(prediction.clips, name="clip")
    else:
        where = [spans[key] for key in prediction.clips]
        table.index = pd.MultiIndex.from_tuples(where, names=["video", "start_s", "end_s"])
    table.attrs["caveats"] = list(prediction.caveats)
    for caveat in prediction.caveats:
        options.console().print(Text(f"caveat: {caveat}"))
    return table
