"""The evaluation of anybody's predictions: joined by key, pooled over folds, beside floors, with its caveats.

Predictions hold one row a clip and seed, and there is no argument for more: the best epoch on the test clips cannot
be chosen here. What was done before the file was written (hyper-parameters, epochs, pre-training) cannot be seen in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.config import canonical_sha256
from schemas.datasets import SYNTHETIC_NOTE
from schemas.errors import ConfigError, PredictionsError
from schemas.manifest import Manifest
from schemas.store.location import StoreLocation
from schemas.store.reader import Store
from training.evaluation.bootstrap import bootstrap_intervals
from training.evaluation.calibration import calibrate
from training.evaluation.chance import majority_class, prior_guesser
from training.evaluation.metrics import METRICS, count_by_group, score
from training.evaluation.predictions import Predictions, read_predictions
from training.evaluation.result import COMPOSITE, EvaluatedStore, EvaluationResult, GroupResult, Spread, SubjectResult
from training.protocols.protocol import Protocol, find_protocol, infer_protocol
from training.protocols.splits import Fold, KFold, Lovo, make_folds
from training.protocols.tasks import Counts, LabelledClip, Selection, select_clips, subject_of


def evaluate_file(
    path: Path, stores: Sequence[StoreLocation], *, protocol: str | None = None, counts: Counts = "published"
) -> EvaluationResult:
    """Evaluate a predictions file: `mer evaluate`.

    Args:
        path: ``.csv`` or ``.parquet``.
        stores: that hold the labels.
        protocol: a name for ``find_protocol``; ``None`` takes the only shipped task with these classes and
            datasets, split by subject.
        counts: as ``select_clips`` takes it.

    Raises:
        ConfigError: there is no such protocol, or none can be inferred.
        ProtocolError: the stores do not hold the protocol's clips.
        PredictionsError: the file is not a complete set of predictions.
        StoreError: a store cannot be opened.
    """
    if not stores:
        raise ConfigError("no store given; the labels are read from stores made by `mer preprocess`")
    manifests = [Store.open(store).manifest for store in stores]
    predictions = read_predictions(path)
    try:
        return evaluate_predictions(predictions, manifests, protocol=protocol, counts=counts)
    except PredictionsError as error:
        raise PredictionsError(f"{path}: {error}") from error


def evaluate_predictions(
    predictions: Predictions,
    manifests: Sequence[Manifest],
    *,
    protocol: str | None = None,
    counts: Counts = "published",
) -> EvaluationResult:
    """Evaluate predictions that are no file, by the labels of stores; all else as of ``evaluate_file``."""
    chosen = infer_protocol(predictions.classes, manifests) if protocol is None else find_protocol(protocol)
    return evaluate(predictions, manifests, chosen, counts=counts)


def evaluate(
    predictions: Predictions,
    manifests: Sequence[Manifest],
    protocol: Protocol,
    *,
    counts: Counts = "published",
) -> EvaluationResult:
    """Score predictions under a protocol. The same input gives the same result, intervals included.

    Args:
        predictions: one row for each test clip of the protocol and seed.
        manifests: of the stores that hold the labels.
        protocol: task and split.
        counts: as ``select_clips`` takes it.

    Raises:
        ProtocolError: the stores do not hold the protocol's clips, or a class has none among all test clips.
        PredictionsError: clips are missing or unknown, the classes are others, or the folds are not the protocol's.
    """
    selection = select_clips(protocol.task, manifests, counts=counts)
    folds = make_folds(protocol.split, selection.clips)
    tested = {key for fold in folds for key in fold.test}
    clips = [clip for clip in selection.clips if clip.key in tested]
    probabilities = predictions.aligned(protocol.task.classes, [clip.key for clip in clips])
    own_folds = _check_folds(predictions, protocol, folds)
    answers = {run: values.argmax(axis=1) for run, values in probabilities.items()}
    ties = sum(
        int(((values == values.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum()) for values in probabilities.values()
    )
    subjects = sorted({clip.subject for clip in clips})
    confusion = _count_by_subject(clips, subjects, answers, len(protocol.task.classes))
    lacking = lacking_classes(clips, protocol.task.classes)
    groups = {
        name: _group(f"{protocol.name}, test clips of {name}", protocol.task.classes, tuple(answers), part, strata)
        for name, part, strata in _groups(confusion, subjects)
        if name not in lacking
    }
    return EvaluationResult(
        protocol=protocol,
        protocol_sha256=protocol.sha256,
        stores=tuple(map(_store, manifests)),
        predictions_sha256=predictions.sha256,
        labels_sha256=canonical_sha256({clip.key: protocol.task.classes[clip.label] for clip in clips}),
        published_counts=not selection.differences and all(rule.expected for rule in protocol.task.datasets),
        differences=selection.differences,
        left_out=selection.left_out,
        failed=selection.failed,
        folds="protocol" if own_folds else "other",
        test_folds=len(folds),
        ties=ties,
        seeds=tuple(answers),
        groups=groups,
        calibration=calibrate(list(probabilities.values()), np.array([clip.label for clip in clips])),
        subjects=tuple(_subjects(subjects, protocol.task.classes, tuple(answers), confusion)),
        caveats=(
            *_synthetic(manifests),
            *_caveats(selection, protocol, answers, ties, own_folds=own_folds),
            *lacking.values(),
            *([predictions.note] if predictions.note else []),
        ),
    )


def lacking_classes(clips: Sequence[LabelledClip], classes: Sequence[str]) -> dict[str, str]:
    """The datasets of a composite that have no clip of some class, each with a sentence that says so.

    Such a dataset counts in the composite and has no scores of its own. A dataset that stands alone is never listed:
    scoring it is an error.
    """
    datasets = sorted({clip.dataset for clip in clips})
    found = {}
    for name in datasets if len(datasets) > 1 else ():
        present = {clip.label for clip in clips if clip.dataset == name}
        if absent := [title for index, title in enumerate(classes) if index not in present]:
            found[name] = (
                f"{name} has no test clip of class {', '.join(absent)}: it is part of the composite, and has no scores "
                "of its own."
            )
    return found


def _check_folds(predictions: Predictions, protocol: Protocol, folds: Sequence[Fold]) -> bool:
    """Whether each seed's folds are the protocol's; others are refused, but for k-fold's that satisfy it."""
    expected = {frozenset(fold.test) for fold in folds}
    same = True
    for seed in sorted(set(predictions.seeds)):
        found: dict[str, set[str]] = {}
        for clip, row in predictions.of_seed(seed).items():
            found.setdefault(predictions.folds[row], set()).add(clip)
        if set(map(frozenset, found.values())) == expected:
            continue
        same = False
        place = f"seed {seed}: the folds are not those of {protocol.name}"
        if not isinstance(protocol.split, KFold):
            name = next(name for name, clips in found.items() if frozenset(clips) not in expected)
            wanted = next(fold for fold in folds if found[name] & set(fold.test))
            raise PredictionsError(
                f"{place}: fold {name!r} holds {len(found[name])} clips, among them {min(found[name])}; expected the "
                f"{len(wanted.test)} clips of {wanted.name} in a fold of their own ({len(folds)} folds, "
                f"found {len(found)})"
            )
        _check_k_folds(found, protocol.split.folds, place)
    return same


