"""What a run is planned to read."""

from pathlib import Path

import pytest

from pipeline.sharing.selection import Selection
from pipeline.sharing.subset import subset
from schemas.errors import ProtocolError
from schemas.store.reader import Store
from tests.training.small_stores import small_store
from training.runs.plan import plan_supervised_pretraining, plan_training
from training.runs.recipes import resolve

CONFIG = resolve("fast", {"size": 32, "model_options": {"au": False, "depth": False}})


def test_what_only_teaches_needs_neither_the_published_counts_nor_every_class(tmp_path: Path) -> None:
    """Some clips of two of CASME II's five classes are enough to learn from, not to be tested on; one is not."""
    store = small_store(tmp_path / "casme2.zarr")
    planned = plan_supervised_pretraining([store], CONFIG, "cpu")
    assert set(planned.clips.keys) == {entry.key for entry in store.manifest.clips}
    assert [len(fold.test) for fold in planned.run.folds] == [0]
    with pytest.raises(ProtocolError, match="not the published ones"):
        plan_training([store], CONFIG, "cpu")

    subset(store, tmp_path / "happy.zarr", selection=Selection.parse(labels="happiness"))
    with pytest.raises(ProtocolError, match="clips of 1 classes, expected two or more to learn from"):
        plan_supervised_pretraining([Store.open(tmp_path / "happy.zarr")], CONFIG, "cpu")
