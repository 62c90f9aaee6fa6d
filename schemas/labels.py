"""Labels of a clip: emotion, action units (FACS), and where they come from."""

from typing import Literal

from schemas.model import Model

Emotion = Literal[
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "repression",
    "others",
    "positive",
    "negative",
    # Self-reports of CAS(ME)^2 only.
    "helpless",
    "pain",
    "confused",
    "sympathy",
]
Side = Literal["left", "right", "top", "bottom", "asymmetric"]
Intensity = Literal["A", "B", "C", "D", "E"]
ExpressionType = Literal["micro", "macro"]


class ActionUnit(Model):
    """One annotated FACS action unit.

    ``intensity`` is empty when the coder gave none, and holds two letters when the coder was
    undecided (``4A/B``). Units with the same ``alternative`` number exclude each other
    (``L12 or L14``); ``None`` means certain membership.
    """

    number: int
    side: Side | None = None
    intensity: tuple[Intensity, ...] = ()
    alternative: int | None = None
    uncertain: bool = False


class ActionUnitCode(Model):
    """An annotation cell: the text as written, what was understood, and what was not.

    A non-blank ``raw`` other than a null marker always yields ``units`` or ``unparsed``:
    nothing is dropped silently.
    """

    raw: str
    units: tuple[ActionUnit, ...] = ()
    unparsed: tuple[str, ...] = ()


class Label(Model):
    """All that the annotation says about a clip. ``None`` means that the dataset has no such field."""

    raw_emotion: str | None = None
    emotion: Emotion | None = None
    objective_class: int | None = None
    expression_type: ExpressionType = "micro"
    raw_self_report: str | None = None
    self_report: Emotion | None = None
    action_units: ActionUnitCode | None = None
