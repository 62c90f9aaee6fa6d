"""`mer show`: one clip as a figure that one could print."""

import warnings
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.backends import DEPTH
from pipeline.clip.mesh.regions import region_masks
from schemas.errors import ConfigError
from schemas.manifest import ClipEntry, Manifest
from schemas.output import replacing
from schemas.store.reader import Store
from schemas.words import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 22  # letters beside a row of frames
_COLUMNS = 7  # frames shown
_SUFFIXES = (".png", ".pdf", ".svg")
_MOTION_GAIN = 6  # grey levels of difference are shown up to this many times larger
_SMALLEST_SCALE = 0.3  # activation up to which bars and colours go at least, so that noise looks like noise
_ACTIVE = 0.05  # activation below which an AU's region is not coloured


def clip_figure(store: Store, key: str, out: Path) -> None:
    """Draw frames, change against onset, depth, and the action units of onset and apex.

    Args:
        store: where the clip is.
        key: ``dataset/subject/clip``.
        out: file to write; the suffix chooses png, pdf or svg.

    Raises:
        ConfigError: another suffix.
        StoreWriteError: the file cannot be written.
        ClipNotFoundError: no such clip.
        StoreError: the clip failed, or the store has no texture.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"--out {out}: expected a name ending in {', '.join(_SUFFIXES)}")
    entry, texture = store.entry(key), store.texture(key)
    depth = store.depth(key).astype(np.float32) if "depth" in entry.objects else None
    index = store.manifest.index[key]
    onset, apex = (int(store.column(name)[index]) for name in ("onset_index", "apex_index"))
    numbers = store.column("frame_number")[index, : len(texture)]
    shown = _shown_frames(len(texture), onset, apex)
    change = {position: change_against(texture[onset], texture[position]) for position in shown}
    gain = _gain(list(change.values()))

    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and not needed to refuse
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.2 if depth is not None else 6.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    strips, charts = cast("Any", figure.subfigures)(2, 1, height_ratios=[3 if depth is not None else 2, 2.2])
    figure.suptitle(_title(store, key), fontsize=11, parse_math=False)
    rows = strips.subplots(3 if depth is not None else 2, len(shown), squeeze=False)
    for column, position in enumerate(shown):
        phase = {onset: "onset", apex: "apex", len(texture) - 1: "offset"}.get(position, "")
        if position == apex and entry.apex_estimated:
            phase = "apex (estimated)"
        rows[0, column].set_title(f"{phase}\n{numbers[position]}".strip(), fontsize=8)
        rows[0, column].imshow(texture[position])
        rows[1, column].imshow(change[position] * gain, cmap="RdBu_r", vmin=-128, vmax=128)
        if depth is not None:
            rows[2, column].imshow(depth[position], cmap="magma", vmin=0, vmax=1)
    source = fill(depth_source(store.manifest), _LINE)
    for row, label in zip(rows, ("texture", f"change x{gain:g}", source), strict=False):
        row[0].set_ylabel(label, fontsize=8)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    _draw_action_units(charts, store, key, texture[apex], depth, numbers=numbers, onset=onset, apex=apex)
    suffix = out.suffix.lower().removeprefix(".")
    with replacing(out) as file, warnings.catch_warnings():  # the fonts here may lack letters of other alphabets
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(file, format=suffix, metadata={"Creator": None} if suffix == "pdf" else None)


def change_against(onset: NDArray[np.uint8], frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Smoothed grey difference of a frame against onset: ``(S, S) float32``, grey levels.

    Args:
        onset: ``(S, S, 3)`` RGB.
        frame: ``(S, S, 3)`` RGB.
    """
    return np.asarray(_smooth_grey(frame) - _smooth_grey(onset), np.float32)


def _smooth_grey(frame: NDArray[np.uint8]) -> Any:
    return cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)


def depth_source(manifest: Manifest) -> str:
    """What the depth is and where it is from, for titles; a prior is called one."""
    if manifest.depth is None:
        return "no depth"
    tool, known = manifest.depth.tool, manifest.depth.tool in DEPTH.names()
    if known and DEPTH[tool].measured:
        return "measured depth"
    return f"depth by {tool}: {'prior, not measured' if known and DEPTH[tool].prior else manifest.depth.kind}"


def depth_disparity(
    depth: NDArray[np.floating], onset: int, masks: dict[str, NDArray[np.bool_]]
) -> dict[str, NDArray[np.float64]]:
    """Mean change of depth against onset inside each action unit's region, ``(T,)`` each (the paper's Fig. 19).

    Args:
        depth: ``(T, S, S)``, normalised once a clip.
        onset: position of the onset.
        masks: AU name -> ``(S, S) bool``.
    """
    change = depth.astype(np.float64) - depth[onset].astype(np.float64)
    return {name: change[:, mask].mean(1) for name, mask in masks.items()}


