"""Tasks: which clips of which datasets are told apart into which classes. How they are split is another matter.

A task is data: its classes stand before any training, every clip that it leaves out is left out by a rule with a
name, and the published counts stand beside the rules, so that another choice of clips cannot pass for this one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from schemas.datasets import people_of
from schemas.errors import ConfigError, ProtocolError
from schemas.labels import ExpressionType, Label
from schemas.manifest import ClipEntry, Manifest
from schemas.model import Model

LabelField = Literal["emotion", "self_report", "objective_class", "raw_emotion"]
Counts = Literal["published", "any"]
RESERVED_COLUMNS = ("clip", "fold", "seed")  # of a predictions file, beside one a class


class DatasetRule(Model):
    """What a task takes from one dataset, and how much that is in the published data.

    Attributes:
        dataset: as in clip keys.
        classes: value of the label -> class; a clip with any other value is not part of the task.
        label: the field of ``schemas.labels.Label`` that is read.
        expression_type: only these; ``None`` takes both.
        exclude: keys of clips that are left out by name.
        expected: class -> clips, published; empty if nobody says.
        expected_subjects: published, of those who have a clip in the task; ``None`` if nobody says.
        note: what to look at when the counts differ.
    """

    dataset: str
    classes: dict[str, str]
    label: LabelField = "emotion"
    expression_type: ExpressionType | None = "micro"
    exclude: tuple[str, ...] = ()
    expected: dict[str, int]
    expected_subjects: int | None
    note: str = ""

    def class_of(self, label: Label) -> str | None:
        """The class of a clip with this label, if the task has one for it."""
        value = getattr(label, self.label)
        return None if value is None else self.classes.get(str(value))

    def reason_to_leave(self, entry: ClipEntry) -> str | None:
        """Why a clip is not part of the task, if it is not."""
        if entry.key in self.exclude:
            return "excluded by name"
        if self.expression_type is not None and entry.label.expression_type != self.expression_type:
            return f"{entry.label.expression_type}-expression"
        if self.class_of(entry.label) is None:
            return f"{self.label} {getattr(entry.label, self.label)}"
        return None


class Task(Model):
    """Named classes and the clips that have them. ``version`` grows with any change of what is selected."""

    name: str
    version: int = Field(1, ge=1)
    title: str
    classes: tuple[str, ...] = Field(min_length=2)
    datasets: tuple[DatasetRule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes) or set(self.classes) & set(RESERVED_COLUMNS):
            raise ValueError(f"classes must differ and be none of {', '.join(RESERVED_COLUMNS)}: {self.classes}")
        if len(set(self.dataset_names)) < len(self.datasets):
            raise ValueError("two rules for one dataset")
        for rule in self.datasets:
            counted = set(rule.expected) or set(self.classes)
            if set(rule.classes.values()) != set(self.classes) or counted != set(self.classes):
                raise ValueError(
                    f"{rule.dataset}: `classes` and `expected` must cover each of {', '.join(self.classes)}"
                )
        return self

    @property
    def dataset_names(self) -> tuple[str, ...]:
        """The datasets that it takes clips from."""
        return tuple(rule.dataset for rule in self.datasets)

    def index(self, name: str) -> int:
        """Position of a class, which is its label in training and its column in predictions."""
        return self.classes.index(name)


def subject_of(key: str) -> str:
    """``dataset/subject`` of a clip key; people whom several datasets show stand under the first of these."""
    dataset, subject, *_ = key.split("/")
    return f"{people_of(dataset)}/{subject}"


@dataclass(frozen=True)
class LabelledClip:
    """A clip of a task.

    Attributes:
        key: of the store.
        label: index of its class.
        split: what the column of that name says in the table that it is from, if there is one.
    """

    key: str
    label: int
    split: str | None = None

    @property
    def dataset(self) -> str:
        """The beginning of the key."""
        return self.key.split("/")[0]

    @cached_property
    def subject(self) -> str:
        """``dataset/subject``: unique wherever datasets are mixed."""
        return subject_of(self.key)


@dataclass(frozen=True)
class Selection:
    """The clips of a task that stores hold.

    Attributes:
        task: that selected them.
        clips: sorted by key.
        left_out: reason -> clips of the stores that are not part of the task.
        failed: keys of clips that are part of it but failed in preprocessing.
        differences: from the published counts, in words; empty where there is none.
    """

    task: Task
    clips: tuple[LabelledClip, ...]
    left_out: dict[str, int]
    failed: tuple[str, ...]
    differences: tuple[str, ...]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """``(N,)`` class indices in the order of ``clips``."""
        return np.array([clip.label for clip in self.clips], dtype=np.int64)


def refuse_recordings(manifest: Manifest) -> None:
    """Refuse a store of long recordings where clips are needed.

    Raises:
        ConfigError: it is one.
    """
    if manifest.provenance.config.long:
        raise ConfigError(
            f"the store of {', '.join(manifest.datasets)} holds long recordings, which have no class; "
            "`mer spot STORE` reads them, and classes need a store that is made without --long"
        )


def select_clips(
    task: Task, manifests: Sequence[Manifest], *, counts: Counts = "published", scored: bool = True
) -> Selection:
    """The clips of a task, with the labels that the stores give them.

    Args:
        task: classes and rules.
        manifests: of the stores, one for each dataset of the task.
        counts: ``published`` refuses any other number of clips, subjects or clips a class than the published;
            ``any`` takes a partial or synthetic dataset and says in ``differences`` that it is one.
        scored: whether the clips come under test, so that every class needs some; those that a network learns from
            beforehand do not.

    Raises:
        ConfigError: a store is of no dataset of the task, or two hold the same clip.
        ProtocolError: the counts are not the published ones, or a class has no clip, or only one class has.
    """
    rules = {rule.dataset: rule for rule in task.datasets}
    clips: dict[str, LabelledClip] = {}
    left_out: Counter[str] = Counter()
    failed = []
    for manifest in manifests:
        refuse_recordings(manifest)
        for entry in manifest.rows:
            rule = rules.get(entry.key.split("/")[0])
            if rule is None:
                raise ConfigError(
                    f"{entry.key}: {task.name} takes no clips of this dataset, only of {', '.join(rules)}; "
                    "leave that store out, or choose another protocol"
                )
            reason = rule.reason_to_leave(entry)
            name = rule.class_of(entry.label)
            if reason is not None or name is None:
                left_out[f"{rule.dataset}: {reason}"] += 1
            elif entry.status == "failed":
                failed.append(entry.key)
            elif entry.key in clips:
                raise ConfigError(f"{entry.key} is in two of the stores; give one store a dataset")
            else:
                clips[entry.key] = LabelledClip(entry.key, task.index(name), entry.metadata.get("split"))
    chosen = tuple(clips[key] for key in sorted(clips))
    differences = tuple(_differences(task, chosen, failed))
    if differences and counts == "published":
        raise ProtocolError(
            f"{task.name}: the clips are not the published ones: {'; '.join(differences)}. "
            "Mend the store, or say that a partial or synthetic dataset is meant (--partial); the result records it"
        )
    _check_classes(task, chosen, scored=scored)
    return Selection(task, chosen, dict(sorted(left_out.items())), tuple(sorted(failed)), differences)


def _differences(task: Task, clips: Sequence[LabelledClip], failed: Sequence[str]) -> Iterable[str]:
    for rule in task.datasets:
        mine = [clip for clip in clips if clip.dataset == rule.dataset]
        if not mine:
            yield f"{rule.dataset}: no clip, expected {sum(rule.expected.values()) or 'some'}"
            continue
        found = Counter(task.classes[clip.label] for clip in mine)
        parts = [
            f"{name} {found[name]}, expected {rule.expected[name]}"
            for name in task.classes
            if found[name] != rule.expected.get(name, found[name])
        ]
        subjects = len({clip.subject for clip in mine})
        if rule.expected_subjects not in (None, subjects):
            parts.append(f"subjects {subjects}, expected {rule.expected_subjects}")
        lost = [key for key in failed if key.startswith(f"{rule.dataset}/")]
        if lost:
            parts.append(f"failed in preprocessing: {', '.join(lost)}")
        if parts:
            yield f"{rule.dataset}: " + ", ".join(parts) + (f" ({rule.note})" if rule.note else "")


def _check_classes(task: Task, clips: Sequence[LabelledClip], *, scored: bool) -> None:
    present = {clip.label for clip in clips}
    if not scored and len(present) < 2:
        raise ProtocolError(f"{task.name}: clips of {len(present)} classes, expected two or more to learn from")
    absent = [name for index, name in enumerate(task.classes) if index not in present]
    if scored and absent:
        raise ProtocolError(
            f"{task.name}: no clip of class {', '.join(absent)} among {len(clips)} clips; a class without clips has "
            "no score, so use a larger store or a task without it"
        )
