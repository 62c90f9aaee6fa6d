"""The commands that train, evaluate and predict: each parses, calls one library function, and prints.

The only module of ``training`` that imports ``pipeline``: commands bring clusters, published weights, the regions of
action units and the windows of videos to functions that know nothing of them, and what a run answered to the viewer.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand

from schemas.options import Given, Json, console, offered, options
from schemas.settings import assignments
from training.config import RecipeName, TrainConfig, TrainExecution

if TYPE_CHECKING:
    from pipeline.preprocessing.windows import Windowing, Windows
    from pipeline.view.predictions import RunPredictions
    from pipeline.weights.locate import LocatedWeights
    from schemas.store.location import StoreLocation
    from schemas.store.reader import Store
    from training.fit.folder import Run, RunFolder
    from training.runs.folds import Resources
    from training.runs.train import TrainedRun as Trained
    from training.spotting.flow_peaks import Course

app = typer.Typer(rich_markup_mode=None)
model_app = typer.Typer(hidden=True, rich_markup_mode=None)
app.add_typer(model_app, name="model")

Stores = Annotated[list[str], typer.Option("--store", help="Store to train on; several for composite tasks.")]
Recipe = Annotated[
    RecipeName,
    typer.Option(help="paper; fast: small frames, few epochs; native: as the model's authors train it."),
]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file that sets fields of the config; options win.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set any field of the config, such as optimisation.lr=1e-4."),
]
Seeds = Annotated[int | None, typer.Option(min=1, help="Runs with the random seeds 0, 1, ...  [default: by recipe]")]
Pretrain = Annotated[
    str | None, typer.Option(help="Store to learn from first (SMIC in the paper), or a run of `mer pretrain`.")
]
Weights = Annotated[
    str | None, typer.Option(help="Published weights to start from, as `mer weights list` names them, with commas.")
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Accept stores without the published number of clips; the result says so.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
TrainedRun = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `mer train`.")]
FoldName = Annotated[
    str | None, typer.Option("--fold", help="Take this fold alone.  [default: all; export: the first]")
]
SeedNumber = Annotated[
    int | None, typer.Option("--seed", help="Take this random seed alone.  [default: all; export: first]")
]


def _model_names(ctx: typer.Context) -> tuple[str, ...]:
    from training.models.registry import model_names

    return model_names()


def _protocol_names(ctx: typer.Context) -> tuple[str, ...]:
    from training.protocols.protocol import protocol_names

    return protocol_names()


OFFERS = {"model": offered(_model_names), "protocol": offered(_protocol_names)}  # what a shell completes
_SWITCHES = ("depth", "au", "discard", "stage-heads", "frame-difference")


class _Train(TyperCommand):
    """Says what the switches of MADV-Net, which `mer train` had until version 0.1, are called now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for word in args:
            name = word.removeprefix("--").removeprefix("no-")
            if word.startswith("--") and name in _SWITCHES:
                value = "false" if word.startswith("--no-") else "true"
                ctx.fail(f"{word} is now: --set model_options.{name.replace('-', '_')}={value}")
        return super().parse_args(ctx, args)


