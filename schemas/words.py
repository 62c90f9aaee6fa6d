"""Names as people type them, and numbers as people read them."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from schemas.errors import ConfigError

_SHOWN = 8  # names of an error


def chosen(text: str, known: Iterable[str], noun: str, aliases: Mapping[str, str] | None = None) -> str:
    """The one of the known names that is meant: case, spaces and punctuation do not matter.

    Args:
        text: as it was typed.
        known: names that there are.
        noun: what they are names of, for the error.
        aliases: other names -> the known one.

    Raises:
        ConfigError: none is meant; the message has the nearest ones, or the first few.
    """
    names = list(known)
    if text in names:
        return text
    forms = {**(aliases or {}), **{name: name for name in names}}
    letters = {_letters(form): name for form, name in forms.items()}
    if (name := letters.get(_letters(text))) is not None:
        return name
    near = dict.fromkeys(letters[form] for form in get_close_matches(_letters(text), letters, n=3))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names[:_SHOWN])}{more}"
    raise ConfigError(f"no {noun} {text!r}; {hint}")


def count(number: int, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
