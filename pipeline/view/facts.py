"""What is known of one clip, and what a run answered on it, as HTML."""

from html import escape

from pipeline.view.clips import Clips, label_of
from schemas.manifest import ClipEntry
from schemas.words import count

_PHASES = ("onset", "apex", "offset")


def facts_of(entry: ClipEntry, used: tuple[int | None, ...] = (None, None, None)) -> str:
    """Key, label, phases, quality, columns of a table, findings.

    Args:
        entry: of the clip.
        used: frame numbers that stand for the phases, also for those that nobody annotated.
    """
    label, quality = entry.label, entry.quality
    written = "" if label.raw_emotion in (None, label_of(entry)) else f' (written "{label.raw_emotion}")'
    facts = {
        "label": label_of(entry) + written,
        "action units": label.action_units.raw if label.action_units else "not annotated",
        "frames": f"{entry.n_frames} at {entry.fps:g} fps",
    }
    annotated = (entry.onset, None if entry.apex_estimated else entry.apex, entry.offset)
    notes = ("the first frame", f"estimated by {entry.apex_estimated}", "the last frame")
    if entry.segments:  # a recording has no phases, but its expressions have
        micro = sum(one.label.expression_type == "micro" for one in entry.intervals)
        facts["expressions"] = f"{micro} micro, {len(entry.intervals) - micro} macro"
        facts["face"] = f"followed in {count(len(entry.segments), 'segment')}"
    phases = () if entry.segments else zip(_PHASES, annotated, used, notes, strict=True)
    for name, number, place, note in phases:
        facts[name] = str(number) if number is not None else "unknown" if place is None else f"{place} ({note})"
    if quality is not None:
        facts["quality"] = (
            f"eyes {quality.inter_eye_px:.0f} px apart, residual motion {quality.residual_motion_px:.2f} px, "
            f"face found on {quality.detected_on} with probability {quality.detection_probability:.2f}"
        )
    if entry.failure is not None:
        facts["failed"] = f"{entry.failure.stage}: {entry.failure.message}"
    facts |= {f"{name} (table)": text for name, text in entry.metadata.items()}
    listed = "".join(
        f'<div class="{escape(name)}"><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>'
        for name, fact in facts.items()
    )
    found = "".join(f"<li>{escape(finding.kind)}: {escape(finding.message)}</li>" for finding in entry.findings)
    return f"<h2>{escape(entry.key)}</h2><dl>{listed}</dl><ul>{found}</ul>"


def answers_on(entry: ClipEntry, clips: Clips) -> str:
    """A table of the probabilities that a run gave, one row a seed; nothing where the clip was not tested."""
    tested, run = clips.tested(entry), clips.run
    if tested is None or run is None:
        return ""
    heads = "".join(
        f'<th class="{"truth" if index == tested.truth else ""}">{escape(name)}</th>'
        for index, name in enumerate(run.classes)
    )
    rows = [(f"seed {answer.seed}, fold {answer.fold}", answer.probabilities) for answer in tested.answers]
    rows += [("mean", tested.mean)] if len(rows) > 1 else []
    body = "".join(f"<tr><th>{escape(name)}</th>{_cells(values)}</tr>" for name, values in rows)
    return f"<table><tr><th>probability (true class underlined)</th>{heads}</tr>{body}</table>"


def _cells(values: tuple[float, ...]) -> str:
    most = max(values)
    return "".join(f'<td class="{"chosen" if value == most else ""}">{value:.3f}</td>' for value in values)
