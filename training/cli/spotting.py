"""`mer spot`: where in long recordings expressions are."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from schemas.options import Given, console, examples, options
from training.cli.videos import is_store
from training.config import TrainExecution
from training.spotting.config import SpotConfig

if TYPE_CHECKING:
    from schemas.progress import Progress
    from schemas.store.reader import Store
    from training.spotting.course import Course
    from training.spotting.method import Spotter

T = TypeVar("T")
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples("mer spot long.zarr --out spotter", "mer spot talk.mp4 --like spotter --with RUN --out talk")
)
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
    recogniser: Annotated[
        Path | None,
        typer.Option("--with", metavar="RUN", help="Run of `mer train`, which gives what is spotted its class."),
    ] = None,
    megc: Annotated[
        Path | None,
        typer.Option(
            "--megc", metavar="FILE", help="Write the micro-expressions as the challenge's script reads them."
        ),
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
    from training.spotting.output import write_megc, write_outputs
    from training.spotting.run import RUN_FILE, read_run, read_spotter

    place = located(source)
    in_store = is_store(place)
    if in_store and like is None:
        _spot_subjects(Store.open(place), out, given, megc, recogniser)
        return
    if in_store and recogniser is not None:
        raise ConfigError("--with RUN reads a video, or a store that is spotted without --like; leave one of both out")
    if like is None:
        raise ConfigError("a video needs --like FOLDER: one that `mer spot STORE` wrote, which holds what was learnt")
    if name := next(iter(given.fields(SpotConfig)), None):
        raise ConfigError(f"--{name}: {like} was made with its own; leave it out, or leave --like out to spot anew")
    if (out / RUN_FILE).exists():
        raise ConfigError(f"--out {out}: holds what another run learnt, and its intervals; choose another folder")
    run = read_run(like)
    spotter = read_spotter(like, run)
    notes = [f"The spotter learnt on recordings that are {SYNTHETIC_NOTE}."] if run.synthetic else []
    if in_store:
        courses, videos, took, unusable = _store_courses(Store.open(place), spotter), dict[str, Path](), 0.0, 0
    else:
        courses, videos, took, unusable = _video_courses(Path(source), given, spotter)
        notes += _without_face(courses, videos)
    found = [one for course in courses.values() for one in spotter.spot(course)]
    files: tuple[Path, ...] = ()
    if recogniser is not None:
        from training.cli.spotted_classes import classes_in_videos

        found, files = classes_in_videos(
            recogniser, Path(source), found, courses, videos, out, given.make(TrainExecution)
        )
    files += write_outputs(out, found, courses, dict.fromkeys(courses, spotter), videos=videos, notes=notes)
    if megc is not None:
        files = (*files, write_megc(megc, found))
    for note in notes:
        print(f"note: {note}")
    micro = sum(one.type == "micro" for one in found)
    print(f"{len(found)} expressions spotted: {micro} micro, {len(found) - micro} macro")
    if took:
        length = sum(len(course.numbers) / course.fps for course in courses.values())
        print(f"{length:.1f} s of video followed in {took:.1f} s: real-time factor {length / took:.2f}")
    for file in files:
        print(file)
    raise typer.Exit(1 if unusable else 0)


def _spot_subjects(store: "Store", out: Path, given: Given, megc: Path | None, recogniser: Path | None) -> None:
    """Spot each subject of a store with what the others taught; write and print the score."""
    from schemas.output import locked, write_text
    from schemas.progress import Progress
    from training.fit.folder import RunFolder
    from training.inference.predict import Ensemble
    from training.protocols.tasks import subject_of
    from training.report.spotting import write_spotting_report
    from training.spotting.evaluate import evaluate as score
    from training.spotting.intervals import ClassOf, classes_of, emotion_of, recordings_of
    from training.spotting.method import METHODS
    from training.spotting.output import write_megc, write_outputs
    from training.spotting.run import execute, plan, read_spotter
    from training.spotting.terminal import spotting_report

    config, recordings = given.make(SpotConfig), recordings_of([store])
    class_of: ClassOf = emotion_of
    ensemble = None if recogniser is None else Ensemble.open(RunFolder(recogniser))
    doubts: tuple[str, ...] = ()
    if ensemble is not None:
        assert ensemble.run.protocol is not None, "it knows classes"
        class_of = classes_of(ensemble.run.protocol.task, recordings)
        for recording in recordings:  # refused before anything is spotted
            ensemble.without(subject_of(recording.key))
    run = plan(recordings, [store.manifest.content_sha256], config)
    with locked(out):
        courses = _store_courses(store, keep_fields=METHODS[config.method].reads_fields)
        with Progress(console(), unit="folds", total=len(run.seeds) * len(run.folds())) as progress:
            answers = execute(out, run, courses, recordings, advance=progress.advance)
        if ensemble is not None:
            from training.cli.spotted_classes import classes_in_store

            classed, doubts = classes_in_store(ensemble, answers, store, given.make(TrainExecution))
            answers = tuple(classed)
        result = score(answers, recordings, class_of)
        result = result.model_copy(update={"caveats": (*result.caveats, *doubts)})
        spotters = {subject: read_spotter(out, run, without=subject) for subject in run.subjects}
        shown = [one for one in answers if one.seed == run.seeds[0]]
        write_outputs(
            out,
            shown,
            courses,
            {one.key: spotters[one.subject] for one in recordings},
            recordings=recordings,
            notes=result.caveats,
            table=answers,
        )
        write_text(out / "result.json", result.model_dump_json(indent=1) + "\n")
        page = write_spotting_report(out, config.method, result, shown, store, recordings)
        if megc is not None:
            write_megc(megc, shown)
    console().print(spotting_report(result))
    print(f"{out}: complete; open {page}; next: mer spot VIDEO --like {out}")


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
) -> "tuple[dict[str, Course], dict[str, Path], float, int]":
    """How the face moves in new videos, where these are, the s that reading them took, and how many cannot be read."""
    import time

    import numpy as np

    from pipeline.clip.frames import Frames
    from pipeline.clip.mtcnn import Mtcnn
    from pipeline.clip.region_motion import motion_of_video
    from pipeline.datasets import scan_dataset
    from pipeline.preprocessing.cluster import choose_device
    from schemas.progress import Progress
    from schemas.words import count
    from training.spotting.course import course_of

    root, found = scan_dataset(source, "video", long=True)
    detector = Mtcnn(choose_device(given.make(TrainExecution)))
    courses, videos = {}, {}
    usable = [clip for clip in found.clips if clip.usable]
    for clip in found.clips:
        for finding in clip.findings:
            print(f"{finding.kind}: {finding.message}", file=sys.stderr)
    if not usable:
        print(f"none of {count(len(found.clips), 'video')} can be used: nothing is written", file=sys.stderr)
        raise typer.Exit(1)
    total = sum(len(clip.source.numbers) for clip in usable if clip.source)
    started = time.monotonic()
    with Progress(console(), unit="frames", total=total) as progress:
        for clip in usable:
            assert clip.source is not None, "usable"
            frames = _counted(Frames(root, clip.source, keep_bytes=0), progress)
            motions, numbers = motion_of_video(frames, detector, clip.fps), np.array(clip.source.numbers)
            courses[clip.key] = course_of(clip.key, clip.fps, numbers, motions, observer=spotter.observer(clip.fps))
            videos[clip.key] = root / clip.source.path
    return courses, videos, time.monotonic() - started, len(found.clips) - len(usable)


def _without_face(courses: "Mapping[str, Course]", videos: "Mapping[str, Path]") -> list[str]:
    """A note on each video in which no face was followed; an error where that is each of them."""
    import numpy as np

    from pipeline.clip.faces import MIN_SIDE
    from schemas.errors import FaceNotFoundError

    faceless = [key for key, course in courses.items() if np.isnan(course.positions).any((1, 2)).all()]
    messages = [
        f"{videos[key]}: no face found once a second; expected a frontal face of at least {MIN_SIDE} px, not blurred "
        "or covered: nothing can be spotted in it"
        for key in faceless
    ]
    if messages and len(faceless) == len(courses):
        raise FaceNotFoundError("\n".join(messages))
    return messages


def _counted(items: "Iterable[T]", progress: "Progress") -> "Iterator[T]":
    for item in items:
        yield item
        progress.advance()