@app.command(cls=_Train)
@options(
    TrainConfig,
    "model",
    "protocol",
    "motion",
    "frames",
    "size",
    "optimisation.epochs",
    "validation",
    "sampling",
    "amp",
    default="by recipe",
    complete=OFFERS,
)
@options(TrainExecution)
def train(
    store: Stores,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder to write.  [default: <model>-<stores>]")
    ] = None,
    recipe: Recipe = "paper",
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    pretrain: Pretrain = None,
    weights: Weights = None,
    partial: Partial = False,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train and evaluate a model, without leaks. Killed half way, the same command goes on."""
    from schemas.store.location import located

    _refuse_protocol(store, config, given, assigned, partial=partial)
    resolved = _config(recipe, config, given, assigned, seeds=seeds, partial=partial)
    stores = [located(place) for place in store]
    default = Path("-".join([resolved.model, *(Path(place.name).stem for place in stores)]))
    trained, page = train_and_report(
        stores, resolved, given, out=out or default, pretrain=pretrain, weights=weights, overwrite=overwrite
    )
    if trained.result is None:
        print(f"open {page}")
        raise typer.Exit(1)
    from training.evaluation.terminal import evaluation_report

    console().print(evaluation_report(trained.result))
    print(f"{trained.folder.path}: complete; open {page}")


def _refuse_protocol(
    places: Sequence[str], file: Path | None, given: Given, assigned: Sequence[str] | None, *, partial: bool
) -> None:
    """Refuse a protocol that does not fit the stores, which needs nothing of what takes long to load.

    Raises:
        ConfigError: no such protocol, or a store that it is not about.
        ProtocolError: the stores do not hold its clips.
    """
    from schemas.settings import read_toml
    from schemas.store.location import located
    from schemas.store.manifest_file import read_manifest
    from training.protocols.protocol import choose_protocol
    from training.protocols.tasks import Counts, select_clips

    options_of = _given(given, seeds=None, partial=partial)
    fields = {**read_toml(file), **options_of, **assignments(assigned or (), TrainConfig)}
    name, counts = fields.get("protocol"), fields.get("counts", "published")
    if (name is None or isinstance(name, str)) and counts in get_args(Counts):  # the rest is refused with the config
        manifests = [read_manifest(located(place)) for place in places]
        select_clips(choose_protocol(name, manifests).task, manifests, counts=counts)


def train_and_report(
    stores: "Sequence[StoreLocation]",
    config: TrainConfig,
    given: Given,
    *,
    out: Path,
    pretrain: str | None,
    weights: str | None,
    overwrite: bool,
) -> "tuple[Trained, Path]":
    """Train as `mer train` does, and make the page of the run; arguments as of its options."""
    from schemas.store.location import located
    from training.runs.train import train as run

    resources = _resources(given)
    config, published = _starting(config, _published([config.model], weights, given))
    trained = run(
        stores,
        config,
        resources,
        out=out,
        pretrain=located(pretrain) if pretrain else None,
        published=published,
        overwrite=overwrite,
    )
    return trained, _page(trained.folder, trained.stores)


@app.command()
@options(
    TrainConfig, "model", "motion", "frames", "size", "optimisation.epochs", "amp", default="by recipe", complete=OFFERS
)
@options(TrainExecution)
def pretrain(
    store: Stores,
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to write.")] = Path("pretrained"),
    recipe: Recipe = "paper",
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train a model without labels to say how hidden blocks of a face moved, for `mer train --pretrain`."""
    from schemas.store.location import located
    from training.runs.train import pretrain as run

    resolved, resources = _config(recipe, config, given, assigned, seeds=seeds), _resources(given)
    if run([located(place) for place in store], resolved, resources, out=out, overwrite=overwrite).failures:
        raise typer.Exit(1)
    resources.say(f"{out}: complete; next: mer train --store OTHER.zarr --pretrain {out}")


