"""Protocols: a task and a split, under a name such as ``casme2-5/loso``."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from schemas.config import canonical_sha256
from schemas.errors import ConfigError
from schemas.manifest import Manifest
from schemas.model import Model
from schemas.settings import problems
from schemas.words import chosen
from training.protocols.catalogue import TASKS
from training.protocols.splits import CrossDataset, Holdout, KFold, Loso, Lovo, Predefined, Split
from training.protocols.tasks import DatasetRule, LabelField, Task, select_clips

_SPLITS: dict[str, Split] = {
    split.kind: split for split in (Loso(), Lovo(), KFold(), Holdout(), CrossDataset(), Predefined())
}  # with their defaults


class Protocol(Model):
    """All that must be the same for two results to be compared."""

    format_version: Literal[1] = 1
    task: Task
    split: Split

    @property
    def name(self) -> str:
        """``task/split``, as ``find_protocol`` takes it but for a split's own numbers."""
        return f"{self.task.name}/{self.split.kind}"

    @cached_property
    def sha256(self) -> str:
        """Hash of the canonical JSON form."""
        return canonical_sha256(self.model_dump(mode="json"))


def protocol_names() -> tuple[str, ...]:
    """Every shipped ``task/split`` that makes sense; a task alone means ``loso``."""
    return tuple(
        f"{task.name}/{kind}"
        for task in TASKS.values()
        for kind in _SPLITS
        if kind != "predefined" and (kind != "cross-dataset" or len(task.datasets) > 1)  # the tables of shipped ones
    )


def find_protocol(name: str) -> Protocol:
    """A protocol by name (``megc2019``, ``casme2-5/kfold``, ``samm-5/kfold-10``), or from a ``.toml`` file.

    A file has the fields of ``Protocol``: ``[task]`` with ``[[task.datasets]]``, and ``[split]`` with its ``kind``.

    Raises:
        ConfigError: no such task or split, or the file is none.
    """
    if name.endswith(".toml"):
        return _read_protocol(Path(name))
    task_name, _, split_name = name.partition("/")
    return Protocol(task=TASKS[chosen(task_name, TASKS, "protocol")], split=_find_split(split_name or "loso"))


def infer_protocol(classes: Sequence[str], manifests: Sequence[Manifest]) -> Protocol:
    """The one shipped protocol, split by subject, that has these classes and is about these stores.

    Raises:
        ConfigError: there is none, or more than one.
    """
    datasets = {entry.key.split("/")[0] for manifest in manifests for entry in manifest.rows}
    fitting = [t for t in TASKS.values() if set(t.classes) == set(classes) and set(t.dataset_names) == datasets]
    if len(fitting) > 1:
        fitting = [t for t in fitting if not select_clips(t, manifests, counts="any").differences] or fitting
    if len(fitting) == 1:
        return Protocol(task=fitting[0], split=Loso())
    found = ", ".join(t.name for t in fitting) or "none"
    raise ConfigError(
        f"classes {', '.join(classes)} of {', '.join(sorted(datasets))}: fitting protocols: {found}; "
        f"name one with --protocol: {', '.join(TASKS)}"
    )


def choose_protocol(name: str | None, manifests: Sequence[Manifest]) -> Protocol:
    """The protocol that was asked for.

    Args:
        name: as ``find_protocol``; a split alone (``kfold-10``) is of the default task; ``None`` is the default.
        manifests: of the stores that decide the default.

    Raises:
        ConfigError: there is no such protocol.
    """
    if name is None:
        return default_protocol(manifests)
    if name.casefold().rpartition("-")[0] == "kfold" or name.casefold() in _SPLITS:
        return Protocol(task=default_protocol(manifests).task, split=_find_split(name))
    return find_protocol(name)


def default_protocol(manifests: Sequence[Manifest]) -> Protocol:
    """What is trained where nothing is said: the paper's classes of the dataset, or MEGC 2019's of three, by subject.

    A dataset without a shipped task has the classes that its clips have.

    Raises:
        ConfigError: no shipped task is about these datasets.
    """
    datasets = {entry.key.split("/")[0] for manifest in manifests for entry in manifest.rows}
    for task in TASKS.values():
        if set(task.dataset_names) == datasets:
            return Protocol(task=task, split=Loso())
    own = _of_labels(next(iter(datasets)), manifests) if len(datasets) == 1 else None
    if own is not None:
        return Protocol(task=own, split=Loso())
    raise ConfigError(
        f"no shipped task is about {', '.join(sorted(datasets)) or 'no dataset'}; "
        f"name one with --protocol: {', '.join(TASKS)}, or a TOML file"
    )


def _of_labels(dataset: str, manifests: Sequence[Manifest]) -> Task | None:
    """The task of all labels of one dataset; ``None`` if its clips are of fewer than two classes."""
    field: LabelField = "raw_emotion" if dataset == "clips" else "emotion"  # a table's own words are its classes
    entries = [entry for manifest in manifests for entry in manifest.rows if entry.status == "ok"]
    labels = [str(value) for entry in entries if (value := getattr(entry.label, field))]
    counts = dict(sorted(Counter(labels).items()))
    if len(counts) < 2:
        return None
    rule = DatasetRule(
        dataset=dataset,
        label=field,
        expression_type=None,
        classes={name: name for name in counts},
        expected=counts,
        expected_subjects=None,
    )
    return Task(
        name=f"{dataset}-labels", title=f"{dataset}, every label of it", classes=tuple(counts), datasets=(rule,)
    )


def _find_split(name: str) -> Split:
    kind, dash, number = name.casefold().rpartition("-")
    if kind == "kfold" and dash and number.isdecimal() and int(number) >= 2:
        return KFold(folds=int(number))
    if kind == "kfold":
        raise ConfigError(f"no split {name!r}; kfold may carry its number of folds, 2 or more: kfold-10")
    return _SPLITS[chosen(name, _SPLITS, "split")]


def _read_protocol(path: Path) -> Protocol:
    try:
        with path.open("rb") as file:
            return Protocol.model_validate(tomllib.load(file))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such protocol file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: not a protocol: {problems(error)}") from error
