"""A store that other code began is not gone on with, although every package has the version that it had then."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.datasets import scan_dataset
from pipeline.preprocessing.journal import ClipRecord, Journal
from pipeline.preprocessing.plan import plan_run
from pipeline.preprocessing.run import execute
from schemas.config import Execution, PreprocessConfig
from schemas.errors import StoreExistsError
from schemas.rows import table_of


def test_a_store_of_the_detection_before_is_refused(shared_casme2: Path, tmp_path: Path) -> None:
    """The first revisions left no trace in a manifest; what differs is named."""
    root, scan = scan_dataset(shared_casme2)
    config = PreprocessConfig(dataset=scan.dataset, depth="mesh", au="mesh", size=112)
    execution = Execution(workers=0, device="cpu")
    plan = plan_run(root, tmp_path / "s.zarr", scan, config, execution)
    before = plan.provenance.model_copy(update={"revisions": {}})
    plan.out.mkdir()
    journal = Journal(plan.out)
    journal.begin(plan.header.model_copy(update={"provenance": before}), table_of(ClipRecord, ()))
    journal.close()
    with pytest.raises(
        StoreExistsError, match=r"an unfinished store that was made otherwise:\n.*revisions.*'detector'"
    ):
        execute(plan, execution, Console(file=StringIO()))
