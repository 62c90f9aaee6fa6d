"""`mer evaluate`, `report`, `view`, `export`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.options import Given, Json, console, examples, options
from training.cli.options import OFFERS, FoldName, Partial, SeedNumber, Stores, TrainedRun, page_of
from training.config import TrainConfig

if TYPE_CHECKING:
    from pipeline.view.predictions import RunPredictions
    from schemas.store.reader import Store

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "mer evaluate predictions.csv --store casme2.zarr --protocol casme2-5/loso",
        "mer evaluate predictions.parquet --store casme2.zarr --partial --json",
    )
)
@options(TrainConfig, "protocol", complete=OFFERS)
def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="CSV: clip, fold, seed, and a column of probabilities a class; for --task spot video, onset, offset, "
            "and as you like apex, type, score, emotion, seed."
        ),
    ],
    store: Annotated[list[str], typer.Option(help="Store that labels are read from; several for composite tasks.")],
    task: Annotated[
        Literal["recognise", "spot"], typer.Option(help="Score classes of clips, or intervals in long recordings.")
    ] = "recognise",
    partial: Partial = False,
    as_json: Json = False,
    *,
    given: Given,
) -> None:
    """Score anybody's predictions: pooled over folds, beside chance levels, with intervals over subjects."""
    from schemas.store.location import located

    stores = [located(place) for place in store]
    if task == "spot":
        from training.spotting.evaluate import evaluate_intervals
        from training.spotting.terminal import spotting_report

        spotting = evaluate_intervals(predictions, stores)
        if as_json:
            print(spotting.model_dump_json())
        else:
            console().print(spotting_report(spotting))
        return
    from training.evaluation.evaluate import evaluate_file
    from training.evaluation.terminal import evaluation_report

    result = evaluate_file(
        predictions,
        stores,
        protocol=given.fields(TrainConfig).get("protocol"),
        counts="any" if partial else "published",
    )
    if as_json:
        print(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    else:
        console().print(evaluation_report(result))


@app.command(
    epilog=examples("mer report RUN --store casme2.zarr", "mer report comparison/madv_net --store casme2.zarr")
)
def report(run: TrainedRun, store: Stores) -> None:
    """Make report.html and the figures of a run again."""
    from schemas.store.reader import Store
    from training.fit.folder import RunFolder

    print(page_of(RunFolder(run), [Store.open(path) for path in store]))


@app.command(epilog=examples("mer view casme2.zarr --run RUN", "mer view casme2.zarr --port 5006 --no-browser"))
def view(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A folder, a zip file, or a URL.")],
    run: Annotated[Path | None, typer.Option(help="Run of `mer train`: wrong clips first, with probabilities.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the URL alone.")] = False,
    rerun: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the clips for Rerun's viewer (.rrd) instead.")
    ] = None,
) -> None:
    """Look at clips in a browser: gallery, frames, quality, and what a run answered. Nothing is written."""
    from schemas.store.reader import Store
    from schemas.words import count

    opened = Store.open(store)
    answers = None if run is None else answers_of_run(run, opened)
    if rerun is not None:
        from pipeline.view.rerun_file import write_rerun

        print(f"{rerun}: {count(write_rerun(opened, answers, rerun), 'clip')}; `rerun {rerun}` shows them")
        return
    from pipeline.view.server import view as serve

    serve(opened, answers, port=port, browser=not no_browser)


def answers_of_run(run: Path, store: "Store") -> "RunPredictions":
    """What a run answered on the clips of a store, as the viewer takes it."""
    from pipeline.view.predictions import Answer, ClipAnswers, RunPredictions
    from schemas.errors import ConfigError
    from schemas.words import count
    from training.evaluation.predictions import read_predictions
    from training.fit.folder import RunFolder

    folder = RunFolder(run)
    trained = folder.read()
    if trained.protocol is None:
        raise ConfigError(f"--run {run}: pre-training reads no labels and predicts none; name a run of `mer train`")
    predictions, task = read_predictions(folder.predictions), trained.protocol.task
    rules = {rule.dataset: rule for rule in task.datasets}
    answers: dict[str, list[Answer]] = {}
    rows = zip(predictions.folds, predictions.seeds, predictions.probabilities.tolist(), strict=True)
    for key, (fold, seed, values) in zip(predictions.clips, rows, strict=True):
        answers.setdefault(key, []).append(Answer(fold, seed, tuple(values)))
    tested = {}
    for entry in store.manifest.rows:
        rule = rules.get(entry.key.split("/")[0])
        name = None if rule is None else rule.class_of(entry.label)
        if entry.key in answers and name in predictions.classes:
            tested[entry.key] = ClipAnswers(predictions.classes.index(name), tuple(answers[entry.key]))
    if not tested:
        raise ConfigError(
            f"--run {run}: none of its {len(answers)} test clips is in {store.path}; name a store of the run"
        )
    title = f"{trained.config.model} on {trained.protocol.name}, {count(len(trained.config.seeds), 'seed')}"
    if store.manifest.content_sha256 not in {known.content_sha256 for known in trained.stores}:
        title += ", trained on another version of this store"
    return RunPredictions(title, predictions.classes, tested)


@app.command(epilog=examples("mer export RUN --onnx", "mer export RUN --onnx --fold sub01 --seed 0"))
def export(
    run: TrainedRun,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX, so far the only format.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write.  [default: RUN/model.onnx]")] = None,
    fold: FoldName = None,
    seed: SeedNumber = None,
) -> None:
    """Write one model of a run, normalisation included, once the file agrees with PyTorch to 1e-4."""
    from training.fit.folder import RunFolder
    from training.inference.export import export_onnx

    if not onnx:
        raise typer.BadParameter("choose a format: --onnx")
    done = export_onnx(RunFolder(run), out or run / "model.onnx", fold=fold, seed=seed)
    print(f"{done.path}: {done.model}; inputs {', '.join(done.inputs)}; differs from PyTorch by {done.difference:.1e}")
