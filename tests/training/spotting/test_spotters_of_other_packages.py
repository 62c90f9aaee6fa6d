"""A method of spotting of another package, found by its entry point, is listed, fitted fold by fold, and reported."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from madv_mer import registry
from schemas.clip import ExpressionInterval
from schemas.labels import Label
from tests.command_line import mer
from tests.other_packages import installed
from tests.tiny_stores import tiny_store
from training.spotting.method import METHODS

CODE = '''
import json

from training.spotting.intervals import Spotted


class AsOthers:
    """Spots what the first training recording shows, at the same frames."""

    seeded = False
    reads_fields = False

    def __init__(self, onset, offset):
        self.onset, self.offset = onset, offset

    @classmethod
    def fit(cls, courses, recordings, config, *, seed):
        one = recordings[0].truth[0]
        return cls(one.onset, one.offset)

    def observer(self, fps):
        return None

    def spot(self, course):
        return [Spotted(course.video, self.onset, self.offset, "micro", 1.0)]

    def curves(self, course):
        return []

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "others.json").write_text(json.dumps([self.onset, self.offset]))
        return (folder / "others.json",)

    @classmethod
    def read(cls, folder):
        return cls(*json.loads((folder / "others.json").read_text()))
'''


@pytest.fixture(name="installed")
def installed_package(tmp_path: Path) -> Iterator[None]:
    """The package ``copycat``."""
    with installed(METHODS, tmp_path / "site", "as-others = copycat:AsOthers", CODE):
        yield


@pytest.mark.slow
def test_it_is_listed_fitted_on_the_others_and_reported(installed: None, tmp_path: Path) -> None:
    """Of three people two blink at frames 20 to 24, one at 50 to 54: each is given what the first of the others did."""
    table = registry.spotters()
    assert set(table.index) == {"flow-peaks", "madv-spot", "as-others"}
    assert table.loc["as-others", "package"] == "copycat"
    assert list(table.loc[["flow-peaks", "madv-spot"], "seeded"]) == [False, True]

    shown = {
        f"casme-sq/s{person}/v": [ExpressionInterval(onset=onset, offset=onset + 4, label=Label())]
        for person, onset in ((1, 20), (2, 20), (3, 50))
    }
    tiny_store(tmp_path / "long.zarr", shown, depth=False, lengths=dict.fromkeys(shown, 60), intervals=shown)
    done = mer("spot", tmp_path / "long.zarr", "--method", "as-others", "-o", tmp_path / "run", "--device", "cpu")
    assert done.code == 0, done.error
    found = pd.read_csv(tmp_path / "run" / "intervals.csv")
    assert dict(zip(found.video, found.onset, strict=True)) == dict.fromkeys(shown, 20)
    scores = json.loads((tmp_path / "run" / "result.json").read_text())["scores"]
    assert [scores[0][name] for name in ("true_positives", "false_positives", "false_negatives")] == [2, 1, 1]
    assert "as-others: expressions in long recordings" in (tmp_path / "run" / "report.html").read_text()
    again = mer("spot", tmp_path / "long.zarr", "--like", tmp_path / "run", "-o", tmp_path / "new", "--device", "cpu")
    assert again.code == 0, again.error
    assert set(pd.read_csv(tmp_path / "new" / "intervals.csv").onset) == {20}
