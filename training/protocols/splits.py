"""Splits: how the clips of a task are divided into folds. What the classes are is the task's matter.

scikit-learn divides, and is loaded only then: a protocol that does not fit is refused before. Subjects are
``dataset/subject``, so that those of different datasets never meet.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.errors import ProtocolError
from schemas.model import Model
from training.protocols.tasks import LabelledClip

_HOLDOUT_DRAWS = 200
_PARTS = {"train": "train", "training": "train", "test": "test"} | dict.fromkeys(("val", "validation", "dev"), "val")


class Loso(Model):
    """Leave one subject out."""

    kind: Literal["loso"] = "loso"


class Lovo(Model):
    """Leave one video out, the paper's "one-way" cross-validation. Other clips of the subject are trained on."""

    kind: Literal["lovo"] = "lovo"


class KFold(Model):
    """Subject-disjoint folds with class shares as equal as the subjects allow."""

    kind: Literal["kfold"] = "kfold"
    folds: int = Field(5, ge=2)
    seed: int = Field(0, ge=0)


class Holdout(Model):
    """One subject-disjoint test part: the first of a sequence of draws that leaves every class on both sides."""

    kind: Literal["holdout"] = "holdout"
    test_fraction: float = Field(0.2, gt=0, lt=1, description="of the subjects")
    seed: int = Field(0, ge=0)


class CrossDataset(Model):
    """Each dataset tested by what the others taught."""

    kind: Literal["cross-dataset"] = "cross-dataset"


class Predefined(Model):
    """The parts that a table of clips gives in its column ``split``: train, test and, if it likes, val."""

    kind: Literal["predefined"] = "predefined"


Split = Annotated[Loso | Lovo | KFold | Holdout | CrossDataset | Predefined, Field(discriminator="kind")]


