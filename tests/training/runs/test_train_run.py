"""`mer train` as a whole: killed, interrupted, failing, gone on with; what it refuses, and what it leaves."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from rich.console import Console
from safetensors.torch import load_file

import cli
from pipeline.preprocessing.cluster import connect
from schemas.config import Execution
from schemas.store.reader import Store
from tests.command_line import Outcome, mer
from tests.training.small_stores import CLASSES, CONFIG, PROTOCOL, small_smic, small_store
from tests.tree_hash import tree_hash
from training.data.clips import Clips
from training.evaluation.predictions import read_predictions
from training.evaluation.result import EvaluationResult
from training.fit.folder import FoldFolder, RunFolder
from training.runs.folds import EpochDone, FoldTask, Resources, train_on
from training.runs.train import train

pytestmark = pytest.mark.usefixtures("one_thread")


class Place:
    """Where the runs of this module are: a store, one to learn from first, a protocol and a config."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = small_store(root / "casme2.zarr")
        self.smic = small_smic(root)
        (root / "two.toml").write_text(PROTOCOL)
        (root / "c.toml").write_text(CONFIG)

    def arguments(self, out: Path | str, *more: object) -> list[str]:
        """Of `mer train` in one process."""
        fixed = ("--store", self.store.path, "--protocol", self.root / "two.toml", "--config", self.root / "c.toml",
                 "--pretrain", self.smic.path, "--partial", "--device", "cpu", "--workers", 0)  # fmt: skip
        return [*map(str, ("train", *fixed, "--out", self.root / out, *more))]

    def train(self, out: Path | str, *more: object) -> Outcome:
        """`mer train` here."""
        return mer(*self.arguments(out, *more))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def finished(place: Place) -> RunFolder:
    """A run that nothing interrupted. Read only."""
    outcome = place.train("finished")
    assert outcome.code == 0, outcome.error
    assert f"{place.root / 'finished'}: complete; open {place.root / 'finished' / 'report.html'}" in outcome.printed
    return RunFolder(place.root / "finished")


def results(folder: RunFolder) -> dict[str, bytes]:
    """All that must be the same to the bit, by path: models, predictions, metrics, run, result; no times, no logs."""
    files = [*folder.path.rglob("*.safetensors"), *folder.path.rglob("*.csv"), folder.path / "run.json", folder.result]
    return {file.relative_to(folder.path).as_posix(): file.read_bytes() for file in files}


def command(arguments: list[str], log: Path) -> None:
    """The command in a process of its own."""
    torch.set_num_threads(1)
    sys.argv = ["mer", *arguments]
    with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        cli.main()


