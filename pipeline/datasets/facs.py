"""Action unit cells of the annotations (FACS) to structured units; what is not understood is kept as such."""

import re
import unicodedata
from collections.abc import Iterator

from schemas.labels import ActionUnit, ActionUnitCode, Intensity, Side

_NULL = frozenset({"", "null", "none", "nan", "n/a"})
_SIDES: dict[str, Side] = {"L": "left", "R": "right", "T": "top", "B": "bottom", "A": "asymmetric"}
_INTENSITIES: dict[str, Intensity] = {"A": "A", "B": "B", "C": "C", "D": "D", "E": "E"}
_LARGEST_UNIT = 98  # the last code of the FACS manual

_UNIT = re.compile(
    r"(?P<doubt>\?)?\s*(?:AU\s*|AD\s*|M(?=\d))?(?P<sides>[LRTBA](?:/[LRTBA])*)?\s*(?P<number>[0-9]{1,2})"
    r"\s*(?P<intensity>[A-E](?:/[A-E])*)?\s*(?P<doubt_after>\?)?",
    re.IGNORECASE,
)
_GROUP = re.compile(r"(?P<reference>ref)?\s*\((?P<inside>[^()]*)\)", re.IGNORECASE)
_OR = re.compile(r"\s*or\s*", re.IGNORECASE)


def parse_action_units(text: str) -> ActionUnitCode:
    """Read an annotation cell such as ``R6A+R12``, ``A/L12``, ``4A/B``, ``(R6 or R12)+R15``, ``ref(7B)+43``, ``4,24``.

    ``+`` and ``,`` join units; a prefix is the side (left, right, top, bottom, asymmetric), a suffix the
    intensity A to E; ``or``, and ``/`` between sides, give alternatives; ``ref(...)`` and ``?`` mark a unit as
    uncertain. A term that is not understood (``soft focus``, a lone ``?``) goes whole into ``unparsed``.
    ``NULL`` means that there is no unit. ``AD38`` and ``M58`` are numbers of the same list as ``AU12``.
    """
    plain = unicodedata.normalize("NFKC", text).strip()
    if plain.casefold() in _NULL:
        return ActionUnitCode(raw=text)
    units: list[ActionUnit] = []
    unparsed: list[str] = []
    groups = 0
    for term in _terms(plain):
        choices = _choices(term)
        if choices is None:
            unparsed.append(term)
        elif len(choices) == 1:
            units += choices
        else:
            groups += 1
            units += (unit.model_copy(update={"alternative": groups}) for unit in choices)
    if not units and not unparsed:
        unparsed.append(plain)
    return ActionUnitCode(raw=text, units=tuple(units), unparsed=tuple(unparsed))


def _terms(text: str) -> Iterator[str]:
    """Split at ``+`` and ``,`` outside parentheses."""
    depth, start = 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char in "+,;、" and depth <= 0:
            yield text[start:i].strip()
            start = i + 1
    yield text[start:].strip()


def _choices(term: str) -> list[ActionUnit] | None:
    """The unit of a term, or its alternatives; ``None`` if any part is not understood, nothing for no text."""
    if not term:
        return []
    group = _GROUP.fullmatch(term)
    choices: list[ActionUnit] = []
    for part in _OR.split(group["inside"].strip() if group else term):
        match = _UNIT.fullmatch(part)
        if match is None or not 1 <= int(match["number"]) <= _LARGEST_UNIT:
            return None
        sides: list[Side | None] = [_SIDES[letter] for letter in (match["sides"] or "").upper().split("/") if letter]
        intensity = tuple(_INTENSITIES[letter] for letter in (match["intensity"] or "").upper().split("/") if letter)
        uncertain = bool(match["doubt"] or match["doubt_after"] or (group and group["reference"]))
        for side in sides or [None]:
            choices.append(ActionUnit(number=int(match["number"]), side=side, intensity=intensity, uncertain=uncertain))
    return choices
