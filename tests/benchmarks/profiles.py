"""Where the time of an action goes, in words, for the reason of a goal that is missed."""

import cProfile
import pstats
import time
from collections.abc import Callable


def shares(action: Callable[[], object], *, largest: int = 5) -> str:
    """Functions by their own share of this thread's CPU time: ``profile: decompress 61 %, readinto 9 %``."""
    profile = cProfile.Profile(time.process_time)
    try:
        profile.runcall(action)
    except SystemExit:  # a command's end
        profile.disable()
    spent = sorted(
        ((own, name) for (_, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items()),  # type: ignore[attr-defined]
        reverse=True,
    )
    total = sum(own for own, _ in spent)
    return "profile: " + ", ".join(
        f"{plain(name)} {own / total:.0%}".replace("%", " %") for own, name in spent[:largest]
    )


def plain(name: str) -> str:
    """A function's name as a table takes it: ``<method 'read' of 'io'>`` -> ``read``."""
    quoted = name.split("'")
    return quoted[1] if name.startswith("<") and len(quoted) > 1 else name.strip("<>").split(" ")[-1]
