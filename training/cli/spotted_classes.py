"""Spot, then recognise: a class for each spotted interval, of a new video or of a person whom the models don't know."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from pipeline.preprocessing.cluster import choose_device
from pipeline.preprocessing.windows import LEAST_FRAMES, Intervals, preprocess_windows
from schemas.options import console
from schemas.store.reader import Store
from training.config import TrainExecution
from training.fit.folder import RunFolder
from training.inference.output import prediction_report, write_prediction
from training.inference.predict import Ensemble, predict_store, preprocessing_of
from training.protocols.tasks import subject_of
from training.spotting.course import Course, frames_of
from training.spotting.intervals import Spotted
from training.spotting.output import seconds


def classes_in_videos(
    run: Path,
    source: Path,
    spotted: Sequence[Spotted],
    courses: Mapping[str, Course],
    videos: Mapping[str, Path],
    out: Path,
    execution: TrainExecution,
) -> tuple[list[Spotted], tuple[Path, ...]]:
    """What was spotted in videos with its class, and the files that say how probable each class is."""
    ensemble = Ensemble.open(RunFolder(run))
    like = preprocessing_of(ensemble.run)
    if not spotted:
        return [], ()
    root = source if source.is_dir() else source.parent
    titles = {key: video.relative_to(root.absolute()).as_posix() for key, video in videos.items()}
    frames: dict[str, list[tuple[int, int]]] = {title: [] for title in titles.values()}
    for one in spotted:
        first, stop = frames_of(courses[one.video].numbers, one.onset, one.offset)
        frames[titles[one.video]].append((first, stop - 1))
    with TemporaryDirectory() as holder:
        store = Path(holder) / "spotted.zarr"
        windows = preprocess_windows(
            source, store, like=like, windowing=Intervals(frames), execution=execution, console=console()
        )
        prediction = predict_store(
            ensemble, Store.open(store), device=choose_device(execution), left_out=windows.doubts
        )
    files = write_prediction(out, prediction, windows.spans, {titles[key]: file for key, file in videos.items()})
    console().print(prediction_report(prediction))
    class_of = dict(zip(prediction.clips, prediction.predicted, strict=True))

    named = []
    for one in spotted:
        begin, end = seconds(courses[one.video], one.onset, one.offset)
        common = {
            key: min(end, span.end) - max(begin, span.start)
            for key, span in windows.spans.items()
            if span.video == titles[one.video]
        }
        named.append(replace(one, emotion=class_of[max(common, key=lambda key: common[key])]))
    return named, files


def classes_in_store(
    ensemble: Ensemble, spotted: Sequence[Spotted], store: Store, execution: TrainExecution
) -> tuple[list[Spotted], tuple[str, ...]]:
    """What was spotted in a store of recordings with its class, and what must be known of these.

    The models are those that have not learnt from the person.

    The store's crops are read as the frames of a video: the face is found in them again, and what else the models
    read is computed, as it was for the clips that they learnt from.

    Raises:
        ProtocolError: each model has learnt from somebody who is in the store.
        ConfigError: the clips of the run were preprocessed in several ways.
    """
    like = preprocessing_of(ensemble.run)
    holding_out = {subject: ensemble.without(subject) for subject in sorted({subject_of(one.video) for one in spotted})}
    places = sorted({(store.entry(one.video).fps, one.video, one.onset, one.offset) for one in spotted})
    class_of: dict[tuple[str, int, int], str] = {}
    caveats: dict[str, None] = {}
    if store.manifest.pseudonyms or ensemble.run.pseudonyms:
        caveats["subjects have pseudonyms: whether the models have learnt from them under other names is unknown"] = (
            None
        )
    for fps in sorted({place[0] for place in places}):
        own = [place[1:] for place in places if place[0] == fps]
        with TemporaryDirectory() as holder:
            frames = _write_frames(Path(holder) / "frames", store, own)
            made = Path(holder) / "spotted.zarr"
            windows = preprocess_windows(
                Path(holder) / "frames", made, like=like, windowing=Intervals(frames), execution=execution,
                console=console(), fps=fps,
            )  # fmt: skip
            clip_of = {own[int(span.video)]: key for key, span in windows.spans.items()}
            clips = Store.open(made)
            for subject, models in holding_out.items():
                mine = {place: key for place, key in clip_of.items() if subject_of(place[0]) == subject}
                others = dict.fromkeys(set(windows.spans) - set(mine.values()), "of another person")
                prediction = predict_store(
                    models, clips, device=choose_device(execution), left_out={**windows.doubts, **others}
                )
                caveats |= dict.fromkeys(prediction.caveats)
                predicted = dict(zip(prediction.clips, prediction.predicted, strict=True))
                class_of |= {place: predicted[key] for place, key in mine.items()}
    named = [replace(one, emotion=class_of[one.video, one.onset, one.offset]) for one in spotted]
    return named, tuple(f"classes: {caveat}" for caveat in caveats)


def _write_frames(
    folder: Path, store: Store, places: Sequence[tuple[str, int, int]]
) -> dict[str, list[tuple[int, int]]]:
    """A folder of PNG files an interval, called by its number, with room to grow; where in it the interval lies."""
    found = {}
    for number, (key, onset, offset) in enumerate(places):
        first, stop = frames_of(store.frame_numbers(key), onset, offset)
        begin, end = max(0, first - LEAST_FRAMES), min(store.entry(key).n_frames, stop + LEAST_FRAMES)
        (folder / str(number)).mkdir(parents=True)
        for position, crop in enumerate(store.clip_array("texture", key, slice(begin, end)), 1):
            Image.fromarray(crop).save(folder / str(number) / f"{position}.png", compress_level=1)
        found[str(number)] = [(first - begin, stop - 1 - begin)]
    return found
