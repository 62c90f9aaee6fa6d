"""Manifests with labels and no arrays: with the counts of the published datasets, subjects drawn at random."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from schemas.labels import Label
from schemas.manifest import MANIFEST_NAME, ClipEntry, Failure, Manifest
from tests.store_builder import bare_manifest

CASME2 = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}
CASME2_2019 = CASME2 | {"surprise": 28, "sadness": 4}
SAMM = {
    "anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6,
}  # fmt: skip
SAMM_OBJECTIVE = (24, 13, 20, 8, 3, 7, 84)
SMIC = {"negative": 70, "positive": 51, "surprise": 43}
CASME_SQ_MICRO = {"negative": 21, "others": 19, "surprise": 9, "positive": 8}
CASME_SQ_MACRO = {"positive": 116, "negative": 105, "others": 63, "surprise": 16}
CASME_SQ_REPORTS = {
    "happiness": 147, "disgust": 74, "anger": 55, "surprise": 36, "fear": 21, "sadness": 9,
    "helpless": 5, "pain": 5, "confused": 3, "sympathy": 2,
}  # fmt: skip

MMEW = {"happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16, "sadness": 13, "others": 66}


def make_entry(key: str, label: Label, *, failed: bool = False) -> ClipEntry:
    """An entry with nothing but a label."""
    failure = Failure(stage="face", error="FaceNotFoundError", message="no face") if failed else None
    status = "failed" if failed else "ok"
    return ClipEntry(key=key, status=status, label=label, fps=200, onset=1, apex=2, offset=3, failure=failure)


def make_manifest(dataset: str, entries: Iterable[ClipEntry]) -> Manifest:
    """A manifest of these clips."""
    clips = tuple(sorted(entries, key=lambda entry: entry.key))
    return bare_manifest(dataset, units=["AU01"], clips=clips).sealed()


def write_store(folder: Path, manifest: Manifest) -> Path:
    """What `Store.open` and labels need of a store: its manifest."""
    folder.mkdir(parents=True)
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
    return folder


def casme2(*, seed: int = 0, counts: dict[str, int] = CASME2) -> Manifest:
    """26 subjects, two of them with `others` alone; the two clips that MEGC 2019 leaves out by name are negative."""
    random = np.random.default_rng(seed)
    subjects = [f"sub{n:02d}" for n in range(1, 27)]
    main = _spread_out(random, _listed(counts, "disgust", "repression", "happiness", "surprise"), subjects[:24])
    rare = _anywhere(random, _listed(counts, "sadness", "fear"), subjects[:24])
    others = _spread_out(random, _listed(counts, "others"), subjects)
    names: dict[str, list[str]] = {"sub04": ["EP12_01f"], "sub05": ["EP09_05f"]}
    entries = []
    for index, (subject, emotion) in enumerate([*main, *rare, *others]):
        special = names.get(subject) if emotion in ("disgust", "repression") else None
        name = special.pop() if special else f"EP{index:03d}"
        entries.append(make_entry(f"casme2/{subject}/{name}", Label(emotion=emotion)))
    return make_manifest("casme2", entries)


def samm(*, seed: int = 0) -> Manifest:
    """29 subjects: 26 with anything, two with rare emotions alone, one with `others` alone."""
    random = np.random.default_rng(seed)
    subjects = [f"{n:03d}" for n in range(6, 35)]
    core = subjects[:26]
    pairs = _spread_out(random, _listed(SAMM, "anger", "happiness", "surprise", "contempt"), core)
    rare = _listed(SAMM, "disgust", "fear", "sadness")
    pairs += [(subjects[26], rare[0]), (subjects[27], rare[1]), (subjects[28], "others")]
    pairs += _anywhere(random, rare[2:] + ["others"] * (SAMM["others"] - 1), core)
    objective = random.permutation(np.repeat(np.arange(1, 8), SAMM_OBJECTIVE))
    return make_manifest(
        "samm",
        (
            make_entry(f"samm/{subject}/{subject}_{i}", Label(emotion=emotion, objective_class=int(number)))
            for i, ((subject, emotion), number) in enumerate(zip(pairs, objective, strict=True))
        ),
    )


def smic(*, seed: int = 0) -> Manifest:
    """16 subjects."""
    random = np.random.default_rng(seed)
    pairs = _spread_out(random, _listed(SMIC, *SMIC), [f"s{n}" for n in range(1, 17)])
    return make_manifest(
        "smic-hs", (make_entry(f"smic-hs/{s}/{s}_{i}", Label(emotion=e)) for i, (s, e) in enumerate(pairs))
    )


def mmew(*, seed: int = 0) -> Manifest:
    """36 subjects."""
    random = np.random.default_rng(seed)
    pairs = _spread_out(random, _listed(MMEW, *MMEW), [f"S{n:02d}" for n in range(1, 37)])
    return make_manifest(
        "mmew", (make_entry(f"mmew/{s}/{s}-01-{i:03d}", Label(emotion=e)) for i, (s, e) in enumerate(pairs))
    )


def casme_sq(*, seed: int = 0) -> Manifest:
    """22 subjects, 14 of them with micro-expressions."""
    random = np.random.default_rng(seed)
    subjects = [f"s{n}" for n in range(15, 37)]
    micro = _spread_out(random, _listed(CASME_SQ_MICRO, *CASME_SQ_MICRO), subjects[:14])
    macro = _spread_out(random, _listed(CASME_SQ_MACRO, *CASME_SQ_MACRO), subjects)
    reports = random.permutation(_listed(CASME_SQ_REPORTS, *CASME_SQ_REPORTS))
    typed = [(*pair, "micro") for pair in micro] + [(*pair, "macro") for pair in macro]
    return make_manifest(
        "casme-sq",
        (
            make_entry(
                f"casme-sq/{subject}/anger1_{i}",
                Label(emotion=emotion, expression_type=kind, self_report=str(report)),
            )
            for i, ((subject, emotion, kind), report) in enumerate(zip(typed, reports, strict=True))
        ),
    )


def _listed(counts: dict[str, int], *emotions: str) -> list[str]:
    return [emotion for emotion in emotions for _ in range(counts[emotion])]


def _spread_out(random: np.random.Generator, emotions: Sequence[str], subjects: Sequence[str]) -> list[tuple[str, str]]:
    """Each subject at least once, the rest as unevenly as people are."""
    shuffled = [str(emotion) for emotion in random.permutation(emotions)]
    first = list(zip(subjects, shuffled, strict=False))
    return first + _anywhere(random, shuffled[len(first) :], subjects)


def _anywhere(random: np.random.Generator, emotions: Sequence[str], subjects: Sequence[str]) -> list[tuple[str, str]]:
    shares = random.dirichlet(np.full(len(subjects), 1.5))
    return [(str(random.choice(subjects, p=shares)), emotion) for emotion in emotions]
