"""`mer watch`: expressions as they happen, before a camera, in a stream, or in a video that is played."""

import json as json_lines
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.options import Given, Json, examples, options
from training.config import TrainExecution

if TYPE_CHECKING:
    from pipeline.clip.frames import Frame
    from pipeline.clip.live import LiveVideo
    from training.spotting.intervals import Spotted
    from training.spotting.method import Spotter

app = typer.Typer(rich_markup_mode=None)
_FRAMES_KEPT = 20_000  # of whose latency the summary is: the last ten minutes of 30 fps


@app.command(
    epilog=examples(
        "mer watch 0 --like spotter", "mer watch rtsp://camera/live --like spotter --json --record seen.mkv"
    )
)
@options(TrainExecution, "device")
def watch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A camera (0, /dev/video0), the URL of a stream, or a video, played at its own rate."
        ),
    ],
    like: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Spot as learnt in this folder, which `mer spot STORE` wrote.")
    ],
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record what the source sends, as it is; .mkv takes all.  [default: none]"),
    ] = None,
    fps: Annotated[float | None, typer.Option(min=1, help="Frames per second, where the source does not say.")] = None,
    json: Json = False,
    *,
    given: Given,
) -> None:
    """Say each expression some seconds after it has ended; Ctrl-C ends it with a summary.

    Where this machine is too slow, frames are dropped, and counted, so that what is said never falls behind.
    """
    from pipeline.clip.live import open_live
    from pipeline.clip.mtcnn import Mtcnn
    from pipeline.preprocessing.cluster import choose_device
    from schemas.datasets import SYNTHETIC_NOTE
    from training.spotting.run import read_run, read_spotter

    run = read_run(like)
    spotter = read_spotter(like, run)
    if run.synthetic:
        print(f"note: The spotter learnt on recordings that are {SYNTHETIC_NOTE}.", file=sys.stderr)
    with open_live(source, fps=fps, record=record) as live, _interrupts(live.stop):
        detector = Mtcnn(choose_device(given.make(TrainExecution)))
        print(f"watching {live.name} at {live.fps:g} frames/s; Ctrl-C ends it", file=sys.stderr, flush=True)
        summary = _watch(live, spotter, detector, _printer(live.fps, json=json))
        live.close()
    print(json_lines.dumps({"summary": summary}) if json else _words(summary), flush=True)
    if live.lost:
        print(f"error: {live.name}: lost after {summary['seconds']:.1f} s: {live.lost}", file=sys.stderr)
        raise typer.Exit(1)


def _watch(
    live: "LiveVideo", spotter: "Spotter", detector: Any, say: "Callable[[Spotted, float], None]"
) -> dict[str, Any]:
    """Spot until the source ends; ``say`` gets each expression, and the s since its last frame was captured."""
    import numpy as np

    from pipeline.clip.region_motion import motion_of_video
    from training.spotting.live import LiveSpotter

    spotting = LiveSpotter(spotter, live.fps)
    taken = deque[tuple[int, float]]()  # number of each frame that is worked on, and when it was captured
    recent = deque[tuple[int, float]](maxlen=_FRAMES_KEPT)
    frames, after, faces = deque[float](maxlen=_FRAMES_KEPT), list[float](), 0
    kinds = {"micro": 0, "macro": 0}

    def images() -> "Iterator[Frame]":
        for frame in live.frames():
            taken.append((frame.number, frame.captured))
            yield frame.image

    def tell(ended: "list[Spotted]") -> None:
        for one in ended:
            captured = next((at for number, at in reversed(recent) if number <= one.offset), recent[0][1])
            after.append(time.monotonic() - captured)
            kinds[one.type] += 1
            say(one, after[-1])

    started = time.monotonic()
    for motion in motion_of_video(images(), detector, live.fps):
        number, captured = taken.popleft()
        recent.append((number, captured))
        tell(spotting.push(number, motion))
        faces += bool(np.isfinite(motion.regions).all())
        frames.append(time.monotonic() - captured)
    tell(spotting.finish())
    busy = time.monotonic() - started - live.ring.waited
    seconds, came = (recent[-1][0] + 1) / live.fps if recent else 0.0, live.ring.came
    analysed = (came - live.ring.dropped) / live.fps  # s; what was dropped was no work
    return {
        "seconds": round(seconds, 3),
        "frames": came,
        "dropped_share": round(live.ring.dropped / max(came, 1), 4),
        "undecoded_packets": live.undecoded,
        "face_share": round(faces / max(came - live.ring.dropped, 1), 4),
        **kinds,
        "real_time_factor": round(analysed / busy, 3) if busy > 0 else None,
        "frame_latency_s": _spread(list(frames)),
        "expression_latency_s": _spread(after),
        "lost": live.lost or None,
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    """Median and 95th percentile."""
    import numpy as np

    if not values:
        return None
    median, high = np.quantile(values, [0.5, 0.95]).round(3).tolist()
    return {"median": median, "p95": high}


def _printer(fps: float, *, json: bool) -> "Callable[[Spotted, float], None]":
    """Prints an expression as a line."""

    def say(one: "Spotted", latency: float) -> None:
        begin, end = one.onset / fps, (one.offset + 1) / fps
        if not json:
            line = f"{begin:8.2f} to {end:.2f} s  {one.type}-expression  score {one.score:.2f}"
        else:
            row = {"begin_s": round(begin, 3), "end_s": round(end, 3), "type": one.type,
                   "score": round(one.score, 4), "latency_s": round(latency, 3)}  # fmt: skip
            line = json_lines.dumps(row)
        print(line, flush=True)

    return say


def _words(summary: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [
        f"{summary['seconds']:.1f} s watched: {summary['micro']} micro- and {summary['macro']} macro-expressions, "
        f"a face in {summary['face_share']:.0%} of the frames",
        f"{summary['frames']} frames came, {summary['dropped_share']:.1%} were dropped",
    ]
    if summary["undecoded_packets"]:
        lines.append(f"{summary['undecoded_packets']} packets could not be decoded")
    if summary["real_time_factor"] is not None:
        lines.append(f"real-time factor {summary['real_time_factor']:.2f}")
    for name, what in (
        ("frame_latency_s", "from capture of a frame to its analysis"),
        ("expression_latency_s", "from the last frame of an expression to its line"),
    ):
        if (spread := summary[name]) is not None:
            lines.append(f"{what}: median {spread['median']:.2f} s, 95 % within {spread['p95']:.2f} s")
    return "\n".join(lines)


@contextmanager
def _interrupts(stop: "Callable[[], None]") -> "Iterator[None]":
    """The first Ctrl-C ends the source, so that what came is still said; the second ends the command."""

    def ended(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