def _check_k_folds(found: Mapping[str, set[str]], expected: int, place: str) -> None:
    if len(found) != expected:
        raise PredictionsError(f"{place}: found {len(found)} folds, expected {expected}")
    fold_of: dict[str, str] = {}
    for name, clips in found.items():
        for subject in {subject_of(clip) for clip in clips}:
            if (other := fold_of.setdefault(subject, name)) != name:
                raise PredictionsError(f"{place}: {subject} is in folds {other!r} and {name!r}; expected one")


def _count_by_subject(
    clips: Sequence[LabelledClip], subjects: Sequence[str], answers: Mapping[int, NDArray[np.int64]], classes: int
) -> NDArray[np.int64]:
    """``(seeds, subjects, C, C)`` counts."""
    labels = np.array([clip.label for clip in clips])
    index = {subject: position for position, subject in enumerate(subjects)}
    whose = np.array([index[clip.subject] for clip in clips])
    sizes = {"groups": len(subjects), "classes": classes}
    return np.stack([count_by_group(labels, answer, whose, **sizes) for answer in answers.values()])


def _groups(
    confusion: NDArray[np.int64], subjects: Sequence[str]
) -> Iterator[tuple[str, NDArray[np.int64], Sequence[str]]]:
    """Name, counts of its subjects, and their datasets; the composite first."""
    dataset_of = [subject.split("/")[0] for subject in subjects]
    datasets = sorted(set(dataset_of))
    if len(datasets) > 1:
        yield COMPOSITE, confusion, dataset_of
    for name in datasets:
        members = [index for index, dataset in enumerate(dataset_of) if dataset == name]
        yield name, confusion[:, members], [name] * len(members)


