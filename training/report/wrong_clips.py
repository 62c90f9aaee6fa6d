"""Clips that were answered wrongly, as short loops: which they are is read off a list, why one has to see."""

import base64
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from schemas.errors import StoreError
from schemas.store.reader import Store
from schemas.words import count
from training.evaluation.predictions import Predictions
from training.protocols.tasks import Task, select_clips
from training.report.page import Loop, Loops, Part, Text

SHOWN = 12  # clips of a page
FRAMES = 32  # of a loop
SIDE = 96  # px
SLOWER = 4  # than the clip: a micro-expression lasts a quarter of a second
_WINDOW = 256  # frames around the apex of a longer clip, so that none is read whole
_MS_A_FRAME = 40  # where nobody knows the frame rate


@dataclass(frozen=True)
class WrongClip:
    """A test clip that was answered wrongly.

    Attributes:
        key: of the clip.
        words: its class, and what was answered.
        store: that holds it.
    """

    key: str
    words: str
    store: Store


def wrong_of_run(predictions: Predictions, task: Task, stores: Sequence[Store]) -> list[WrongClip]:
    """The wrong clips of one model, by the mean probability over seeds, the surest error first."""
    labels, holders = _labels(task, stores)
    wrong = []
    for key, mean in _means(predictions).items():
        label, answer = labels[key], int(mean.argmax())
        if answer != label:
            words = (
                f"{task.classes[label]} (p = {mean[label]:.2f}), taken for {task.classes[answer]} ({mean[answer]:.2f})"
            )
            wrong.append((mean[label] - mean[answer], key, words))
    return [WrongClip(key, words, holders[key]) for _, key, words in sorted(wrong)]


def wrong_of_models(predictions: Mapping[str, Predictions], task: Task, stores: Sequence[Store]) -> list[WrongClip]:
    """The clips that most of several models got wrong, by the mean probability over seeds, the hardest first."""
    labels, holders = _labels(task, stores)
    taken: dict[str, Counter[str]] = {}
    for own in predictions.values():
        for key, mean in _means(own).items():
            if (answer := int(mean.argmax())) != labels[key]:
                taken.setdefault(key, Counter())[task.classes[answer]] += 1
    ordered = sorted(taken.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        WrongClip(
            key,
            f"{task.classes[labels[key]]}; wrong by {answers.total()} of {count(len(predictions), 'model')}: "
            + ", ".join(f"{name} {times}" for name, times in answers.most_common()),
            holders[key],
        )
        for key, answers in ordered
        if 2 * answers.total() > len(predictions)
    ]


def wrong_parts(clips: Sequence[WrongClip], order: str) -> Iterator[Part]:
    """What a page shows of wrong clips: the first ``SHOWN`` of them.

    Args:
        clips: all that are wrong.
        order: in which order they stand, as a sentence.
    """
    if not clips:
        yield Text("None.")
        return
    shown = clips[:SHOWN]
    try:
        pictures = tuple(Loop(f"{clip.key}: {clip.words}", moving_picture(clip.store, clip.key)) for clip in shown)
    except StoreError as error:
        yield Text(f"Not shown: {error}", "missing")
        return
    yield Loops(
        f"{len(shown)} of {count(len(clips), 'wrong clip')}, at a quarter of their speed. {order} `mer view "
        f"{' or '.join(dict.fromkeys(clip.store.path.name for clip in shown))} --run RUN` shows all of them frame by "
        "frame, with the probabilities of every fold and seed.",
        pictures,
    )


def moving_picture(store: Store, key: str) -> str:
    """At most ``FRAMES`` frames of a clip, as ``moving_part`` shows them.

    Raises:
        StoreError: the store has no texture, or the clip is damaged.
    """
    entry = store.entry(key)
    first = 0
    if entry.n_frames > _WINDOW:
        first = int(np.clip(store.phases(key)[1] - _WINDOW // 2, 0, entry.n_frames - _WINDOW))
    return moving_part(store, key, first, min(first + _WINDOW, entry.n_frames))


def moving_part(store: Store, key: str, start: int, stop: int) -> str:
    """Frames of a clip or recording at a quarter of its speed, ``SIDE`` px, as a ``data:`` URL of a WebP file.

    Args:
        store: that holds it.
        key: of the clip or recording.
        start: position of the first frame; of more than ``FRAMES``, as many are shown.
        stop: position after the last.

    Raises:
        StoreError: the store has no texture, or the clip is damaged.
    """
    entry = store.entry(key)
    frames = store.clip_array("texture", key, slice(start, stop))
    chosen = np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))
    seconds = len(frames) / entry.fps if entry.fps else len(frames) * _MS_A_FRAME / 1000
    pictures = [Image.fromarray(frames[position]) for position in chosen]
    for picture in pictures:
        picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    pictures[0].save(
        written,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=max(round(1000 * SLOWER * seconds / len(pictures)), 20),
        loop=0,
        quality=70,
        kmin=0,
        kmax=1,  # every frame whole: of differences the encoder leaves out the small ones, which are the expression
    )
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()


def _labels(task: Task, stores: Sequence[Store]) -> tuple[dict[str, int], dict[str, Store]]:
    """Clip -> its class, and the store that holds it."""
    selection = select_clips(task, [store.manifest for store in stores], counts="any")
    holders = {key: store for store in stores for key in store.manifest.index}
    return {clip.key: clip.label for clip in selection.clips}, holders


def _means(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    """Clip -> mean probabilities over seeds."""
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for key, values in zip(predictions.clips, predictions.probabilities, strict=True):
        rows.setdefault(key, []).append(values)
    return {key: np.mean(values, axis=0) for key, values in rows.items()}
