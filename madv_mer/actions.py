"""What takes a while: preprocess, train, evaluate. Each is the command of that name, with an error for an exit code.

Progress is printed. Workers are processes of their own: a script then needs the usual guard
``if __name__ == "__main__":``; a notebook needs nothing, and ``workers=0`` stays in this process.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from madv_mer.keywords import divided, fields_of
from madv_mer.results import Evaluation, Run, open_run
from madv_mer.store import Store, open_store
from schemas.config import Execution, PreprocessConfig
from schemas.errors import RunError
from schemas.options import Given, console
from schemas.settings import validated
from schemas.store import reader
from schemas.store.location import StoreLocation, located
from schemas.words import count
from training.config import RecipeName, TrainConfig, TrainExecution

Place = Path | str | Store
_STARTS = ("pretrained", "published")  # which pretrain and weights settle


@fields_of(PreprocessConfig, Execution, without=("dataset",))
def preprocess(
    root: Path | str,
    out: Path | str,
    *,
    dataset: str | None = None,
    annotation: Path | str | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    **fields: Any,
) -> Store:
    """Turn a raw dataset into a verified store, or go on with one that was interrupted.

    Clips that fail are in ``to_pandas`` of the store, with the reason.

    Args:
        root: a dataset's folder, its parent or its image folder, a video, or a table of clips.
        out: store to write.
        dataset: name of the dataset, where its content is ambiguous.
        annotation: the dataset's spreadsheet, instead of the one that is found.
        overwrite: replace the store that is there.
        retry_failed: try the failed clips of a complete store again.
        **fields: as below.

    Raises:
        ConfigError: a field is unknown or has a wrong value.
        DatasetError: there is no dataset, or its annotation cannot be used.
        StoreError: another store is at ``out``.
        RunError: workers were asked for by a script without a guard.
    """
    from pipeline.preprocessing.preprocess import preprocess as run

    config, execution = divided(fields, PreprocessConfig, Execution, without=("dataset",))
    _check_guard(execution)
    run(
        Path(root),
        out=Path(out),
        options=config if dataset is None else {**config, "dataset": dataset},
        config_file=None,
        execution=validated(Execution, execution),
        overwrite=overwrite,
        retry_failed=retry_failed,
        console=console(),
        annotation=None if annotation is None else Path(annotation),
    )
    return open_store(Path(out))


@fields_of(TrainConfig, TrainExecution, without=_STARTS)
def train(
    stores: Place | Sequence[Place],
    out: Path | str,
    *,
    recipe: RecipeName = "paper",
    pretrain: Path | str | None = None,
    weights: str | None = None,
    overwrite: bool = False,
    **fields: Any,
) -> Run:
    """Train and evaluate a model without leaks, or go on with a run that was interrupted.

    Args:
        stores: to train on; several for composite tasks. Of a selection of clips the whole store is taken.
        out: run folder to write.
        recipe: ``paper``, ``fast`` (small frames, few epochs) or ``native`` (as the model's authors train it); it
            decides the fields below that are not given.
        pretrain: a store to learn from first, or a run of ``mer pretrain``.
        weights: published weights to start from, as ``mer weights list`` names them.
        overwrite: replace the run that is there.
        **fields: as below; nested ones as a dictionary, ``optimisation={"epochs": 20}``.

    Raises:
        ConfigError: a field is unknown or has a wrong value.
        ProtocolError: the stores do not hold the protocol's clips; ``counts="any"`` takes what there is.
        RunFolderError: another run is at ``out``.
        RunError: folds failed; the message says which, and the same call tries them again. Or workers were asked for
            by a script without a guard.
    """
    from training.cli.train import train_and_report
    from training.runs.recipes import resolve

    config, execution = divided(fields, TrainConfig, TrainExecution, without=_STARTS)
    _check_guard(execution)
    trained, _ = train_and_report(
        _located(stores),
        resolve(recipe, config),
        Given({TrainExecution: execution}),
        out=Path(out),
        pretrain=str(pretrain) if pretrain is not None else None,
        weights=weights,
        overwrite=overwrite,
    )
    if trained.failures:
        fold, why = trained.failures[0]
        raise RunError(
            f"{out}: {count(len(trained.failures), 'fold')} failed, {fold.name} with {why.error}: {why.message}; "
            "train again to try those folds once more"
        )
    return open_run(out)


def evaluate(
    predictions: Path | str | pd.DataFrame,
    stores: Place | Sequence[Place],
    *,
    protocol: str | None = None,
    partial: bool = False,
) -> Evaluation:
    """Score anybody's predictions: pooled over folds, beside chance levels, with intervals over subjects.

    Args:
        predictions: a CSV or Parquet file or a table: ``clip``, ``fold``, ``seed``, and a column of probabilities a
            class.
        stores: that labels are read from; several for composite tasks.
        protocol: such as ``loso`` or ``casme2-5/kfold-10``; by default the one that the classes tell.
        partial: accept stores without the published number of clips; a caveat says so.

    Raises:
        ConfigError: there is no such protocol, or none can be told from the classes.
        PredictionsError: they are not complete.
        ProtocolError: the stores do not hold the protocol's clips.
    """
    from training.evaluation.evaluate import evaluate_file, evaluate_predictions
    from training.evaluation.predictions import from_columns

    counts: Literal["any", "published"] = "any" if partial else "published"
    places = _located(stores)
    if isinstance(predictions, pd.DataFrame):
        columns = {str(name): values.tolist() for name, values in predictions.items()}
        manifests = [reader.Store.open(place).manifest for place in places]
        return Evaluation(evaluate_predictions(from_columns(columns), manifests, protocol=protocol, counts=counts))
    return Evaluation(evaluate_file(Path(predictions), places, protocol=protocol, counts=counts))


def _located(stores: Place | Sequence[Place]) -> list[StoreLocation]:
    listed = [stores] if isinstance(stores, (Path, str, Store)) else stores
    return [store.path if isinstance(store, Store) else located(store) for store in listed]


def _check_guard(execution: Mapping[str, Any]) -> None:
    """Refuse to start workers from a script that each of them would run again: they would start workers, and so on."""
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    here = execution.get("workers") == 0 or execution.get("scheduler") is not None
    if not here and script.is_file() and b"__name__" not in script.read_bytes():
        raise RunError(
            f"{script}: worker processes would run this script again; put its calls below "
            '`if __name__ == "__main__":`, or give workers=0 to work in one process'
        )
