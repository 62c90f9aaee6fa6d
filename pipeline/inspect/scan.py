"""What a scan found, as tables for people and as a dict for machines."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.clip import Clip, DatasetScan, Finding
from schemas.datasets import FACTS, SYNTHETIC_NOTE
from schemas.labels import Label
from schemas.words import count

_SHOWN_SUBJECTS = 40


def scan_report(scan: DatasetScan, root: Path | None = None) -> RenderableType:
    """Tables of counts (found against published), subjects, and findings by kind with every message.

    Args:
        scan: what an adapter found.
        root: effective root, shown where given.
    """
    parts: list[RenderableType] = [_heading(scan, root), _counts_table(scan), _subjects_table(scan)]
    if uncertain := _uncertain(scan):
        parts.insert(1, Text(f"not known for certain of this dataset: {uncertain}", style="yellow"))
    if scan.synthetic:
        parts.insert(1, Text(SYNTHETIC_NOTE, style="yellow"))
    findings = _by_kind(scan)
    if findings:
        parts.append(_findings_table(findings))
    parts.append(Text(_verdict(scan), style="bold red" if scan_exit_code(scan) else "bold green"))
    return Group(*parts)


def _uncertain(scan: DatasetScan) -> str:
    return FACTS[scan.dataset].uncertain if scan.dataset in FACTS else ""


def _verdict(scan: DatasetScan) -> str:
    usable = sum(clip.usable for clip in scan.clips)
    words = [f"{usable} of {count(len(scan.clips), 'clip')} can be processed"]
    if scan.missing_clips:
        words.append(f"{scan.missing_clips} of the {scan.expected['clips']} published ones were not found")
    if scan.disagreement:
        words.append(scan.disagreement)
    return "; ".join(words)


def scan_json(scan: DatasetScan, root: Path | None = None) -> dict[str, Any]:
    """The whole scan and its counts, of JSON types alone.

    Args:
        scan: what an adapter found.
        root: effective root that all paths refer to, recorded where given.
    """
    return {
        "root": None if root is None else str(root),
        **scan.model_dump(mode="json", exclude={"clips", "findings", "expected", "licences", "recordings"}),
        "uncertain": _uncertain(scan),
        "counts": {name: {"found": found, "expected": expected} for name, found, expected in _counts(scan)},
        "usable": sum(clip.usable for clip in scan.clips),
        "unusable": [clip.key for clip in scan.clips if not clip.usable],
        "findings": [finding.model_dump(mode="json") for finding in all_findings(scan)],
        "clips": [{"key": clip.key, **clip.model_dump(mode="json", exclude={"findings"})} for clip in scan.clips],
    }


def scan_exit_code(scan: DatasetScan) -> int:
    """1 if a clip is unusable, fewer are there than published, or the annotation is not that of the images; else 0."""
    good = bool(scan.clips) and all(clip.usable for clip in scan.clips)
    return int(not good or scan.missing_clips > 0 or bool(scan.disagreement))


def all_findings(scan: DatasetScan) -> Iterator[Finding]:
    """Findings of the dataset, then of each clip."""
    yield from scan.findings
    for clip in scan.clips:
        yield from clip.findings


def _counts(scan: DatasetScan) -> list[tuple[str, int, int | None]]:
    """``(name, found, expected)``, in the published order, then what only we found."""
    found: Counter[str] = Counter(clips=len(scan.clips), subjects=len({clip.subject for clip in scan.clips}))
    labels = [label for clip in scan.clips for label in _labels(clip)]
    for label in labels:
        found[f"emotion:{label.emotion or 'unknown'}"] += 1
        found[f"type:{label.expression_type}"] += 1
    if any(clip.long for clip in scan.clips):
        found["intervals"] = len(labels)
    names = ["clips", "subjects", *(n for n in scan.expected if n not in ("clips", "subjects"))]
    names += sorted(set(found) - set(names))
    return [(name, found[name], scan.expected.get(name)) for name in names]


def _labels(clip: Clip) -> tuple[Label, ...]:
    return tuple(interval.label for interval in clip.intervals) if clip.long else (clip.label,)


def _heading(scan: DatasetScan, root: Path | None) -> Text:
    facts = [f"dataset {scan.dataset}", f"layout {scan.layout}", f"annotation {scan.annotation or 'none'}"]
    if root is not None:
        facts.append(f"root {root}")
    return Text(", ".join(facts), style="bold")


def _counts_table(scan: DatasetScan) -> Table:
    table = Table(title="Found against published", title_justify="left")
    table.add_column("")
    table.add_column("found", justify="right")
    table.add_column("published", justify="right")
    for name, found, expected in _counts(scan):
        differs = expected is not None and expected != found
        table.add_row(Text(name), Text(str(found), style="yellow" if differs else ""), _number(expected))
    return table


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _subjects_table(scan: DatasetScan) -> Table:
    by_subject: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    for clip in scan.clips:
        frames = len(clip.source.numbers) if clip.source else 0
        by_subject[clip.subject].append((clip.usable, frames))
    table = Table(title="Subjects", title_justify="left")
    table.add_column("subject")
    for heading in ("clips", "usable", "frames"):
        table.add_column(heading, justify="right")
    for subject, clips in list(by_subject.items())[:_SHOWN_SUBJECTS]:
        usable, frames = (sum(column) for column in zip(*clips, strict=True))
        table.add_row(Text(subject), str(len(clips)), str(usable), str(frames))
    if len(by_subject) > _SHOWN_SUBJECTS:
        table.add_row(f"and {len(by_subject) - _SHOWN_SUBJECTS} more", "", "", "")
    return table


def _by_kind(scan: DatasetScan) -> dict[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in all_findings(scan):
        kinds[finding.kind].append(finding)
    return dict(sorted(kinds.items(), key=lambda item: (not any(f.unusable for f in item[1]), item[0])))


def _line(finding: Finding) -> str:
    named = finding.message.startswith(finding.clip)
    return finding.message if named else f"{finding.clip}: {finding.message}"


def _findings_table(kinds: dict[str, list[Finding]]) -> Table:
    table = Table(title="Findings", title_justify="left", show_lines=True)
    table.add_column("kind")
    table.add_column("clips", justify="right")
    table.add_column("what")
    for kind, findings in kinds.items():
        messages = Text("\n").join(
            Text(_line(finding), style="red" if finding.unusable else "") for finding in findings
        )
        table.add_row(Text(kind), str(len(findings)), messages)
    return table
