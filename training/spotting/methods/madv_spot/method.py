"""``madv-spot``: learnt on windows of training subjects; thresholds from those of them that it did not see."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.errors import PredictionsError
from schemas.labels import ExpressionType
from schemas.model import Model
from training.models.tensor_file import read_tensors, write_tensors
from training.spotting.config import SpotConfig
from training.spotting.course import Course, Observer
from training.spotting.intervals import Recording, Spotted, apart
from training.spotting.matching import match
from training.spotting.method import METHODS, Curve
from training.spotting.methods.madv_spot.network import STRIDE, SpottingNetwork, spotting_loss
from training.spotting.methods.madv_spot.reading import FieldObserver
from training.spotting.methods.madv_spot.windows import RATE, Track, draw, track
from training.spotting.scores import f1_of

_KINDS: tuple[ExpressionType, ...] = get_args(ExpressionType)
_FILE = "network.safetensors"
_BATCH = 16
_SECONDS = 1.0  # of training recordings a window of an epoch: every moment is seen about twice
_LR = 2e-3
_WARMUP = 0.1  # of all steps
_LEAST = 0.02  # probability of what is looked at
_NEVER = 1.0  # a probability that is not reached


class Thresholds(Model):
    """Header of the weights: least probability of each kind. With 1 nothing of the kind is ever spotted."""

    format: Literal["mer-madv-spot"] = "mer-madv-spot"
    format_version: Literal[1] = 1
    micro: float
    macro: float
    thresholds_from: tuple[str, ...] = ()


@METHODS.register("madv-spot")
class MadvSpot:
    """A network, and the least probability of each kind.

    Args:
        network: trained.
        thresholds: of it.
    """

    seeded: ClassVar[bool] = True
    reads_fields: ClassVar[bool] = True

    def __init__(self, network: SpottingNetwork, thresholds: Thresholds) -> None:
        self.network, self.thresholds = network.eval(), thresholds

    @classmethod
    def fit(
        cls, courses: Mapping[str, Course], recordings: Sequence[Recording], config: SpotConfig, *, seed: int
    ) -> Self:
        """Train on three quarters of the subjects, and choose the thresholds on the rest.

        Where that would leave no expression to learn from, or there is one subject, both are done on all.

        Args:
            courses: key -> course with fields, for each of the recordings.
            recordings: of training subjects.
            config: says for how many epochs.
            seed: decides the inner split, the first weights, and what is drawn.

        Raises:
            PredictionsError: they hold no expression.
        """
        if not any(recording.truth for recording in recordings):
            raise PredictionsError("the training recordings hold no expression to learn from")
        random = np.random.default_rng(seed)
        subjects = sorted({recording.subject for recording in recordings})
        held = set(
            random.permutation(subjects)[: len(subjects) // 4 or len(subjects) - 1].tolist()[: len(subjects) - 1]
        )
        learned = [one for one in recordings if one.subject not in held]
        tested = [one for one in recordings if one.subject in held]
        if not held or not all(any(one.truth for one in part) for part in (learned, tested)):
            learned = tested = list(recordings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = trained([track(courses[one.key], one) for one in learned], config.epochs, random)
        evidence = {one.key: read(network, courses[one.key]) for one in tested}
        chosen = {kind: _threshold(courses, evidence, tested, kind) for kind in _KINDS}
        thresholds_from = tuple(sorted({one.subject for one in tested}))
        return cls(network, Thresholds(**chosen, thresholds_from=thresholds_from))

    def observer(self, fps: float) -> Observer | None:
        """Reads fields into ``(N, 4)`` evidence."""
        return FieldObserver(self.network, fps)

    def spot(self, course: Course) -> list[Spotted]:
        """The expressions of a recording; ``score`` is a probability over the least one of its kind."""
        evidence = self._evidence(course)
        return apart(
            one
            for kind in _KINDS
            if (least := getattr(self.thresholds, kind)) < _NEVER
            for one in candidates(course, evidence, kind, least)
        )

    def curves(self, course: Course) -> list[Curve]:
        """Each kind's probability over its least one."""
        evidence, found = self._evidence(course), []
        moments = np.arange(len(course.numbers)) * RATE / course.fps / STRIDE
        for kind in _KINDS:
            values = np.interp(moments, np.arange(len(evidence)), probabilities(evidence, kind))
            found.append(Curve(kind, values / getattr(self.thresholds, kind)))
        return found

    def _evidence(self, course: Course) -> NDArray[np.float32]:
        return read(self.network, course) if course.evidence is None else course.evidence

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write ``network.safetensors``."""
        write_tensors(folder / _FILE, self.network.state_dict(), self.thresholds)
        return (folder / _FILE,)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``network.safetensors``; RunFolderError where it is not there, or damaged."""
        tensors, thresholds = read_tensors(folder / _FILE, Thresholds)
        network = SpottingNetwork()
        network.load_state_dict(tensors)
        return cls(network, thresholds)


