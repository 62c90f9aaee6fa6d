"""`mer predict`, `spot`: what runs say of new videos."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from schemas.options import Given, console, options
from training.cli.options import FoldName, SeedNumber, TrainedRun
from training.config import TrainExecution
from training.spotting.config import SpotConfig

if TYPE_CHECKING:
    from pipeline.preprocessing.windows import Windowing, Windows
    from schemas.progress import Progress
    from schemas.store.location import StoreLocation
    from schemas.store.reader import Store
    from training.fit.folder import Run
    from training.spotting.course import Course
    from training.spotting.method import Spotter

T = TypeVar("T")
app = typer.Typer(rich_markup_mode=None)


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
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.inference.predict import preprocessing_of

    place = located(source)
    if _is_store(place):
        yield Store.open(place), None
        return
    with nullcontext(folder) if folder is not None else TemporaryDirectory() as holder:
        out, like = Path(holder) / "windows.zarr", preprocessing_of(run)
        windows = preprocess_windows(
            Path(source), out, like=like, windowing=windowing, execution=execution, console=console(), fps=fps
        )
        yield Store.open(out), windows


@app.command()
@options(SpotConfig)
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
    from schemas.store.location import located
    from schemas.store.reader import Store
    from training.spotting.output import write_outputs
    from training.spotting.run import RUN_FILE, read_run, read_spotter

    place = located(source)
    is_store = _is_store(place)
    if is_store and like is None:
        _spot_subjects(Store.open(place), out, given.make(SpotConfig))
        return
    if like is None:
        raise ConfigError("a video needs --like FOLDER: one that `mer spot STORE` wrote, which holds what was learnt")
    if name := next(iter(given.fields(SpotConfig)), None):
        raise ConfigError(f"--{name}: {like} was made with its own; leave it out, or leave --like out to spot anew")
    if (out / RUN_FILE).exists():
        raise ConfigError(f"--out {out}: holds what another run learnt, and its intervals; choose another folder")
    run = read_run(like)
    spotter = read_spotter(like, run)
    notes = [f"The spotter learnt on recordings that are {SYNTHETIC_NOTE}."] if run.synthetic else []
    if is_store:
        courses, videos, took = _store_courses(Store.open(place), spotter), dict[str, Path](), 0.0
    else:
        courses, videos, took = _video_courses(Path(source), given, spotter)
    found = [one for course in courses.values() for one in spotter.spot(course)]
    files = write_outputs(out, found, courses, dict.fromkeys(courses, spotter), videos=videos, notes=notes)
    for note in notes:
        print(f"note: {note}")
    micro = sum(one.type == "micro" for one in found)
    print(f"{len(found)} expressions spotted: {micro} micro, {len(found) - micro} macro")
    if took:
        length = sum(len(course.numbers) / course.fps for course in courses.values())
        print(f"{length:.1f} s of video followed in {took:.1f} s: real-time factor {length / took:.2f}")
    for file in files:
        print(file)


def _is_store(place: "StoreLocation") -> bool:
    """Whether a user names a store, and no videos."""
    from schemas.manifest import MANIFEST_NAME

    return not isinstance(place, Path) or place.suffix == ".zip" or (place / MANIFEST_NAME).is_file()


def _spot_subjects(store: "Store", out: Path, config: SpotConfig) -> None:
    """Spot each subject of a store with what the others taught; write and print the score."""
    from schemas.output import locked, write_text
    from schemas.progress import Progress
    from training.spotting.evaluate import evaluate as score
    from training.spotting.intervals import recordings_of
    from training.spotting.method import METHODS
    from training.spotting.output import write_outputs
    from training.spotting.run import execute, plan, read_spotter
    from training.spotting.terminal import spotting_report

    recordings = recordings_of([store])
    run = plan(recordings, [store.manifest.content_sha256], config)
    with locked(out):
        courses = _store_courses(store, keep_fields=METHODS[config.method].reads_fields)
        with Progress(console(), unit="folds", total=len(run.seeds) * len(run.folds())) as progress:
            answers = execute(out, run, courses, recordings, advance=progress.advance)
        result = score(answers, recordings)
        spotters = {subject: read_spotter(out, run, without=subject) for subject in run.subjects}
        shown = [one for one in answers if one.seed == run.seeds[0]]
        files = write_outputs(
            out,
            shown,
            courses,
            {one.key: spotters[one.subject] for one in recordings},
            recordings=recordings,
            notes=result.caveats,
            table=answers,
        )
        write_text(out / "result.json", result.model_dump_json(indent=1) + "\n")
    console().print(spotting_report(result))
    print(f"{out}: complete; open {files[-1]}; next: mer spot VIDEO --like {out}")


def _store_courses(
    store: "Store", spotter: "Spotter | None" = None, *, keep_fields: bool = False
) -> "dict[str, Course]":
    """How the face moves in each long recording of a store, as a spotter reads it, or to fit one."""
    import numpy as np

    from pipeline.clip.region_motion import motion_of_entry
    from schemas.progress import Progress
    from training.spotting.course import course_of
    from training.spotting.intervals import recordings_of

    recordings, courses = recordings_of([store]), {}
    with Progress(console(), unit="recordings", total=len(recordings)) as progress:
        for recording in recordings:
            key, fps = recording.key, recording.fps
            numbers = np.asarray(store.row("frame_number", key))[: store.entry(key).n_frames].astype(np.int64)
            observer = None if spotter is None else spotter.observer(fps)
            motions = motion_of_entry(store, key)
            courses[key] = course_of(key, fps, numbers, motions, observer=observer, keep_fields=keep_fields)
            progress.advance()
    return courses


def _video_courses(
    source: Path, given: Given, spotter: "Spotter"
) -> "tuple[dict[str, Course], dict[str, Path], float]":
    """How the face moves in new videos, where these are, and the s that reading them took."""
    import time

    import numpy as np

    from pipeline.clip.frames import Frames
    from pipeline.clip.mtcnn import Mtcnn
    from pipeline.clip.region_motion import motion_of_video
    from pipeline.datasets import scan_dataset
    from pipeline.preprocessing.cluster import choose_device
    from schemas.progress import Progress
    from training.spotting.course import course_of

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
            frames = _counted(Frames(root, clip.source, keep_bytes=0), progress)
            motions, numbers = motion_of_video(frames, detector, clip.fps), np.array(clip.source.numbers)
            courses[clip.key] = course_of(clip.key, clip.fps, numbers, motions, observer=spotter.observer(clip.fps))
            videos[clip.key] = root / clip.source.path
    return courses, videos, time.monotonic() - started


def _counted(items: "Iterable[T]", progress: "Progress") -> "Iterator[T]":
    for item in items:
        yield item
        progress.advance()
