"""FACS cells parse to structured units, and nothing is dropped silently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.facs import parse_action_units
from schemas.labels import ActionUnit


def unit(number: int, *, intensity: str = "", **fields: object) -> ActionUnit:
    return ActionUnit.model_validate({"number": number, "intensity": tuple(intensity), **fields})


EXAMPLES: dict[str, tuple[list[ActionUnit], list[str]]] = {
    "4B+7B+43E": ([unit(4, intensity="B"), unit(7, intensity="B"), unit(43, intensity="E")], []),
    "A1B+A2C": ([unit(1, side="asymmetric", intensity="B"), unit(2, side="asymmetric", intensity="C")], []),
    "R6A+R12": ([unit(6, side="right", intensity="A"), unit(12, side="right")], []),
    "A/L12": ([unit(12, side="asymmetric", alternative=1), unit(12, side="left", alternative=1)], []),
    "4A/B": ([unit(4, intensity="AB")], []),
    "L12 or L14": ([unit(12, side="left", alternative=1), unit(14, side="left", alternative=1)], []),
    "(R6 or R12)+R15": (
        [unit(6, side="right", alternative=1), unit(12, side="right", alternative=1), unit(15, side="right")],
        [],
    ),
    "ref(7B)+43": ([unit(7, intensity="B", uncertain=True), unit(43)], []),
    "T18+39": ([unit(18, side="top"), unit(39)], []),
    "B25": ([unit(25, side="bottom")], []),
    "R14+17+soft focus": ([unit(14, side="right"), unit(17)], ["soft focus"]),
    "4+7 ": ([unit(4), unit(7)], []),
    "4+L10": ([unit(4), unit(10, side="left")], []),
    "R6+R12": ([unit(6, side="right"), unit(12, side="right")], []),
    "?": ([], ["?"]),
    "4?": ([unit(4, uncertain=True)], []),
    "NULL": ([], []),
    "null": ([], []),
    "": ([], []),
    "4,24": ([unit(4), unit(24)], []),
    "10or11": ([unit(10, alternative=1), unit(11, alternative=1)], []),
    "14or23": ([unit(14, alternative=1), unit(23, alternative=1)], []),
    "(1 or 2)+(4 or 5)": (
        [unit(1, alternative=1), unit(2, alternative=1), unit(4, alternative=2), unit(5, alternative=2)],
        [],
    ),
    "L1+L2": ([unit(1, side="left"), unit(2, side="left")], []),
    "12": ([unit(12)], []),
    "AU4\uff0bAU 7": ([unit(4), unit(7)], []),
    "4/5": ([], ["4/5"]),
    "124+4": ([unit(4)], ["124"]),
    "12 or smile": ([], ["12 or smile"]),
    "(4+7": ([], ["(4+7"]),
    "++": ([], ["++"]),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_annotations(text: str) -> None:
    """Each form that occurs parses to its units; what is none is kept as unparsed."""
    code = parse_action_units(text)
    units, unparsed = EXAMPLES[text]
    assert list(code.units) == units
    assert list(code.unparsed) == unparsed
    assert code.raw == text


NULLS = {"", "null", "none", "nan", "n/a"}
CELLS = st.one_of(st.text(), st.text(alphabet="0123456789LRTBACDE+,/?()or ref"), st.sampled_from(sorted(EXAMPLES)))


@given(CELLS)
def test_nothing_is_dropped_silently(text: str) -> None:
    """Any text that is neither blank nor a null marker yields units or unparsed, and is itself kept."""
    code = parse_action_units(text)
    assert code.raw == text
    if text.strip() and text.strip().lower() not in NULLS:
        assert code.units or code.unparsed


@given(CELLS)
def test_every_number_of_a_cell_is_accounted_for(text: str) -> None:
    """Every ASCII digit of the cell is in a unit's number or in an unparsed term: no part vanishes."""
    code = parse_action_units(text)
    if not text.isascii():
        return
    digits = sorted(c for c in text if c.isdigit() and c != "0")
    kept = "".join(code.unparsed)
    numbers: list[str] = []
    seen: set[tuple[int | None, int]] = set()
    for u in code.units:
        # "A/L12" gives two units for one number.
        key = (u.alternative, u.number)
        if u.alternative is None or key not in seen:
            numbers.append(str(u.number))
        seen.add(key)
    found = [c for c in kept + "".join(numbers) if c.isdigit() and c != "0"]
    assert set(found) == set(digits)


UNITS = st.builds(
    lambda side, number, intensity: (side, number, intensity),
    st.sampled_from(["", "L", "R", "A", "T", "B"]),
    st.integers(1, 98),
    st.sampled_from(["", "A", "B", "C", "D", "E"]),
)


@given(st.lists(UNITS, min_size=1, max_size=6), st.sampled_from(["+", " + ", ",", ", "]))
def test_plain_codes_round_trip(parts: list[tuple[str, int, str]], separator: str) -> None:
    """Units written by side, number and intensity are read back, in order, with nothing left over."""
    sides = {"": None, "L": "left", "R": "right", "A": "asymmetric", "T": "top", "B": "bottom"}
    code = parse_action_units(separator.join(f"{side}{number}{intensity}" for side, number, intensity in parts))
    assert code.unparsed == ()
    assert [(u.side, u.number, "".join(u.intensity)) for u in code.units] == [
        (sides[side], number, intensity) for side, number, intensity in parts
    ]
