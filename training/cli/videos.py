"""`mer predict`: what runs say of new videos."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.options import Given, console, examples, options
from training.cli.options import FoldName, SeedNumber, TrainedRun
from training.config import TrainExecution

if TYPE_CHECKING:
    from pipeline.preprocessing.windows import Windowing, Windows
    from schemas.store.location import StoreLocation
    from schemas.store.reader import Store
    from training.fit.folder import Run

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=examples("mer predict RUN talk.mp4 --out talk", "mer predict RUN samm.zarr --out samm-answers"))
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
    spans = None if windows is None else windows.spans
    files = write_prediction(
        out, prediction, spans, _video_files(Path(source), {span[0] for span in (spans or {}).values()})
    )
    console().print(prediction_report(prediction))
    if windows is not None:
        print(faces_seen(store))
        took = time.monotonic() - started
        print(f"{windows.seconds:.1f} s of video in {took:.1f} s: real-time factor {windows.seconds / took:.2f}")
    for file in files:
        print(file)
    raise typer.Exit(1 if any(prediction.reasons) else 0)


def _video_files(source: Path, titles: Iterable[str]) -> dict[str, Path]:
    """Title of a video -> its file; a folder of images is none."""
    found = {title: source if source.is_file() else source / title for title in titles}
    return {title: path for title, path in found.items() if path.is_file()}


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
    if is_store(place):
        yield Store.open(place), None
        return
    with nullcontext(folder) if folder is not None else TemporaryDirectory() as holder:
        out, like = Path(holder) / "windows.zarr", preprocessing_of(run)
        windows = preprocess_windows(
            Path(source), out, like=like, windowing=windowing, execution=execution, console=console(), fps=fps
        )
        yield Store.open(out), windows


def is_store(place: "StoreLocation") -> bool:
    """Whether a user names a store, and no videos."""
    from schemas.manifest import MANIFEST_NAME

    return not isinstance(place, Path) or place.suffix == ".zip" or (place / MANIFEST_NAME).is_file()
