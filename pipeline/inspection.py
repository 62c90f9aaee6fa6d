"""`mer inspect`: what is in a store, without reading pixels."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from schemas.layout import SPECS
from schemas.manifest import ClipEntry
from schemas.store import Store

_OUTLIER = 3.5  # robust z-score (Iglewicz and Hoaglin, 1993) beyond which a clip deserves a look
_MANY_PIXELS_OF_MOTION = 2.0  # px; a micro-expression itself moves less
_SMALL_FACE = 40.0  # px between the eyes; less than the detector and the depth model were made for


def summarise(store: Store) -> dict[str, Any]:
    """Everything that `mer inspect` shows, JSON-able: counts, sizes, backends, failures, outliers."""
    manifest = store.manifest
    good = [entry for entry in manifest.clips if entry.status == "ok"]
    provenance = manifest.provenance
    return {
        "store": store.path.name,
        "format_version": manifest.format_version,
        "dataset": provenance.config.dataset,
        "layout": provenance.layout,
        "config": provenance.config.model_dump(mode="json"),
        "config_sha256": manifest.config_sha256,
        "clips": {"ok": len(good), "failed": len(manifest.clips) - len(good)},
        "subjects": len({entry.subject for entry in good}),
        "frames": sum(entry.n_frames for entry in good),
        "emotions": _counts(entry.label.emotion for entry in good),
        "expression_types": _counts(entry.label.expression_type for entry in good),
        "apex_estimated": sum(entry.apex_estimated is not None for entry in good),
        "arrays": _sizes(store, good),
        "depth": manifest.depth and manifest.depth.model_dump(),
        "action_units": manifest.action_units.model_dump(mode="json"),
        "device": provenance.device,
        "weights": [weights.model_dump() for weights in provenance.weights],
        "packages": provenance.packages,
        "findings": _counts(f.kind for e in (*manifest.clips, manifest) for f in e.findings),
        "failures": {e.key: e.failure.model_dump() for e in manifest.clips if e.failure is not None},
        "outliers": _outliers(good),
    }


def report(summary: dict[str, Any]) -> RenderableType:
    """The summary as tables."""
    facts = Table(show_header=False, box=None)
    clips, arrays = summary["clips"], summary["arrays"]
    stored = sum(array["stored_bytes"] for array in arrays.values())
    raw = sum(array["bytes"] for array in arrays.values())
    for name, value in {
        "store": f"{summary['store']}, format {summary['format_version']}, config {summary['config_sha256'][:12]}",
        "dataset": f"{summary['dataset']} ({summary['layout']})",
        "clips": f"{clips['ok']} of {summary['subjects']} subjects, {clips['failed']} failed, {summary['frames']} frames",
        "labels": _listing(summary["emotions"]),
        "types": _listing(summary["expression_types"]),
        "size": f"{_mb(stored)}, {raw / max(stored, 1):.2f}:1",
        "depth": summary["depth"]
        and f"{summary['depth']['tool']} {summary['depth']['version']}: {summary['depth']['kind']}",
        "action units": "{tool} {version}: {kind}, {unit}".format(**summary["action_units"]),
        "apex": f"{summary['apex_estimated']} estimated ({summary['config']['apex']})"
        if summary["apex_estimated"]
        else None,
        "weights": "; ".join(f"{w['name']} {w['sha256'][:12]}" for w in summary["weights"]),
        "findings": _listing(summary["findings"]),
    }.items():
        if value:
            facts.add_row(f"[bold]{name}", value)
    parts: list[RenderableType] = [facts, _array_table(arrays)]
    if summary["failures"]:
        parts.append(_table("failed", ["clip", "stage", "what happened"],
                            ((key, f["stage"], f"{f['error']}: {f['message']}") for key, f in summary["failures"].items())))  # fmt: skip
    if summary["outliers"]:
        parts.append(_table("worth a look", ["clip", "why"], ((o["clip"], o["why"]) for o in summary["outliers"])))
    return Group(*parts)


def _sizes(store: Store, good: list[ClipEntry]) -> dict[str, dict[str, int]]:
    """Per clip array: bytes decoded (frames that exist) and stored."""
    sizes = {}
    for name in good[0].objects if good else ():
        array, frames = store.array(name), sum(entry.n_frames for entry in good)
        per_frame = int(np.prod(array.shape[2:])) * array.dtype.itemsize
        stored = sum(entry.objects[name]["bytes"] for entry in good)
        sizes[name] = {"bytes": frames * per_frame, "stored_bytes": stored}
    return sizes


def _outliers(good: list[ClipEntry]) -> list[dict[str, str]]:
    """Clips whose quality figures are bad in themselves or far from the rest."""
    found = []
    motion = np.array([entry.quality.residual_motion_px if entry.quality else 0.0 for entry in good])
    spread = float(np.median(np.abs(motion - np.median(motion)))) if len(motion) else 0.0
    for entry, moved in zip(good, motion, strict=True):
        quality, reasons = entry.quality, []
        if quality is None:
            continue
        far = spread > 0 and 0.6745 * (moved - np.median(motion)) / spread > _OUTLIER
        if moved > _MANY_PIXELS_OF_MOTION or (far and moved > 1):
            reasons.append(f"the head moves {moved:.1f} px")
        if quality.detected_on != "onset":
            reasons.append(f"face found on the {quality.detected_on} only")
        if quality.padded:
            reasons.append("face found only after padding")
        if quality.faces > 1:
            reasons.append(f"{quality.faces} faces, the largest was taken")
        if quality.inter_eye_px < _SMALL_FACE:
            reasons.append(f"eyes only {quality.inter_eye_px:.0f} px apart")
        if reasons:
            found.append({"clip": entry.key, "why": "; ".join(reasons)})
    return found


def _array_table(arrays: dict[str, dict[str, int]]) -> Table:
    rows = (
        (
            name,
            " x ".join(SPECS[name].dims),
            _mb(a["bytes"]),
            _mb(a["stored_bytes"]),
            f"{a['bytes'] / max(a['stored_bytes'], 1):.2f}",
        )
        for name, a in arrays.items()
    )
    return _table("", ["array", "dimensions", "decoded", "stored", "ratio"], rows)


def _table(title: str, columns: list[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(*columns, title=title or None)
    for row in rows:
        table.add_row(*row)
    return table


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(value or "none" for value in values).most_common())


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