def _group(
    place: str, classes: Sequence[str], seeds: Sequence[int], confusion: NDArray[np.int64], strata: Sequence[str]
) -> GroupResult:
    runs = zip(seeds, confusion.sum(axis=1), strict=True)
    by_seed = {seed: score(counts, classes, of=place) for seed, counts in runs}
    intervals = bootstrap_intervals(confusion, strata)
    class_clips = confusion[0].sum(axis=(0, 2))
    return GroupResult(
        clips=int(class_clips.sum()),
        subjects=len(strata),
        class_clips=_named(classes, class_clips),
        metrics={m: Spread.of([getattr(scores, m) for scores in by_seed.values()], intervals[m]) for m in METRICS},
        floors=(majority_class(class_clips), prior_guesser(class_clips)),
        seeds=by_seed,
        pooled=score(confusion.sum(axis=(0, 1)), classes, of=place),
    )


def _named(classes: Sequence[str], counts: NDArray[np.int64]) -> dict[str, int]:
    return {name: int(count) for name, count in zip(classes, counts, strict=True)}


def _subjects(
    subjects: Sequence[str], classes: Sequence[str], seeds: Sequence[int], confusion: NDArray[np.int64]
) -> Iterator[SubjectResult]:
    for index, subject in enumerate(subjects):
        own = confusion[:, index]
        right = np.trace(own, axis1=1, axis2=2) / own.sum(axis=(1, 2))
        yield SubjectResult(
            subject=subject,
            class_clips=_named(classes, own[0].sum(axis=1)),
            accuracy=dict(zip(seeds, map(float, right), strict=True)),
        )


def _store(manifest: Manifest) -> EvaluatedStore:
    failed = sum(entry.status == "failed" for entry in manifest.rows)
    return EvaluatedStore(
        datasets=manifest.datasets,
        content_sha256=manifest.content_sha256,
        clips=len(manifest.clips),
        failed=failed,
        synthetic=manifest.synthetic,
    )


def _synthetic(manifests: Sequence[Manifest]) -> Iterator[str]:
    if names := sorted({name for manifest in manifests if manifest.synthetic for name in manifest.datasets}):
        yield synthetic_caveat(names)


def synthetic_caveat(datasets: Sequence[str]) -> str:
    """What must be said of every result on data of `mer synth`."""
    return f"{', '.join(datasets)} is {SYNTHETIC_NOTE}: no result on people."


def _caveats(
    selection: Selection, protocol: Protocol, answers: Mapping[int, object], ties: int, *, own_folds: bool
) -> list[str]:
    found = []
    if selection.differences:
        found.append(f"The clips are NOT the published ones: {'; '.join(selection.differences)}.")
    if uncounted := [rule.dataset for rule in protocol.task.datasets if not rule.expected]:
        found.append(
            f"How many clips a class {', '.join(uncounted)} has is not published: that these are all was not checked."
        )
    if isinstance(protocol.split, Lovo):
        found.append("Other clips of each test subject are trained on: not comparable with subject-disjoint results.")
    if len(answers) == 1:
        found.append("One seed: how much of the result is chance of the training is unknown.")
    if not own_folds:
        found.append("The folds are not the protocol's own, though as many and subject-disjoint.")
    if ties:
        found.append(f"{ties} predictions have two equal largest probabilities; the first class was taken.")
    return found
