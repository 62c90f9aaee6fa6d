"""Small readings of annotation cells that every spreadsheet needs."""

from collections.abc import Mapping

from schemas.clip import FindingKind
from schemas.labels import Emotion


def integer(text: str) -> int | None:
    """A cell as a whole number, where it is one."""
    return int(text) if text.isascii() and text.isdecimal() else None


def look_up_emotion(
    text: str, known: Mapping[str, Emotion], *, what: str = "emotion"
) -> tuple[Emotion | None, list[tuple[FindingKind, str]]]:
    """The normalised emotion of a label, without regard to case and outer blanks, or a note that it is unknown."""
    emotion = known.get(text.strip().casefold())
    if emotion is not None:
        return emotion, []
    return None, [("label_unknown", f"{what} {text!r} is none of {', '.join(sorted(known))}")]
