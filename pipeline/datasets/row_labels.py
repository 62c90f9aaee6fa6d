"""Readings of annotation cells that every spreadsheet needs."""

from collections.abc import Iterable
from typing import get_args

from pipeline.datasets.facs import parse_action_units
from schemas.clip import FindingKind
from schemas.labels import ActionUnitCode, Emotion, ExpressionType

Notes = list[tuple[FindingKind, str]]

EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)
_SPELLINGS: dict[str, Emotion] = {
    "other": "others", "happy": "happiness", "happyiness": "happiness", "sad": "sadness", "angry": "anger",
    "disgusted": "disgust", "surprised": "surprise", "fearful": "fear",
}  # fmt: skip
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii")


def integer(text: str) -> int | None:
    """A cell as a whole number, where it is one."""
    return int(text) if text.isascii() and text.isdecimal() else None


def action_units(text: str) -> tuple[ActionUnitCode, Notes]:
    """Parse a cell of action units, and note what was not understood."""
    code = parse_action_units(text)
    if not code.unparsed:
        return code, []
    return code, [("action_units_unparsed", f"action units {text!r}: not understood: {', '.join(code.unparsed)}")]


def look_up_emotion(text: str, known: Iterable[Emotion], *, what: str = "emotion") -> tuple[Emotion | None, Notes]:
    """The emotion of a label among those that the dataset has, or a note that it is unknown."""
    plain = text.strip().casefold()
    emotion = next((e for e in EMOTIONS if e == plain), None) or _SPELLINGS.get(plain)
    known = sorted(known)
    if emotion is not None and emotion in known:
        return emotion, []
    return None, [("label_unknown", f"{what} {text!r} is none of {', '.join(known)}")]


def expression_type(text: str) -> tuple[ExpressionType, Notes]:
    """``Micro - 1/2``, ``micro-expression``, ``Yes`` of a column called Micro, or ``Macro``; blank means micro."""
    plain = text.strip().casefold()
    if plain.startswith("macro") or plain in ("no", "0"):
        return "macro", []
    if not plain or plain.startswith(("micro", "yes")) or plain in ("1", "1/2"):
        return "micro", []
    return "micro", [("label_unknown", f"expression type {text!r} is neither macro nor micro; taken as micro")]


def objective_class(text: str) -> int | None:
    """``3`` or ``III``."""
    plain = text.strip().casefold()
    return _ROMAN.index(plain) + 1 if plain in _ROMAN else integer(plain)
