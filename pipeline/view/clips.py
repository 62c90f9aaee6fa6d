"""Which clips are shown, and in which order: all from the manifest, so that no array is read to choose."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.sharing.selection import Selection
from pipeline.view.predictions import ClipAnswers, RunPredictions
from schemas.manifest import ClipEntry, Manifest

STORE_ORDER = "as in the store"
WRONG_FIRST = "wrong clips first"
ANSWERED = ("wrong", "right", "not tested")


@dataclass(frozen=True)
class Figure:
    """A number that every clip may have; ``title`` has its unit."""

    title: str
    value: Callable[[ClipEntry], float | None]


def _measured(name: str) -> Callable[[ClipEntry], float | None]:
    return lambda entry: None if entry.quality is None else float(getattr(entry.quality, name))


QUALITY: dict[str, Figure] = {
    "residual motion": Figure("residual motion of the head (px)", _measured("residual_motion_px")),
    "eye distance": Figure("distance of the eyes in the source (px)", _measured("inter_eye_px")),
    "detection probability": Figure("probability of a face (the detector's)", _measured("detection_probability")),
    "faces": Figure("faces on the frame (number)", _measured("faces")),
    "frames": Figure("length (frames)", lambda entry: entry.n_frames),
    "duration": Figure("length (s)", lambda entry: entry.n_frames / entry.fps if entry.fps else None),
    "frame rate": Figure("frame rate (1/s)", lambda entry: entry.fps),
    "findings": Figure("findings (number)", lambda entry: len(entry.findings)),
}


@dataclass(frozen=True)
class Filter:
    """What clips have to be; an empty field takes all.

    Attributes:
        exact: name of a facet -> the value that a clip must have among its own.
        cell: true and predicted class.
        text: words that must all be in what is known of a clip, or conditions as of `mer subset --where`.
    """

    exact: Mapping[str, str]
    cell: tuple[int, int] | None = None
    text: str = ""


class Clips:
    """The clips of a manifest, and what a run answered on them.

    Args:
        manifest: of the store.
        run: what a run answered.
    """

    def __init__(self, manifest: Manifest, run: RunPredictions | None) -> None:
        self.entries, self.run = manifest.rows, run

    def tested(self, entry: ClipEntry) -> ClipAnswers | None:
        """What the run answered on a clip, if it was tested."""
        return None if self.run is None else self.run.clips.get(entry.key)

    def answered(self, entry: ClipEntry) -> str:
        """One of ``ANSWERED``."""
        tested = self.tested(entry)
        return "not tested" if tested is None else "wrong" if tested.wrong else "right"

    @cached_property
    def facets(self) -> dict[str, Callable[[ClipEntry], tuple[str, ...]]]:
        """Name -> the values of a clip, for filters that choose one value."""
        found: dict[str, Callable[[ClipEntry], tuple[str, ...]]] = {
            "dataset": lambda entry: (entry.key.split("/")[0],),
            "subject": lambda entry: (entry.key.rpartition("/")[0],),
            "label": lambda entry: (label_of(entry),),
            "status": lambda entry: (entry.status,),
            "finding": lambda entry: tuple(finding.kind for finding in entry.findings),
        }
        return found if self.run is None else found | {"answer": lambda entry: (self.answered(entry),)}

    def counts(self, facet: str) -> dict[str, int]:
        """Value -> clips that have it, sorted by value."""
        values = self.facets[facet]
        return dict(sorted(Counter(value for entry in self.entries for value in set(values(entry))).items()))

    @cached_property
    def orders(self) -> dict[str, Callable[[ClipEntry], float | None]]:
        """Name -> what clips can be sorted by."""
        found: dict[str, Callable[[ClipEntry], float | None]] = {STORE_ORDER: lambda entry: None}
        found |= {name: figure.value for name, figure in QUALITY.items()}
        return found if self.run is None else {WRONG_FIRST: self._trust_in_truth, **found}

    def _trust_in_truth(self, entry: ClipEntry) -> float | None:
        """Below 0 for wrong clips, the more wrong the lower; above for right ones, the surer the higher."""
        tested = self.tested(entry)
        if tested is None:
            return None
        return tested.mean[tested.truth] - (tested.mean[tested.predicted] if tested.wrong else 0)

    def select(self, wanted: Filter, order: str, *, descending: bool = False) -> list[ClipEntry]:
        """Clips that pass the filter, sorted; those without the figure that is sorted by come last.

        Raises:
            ConfigError: the text looks like a condition and is none.
        """
        passes = self._text(wanted.text)
        found = [
            entry
            for entry in self.entries
            if all(value in self.facets[name](entry) for name, value in wanted.exact.items())
            and (wanted.cell is None or self._cell(entry) == wanted.cell)
            and passes(entry)
        ]
        if order == STORE_ORDER:
            return found[::-1] if descending else found
        ranked = [(value, entry) for entry in found if (value := self.orders[order](entry)) is not None]
        ranked.sort(key=lambda pair: pair[0], reverse=descending)
        chosen = {entry.key for _, entry in ranked}
        return [entry for _, entry in ranked] + [entry for entry in found if entry.key not in chosen]

    def _cell(self, entry: ClipEntry) -> tuple[int, int] | None:
        tested = self.tested(entry)
        return None if tested is None else (tested.truth, tested.predicted)

    def _text(self, text: str) -> Callable[[ClipEntry], bool]:
        if set(text) & set("=<>"):
            return Selection.parse(where=text).takes
        words = text.lower().split()
        return lambda entry: not words or all(word in self._said[entry.key] for word in words)

    @cached_property
    def _said(self) -> dict[str, str]:
        """Key -> what free text is looked for in."""
        return {entry.key: _words(entry).lower() for entry in self.entries}


def label_of(entry: ClipEntry) -> str:
    """The emotion of a clip as the datasets agree on it, or as written, or ``no label``."""
    return entry.label.emotion or entry.label.raw_emotion or "no label"


def _words(entry: ClipEntry) -> str:
    label, failure = entry.label, entry.failure
    said = [entry.key, entry.status, label.emotion, label.raw_emotion, label.expression_type]
    said += [label.action_units.raw] if label.action_units else []
    said += [text for finding in entry.findings for text in (finding.kind, finding.message)]
    said += [failure.stage, failure.error, failure.message] if failure else []
    return " ".join(filter(None, [*said, *entry.metadata.values()]))