def started(arguments: list[str], log: Path) -> Any:
    """Such a process, forked from one that has its imports behind it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo"])  # the latter is what optimisers import
    process = context.Process(target=command, args=(arguments, log))
    process.start()
    return process


def wait_for(path: Path, process: Any) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.exitcode is None, process.exitcode
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_interrupted_and_failing_it_goes_on_to_the_same_bytes(place: Place, finished: RunFolder) -> None:
    """SIGKILL in mid fold, Ctrl-C in a later one, a third that fails: the same command ends where ``finished`` did.

    While it is under way nobody else may write there. A failing fold is reported and does not stop the others.
    """
    folder, log = RunFolder(place.root / "cut"), place.root / "cut.txt"
    process = started(place.arguments("cut"), log)
    wait_for(folder.path / "run.json", process)
    folds = list(folder.folds(folder.read()))
    assert len(folds) == 6
    wait_for(folds[2].checkpoint, process)
    os.kill(process.pid, signal.SIGSTOP)
    second = place.train("cut")
    assert second.code == 2
    assert f"{folder.path}: another run is writing there" in second.error
    process.kill()
    process.join()
    assert [fold.done for fold in folds] == [True, True, *[False] * 4]
    assert folds[2].checkpoint.exists()

    process = started(place.arguments("cut"), log)
    wait_for(folds[3].checkpoint, process)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    said = log.read_text()
    assert "going on: 2 of 6 folds are done" in said
    assert "interrupted; finished epochs are safe: type the same command again to go on" in said
    assert "Traceback" not in said
    assert not folds[3].done

    folds[3].checkpoint.write_bytes(b"torn")
    failing = place.train("cut")
    assert failing.code == 1
    assert [fold.done for fold in folds] == [True, True, True, False, True, True]
    assert f"seed 1, casme2/sub01: failed: {folds[3].checkpoint}: not a readable safetensors file" in failing.printed
    assert "no result: every test clip needs a prediction" in failing.printed
    failure = json.loads(folds[3].failure.read_text())
    assert failure["error"] == "RunFolderError"
    assert "not a readable safetensors file" in failure["message"]
    assert not folder.result.exists()

    folds[3].checkpoint.unlink()
    assert place.train("cut").code == 0
    assert not folds[3].failure.exists()
    assert results(folder) == results(finished)


@pytest.mark.slow
def test_what_a_run_leaves(place: Place, finished: RunFolder) -> None:
    """Nothing of the work under way, no absolute path in the record, the right clips in every fold."""
    run = finished.read()
    assert not list(finished.path.rglob("*.part*"))
    assert not list(finished.path.rglob("checkpoint.safetensors"))
    text = (finished.path / "run.json").read_text()
    assert str(place.root) not in text
    assert run.config.protocol == "two/loso"
    assert run.protocol is not None
    assert run.protocol.task.classes == ("happy", "surprised")
    assert [store.name for store in run.stores] == ["casme2.zarr"]
    assert run.stores[0].content_sha256 == place.store.manifest.content_sha256
    for fold in finished.folds(run):
        assert {key.split("/")[1] for key in fold.fold.test} == {fold.fold.name.split("/")[1]}
        assert not set(fold.fold.test) & set(fold.fold.train)
        assert sorted(path.name for path in fold.path.iterdir()) == [
            "done.json", "inputs.json", "metrics.csv", "model.safetensors", "predictions.csv", "tensorboard",
            "time.json",
        ]  # fmt: skip
        assert json.loads(fold.time.read_text())["seconds"] > 0


@pytest.mark.slow
def test_predictions_give_the_same_result_to_anybody(place: Place, finished: RunFolder) -> None:
    """`mer evaluate` on the run's predictions finds what `result.json` says, but for what only the models can tell."""
    outcome = mer(
        "evaluate", finished.predictions, "--store", place.store.path, "--partial",
        "--protocol", place.root / "two.toml", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.error
    found = EvaluationResult.model_validate_json(outcome.printed)
    own = EvaluationResult.model_validate_json(finished.result.read_bytes())
    assert {effect.title for effect in own.inputs} >= {"texture frozen", "depth swapped", "au frozen"}
    assert set(found.caveats) <= set(own.caveats)
    assert found == own.model_copy(update={"inputs": (), "caveats": found.caveats})


@pytest.mark.slow
def test_seeds_of_a_run_differ(finished: RunFolder) -> None:
    """Every fold has other weights under another seed, on the same clips."""
    folds = list(finished.folds(finished.read()))
    for one, other in zip(folds[:3], folds[3:], strict=True):
        assert one.fold == other.fold
        assert one.model.read_bytes() != other.model.read_bytes()
        assert one.predictions.read_text().split("\n")[1] != other.predictions.read_text().split("\n")[1]


@pytest.mark.slow
def test_another_config_is_refused(place: Place, finished: RunFolder) -> None:
    """With every field that differs, its value now and there; what is there stays."""
    before = tree_hash(finished.path)
    outcome = place.train("finished", "--epochs", 5, "--seeds", 1, "--set", "model_options.depth=false")
    assert outcome.code == 2
    assert f"{finished.path}: holds a run that was made otherwise:" in outcome.error
    assert "  config.optimisation.epochs: now 5, there 3" in outcome.error
    assert "  config.seeds: now [0], there [0, 1]" in outcome.error
    assert "  config.model_options.depth: now False, there None" in outcome.error
    assert "choose another --out, or replace it with --overwrite" in outcome.error
    assert tree_hash(finished.path) == before


@pytest.mark.slow
def test_a_store_that_changed_is_refused(place: Place, finished: RunFolder, tmp_path: Path) -> None:
    """Of the same name and clips but for one: the content hash says so."""
    redrawn = small_store(tmp_path / "casme2.zarr", redrawn={f"casme2/sub01/{CLASSES[0]}0": 1})
    arguments = place.arguments("finished")
    arguments[arguments.index("--store") + 1] = str(redrawn.path)
    outcome = mer(*arguments)
    assert outcome.code == 2
    assert "stores: now " in outcome.error
    assert redrawn.manifest.content_sha256 in outcome.error


def test_a_folder_that_is_no_run_is_left_alone(place: Place, tmp_path: Path) -> None:
    """Neither emptied nor written into, with --overwrite or without."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    before = tree_hash(tmp_path / "thesis")
    for options in ([], ["--overwrite"]):
        outcome = place.train(tmp_path / "thesis", *options)
        assert outcome.code == 2
        assert f"{tmp_path / 'thesis'}: holds chapter.tex and no run; choose another --out" in outcome.error
        assert tree_hash(tmp_path / "thesis") == before


@pytest.mark.slow
def test_a_damaged_record_is_refused(place: Place, finished: RunFolder, tmp_path: Path) -> None:
    """It cannot be known what the folder holds."""
    copy = tmp_path / "run"
    copy.mkdir()
    text = (finished.path / "run.json").read_text()
    for damaged, message in (
        (text[:100], "not a run: "),
        (text.replace('"device"', '"devices"'), "device: Field required"),
        (text.replace('"format_version":', '"format_version": 9, "x":', 1).replace('"x": 1,', ""), "format_version: "),
    ):
        (copy / "run.json").write_text(damaged)
        outcome = place.train(copy)
        assert outcome.code == 2
        assert f"{copy / 'run.json'}: not a run: " in outcome.error
        assert message in outcome.error


def test_the_clips_of_a_run_are_checked_first(place: Place, tmp_path: Path) -> None:
    """Other counts than the published, and frames that are too small, before a folder is made."""
    fewer = small_store(tmp_path / "casme2.zarr", subjects=2, clips=4)
    arguments = place.arguments(tmp_path / "run")
    before = arguments.index("--pretrain")
    del arguments[before : before + 3]  # it, its store, and --partial
    arguments[arguments.index("--store") + 1] = str(fewer.path)
    outcome = mer(*arguments)
    assert outcome.code == 2
    assert "two: the clips are not the published ones: casme2: happy 4, expected 6" in outcome.error
    outcome = place.train(tmp_path / "run", "--size", 224)
    assert outcome.code == 2
    assert "its frames are 112 px, fewer than the model's 224" in outcome.error
    outcome = place.train(tmp_path / "run", "--set", "model_options.weight_coded=1")
    assert outcome.code == 2
    assert "madv_net is to learn annotated action units, and none of the clips has any" in outcome.error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_workers_train_the_same_folds(place: Place, finished: RunFolder, tmp_path: Path) -> None:
    """Two local workers, one thread each: equal bytes, with a cache and without; epochs are reported from them.

    A failing fold does not stop the others there either.
    """
    run = finished.read()
    expected = list(finished.folds(run))[:4]
    folders = list(RunFolder(tmp_path).folds(run))[:4]
    folders[1].path.mkdir(parents=True)
    folders[1].checkpoint.write_bytes(b"torn")
    reports: list[EpochDone] = []
    outcomes = {}
    with connect(Execution(workers=2, device="cpu"), device="cpu", clips=4) as client:
        for cache, part in (("none", folders[:3]), ("ram", folders[3:])):
            done = train_on(client, tasks_of(finished, place.store, part, cache), reports.append, threads=1)
            outcomes |= {task.folder.name: failure for task, failure in done}
    assert {name: failure and failure.error for name, failure in outcomes.items()} == {
        "seed 0, casme2/sub01": None,
        "seed 0, casme2/sub02": "RunFolderError",
        "seed 0, casme2/sub03": None,
        "seed 1, casme2/sub01": None,
    }
    assert sorted((report.fold, report.epoch) for report in reports) == [
        (f"madv_net, {folders[number].name}", epoch) for number in (0, 2, 3) for epoch in (1, 2, 3)
    ]
    for number in (0, 2, 3):
        for name in ("model.safetensors", "predictions.csv", "metrics.csv"):
            assert (folders[number].path / name).read_bytes() == (expected[number].path / name).read_bytes()


def test_folds_are_trained_together_in_one_process(place: Place) -> None:
    """Workers beside it would be a second way to do the same."""
    outcome = place.train("nothing", "--together", 2, "--workers", 1)
    assert outcome.code == 2
    assert "leave --workers and --scheduler out" in outcome.error


@pytest.mark.slow
def test_folds_trained_together_are_those_trained_alone(place: Place, finished: RunFolder) -> None:
    """The same clips in the same order, so that weights and answers differ by rounding; killed it goes on."""
    folder, log = RunFolder(place.root / "together"), place.root / "together.txt"
    process = started(place.arguments("together", "--together", 4), log)
    wait_for(folder.path / "run.json", process)
    wait_for(next(iter(folder.folds(folder.read()))).checkpoint, process)
    process.kill()
    process.join()
    outcome = place.train("together", "--together", 4)
    assert outcome.code == 0, outcome.error
    run = finished.read()
    for mine, theirs in zip(folder.folds(run), finished.folds(run), strict=True):
        ours, expected = (load_file(fold.model) for fold in (mine, theirs))
        for name, tensor in expected.items():
            torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=1e-4, msg=f"{mine.name}: {name}")
        answers, before = (read_predictions(fold.predictions).probabilities for fold in (mine, theirs))
        assert np.abs(answers - before).max() < 1e-3
    told = "Up to 4 folds were trained in one pass"
    ours, alone = (EvaluationResult.model_validate_json(run.result.read_bytes()).caveats for run in (folder, finished))
    assert any(told in caveat for caveat in ours)
    assert not any(told in caveat for caveat in alone)


@pytest.mark.slow
def test_a_fold_that_nobody_waits_for_ends(place: Place, tmp_path: Path) -> None:
    """Whoever trained on a shared cluster was killed: its worker ends the fold after an epoch, and takes other work."""
    folder, log = RunFolder(place.root / "left"), tmp_path / "log.txt"
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        arguments = place.arguments("left", "--epochs", 10**6, "--scheduler", cluster.scheduler_address)
        at = arguments.index("--workers")
        process = started(arguments[:at] + arguments[at + 2 :], log)
        wait_for(folder.path / "pretraining" / "run.json", process)
        first, *_ = (pretraining := RunFolder(folder.path / "pretraining")).folds(pretraining.read())
        wait_for(first.checkpoint, process)
        process.kill()
        with Client(cluster) as other:
            assert other.submit(abs, -1).result(timeout=180) == 1
    assert first.checkpoint.is_file()
    assert not first.failure.exists()


def tasks_of(finished: RunFolder, store: Store, folds: Sequence[FoldFolder], cache: Any) -> list[FoldTask]:
    """The finished run's, in other folders."""
    pretraining, keys = RunFolder(finished.path / "pretraining"), tuple(sorted(store.manifest.index))
    clips = Clips(
        stores=(store.path,),
        contents=(store.manifest.content_sha256,),
        keys=keys,
        labels=tuple(int("surprise" in key) for key in keys),
        size=32,
        inputs=frozenset({"flow", "depth", "au"}),
    )
    weights = {fold.seed: fold.model for fold in pretraining.folds(pretraining.read())}
    return [FoldTask(finished.read(), fold, clips, weights[fold.seed], cache, loaders=1) for fold in folds]


def empty(file: Path) -> None:
    file.write_bytes(b"")


def tear(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def take_anothers(file: Path) -> None:
    """The same file of the next fold, which reads well."""
    (other,) = file.parent.parent.glob(f"002-*/{file.name}")
    file.write_bytes(other.read_bytes())


def reverse_the_answers(file: Path) -> None:
    """Rows that sum to 1, of the right clips, with each class's probability under the other."""
    header, *rows = file.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    file.write_text("\n".join([header, *(",".join([*row[:3], *reversed(row[3:])]) for row in cells), ""]))


def gone_on_with(place: Place, folder: RunFolder) -> str:
    """The same training, without the report that the command makes; what it printed."""
    run, printed = folder.read(), StringIO()
    resources = Resources("cpu", None, "ram", 0, Console(file=printed, width=1000))
    config = run.config.model_copy(update={"pretrained": None})
    stores, protocol = [place.store.path], run.protocol
    done = train(stores, config, resources, out=folder.path, protocol=protocol, pretrain=place.smic.path)
    assert done.result == EvaluationResult.model_validate_json(folder.result.read_bytes())
    return printed.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("predictions.csv", empty), ("predictions.csv", tear), ("predictions.csv", take_anothers),
        ("predictions.csv", reverse_the_answers), ("model.safetensors", flip_a_bit), ("metrics.csv", Path.unlink),
        ("time.json", empty), ("done.json", empty), ("done.json", tear),
    ],
)  # fmt: skip
def test_a_damaged_fold_is_trained_again(
    place: Place, finished: RunFolder, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """Whatever happened to a file of it; the others are not, and the results are those of ``finished``."""
    shutil.copytree(finished.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    first, second = list(folder.folds(folder.read()))[:2]
    before = second.model.stat().st_mtime_ns
    damage(first.path / name)
    assert not first.done
    printed = gone_on_with(place, folder)
    assert re.search(rf"madv_net, seed 0, casme2/sub01: damaged: {name} .*; it is trained again", printed)
    assert "damaged: " in (folder.path / "train.log").read_text()
    assert "going on: 5 of 6 folds are done" in printed
    assert results(folder) == results(finished)
    assert second.model.stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", [empty, tear, take_anothers])
def test_a_fold_of_an_earlier_version_is_checked_as_far_as_it_can_be(
    place: Place, finished: RunFolder, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """It has no ``done.json``: as it is it counts as done, and predictions that are not of its clips do not."""
    shutil.copytree(finished.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    first = next(folder.folds(folder.read()))
    first.record.unlink()
    assert first.done
    damage(first.predictions)
    assert not first.done
    gone_on_with(place, folder)
    assert results(folder) == results(finished)


@pytest.mark.slow
def test_damaged_models_are_not_used(place: Place, finished: RunFolder, tmp_path: Path) -> None:
    """Neither to predict, nor to start from."""
    shutil.copytree(finished.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    flip_a_bit(next(folder.folds(folder.read())).model)
    refused = mer("predict", folder.path, place.store.path, "--out", tmp_path / "out", "--device", "cpu")
    assert refused.code == 2
    assert "model.safetensors is not what it was when the fold was finished" in refused.error
    pretraining = RunFolder(folder.path / "pretraining")
    flip_a_bit(next(pretraining.folds(pretraining.read())).model)
    arguments = place.arguments(tmp_path / "other")
    arguments[arguments.index("--pretrain") + 1] = str(pretraining.path)
    started = mer(*arguments)
    assert started.code == 2
    assert "model.safetensors is not what it was when the fold was finished" in started.error
