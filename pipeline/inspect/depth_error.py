"""How far the depth of a store is from measured depth of the same clips: `mer inspect STORE --depth-error MEASURED`."""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from pipeline.clip.mesh.raster import pixel_weights
from schemas.errors import ConfigError
from schemas.manifest import DepthKind
from schemas.store.reader import Store

Columns = dict[str, NDArray[Any]]

_COLUMNS = ("transform", "frame_number", "depth_scale", "depth_offset")
_LEAST = 0.1  # of the median: what a fit is bounded by, since distances are positive


@dataclass(frozen=True)
class DepthError:
    """How well the depth of one clip is estimated, over the face's pixels in all frames.

    Attributes:
        clip: key.
        correlation: Pearson's, with minus the measured distance, or with its inverse where that is estimated; ``None``
            of a flat face.
        error: the scale-invariant error of ``judge``.
    """

    clip: str
    correlation: float | None
    error: float


def depth_errors(store: Store, measured: Store) -> list[DepthError]:
    """Judge the clips that both stores have.

    Raises:
        ConfigError: a store has no depth, the second none that is metric, or they have no clip in common that was cut
            out in the same way.
    """
    if store.manifest.depth is None:
        raise ConfigError(f"{store.path}: has no depth to judge")
    if measured.manifest.depth is None or measured.manifest.depth.kind != "metric depth":
        raise ConfigError(f"{measured.path}: has no metric depth to judge by; make it with --depth measured")
    size = store.manifest.provenance.config.size
    face = np.asarray(pixel_weights(size).sum(1)).reshape(size, size) >= 0.5
    sides = [(of, {name: of.column(name) for name in _COLUMNS}) for of in (store, measured)]
    common = [e.key for e in store.manifest.rows if e.status == "ok" and e.key in measured.manifest.index]
    keys = [key for key in common if measured.entry(key).status == "ok"]
    if not keys:
        raise ConfigError(f"{store.path} and {measured.path} have no clip in common")
    found = []
    for key in keys:
        if len({_crops(*side, key) for side in sides}) > 1:
            raise ConfigError(f"{key}: is cut out differently in {measured.path}; make both with one size and detector")
        estimate, reference = (_estimate(*side, key)[:, face].ravel() for side in sides)
        found.append(DepthError(key, *judge(store.manifest.depth.kind, estimate, -reference)))
    return found


def judge(
    kind: DepthKind, estimate: NDArray[np.floating], distance: NDArray[np.floating]
) -> tuple[float | None, float]:
    """Pearson's correlation, and the scale-invariant error of a clip.

    The error is the root of equation 3 of Eigen et al., NeurIPS 2014: with ``d = log(estimated) - log(measured)``,
    ``sqrt(mean(d ** 2) - mean(d) ** 2)``. Relative depth has no zero and no unit: its scale and offset are first
    fitted, by least squares over the clip, to the distance, or to its inverse where that is what it estimates.

    Args:
        kind: of the estimate.
        estimate: ``(N,)``, larger is nearer; metric depth is minus the distance.
        distance: ``(N,)`` measured, positive.

    Raises:
        ConfigError: metric depth with the wrong sign.
    """
    target = 1 / distance if kind == "relative inverse depth" else -distance
    x, t = estimate - estimate.mean(), target - target.mean()
    spread = math.sqrt(x @ x) * math.sqrt(t @ t)
    correlation = float(x @ t) / spread if spread > 0 else None
    fitted = estimate if kind == "metric depth" else target.mean() + x * ((x @ t) / (x @ x) if x.any() else 0)
    positive = fitted if kind == "relative inverse depth" else -fitted
    if np.median(positive) <= 0:
        raise ConfigError("metric depth that is no distance: expected minus the distance from the camera")
    d = np.log(np.maximum(positive, _LEAST * np.median(positive)))
    d = (-d if kind == "relative inverse depth" else d) - np.log(distance)
    return correlation, float(d.std())


def depth_error_report(errors: list[DepthError], store: Store, measured: Store) -> Table:
    """A line a clip, and the medians."""
    table = Table(title=f"Depth of {store.path} against {measured.path}", title_justify="left", box=SIMPLE_HEAD)
    for column in ("clip", "correlation", "error"):
        table.add_column(column, justify="left" if column == "clip" else "right", overflow="fold")
    known = [error.correlation for error in errors if error.correlation is not None]
    rows = [(error.clip, error.correlation, error.error) for error in errors]
    rows.append(("median", median(known) if known else None, median(error.error for error in errors)))
    for clip, correlation, value in rows:
        table.add_row(Text(clip), "-" if correlation is None else f"{correlation:.3f}", f"{value:.4f}")
    table.caption = "over the face; error: scale-invariant, of the logarithm (Eigen et al. 2014, root of eq. 3)"
    table.caption_justify = "left"
    return table


def _crops(store: Store, columns: Columns, key: str) -> tuple[float, ...]:
    """What decides which pixels of which frames a clip has."""
    index, entry = store.manifest.index[key], store.entry(key)
    numbers, transform = columns["frame_number"][index, : entry.n_frames], columns["transform"][index]
    return (store.manifest.provenance.config.size, *transform.ravel().round(3), *numbers)


def _estimate(store: Store, columns: Columns, key: str) -> NDArray[np.float64]:
    """``(T, S, S) float64`` in the estimator's own unit."""
    scale, offset = (float(columns[name][store.manifest.index[key]]) for name in ("depth_scale", "depth_offset"))
    return store.depth(key).astype(np.float64) * scale + offset