def trained(tracks: Sequence[Track], epochs: int, random: np.random.Generator) -> SpottingNetwork:
    """A network that has seen these recordings: AdamW, a linear warm-up, and a cosine to 0."""
    network = SpottingNetwork().train()
    sample, _ = draw(tracks, 4 * _BATCH, random)
    network.scale.copy_(network.motion(sample).square().mean((0, 1, 3, 4), keepdim=True)[0, 0].sqrt().clamp_min(1e-3))
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=0.05)
    seconds = sum(len(one.places) for one in tracks) / RATE
    steps = epochs * max(1, round(seconds / _SECONDS / _BATCH))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LR, total_steps=steps + 1, pct_start=_WARMUP)
    for _ in range(steps):
        places, truth = draw(tracks, _BATCH, random)
        loss = spotting_loss(network(places), truth)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return network.eval()


def read(network: SpottingNetwork, course: Course) -> NDArray[np.float32]:
    """The evidence of a course whose fields were kept, ``(N, 4) float32``."""
    assert course.fields is not None, "the method reads fields"
    observer = FieldObserver(network.eval(), course.fps)
    for field, regions in zip(course.fields, course.positions, strict=True):
        observer.push(field, face=bool(np.isfinite(regions).all()))
    return observer.finish()


def probabilities(evidence: NDArray[np.float32], kind: ExpressionType) -> NDArray[np.float64]:
    """``(N,)``: of an expression of this kind."""
    macro = evidence[:, 1]
    return np.asarray(evidence[:, 0] * (macro if kind == "macro" else 1 - macro), np.float64)


def candidates(course: Course, evidence: NDArray[np.float32], kind: ExpressionType, least: float) -> list[Spotted]:
    """The intervals that moments of at least this probability give, those apart from each other."""
    probable, last = probabilities(evidence, kind), len(course.numbers) - 1
    found = []
    for moment in np.flatnonzero(probable >= least):
        time = (moment * STRIDE + 0.5) / RATE
        begin = round((time - float(evidence[moment, 2])) * course.fps)
        end = round((time + float(evidence[moment, 3])) * course.fps) - 1
        onset = min(max(begin, 0), last)
        offset = min(max(end, onset), last)
        score = float(probable[moment] / least)
        found.append(Spotted(course.video, int(course.numbers[onset]), int(course.numbers[offset]), kind, score))
    return apart(found)


def _threshold(
    courses: Mapping[str, Course],
    evidence: Mapping[str, NDArray[np.float32]],
    recordings: Iterable[Recording],
    kind: ExpressionType,
) -> float:
    """The least probability with the highest F1 of a kind; 1 where none finds any."""
    truth = {r.key: [one for one in r.truth if one.label.expression_type == kind] for r in recordings}
    found = {key: candidates(courses[key], evidence[key], kind, _LEAST) for key in truth}
    scores = np.unique([one.score * _LEAST for spotted in found.values() for one in spotted])
    best, best_f1 = _NEVER, 0.0
    for lower, score in zip([_LEAST, *scores], scores, strict=False):
        counts = np.zeros(3)
        for key, spotted in found.items():
            high = [one for one in spotted if one.score * _LEAST >= score]
            right = len(match(truth[key], high))
            counts += right, len(high) - right, len(truth[key]) - right
        if (f1 := float(f1_of(counts))) > best_f1:
            best, best_f1 = float((lower + score) / 2), f1  # of the gap: all in it are equally good
    return best