@app.command()
@options(TrainExecution)
def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file, as of `mer train`, or a run folder.")],
    store: Stores,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of a run for each variant.")] = Path("ablation"),
    recipe: Recipe = "paper",
    assigned: Assignments = None,
    pretrain: Pretrain = None,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train a model again with each of its paths switched off, and say what each is worth."""
    from schemas.store.location import located
    from training.evaluation.terminal import ablation_report
    from training.fit.folder import RUN_FILE, RunFolder
    from training.runs.ablate import ablate as run
    from training.runs.recipes import resolve

    if (config / RUN_FILE).is_file():
        before = RunFolder(config).read()
        fields = before.config.model_dump(mode="json", exclude={"pretrained"})
        protocol, resolved = before.protocol, resolve("paper", fields, assignments(assigned or (), TrainConfig))
    else:
        protocol, resolved = None, _config(recipe, config, given, assigned)
    resources = _resources(given)
    runs, table = run(
        [located(place) for place in store],
        resolved,
        resources,
        out=out,
        protocol=protocol,
        pretrain=located(pretrain) if pretrain else None,
        overwrite=overwrite,
    )
    full, *_ = [_page(trained.folder, trained.stores) for trained in runs]
    if table is None:
        raise typer.Exit(1)
    resources.console.print(ablation_report(table))
    resources.say(f"{out}: complete; open {full}")


@app.command()
@options(TrainConfig, "protocol", "motion", "frames", "size", "amp", default="by recipe", complete=OFFERS)
@options(TrainExecution)
def compare(
    store: Stores,
    models: Annotated[
        str, typer.Option(help="all, or names with commas: madv_net,c3d,stt.", autocompletion=OFFERS["model"])
    ] = "all",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the comparison and its runs.")] = Path(
        "comparison"
    ),
    recipe: Recipe = "paper",
    budget: Annotated[
        str | None, typer.Option(help="Equal updates for all models: epochs (20), or what a time allows (45m, 2h).")
    ] = None,
    config: ConfigFile = None,
    assigned: Assignments = None,
    seeds: Seeds = None,
    weights: Weights = None,
    partial: Partial = False,
    overwrite: Overwrite = False,
    *,
    given: Given,
) -> None:
    """Train and evaluate many models under one protocol, and test their differences."""
    from schemas.settings import read_toml
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.evaluation.terminal import comparison_report
    from training.report.comparison import write_comparison
    from training.runs.budget import Budget
    from training.runs.compare import compare as run
    from training.runs.compare import configs_of
    from training.runs.recipes import over

    fields = over(_given(given, seeds=seeds, partial=partial), assignments(assigned or (), TrainConfig))
    configs = configs_of(models, recipe, read_toml(config), fields)
    published = _published(list(configs), weights, given)
    started = {name: _starting(resolved, published) for name, resolved in configs.items()}
    resources = _resources(given)
    result = run(
        [located(place) for place in store],
        {name: resolved for name, (resolved, _) in started.items()},
        resources,
        out=out,
        published={name: file for name, (_, file) in started.items() if file is not None},
        recipe=recipe,
        budget=None if budget is None else Budget.parse(budget),
        overwrite=overwrite,
    )
    if result is None:
        raise typer.Exit(1)
    page = write_comparison(out, result, stores=[Store.open(place) for place in store])
    resources.console.print(comparison_report(result))
    resources.say(f"{out}: complete; open {page}")
    raise typer.Exit(1 if any(model.failure for model in result.models) else 0)


@app.command()
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


@app.command()
def report(run: TrainedRun, store: Stores) -> None:
    """Make report.html and the figures of a run again."""
    from schemas.store.reader import Store
    from training.fit.folder import RunFolder

    print(_page(RunFolder(run), [Store.open(path) for path in store]))


@app.command()
def view(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A folder, a zip file, or a URL.")],
    run: Annotated[Path | None, typer.Option(help="Run of `mer train`: wrong clips first, with probabilities.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the URL alone.")] = False,
) -> None:
    """Look at clips in a browser: gallery, frames, quality, and what a run answered. Nothing is written."""
    from pipeline.view.server import view as serve
    from schemas.store.reader import Store

    opened = Store.open(store)
    serve(opened, None if run is None else answers_of_run(run, opened), port=port, browser=not no_browser)


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


@app.command()
@options(TrainExecution, "workers", "device", "models_dir")
def predict(
    run: TrainedRun,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video, a folder of videos or of image frames, or a store.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("predictions"),
    window: Annotated[str, typer.Option(help="Length of a window: 0.5s, or 16f for frames (8 at least).")] = "0.5s",
    stride: Annotated[str | None, typer.Option(help="From window to window.  [default: half a window]")] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="Frames per second, where the frames do not say.")] = None,
    fold: FoldName = None,
    seed: SeedNumber = None,
    keep_windows: Annotated[
        bool, typer.Option("--keep-windows", help="Leave the windows, which show faces, in OUT/windows.zarr.")
    ] = False,
    *,
    given: Given,
) -> None:
    """Class probabilities for sliding windows over new videos, or for the clips of a store."""
    import time

    from pipeline.preprocessing.cluster import choose_device
    from pipeline.preprocessing.windows import Windowing
    from schemas.errors import ConfigError
    from schemas.settings import validated
    from training.fit.folder import RUN_FILE, RunFolder
    from training.inference.output import prediction_report, write_prediction
    from training.inference.predict import Ensemble, faces_seen, predict_store

    started, execution = time.monotonic(), given.make(TrainExecution)
    windowing = validated(Windowing, {"window": window, "stride": stride})
    if (out / RUN_FILE).exists():
        raise ConfigError(f"--out {out}: a run, whose own predictions would be replaced; choose another folder")
    ensemble = Ensemble.open(RunFolder(run), fold=fold, seed=seed)
    kept = out if keep_windows else None
    with clips_to_predict(source, ensemble.run, windowing, execution, fps=fps, folder=kept) as (store, windows):
        doubts = None if windows is None else windows.doubts
        prediction = predict_store(ensemble, store, device=choose_device(execution), left_out=doubts)
    files = write_prediction(out, prediction, None if windows is None else windows.spans)
    console().print(prediction_report(prediction))
    if windows is not None:
        print(faces_seen(store))
        took = time.monotonic() - started
        print(f"{windows.seconds:.1f} s of video in {took:.1f} s: real-time factor {windows.seconds / took:.2f}")
    for file in files:
        print(file)
    raise typer.Exit(1 if any(prediction.reasons) else 0)


@contextmanager
def clips_to_predict(
    source: Path | str,
    run: "Run",
    windowing: "Windowing",
    execution: TrainExecution,
    *,
    fps: float | None,
    folder: Path | None,
) -> "Iterator[tuple[Store, Windows | None]]":
    """The store that a user names, or the windows of new videos as one; those are in a folder, or there for a while."""
    from tempfile import TemporaryDirectory

    from pipeline.preprocessing.windows import preprocess_windows
    from schemas.manifest import MANIFEST_NAME
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.inference.predict import preprocessing_of

    place = located(source)
    if not isinstance(place, Path) or place.suffix == ".zip" or (place / MANIFEST_NAME).is_file():
        yield Store.open(place), None
        return
    with nullcontext(folder) if folder is not None else TemporaryDirectory() as holder:
        out, like = Path(holder) / "windows.zarr", preprocessing_of(run)
        windows = preprocess_windows(
            Path(source), out, like=like, windowing=windowing, execution=execution, console=console(), fps=fps
        )
        yield Store.open(out), windows


@app.command()
@options(TrainExecution, "device")
def spot(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="A video, a folder of videos, or a store of long recordings."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("spotted"),
    like: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Spot as learnt in this folder, which `mer spot STORE` wrote."),
    ] = None,
    *,
    given: Given,
) -> None:
    """Where in long recordings expressions are: a table, subtitles and a timeline.

    A store with intervals is spotted by leave-one-subject-out, and scored; the folder then serves as --like.
    """
    from schemas.datasets import SYNTHETIC_NOTE
    from schemas.errors import ConfigError
    from schemas.manifest import MANIFEST_NAME
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.spotting.flow_peaks import spot as spot_course
    from training.spotting.output import write_outputs
    from training.spotting.spotter import read_spotter

    place = located(source)
    is_store = not isinstance(place, Path) or place.suffix == ".zip" or (place / MANIFEST_NAME).is_file()
    if is_store and like is None:
        _spot_subjects(Store.open(place), out)
        return
    if like is None:
        raise ConfigError("a video needs --like FOLDER: one that `mer spot STORE` wrote, which holds the thresholds")
    spotter = read_spotter(like)
    rules = spotter.rules
    notes = [f"The thresholds were learnt on recordings that are {SYNTHETIC_NOTE}."] if spotter.synthetic else []
    if is_store:
        courses, videos, took = _store_courses(Store.open(place)), dict[str, Path](), 0.0
    else:
        courses, videos, took = _video_courses(Path(source), given)
    found = [one for course in courses.values() for one in spot_course(course, rules)]
    files = write_outputs(out, found, courses, dict.fromkeys(courses, rules), videos=videos, notes=notes)
    for note in notes:
        print(f"note: {note}")
    micro = sum(one.type == "micro" for one in found)
    print(f"{len(found)} expressions spotted: {micro} micro, {len(found) - micro} macro")
    if took:
        length = sum(len(course.numbers) / course.fps for course in courses.values())
        print(f"{length:.1f} s of video followed in {took:.1f} s: real-time factor {length / took:.2f}")
    for file in files:
        print(file)


def _spot_subjects(store: "Store", out: Path) -> None:
    """Spot each subject of a store with what the others taught; write and print the score."""
    from schemas.output import write_text
    from training.spotting.evaluate import evaluate as score
    from training.spotting.intervals import recordings_of
    from training.spotting.output import write_outputs
    from training.spotting.spotter import leave_one_subject_out, write_spotter
    from training.spotting.terminal import spotting_report

    recordings = recordings_of([store])
    courses = _store_courses(store)
    spotter, answers = leave_one_subject_out(courses, recordings, [store.manifest.content_sha256])
    result = score(answers, recordings)
    rules = {recording.key: spotter.folds[recording.subject] for recording in recordings}
    files = write_outputs(out, answers, courses, rules, recordings=recordings, notes=result.caveats)
    write_text(out / "result.json", result.model_dump_json(indent=1) + "\n")
    console().print(spotting_report(result))
    print(f"{write_spotter(out, spotter).parent}: complete; open {files[-1]}; next: mer spot VIDEO --like {out}")


def _store_courses(store: "Store") -> "dict[str, Course]":
    """How the face moves in each long recording of a store."""
    import numpy as np

    from pipeline.clip.region_motion import course_of_entry
    from schemas.progress import Progress
    from training.spotting.flow_peaks import Course
    from training.spotting.intervals import recordings_of

    recordings, courses = recordings_of([store]), {}
    with Progress(console(), unit="recordings", total=len(recordings)) as progress:
        for recording in recordings:
            numbers = np.asarray(store.row("frame_number", recording.key))[: store.entry(recording.key).n_frames]
            positions = course_of_entry(store, recording.key)
            courses[recording.key] = Course(recording.key, recording.fps, numbers.astype(np.int64), positions)
            progress.advance()
    return courses


def _video_courses(source: Path, given: Given) -> "tuple[dict[str, Course], dict[str, Path], float]":
    """How the face moves in new videos, where these are, and the s that reading them took."""
    import time

    import numpy as np

    from pipeline.clip.frames import Frames
    from pipeline.clip.mtcnn import Mtcnn
    from pipeline.clip.region_motion import course_of_video
    from pipeline.datasets import scan_dataset
    from pipeline.preprocessing.cluster import choose_device
    from schemas.progress import Progress
    from training.spotting.flow_peaks import Course

    root, found = scan_dataset(source, "video", long=True)
    detector = Mtcnn(choose_device(given.make(TrainExecution)))
    courses, videos = {}, {}
    usable = [clip for clip in found.clips if clip.usable]
    for clip in found.clips:
        for finding in clip.findings:
            print(f"{finding.kind}: {finding.message}", file=sys.stderr)
    total = sum(len(clip.source.numbers) for clip in usable if clip.source)
    started = time.monotonic()
    with Progress(console(), unit="frames", total=total) as progress:
        for clip in usable:
            assert clip.source is not None, "usable"
            positions = []
            for place in course_of_video(Frames(root, clip.source, keep_bytes=0), detector, clip.fps):
                positions.append(place)
                progress.advance()
            courses[clip.key] = Course(clip.key, clip.fps, np.array(clip.source.numbers), np.stack(positions))
            videos[clip.key] = root / clip.source.path
    return courses, videos, time.monotonic() - started


@app.command()
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


Frames = Annotated[int, typer.Option(help="Frames of a clip.")]
Size = Annotated[int, typer.Option(help="Side of the frames, px.")]
Classes = Annotated[int, typer.Option(min=2, help="Classes.")]
TimedOn = Annotated[str, typer.Option(help="cpu or cuda, to time on.")]


@app.command()
def models(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]", help="Count and time this one.", show_default=False, autocompletion=OFFERS["model"]
        ),
    ] = None,
    frames: Frames = 16,
    size: Size = 112,
    classes: Classes = 5,
    device: TimedOn = "cpu",
    as_json: Json = False,
    models_dir: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """List the networks with parameters, inputs and paper; or count and time one of them for one clip."""
    if name and name[0] in ("list", "fetch", "path"):
        _old_weights_command(name, models_dir, as_json)
    elif name:
        _show_model(name[0], frames, size, classes, device, as_json)
    else:
        _list_models(as_json)


def _list_models(as_json: bool) -> None:
    from rich.table import Column, Table

    from training.models.registry import model_rows

    rows = model_rows()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    table = Table(Column("name", min_width=max(len(row.name) for row in rows)), "parameters", "inputs", "paper")
    for row in rows:
        table.add_row(row.name, f"{row.parameters / 1e6:.2f} M", ", ".join(row.inputs), row.paper)
    console().print(table)


def _show_model(name: str, frames: int, size: int, classes: int, device: str, as_json: bool) -> None:
    from training.models.registry import model_info, model_name

    info = model_info(model_name(name), classes=classes, frames=frames, size=size, action_units=20, device=device)
    if as_json:
        print(json.dumps(asdict(info)))
        return
    print(f"{info.name}: {info.parameters / 1e6:.2f} M parameters, {info.macs / 1e9:.2f} GMACs a clip")
    print(f"{frames} frames of {size} px, {info.latency * 1e3:.0f} ms on {info.device} (one clip, float32)")


def _old_weights_command(words: list[str], models_dir: Path | None, as_json: bool) -> None:
    """`mer models list|fetch|path`, which are `mer weights ...` since version 0.2."""
    from pipeline.cli import fetch, list_weights, path

    print(f"`mer models {words[0]}` is now `mer weights {words[0]}`", file=sys.stderr)
    if words[0] == "list":
        list_weights(as_json=as_json, models_dir=models_dir)
    elif words[0] == "fetch":
        fetch(names=words[1:], models_dir=models_dir)
    else:
        for name in words[1:]:
            path(name=name, models_dir=models_dir)


@model_app.command("info", hidden=True)
def model_info(
    name: Annotated[str, typer.Argument()] = "madv_net",
    frames: Frames = 16,
    size: Size = 112,
    classes: Classes = 5,
    device: TimedOn = "cpu",
    as_json: Json = False,
) -> None:
    """Count and time a network; since version 0.2 `mer models NAME`."""
    print("`mer model info` is now `mer models NAME`", file=sys.stderr)
    _show_model(name, frames, size, classes, device, as_json)


@model_app.callback()
def _model() -> None:
    pass


def _page(run: "RunFolder", stores: "Sequence[Store]") -> Path:
    """Write the page of a run, which knows from ``pipeline`` where action units act and what the depth is."""
    from pipeline.clip.mesh.regions import region_masks
    from pipeline.inspect.figures import depth_source
    from training.report.report import write_report

    return write_report(run, stores, regions=region_masks, depth_source=depth_source)


def _config(
    recipe: RecipeName,
    file: Path | None,
    given: Given,
    assigned: Sequence[str] | None,
    *,
    seeds: int | None = None,
    partial: bool = False,
) -> TrainConfig:
    """The config of a training command: recipe, file, options, and ``--set`` last."""
    from schemas.settings import read_toml
    from training.runs.recipes import resolve

    fields = _given(given, seeds=seeds, partial=partial)
    return resolve(recipe, read_toml(file), fields, assignments(assigned or (), TrainConfig))


def _given(given: Given, *, seeds: int | None, partial: bool) -> dict[str, Any]:
    fields = dict(given.fields(TrainConfig))
    if seeds is not None:
        fields["seeds"] = tuple(range(seeds))
    if partial:
        fields["counts"] = "any"
    return fields


def _published(models: Sequence[str], weights: str | None, given: Given) -> "dict[str, LocatedWeights]":
    """Model -> the published weights, of those that were named, that it starts from."""
    from pipeline.weights.locate import locate
    from schemas.errors import ConfigError
    from training.models.registry import model_facts

    wanted = [] if weights is None else [name.strip() for name in weights.split(",")]
    chosen = {model: next((s for s in model_facts(model).sources if s in wanted), None) for model in models}
    if unused := [name for name in wanted if name not in chosen.values()]:
        known = {source for model in models for source in model_facts(model).sources}
        raise ConfigError(
            f"--weights {unused[0]}: {', '.join(models)} cannot start from them; "
            + (f"known are {', '.join(sorted(known))}" if known else "no weights are published for that")
        )
    folder = given.make(TrainExecution).models_dir
    return {model: locate(source, folder) for model, source in chosen.items() if source is not None}


def _starting(config: TrainConfig, published: "Mapping[str, LocatedWeights]") -> tuple[TrainConfig, Path | None]:
    """The config of a model that starts from published weights, and their file."""
    found = published.get(config.model)
    if found is None:
        return config, None
    return config.model_copy(update={"published": found.record}), found.path


def _resources(given: Given) -> "Resources":
    """Where a training command runs."""
    from pipeline.preprocessing.cluster import choose_device, connect
    from training.runs.folds import Resources

    execution = given.make(TrainExecution)
    chosen = choose_device(execution)
    here = execution.workers == 0 and execution.scheduler is None
    cluster = None if here else lambda folds: connect(execution, device=chosen, clips=folds)
    return Resources(device=chosen, cluster=cluster, cache=execution.cache, loaders=2, console=console())
