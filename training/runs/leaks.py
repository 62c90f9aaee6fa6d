"""Whether pre-training may have seen who is tested: people by their names, clips by their pixels.

A run that others may start from says in ``run.json`` what it has seen, and what the runs have seen that it started
from itself, so that a chain of any length is followed whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from schemas.errors import ProtocolError
from schemas.store.reader import Store
from training.models.trained_model import SeenBefore
from training.protocols.tasks import subject_of


def pixels_of(stores: Iterable[Store], keys: Iterable[str]) -> dict[str, str]:
    """Clip key -> hash of its pixels; a store without texture and depth has none.

    Equal pixels have equal hashes under whatever name, as long as they were preprocessed alike.
    """
    wanted, found = set(keys), {}
    for store in stores:
        for entry in store.manifest.rows:
            stored = entry.objects.get("texture") or entry.objects.get("depth")
            if entry.key in wanted and stored is not None:
                found[entry.key] = stored["sha256"]
    return found


def sources_of(stores: Iterable[Store], keys: Iterable[str]) -> dict[str, str]:
    """Clip key -> hash of the files that it was read from; clips that were renamed for sharing have none."""
    wanted = set(keys)
    entries = (entry for store in stores for entry in store.manifest.rows if entry.key in wanted)
    return {entry.key: entry.source.sha256 for entry in entries if entry.source is not None}


def refuse_seen(history: Sequence[SeenBefore], keys: Sequence[str], pixels: Mapping[str, str]) -> None:
    """Refuse a run whose people or clips an earlier training has seen.

    Args:
        history: as ``Run.seen`` gives it.
        keys: of all clips of the run: every one is tested, or teaches a model that is.
        pixels: of these clips, as ``pixels_of`` gives them.

    Raises:
        ProtocolError: the result would be inflated.
    """
    people = {subject_of(key): key for key in keys}
    own = {sha256: key for key, sha256 in pixels.items()}
    for step in history:
        through = "" if step is history[-1] else f" (in an earlier training, on {', '.join(step.stores)})"
        if shared := sorted(set(step.people) & people.keys()):
            raise ProtocolError(
                f"pre-training has seen {len(shared)} of the people who are under test{through}, among them "
                f"{shared[0]}; the result would be inflated: pre-train on another dataset"
            )
        for name, sha256 in step.pixels.items():
            if sha256 in own:
                raise ProtocolError(
                    f"pre-training has seen the clip {own[sha256]}{through}, there called {name}: the pixels are the "
                    "same; the result would be inflated: pre-train on other people"
                )


def refuse_twins(pixels: Mapping[str, str]) -> None:
    """Refuse clips with the same pixels under the names of two people: one may teach and the other be tested.

    Raises:
        ProtocolError: there are such clips.
    """
    first: dict[str, str] = {}
    for key, sha256 in sorted(pixels.items()):
        other = first.setdefault(sha256, key)
        if other != key and subject_of(other) != subject_of(key):
            raise ProtocolError(
                f"{other} and {key} are the same clip under the names of two people: their pixels are equal; one would "
                "teach and the other be tested: leave one of the stores out, or use a subset without the clip"
            )


def unknown(history: Sequence[SeenBefore], stores: Sequence[Store], pixels: Mapping[str, str]) -> Iterator[str]:
    """What cannot be known of pre-training, in sentences."""
    if not history:
        return
    if any(step.pseudonyms for step in history) or any(store.manifest.pseudonyms for store in stores):
        yield (
            "Subjects have pseudonyms: whether pre-training has seen these people is known only as far as the pixels "
            "of clips are the same."
        )
    if not all(step.complete for step in history):
        yield "Pre-training itself started from another run, of which nothing is recorded: whom that saw is unknown."
    if not pixels or not all(step.pixels for step in history):
        yield "Clips could not be compared with those of pre-training by their pixels, only by the names of people."
