"""What a run survives, with real processes: kills at any moment, dying workers, a full disk, a second run, Ctrl-C."""

import multiprocessing
import os
import random
import resource
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, LocalCluster, Nanny, Scheduler, Worker

from pipeline.preprocessing.clip_tasks import on_cluster
from pipeline.preprocessing.cluster import LastingCluster
from pipeline.preprocessing.journal import ClipRecord, bare_entry
from schemas.clip import Clip
from schemas.errors import WeightsUnavailableError
from schemas.labels import Label
from schemas.store.reader import Store
from tests.conftest import run_preprocess
from tests.pipeline.preprocessing.commands import command, finished_clips, start, wait_for_clips, worker_processes
from tests.tree_hash import tree_hash

KILLS = 20


@pytest.fixture(scope="module")
def expected(shared_store: Store) -> str:
    """Tree hash of the run that nothing interrupted."""
    return tree_hash(shared_store.path)


@pytest.fixture(scope="module")
def warm() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have their imports behind them, so that kills hit the run and not the start of Python."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.conftest", "pipeline.preprocessing.process", "pipeline.clip.mesh.estimators", "pipeline.clip.mtcnn"]
    )
    return context


@pytest.mark.slow
def test_killed_anywhere_a_run_resumes_to_the_same_bytes(
    shared_casme2: Path, tmp_path: Path, expected: str, warm: multiprocessing.context.ForkServerContext
) -> None:
    """SIGKILL at random moments, at least 20 over several runs; each run, gone on with, ends in the same tree."""
    moments = random.Random(0)
    kills = completed = 0
    while kills < KILLS:
        out = tmp_path / f"run{completed}.zarr"
        while True:
            process = warm.Process(target=run_preprocess, args=(shared_casme2, out))
            process.start()
            # Anywhere from the first moment on, but now and then late enough for a clip to be finished.
            target = finished_clips(out) + moments.choice([0, 0, 1])
            while finished_clips(out) < target and process.exitcode is None:
                process.join(0.01)
            process.join(moments.uniform(0, 1))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
        assert process.exitcode == 0
        assert tree_hash(out) == expected, f"after {kills} kills"
        completed += 1
    assert completed >= 2, "every run was killed so often that none shows anything"


@pytest.mark.slow
def test_the_command_killed_takes_its_workers_along_and_resumes(
    shared_casme2: Path, tmp_path: Path, expected: str
) -> None:
    """SIGKILL of ``mer`` itself: its workers end, finished clips stay, the same command completes the store."""
    out = tmp_path / "casme2.zarr"
    process = start(shared_casme2, out, "--workers", "2")
    wait_for_clips(out, 1, process)
    workers = worker_processes(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    assert run_preprocess(shared_casme2, out) == 0
    assert tree_hash(out) == expected


@pytest.mark.slow
def test_a_killed_worker_is_replaced(shared_casme2: Path, tmp_path: Path, expected: str) -> None:
    """SIGKILL of one worker: its clip is taken up again, and the run completes as if nothing had been."""
    out = tmp_path / "casme2.zarr"
    process = start(shared_casme2, out, "--workers", "2")
    wait_for_clips(out, 1, process)
    worker_processes(process)[0].kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert tree_hash(out) == expected


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(shared_casme2: Path, tmp_path: Path, expected: str) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit 130, advice, no traceback, no process left."""
    out = tmp_path / "casme2.zarr"
    process = start(shared_casme2, out, "--workers", "2")
    wait_for_clips(out, 1, process)
    workers = worker_processes(process)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "type the same command again to go on" in output
    assert "Traceback" not in output
    assert not psutil.wait_procs(workers, timeout=20)[1]
    assert run_preprocess(shared_casme2, out) == 0
    assert tree_hash(out) == expected


@pytest.mark.slow
def test_a_running_cluster_gives_the_same_bytes(shared_casme2: Path, tmp_path: Path, expected: str) -> None:
    """``--scheduler``: workers that somebody else started write the same store."""
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as cluster:
        out = tmp_path / "casme2.zarr"
        done = subprocess.run(
            command(shared_casme2, out, "--scheduler", cluster.scheduler_address), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert tree_hash(out) == expected


@pytest.mark.slow
def test_a_second_run_on_the_same_store_is_told(shared_casme2: Path, tmp_path: Path) -> None:
    """While one run writes, another on the same store exits 2 and says so; the first is not disturbed."""
    out = tmp_path / "casme2.zarr"
    first = start(shared_casme2, out, "--workers", "0")
    wait_for_clips(out, 0, first)
    second = subprocess.run(command(shared_casme2, out, "--workers", "0"), capture_output=True, text=True)
    assert second.returncode == 2
    assert "another run is writing there" in second.stderr
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 0, output


def _with_small_files(limit: int, root: Path, out: Path) -> None:
    """Run where no file may grow beyond ``limit`` bytes: the kernel's answer is that of a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    from schemas.errors import StoreWriteError

    try:
        run_preprocess(root, out)
    except StoreWriteError as error:
        (out.parent / "message").write_text(str(error))
        raise SystemExit(2) from error


def test_a_full_disk_loses_nothing(
    shared_casme2: Path, shared_store: Store, tmp_path: Path, expected: str,
    warm: multiprocessing.context.ForkServerContext,
) -> None:  # fmt: skip
    """Where a write fails the run stops with the remedy; with room again it goes on to the same bytes."""
    sizes = sorted(entry.objects["texture"]["bytes"] for entry in shared_store.manifest.clips)
    out = tmp_path / "casme2.zarr"
    process = warm.Process(target=_with_small_files, args=(sizes[-1] - 1, shared_casme2, out))
    process.start()
    process.join(120)
    assert process.exitcode == 2
    message = (tmp_path / "message").read_text()
    assert "casme2.zarr" in message
    assert "type the same command again to go on" in message
    assert run_preprocess(shared_casme2, out) == 0
    assert tree_hash(out) == expected


def test_output_that_cannot_be_written_is_an_error_before_any_work(shared_casme2: Path) -> None:
    """A folder where nobody may create files: exit 2, the path and the remedy named."""
    done = subprocess.run(command(shared_casme2, Path("/sys/casme2.zarr")), capture_output=True, text=True)
    assert done.returncode == 2
    assert "/sys" in done.stderr
    assert "choose another --out" in done.stderr
    assert "Traceback" not in done.stderr


class _Deadly:
    """A processor that takes its process down on one clip, as the kernel does when memory runs out."""

    def process(self, index: int, clip: Clip) -> ClipRecord:
        time.sleep(0.3)  # the others are in flight on the same worker when it dies
        if clip.name == "deadly":
            os._exit(1)
        time.sleep(0.3)
        return ClipRecord(index=index, entry=bare_entry(clip))


@pytest.mark.slow
@pytest.mark.parametrize("patience", ["15s", "0s"])
def test_a_clip_that_kills_every_worker_fails_alone(patience: str) -> None:
    """A clip that no worker survives becomes a failed record; those that died with it are tried alone and succeed.

    Also where Dask gives up a dead worker at once, as it does on a busy machine with one that is late.
    """
    clips = [_clip(name) for name in ("a", "deadly", "b", "c")]
    with (
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": 0,  # as of our own schedulers
                "distributed.deploy.lost-worker-timeout": patience,
            }
        ),
        _local_cluster() as cluster,
        Client(cluster) as client,
        on_cluster(partial(_Deadly), client, device="cpu") as run,
    ):
        records = {record.index: record for record in run(enumerate(clips))}
    assert sorted(records) == [0, 1, 2, 3]
    assert [i for i, record in records.items() if record.entry.failure is not None] == [1]
    failure = records[1].entry.failure
    assert failure is not None
    assert failure.stage == "worker"
    assert "the worker died of this clip, also with no other clip beside it" in failure.message


