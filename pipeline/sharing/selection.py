"""Which clips to take: subjects, labels, and conditions on what the manifest says of a clip.

A condition is ``FIELD OPERATOR VALUE``, as in ``emotion=happiness|surprise,expression_type=micro,fps>=100``.
Commas mean and, ``|`` means or, ``none`` stands for what is not there. ``metadata.NAME`` is a column of the user's own
table of clips. Nothing is evaluated as code.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from schemas.errors import ConfigError
from schemas.manifest import ClipEntry

Value = str | float | None

FIELDS: dict[str, Callable[[ClipEntry], Value | Sequence[Value]]] = {
    "dataset": lambda entry: entry.key.split("/")[0],
    "subject": lambda entry: entry.subject,
    "clip": lambda entry: entry.key.split("/")[2],
    "key": lambda entry: entry.key,
    "status": lambda entry: entry.status,
    "emotion": lambda entry: entry.label.emotion,
    "raw_emotion": lambda entry: entry.label.raw_emotion,
    "objective_class": lambda entry: entry.label.objective_class,
    "expression_type": lambda entry: entry.label.expression_type,
    "self_report": lambda entry: entry.label.self_report,
    "au": lambda entry: [unit.number for unit in entry.label.action_units.units] if entry.label.action_units else [],
    "fps": lambda entry: entry.fps,
    "frames": lambda entry: entry.n_frames,
    "apex_estimated": lambda entry: entry.apex_estimated,
    "finding": lambda entry: [finding.kind for finding in entry.findings],
    "residual_motion_px": lambda entry: entry.quality.residual_motion_px if entry.quality else None,
    "inter_eye_px": lambda entry: entry.quality.inter_eye_px if entry.quality else None,
}
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_METADATA = "metadata."
_CONDITION = re.compile(r"\s*(metadata\.[^=!<>]*[^=!<>\s]|\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """One condition; a field with several values meets ``=`` if one of them does."""

    field: str
    operator: str
    values: tuple[str, ...]

    def holds(self, entry: ClipEntry) -> bool:
        """Whether a clip meets it; what is not there is neither smaller nor larger than anything."""
        column = self.field.removeprefix(_METADATA)
        found = entry.metadata.get(column) if column != self.field else FIELDS[self.field](entry)
        mine: list[Value] = list(found) if isinstance(found, (list, tuple)) else [found]  # type: ignore[list-item]
        if self.operator in ("=", "!="):
            equal = any(_equal(value, wanted) for value in mine or [None] for wanted in self.values)
            return equal == (self.operator == "=")
        bound = float(self.values[0])
        numbers = [_number(value) if isinstance(value, str) else value for value in mine]
        return any(number is not None and _ORDER[self.operator](number, bound) for number in numbers)

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{'|'.join(self.values)}"


@dataclass(frozen=True)
class Selection:
    """Clips that meet all conditions."""

    conditions: tuple[Condition, ...]

    @classmethod
    def parse(cls, *, subjects: str | None = None, labels: str | None = None, where: str | None = None) -> "Selection":
        """Read the options of the command line.

        Args:
            subjects: names, separated by commas.
            labels: emotions, separated by commas.
            where: conditions, separated by commas.

        Raises:
            ConfigError: no condition, or one on a field that clips do not have.
        """
        conditions = [
            Condition(field, "=", _values(names, ","))
            for field, names in (("subject", subjects), ("emotion", labels))
            if names is not None
        ]
        conditions += [_condition(text) for text in (where.split(",") if where is not None else ())]
        return cls(tuple(conditions))

    def takes(self, entry: ClipEntry) -> bool:
        """Whether a clip is among them."""
        return all(condition.holds(entry) for condition in self.conditions)

    def __str__(self) -> str:
        return " and ".join(map(str, self.conditions)) or "any clip"


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(f"--where {text!r}: expected FIELD=VALUE, FIELD!=VALUE, FIELD<NUMBER, ..., joined by commas")
    field, sign, values = match.groups()
    if field not in FIELDS and not field.startswith(_METADATA):
        near = get_close_matches(field, FIELDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)} and {_METADATA}COLUMN"
        raise ConfigError(f"--where {text!r}: clips have no {field!r}; {hint}")
    condition = Condition(field, sign, _values(values, "|"))
    if sign in _ORDER and (len(condition.values) != 1 or _number(condition.values[0]) is None):
        raise ConfigError(f"--where {text!r}: expected one number after {sign}")
    return condition


def _values(text: str, separator: str) -> tuple[str, ...]:
    values = tuple(value.strip() for value in text.split(separator))
    if not all(values):
        raise ConfigError(f"{text!r}: a value is empty; write none for what is not there")
    return values


def _equal(value: Value, wanted: str) -> bool:
    if value is None:
        return wanted == "none"
    return value == wanted if isinstance(value, str) else value == _number(wanted)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