def _shown_frames(count: int, onset: int, apex: int) -> list[int]:
    """Onset, apex, offset, and evenly spaced frames between them."""
    fixed = {onset, apex, count - 1}
    spaced = np.linspace(0, count - 1, min(count, _COLUMNS)).round().astype(int).tolist()
    for position in spaced:  # keep the strip at its length: the key frames push out their neighbours
        if len(fixed) < min(count, _COLUMNS) and all(abs(position - other) > count / (3 * _COLUMNS) for other in fixed):
            fixed.add(position)
    return sorted(fixed)


def _gain(changes: list[NDArray[np.float32]]) -> int:
    """How many times larger the changes are shown: less where they would only saturate."""
    large = max(float(np.percentile(np.abs(change), 99)) for change in changes)
    return int(np.clip(128 / max(large, 1e-6), 1, _MOTION_GAIN))


def _draw_action_units(
    charts: Any,
    store: Store,
    key: str,
    apex_frame: NDArray[np.uint8],
    depth: NDArray[np.float32] | None,
    *,
    numbers: NDArray[np.int32],
    onset: int,
    apex: int,
) -> None:
    names = store.manifest.action_units.names
    values = store.action_units(key)
    masks = region_masks(apex_frame.shape[0])
    parts = charts.subplots(
        1, 3 if depth is not None else 2, width_ratios=[1, 1.7, 1.2][: 3 if depth is not None else 2]
    )
    _draw_regions(parts[0], apex_frame, masks, dict(zip(names, values[1] - values[0], strict=True)))
    _draw_bars(parts[1], names, values, annotated_units(store.entry(key)))
    units = store.manifest.action_units
    parts[1].set_title(f"action units by {units.tool}", fontsize=9)
    parts[1].set_ylabel(units.kind, fontsize=8)
    if depth is not None:
        _draw_disparity(parts[2], depth_disparity(depth, onset, masks), numbers, apex=apex)
        parts[2].set_title(f"{fill(depth_source(store.manifest), 2 * _LINE)},\nagainst onset, by AU region", fontsize=9)


def _draw_regions(
    axes: "Axes", frame: NDArray[np.uint8], masks: dict[str, NDArray[np.bool_]], change: dict[str, float]
) -> None:
    """The apex frame with the regions of the units that rose, coloured by how much."""
    strength = np.zeros(frame.shape[:2], np.float32)
    for name, mask in masks.items():
        if change.get(name, 0.0) > _ACTIVE:
            strength[mask] = np.maximum(strength[mask], change[name])
    axes.imshow(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cmap="gray", vmin=0, vmax=255)
    shown = axes.imshow(
        np.ma.masked_equal(strength, 0), cmap="inferno", alpha=0.55, vmin=0, vmax=max(_SMALLEST_SCALE, strength.max())
    )
    bar = axes.figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("rise from onset to apex", fontsize=7)
    axes.set(xticks=[], yticks=[])
    axes.set_title("regions of the units that rose", fontsize=9)


def _draw_bars(axes: "Axes", names: tuple[str, ...], values: NDArray[np.float32], annotated: set[str]) -> None:
    x = np.arange(len(names))
    axes.bar(x - 0.2, values[0], 0.4, label="onset", color="#9aa5b1")
    axes.bar(x + 0.2, values[1], 0.4, label="apex", color="#c2410c")
    axes.set_xticks(x, [name.removeprefix("AU") for name in names], fontsize=7)
    for tick, name in zip(axes.get_xticklabels(), names, strict=True):
        if name in annotated:
            tick.set(fontweight="bold", color="#c2410c")
    axes.set_ylim(0, max(_SMALLEST_SCALE, 1.05 * float(values.max())))
    axes.set_xlabel("AU" + (" (bold: annotated)" if annotated else ""), fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_disparity(
    axes: "Axes", courses: dict[str, NDArray[np.float64]], numbers: NDArray[np.int32], *, apex: int
) -> None:
    """The regions whose depth changes most, over time."""
    from matplotlib.ticker import MaxNLocator

    largest = sorted(courses, key=lambda name: -abs(courses[name][apex]))[:5]
    for name in largest:
        axes.plot(numbers, courses[name], label=name, linewidth=1.2)
    axes.axvline(float(numbers[apex]), color="0.6", linewidth=0.8, linestyle=":")
    axes.set_xlabel("frame", fontsize=8)
    axes.set_ylabel("change (share of the clip's depth range)", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))  # SMIC's frame numbers have seven digits
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def annotated_units(entry: ClipEntry) -> set[str]:
    """Names of the action units that the annotation gives a clip, such as ``AU04``."""
    code = entry.label.action_units
    return {f"AU{unit.number:02d}" for unit in code.units} if code is not None else set()


def _title(store: Store, key: str) -> str:
    entry = store.entry(key)
    label = entry.label
    code = f", AU {label.action_units.raw}" if label.action_units is not None else ""
    emotion = label.emotion or label.raw_emotion
    config = store.manifest.provenance.config
    described = f"{key}" + (f"   {emotion}{code}" if emotion or code else "")
    return (
        f"{described}   ({count(entry.n_frames, 'frame')} at {entry.fps:g} fps; depth {config.depth}, AUs {config.au})"
        + ("   SYNTHETIC" if store.manifest.synthetic else "")
    )