class _Slow:
    """A processor that takes a while and leaves a file a clip, so that a test sees which clips were begun."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self, index: int, clip: Clip) -> ClipRecord:
        (self._folder / clip.name).touch()
        time.sleep(1 if index else 0.1)  # the first is done while the others still run
        return ClipRecord(index=index, entry=bare_entry(clip))


@pytest.mark.slow
def test_a_run_that_is_left_leaves_its_workers_idle_and_without_an_error(tmp_path: Path) -> None:
    """Clips that wait when the run is interrupted are not begun, and no worker misses the models taken from it."""
    clips = [_clip(f"clip{i}") for i in range(32)]
    with _local_cluster() as cluster, Client(cluster) as client:
        with suppress(KeyboardInterrupt), on_cluster(partial(_Slow, tmp_path), client, device="cpu") as run:
            records = run(enumerate(clips))  # held, as the traceback of an interrupted loop holds it
            next(records)
            raise KeyboardInterrupt
        time.sleep(3)
        assert 1 <= len(list(tmp_path.iterdir())) <= 8, "no clip but those in flight, two for each of four threads"
        assert not any(client.processing().values())
        (log,) = client.get_worker_logs().values()
        assert not [line for level, line in log if level in ("WARNING", "ERROR")]


def _without_weights() -> _Slow:
    raise WeightsUnavailableError("no weights here")


def _models(dask_worker: Worker) -> list[str]:
    return [name for name in dask_worker.plugins if name.startswith("mer-")]


@pytest.mark.slow
def test_models_that_a_worker_cannot_load_end_the_run_and_do_not_stay(tmp_path: Path) -> None:
    """The worker's own error, and a cluster as it was, for whoever comes next."""
    clips = list(enumerate([_clip("a")]))
    with _local_cluster() as cluster, Client(cluster) as client:
        with (
            pytest.raises(WeightsUnavailableError, match="no weights here"),
            on_cluster(_without_weights, client, device="cpu") as run,
        ):
            list(run(clips))
        assert client.run(_models) == {address: [] for address in client.nthreads()}
        with on_cluster(partial(_Slow, tmp_path), client, device="cpu") as run:
            assert len(list(run(clips))) == 1


def _clip(name: str) -> Clip:
    return Clip(dataset="d", subject="s", name=name, source=None, onset=1, apex=1, offset=1, fps=1, label=Label())


def _local_cluster() -> LastingCluster:
    here = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    return LastingCluster(
        workers={0: {"cls": Nanny, "options": {**here, "nthreads": 4, "silence_logs": 50}}},
        scheduler={"cls": Scheduler, "options": {**here, "port": 0}},
        silence_logs=50,
    )


def _tell_the_end_of_a_worker_that_never_started(dask_scheduler: Scheduler) -> None:
    dask_scheduler.plugins["worker-status"].remove_worker(dask_scheduler, "tcp://127.0.0.1:9")


@pytest.mark.slow
def test_a_worker_that_dies_while_it_registers_does_not_end_the_watch() -> None:
    """The scheduler tells of its end alone: later workers are still seen, and the cluster closes without an error."""
    with _local_cluster() as cluster, Client(cluster) as client:
        client.run_on_scheduler(_tell_the_end_of_a_worker_that_never_started)
        before = set(cluster.scheduler_info["workers"])
        os.kill(*client.run(os.getpid).values(), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while cluster.scheduler_info["workers"].keys() <= before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert cluster.scheduler_info["workers"].keys() - before
