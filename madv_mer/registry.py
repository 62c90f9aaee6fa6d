"""What can be chosen by name, ours and what other installed packages add: tables with the name as index."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd


def models() -> pd.DataFrame:
    """Networks: title, trainable parameters (7 classes, 20 action units, 16 frames of 112 px), inputs, paper."""
    from training.models.registry import model_rows

    return _table(asdict(row) for row in model_rows())


def datasets() -> pd.DataFrame:
    """Datasets: title, frames per second, and the published numbers of clips and subjects."""
    from pipeline.datasets import DATASETS

    facts = (DATASETS[name].facts for name in DATASETS.names())
    return _table(
        {
            "name": fact.name,
            "title": fact.title,
            "fps": fact.fps,
            "clips": fact.counts.clips,
            "subjects": fact.counts.subjects,
        }
        for fact in facts
    )


def depth() -> pd.DataFrame:
    """Depth backends: what their values mean, the unit, whether they are a prior, weights that they need."""
    from pipeline.clip.backends import DEPTH

    return _backends({name: DEPTH[name] for name in DEPTH.names()}, "kind", "unit", "prior")


def action_units() -> pd.DataFrame:
    """Action unit backends: what their values mean, the unit, the units that they know, weights that they need."""
    from pipeline.clip.backends import ACTION_UNITS

    return _backends({name: ACTION_UNITS[name] for name in ACTION_UNITS.names()}, "kind", "unit", "names")


def spotters() -> pd.DataFrame:
    """Methods of spotting: whether another random seed gives another one, whether they learn from dense motion."""
    from training.spotting.method import METHODS

    facts = ("seeded", "reads_fields")
    return _table(
        {"name": name} | {fact: getattr(METHODS[name], fact) for fact in facts} | {"package": METHODS.owner(name)}
        for name in METHODS.names()
    )


def _backends(backends: Mapping[str, Any], *facts: str) -> pd.DataFrame:
    shown = (*facts, "weights", "package")
    return _table({"name": name} | {fact: getattr(of, fact) for fact in shown} for name, of in backends.items())


def _table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).set_index("name")