class Fold(Model):
    """Clip keys of one fold, each part sorted. ``validation`` is taken from the training clips, never from the test."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...] | None
    test: tuple[str, ...]

    @property
    def learned(self) -> tuple[str, ...]:
        """What a model of the fold has seen: the clips that teach it, and those that choose its epoch."""
        return (*self.train, *(self.validation or ()))


def make_folds(
    split: Split, clips: Sequence[LabelledClip], *, validation: float | None = None, seed: int = 0
) -> tuple[Fold, ...]:
    """Divide the clips. The test parts depend on the split alone, the same call gives the same folds.

    Args:
        split: the division.
        clips: of a ``Selection``.
        validation: share of the training clips to hold back, by whole subjects; ``None`` holds back nothing. A
            predefined validation part is held back whatever this says.
        seed: of the validation parts.

    Raises:
        ProtocolError: too few subjects or datasets for this, or predefined parts that share a subject.
    """
    parts = _predefined(clips) if isinstance(split, Predefined) else {}
    predefined = tuple(sorted(key for key, part in parts.items() if part == "val")) or None
    ordered = sorted((clip for clip in clips if parts.get(clip.key) != "val"), key=lambda clip: clip.key)
    keys = np.array([clip.key for clip in ordered])
    labels = np.array([clip.label for clip in ordered])
    subjects = np.array([clip.subject for clip in ordered])

    folds = []
    for name, train, test in _outer(split, ordered, labels, subjects):
        held_back = predefined
        if validation is not None and predefined is None:
            inner, held = _inner(labels[train], subjects[train], validation, seed, name)
            train, held_back = train[inner], _strings(keys[train[held]])
        folds.append(Fold(name=name, train=_strings(keys[train]), validation=held_back, test=_strings(keys[test])))
    return tuple(folds)


def _outer(
    split: Split, clips: Sequence[LabelledClip], labels: NDArray[np.int64], subjects: NDArray[np.str_]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """Name, training positions, test positions."""
    match split:
        case Loso():
            yield from _leave_one_out(subjects, "subjects", split.kind)
        case Lovo():
            yield from _leave_one_out(np.array([clip.key for clip in clips]), "clips", split.kind)
        case CrossDataset():
            dataset_of: dict[str, str] = {}
            for clip in clips:
                if (other := dataset_of.setdefault(clip.subject, clip.dataset)) != clip.dataset:
                    raise ProtocolError(
                        f"cross-dataset: {clip.subject} is in {other} and in {clip.dataset}, and would teach and be "
                        "tested; leave one of these datasets out"
                    )
            yield from _leave_one_out(np.array([clip.dataset for clip in clips]), "datasets", split.kind)
        case KFold():
            parts = _stratified(labels, subjects, split.folds, split.seed, f"{split.folds}-fold cross-validation")
            for number, (train, test) in enumerate(parts, 1):
                yield f"fold {number} of {split.folds}", train, test
        case Holdout():
            yield ("holdout", *_holdout(labels, subjects, split))
        case Predefined():
            tested = np.array([_PARTS[(clip.split or "").casefold()] == "test" for clip in clips])
            yield "test", np.flatnonzero(~tested), np.flatnonzero(tested)


def _predefined(clips: Sequence[LabelledClip]) -> dict[str, str]:
    """Key -> part of all clips."""
    parts, part_of = {}, dict[str, tuple[str, str]]()
    for clip in clips:
        part = _PARTS.get((clip.split or "").casefold())
        if part is None:
            what = "has no split" if clip.split is None else f"split {clip.split!r}"
            raise ProtocolError(
                f"predefined: {clip.key}: {what}; expected train, val or test in the column split of the table that "
                "the store was made from"
            )
        other, key = part_of.setdefault(clip.subject, (part, clip.key))
        if other != part:
            raise ProtocolError(
                f"predefined: {clip.subject} is in two parts: {key} in {other}, {clip.key} in {part}; a result on "
                "people who were trained on says nothing of others: give each subject one part"
            )
        parts[clip.key] = part
    if missing := {"train", "test"} - set(parts.values()):
        raise ProtocolError(f"predefined: no clip is in the part {', '.join(sorted(missing))}")
    return parts


def _leave_one_out(
    groups: NDArray[np.str_], what: str, kind: str
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    if len(set(groups)) < 2:
        raise ProtocolError(f"{kind} needs two {what} or more; found {', '.join(set(groups)) or 'none'}")
    from sklearn.model_selection import LeaveOneGroupOut

    for train, test in LeaveOneGroupOut().split(groups, groups=groups):
        yield str(groups[test[0]]), train, test


def _stratified(
    labels: NDArray[np.int64], subjects: NDArray[np.str_], folds: int, seed: int, what: str
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    found = len(set(subjects))
    if found < folds or np.bincount(labels).max() < folds:
        raise ProtocolError(
            f"{what} needs {folds} subjects and as many clips of some class; found {found} subjects, {len(labels)} "
            "clips; use fewer folds or a larger store"
        )
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer clips than folds is missing from some folds, as under any subject-disjoint division.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = list(splitter.split(labels, labels, subjects))
    if any(len(test) == 0 for _, test in parts):
        raise ProtocolError(f"{what}: {found} subjects of such unequal size leave a part empty; use fewer folds")
    return parts


def _inner(
    labels: NDArray[np.int64], subjects: NDArray[np.str_], fraction: float, seed: int, fold: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not 0 < fraction <= 0.5:
        raise ProtocolError(f"validation share {fraction}: expected more than 0 and at most 0.5")
    what = f"a validation part of {fraction:g} of the training subjects of {fold}"
    return _stratified(labels, subjects, round(1 / fraction), seed, what)[0]


def _holdout(
    labels: NDArray[np.int64], subjects: NDArray[np.str_], split: Holdout
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    classes = set(labels)
    if len(set(subjects)) < 2:
        raise ProtocolError(f"holdout needs two subjects or more; found {len(set(subjects))}")
    from sklearn.model_selection import GroupShuffleSplit

    draws = GroupShuffleSplit(n_splits=_HOLDOUT_DRAWS, test_size=split.test_fraction, random_state=split.seed)
    for train, test in draws.split(labels, labels, subjects):
        if set(labels[train]) == classes == set(labels[test]):
            return train, test
    raise ProtocolError(
        f"holdout: none of {_HOLDOUT_DRAWS} draws of {split.test_fraction:.0%} of {len(set(subjects))} subjects leaves "
        "every class on both sides; use a larger test part, kfold or loso"
    )


def _strings(keys: NDArray[np.str_]) -> tuple[str, ...]:
    return tuple(sorted(keys.tolist()))  # Python's own strings, which sort faster than NumPy's
