"""`mer inspect`: what is in a store, without reading pixels."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.clip import Finding
from schemas.datasets import SYNTHETIC_NOTE
from schemas.labels import Label
from schemas.layout import SPECS
from schemas.manifest import ClipEntry, Failure, Manifest
from schemas.store.reader import Store
from schemas.words import count

_OUTLIER = 3.5  # robust z-score (Iglewicz and Hoaglin, 1993) beyond which a clip deserves a look
_MANY_PIXELS_OF_MOTION = 2.0  # px; a micro-expression itself moves less
_SHOWN_CLIPS = 40
_SHOWN_VALUES = 5
_SMALL_FACE = 40.0  # px between the eyes; less than the detector and the depth model were made for


def summarise(store: Store) -> dict[str, Any]:
    """Everything that `mer inspect` shows, JSON-able: counts, sizes, backends, failures, outliers."""
    manifest = store.manifest
    good = [entry for entry in manifest.rows if entry.status == "ok"]
    provenance = manifest.provenance
    return {
        "store": store.path.name,
        "format_version": manifest.format_version,
        "content_sha256": manifest.content_sha256,
        "edited": manifest.content_sha256 != manifest.expected_sha256(),
        "datasets": list(manifest.datasets),
        "synthetic": manifest.synthetic,
        "layout": provenance.layout,
        "config": provenance.config.model_dump(mode="json"),
        "config_sha256": manifest.config_sha256,
        "clips": {"ok": len(good), "failed": len(manifest.clips) - len(good)},
        "subjects": len({entry.key.rpartition("/")[0] for entry in good}),
        "frames": sum(entry.n_frames for entry in good),
        "long": _long(good),
        "emotions": _counts(label.emotion for entry in good for label in _labels(entry)),
        "expression_types": _counts(label.expression_type for entry in good for label in _labels(entry)),
        "apex_estimated": sum(entry.apex_estimated is not None for entry in good),
        "metadata": {
            name: _counts(entry.metadata.get(name) for entry in good)
            for name in dict.fromkeys(name for entry in good for name in entry.metadata)
        },
        "arrays": _sizes(store, good),
        "clip_list": _clip_list(good),
        "depth": manifest.depth and manifest.depth.model_dump(),
        "action_units": manifest.action_units.model_dump(mode="json"),
        "left_out": list(manifest.left_out),
        "renamed": bool(manifest.pseudonyms),
        "licences": {licence.dataset: licence.terms for licence in manifest.licences},
        "device": provenance.device,
        "weights": [weights.model_dump() for weights in provenance.weights],
        "packages": provenance.packages,
        "findings": _counts(finding.kind for finding in _findings(manifest)),
        "failures": {
            entry.key: {name: getattr(entry.failure, name) for name in Failure.model_fields}
            for entry in manifest.rows
            if entry.failure is not None
        },
        "outliers": _outliers(good),
    }


def _labels(entry: ClipEntry) -> tuple[Label, ...]:
    """Of the clip, or of each expression in a long recording."""
    return tuple(interval.label for interval in entry.intervals) if entry.segments else (entry.label,)


def _long(good: list[ClipEntry]) -> dict[str, float] | None:
    """Minutes, expressions and stretches with a face of long recordings; ``None`` for a store of clips."""
    recordings = [entry for entry in good if entry.segments]
    if not recordings:
        return None
    minutes = sum(entry.n_frames / entry.fps / 60 for entry in recordings)
    followed = sum((part.stop - part.start) / entry.fps / 60 for entry in recordings for part in entry.segments)
    return {
        "minutes": minutes,
        "minutes_with_face": followed,
        "intervals": sum(len(entry.intervals) for entry in recordings),
        "segments": sum(len(entry.segments) for entry in recordings),
    }


def _findings(manifest: Manifest) -> Iterator[Finding]:
    yield from manifest.findings
    for entry in manifest.rows:
        yield from entry.findings


def report(summary: dict[str, Any]) -> RenderableType:
    """The summary as tables."""
    parts: list[RenderableType] = [_facts(summary)]
    if summary["arrays"]:
        parts.append(_array_table(summary["arrays"]))
    if summary["clip_list"]:
        parts.append(_clip_table(summary["clip_list"]))
    if summary["outliers"]:
        rows = [(outlier["clip"], outlier["why"]) for outlier in summary["outliers"]]
        parts.append(_table(f"{len(rows)} worth a look", ["clip", "why"], rows))
    if summary["failures"]:
        failed = [(key, f["stage"], f"{f['error']}: {f['message']}") for key, f in summary["failures"].items()]
        parts.append(_table(f"{len(failed)} failed", ["clip", "stage", "what happened"], failed))
    return Group(*parts)


def _facts(summary: dict[str, Any]) -> Table:
    clips, arrays, units, depth, long = (summary[name] for name in ("clips", "arrays", "action_units", "depth", "long"))
    stored = sum(array["stored_bytes"] for array in arrays.values())
    raw = sum(array["bytes"] for array in arrays.values())
    facts = {
        "store": f"{summary['store']}, format {summary['format_version']}, content {summary['content_sha256'][:12]}",
        "edited": "the manifest is not as it was written: `mer verify` says more" if summary["edited"] else None,
        "dataset": f"{', '.join(summary['datasets'])} ({summary['layout']})",
        "people": SYNTHETIC_NOTE if summary["synthetic"] else None,
        "clips": f"{clips['ok']} of {count(summary['subjects'], 'subject')}, {clips['failed']} failed",
        "frames": str(summary["frames"]),
        "long": long
        and f"{long['minutes']:.1f} minutes, {long['intervals']} expressions, "
        f"{long['intervals'] / long['minutes']:.1f} a minute; face followed for "
        f"{long['minutes_with_face']:.1f} minutes in {long['segments']} segments",
        "labels": _listing(summary["emotions"]),
        "types": _listing(summary["expression_types"]),
        "columns": "; ".join(f"{name}: {_most(counts)}" for name, counts in summary["metadata"].items()),
        "size": f"{_mb(stored)} stored for {_mb(raw)} of pixels, {raw / stored:.2f}:1" if stored else "no data",
        "depth": depth and f"{depth['tool']} {depth['version']}: {depth['kind']}, {depth['unit']}",
        "action units": f"{units['tool']} {units['version']}: {units['unit']}",
        "apex": f"{summary['apex_estimated']} estimated by {summary['config']['apex']}"
        if summary["apex_estimated"]
        else None,
        "weights": "; ".join(f"{w['name']} {w['sha256'][:12]}" for w in summary["weights"]),
        "findings": _listing(summary["findings"]),
        "left out": ", ".join(summary["left_out"]),
        "renamed": "subjects and clips, for sharing" if summary["renamed"] else None,
        "licence": "; ".join(f"{dataset}: {terms}" for dataset, terms in summary["licences"].items()),
    }
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        if value:
            table.add_row(Text(name, style="bold"), Text(value))
    return table


def _sizes(store: Store, good: list[ClipEntry]) -> dict[str, dict[str, Any]]:
    """Per clip array: its shape, and the bytes of the frames that exist, decoded and stored."""
    sizes: dict[str, dict[str, Any]] = {}
    for name in good[0].objects if good else ():
        array, frames = store.array(name), sum(entry.n_frames for entry in good)
        per_frame = int(np.prod(array.shape[2:])) * array.dtype.itemsize
        stored = sum(entry.objects[name]["bytes"] for entry in good)
        sizes[name] = {"shape": list(array.shape), "bytes": frames * per_frame, "stored_bytes": stored}
    return sizes


def _outliers(good: list[ClipEntry]) -> list[dict[str, str]]:
    """Clips whose quality figures are bad in themselves or far from the rest."""
    found = []
    motion = np.array([entry.quality.residual_motion_px if entry.quality else 0.0 for entry in good])
    middle = float(np.median(motion)) if len(motion) else 0.0
    spread = float(np.median(np.abs(motion - middle))) if len(motion) else 0.0
    padded = sum(entry.quality is not None and entry.quality.padded for entry in good)
    for entry, moved in zip(good, motion.tolist(), strict=True):
        quality, reasons = entry.quality, []
        if quality is None:
            continue
        far = spread > 0 and 0.6745 * (moved - middle) / spread > _OUTLIER
        if moved > _MANY_PIXELS_OF_MOTION or (far and moved > 1):
            reasons.append(f"the head moves {moved:.1f} px")
        if quality.detected_on != "onset":
            reasons.append(f"face found on the {quality.detected_on} only")
        if quality.padded and 2 * padded < len(good):  # in a dataset of face crops all are
            reasons.append("the face reaches the frame's edge")
        if quality.faces > 1:
            reasons.append(f"{quality.faces} faces, the largest was taken")
        if quality.inter_eye_px < _SMALL_FACE:
            reasons.append(f"eyes only {quality.inter_eye_px:.0f} px apart")
        if reasons:
            found.append({"clip": entry.key, "why": "; ".join(reasons)})
    return found


def _clip_list(good: list[ClipEntry]) -> list[dict[str, Any]]:
    """A line a clip: what one needs to choose one."""
    return [
        {
            "clip": entry.key,
            "emotion": entry.label.emotion,
            "action_units": entry.label.action_units and entry.label.action_units.raw,
            "frames": entry.n_frames,
            "onset": entry.onset,
            "apex": entry.apex,
            "apex_estimated": entry.apex_estimated,
            "offset": entry.offset,
            "metadata": entry.metadata,
            "bytes": sum(stored["bytes"] for stored in entry.objects.values()),
            "inter_eye_px": entry.quality and entry.quality.inter_eye_px,
            "residual_motion_px": entry.quality and entry.quality.residual_motion_px,
        }
        for entry in good
    ]


def _clip_table(clips: list[dict[str, Any]]) -> Table:
    rows = (
        (
            clip["clip"],
            clip["emotion"] or "",
            clip["action_units"] or "",
            str(clip["frames"]),
            "-".join("?" if clip[phase] is None else str(clip[phase]) for phase in ("onset", "apex", "offset")),
            _number(clip["inter_eye_px"], 0),
            _number(clip["residual_motion_px"], 2),
        )
        for clip in clips[:_SHOWN_CLIPS]
    )
    columns = ["clip", "emotion", "AUs", "frames", "on-apex-off", "eyes", "motion"]
    table = _table("clips", columns, rows, numbers=("frames", "eyes", "motion"))
    more = f"and {len(clips) - _SHOWN_CLIPS} more, which --json lists; " if len(clips) > _SHOWN_CLIPS else ""
    table.caption = f"{more}eyes: px apart in the source; motion: of the whole crop against onset, px"
    table.caption_justify = "left"
    return table


def _array_table(arrays: dict[str, dict[str, Any]]) -> Table:
    rows = (
        (
            name,
            ", ".join(SPECS[name].dims),
            ", ".join(map(str, array["shape"])),
            _mb(array["bytes"]),
            _mb(array["stored_bytes"]),
            f"{array['bytes'] / array['stored_bytes']:.2f}",
        )
        for name, array in arrays.items()
    )
    columns = ["array", "dimensions", "shape", "pixels", "stored", "ratio"]
    return _table("arrays", columns, rows, numbers=("pixels", "stored", "ratio"))


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]], numbers: Collection[str] = ()) -> Table:
    """A table of plain text: clip names may hold what Rich takes for markup."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(value or "none" for value in values).most_common())


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _most(counts: dict[str, int]) -> str:
    """The listing of the most frequent."""
    more = len(counts) - _SHOWN_VALUES
    return _listing(dict(list(counts.items())[:_SHOWN_VALUES])) + (f" and {more} more" if more > 0 else "")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
