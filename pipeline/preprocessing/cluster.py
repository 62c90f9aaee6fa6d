"""Where clips are processed: in this process, on this machine's cores or GPUs, or on a Dask cluster."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, SpecCluster, as_completed, get_worker
from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker
from tornado.ioloop import PeriodicCallback

from pipeline.preprocessing.journal import ClipRecord, failed_record
from schemas.clip import Clip
from schemas.config import Device, Execution
from schemas.errors import RunError

if TYPE_CHECKING:
    from pipeline.preprocessing.process import ClipProcessor  # brings PyTorch along, which only the workers need

Task = tuple[int, Clip]
Run = Callable[[Iterable[Task]], Iterator[ClipRecord]]

_MEMORY_PER_WORKER = 2 * 2**30  # bytes: the models, one long clip, and room
_CLIPS_PER_GPU = 4  # decoded and compressed beside the one whose batch is on the GPU
_QUEUED_PER_THREAD = 2  # in flight; more would only fill the scheduler
_CONNECT_TIMEOUT = "20s"
_WAIT_FOR_WORKERS = 120.0  # s until a cluster without any is given up
_WATCH = 1.0  # s between looks at the workers of this machine
_SETTLED = 2.0  # s that a worker needs after it has registered


@contextmanager
def in_process(build: "Callable[[], ClipProcessor]") -> Iterator[Run]:
    """One clip after the other, here: for debugging, and where processes are not to be had."""
    processor = build()
    yield lambda tasks: (processor.process(index, clip) for index, clip in tasks)


@contextmanager
def on_cluster(build: "Callable[[], ClipProcessor]", client: Client, *, device: Device) -> Iterator[Run]:
    """Clips as tasks of a Dask cluster, the models loaded once a worker, and again after a restart.

    Raises:
        RunError: no worker can take the tasks.
    """
    plugin = _Processor(build, name=f"mer-{uuid.uuid4().hex}")
    client.register_plugin(plugin)
    try:
        yield lambda tasks: _stream(client, plugin.name, tasks, device=device)
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


def connect(execution: Execution, *, device: Device, clips: int) -> AbstractContextManager[Client]:
    """A client of the running cluster, or of local workers that end with it.

    Raises:
        RunError: the scheduler does not answer.
    """
    if execution.scheduler is None:
        return _local(execution.workers, device=device, clips=clips)
    try:
        return Client(execution.scheduler, timeout=_CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"--scheduler {execution.scheduler}: no Dask scheduler answers there ({error}); "
            "start one with `dask scheduler`, or leave the option out to use this machine"
        ) from error


def choose_device(execution: Execution) -> Device:
    """The device that clips will be processed on: what was asked for, or a GPU if there is one.

    Raises:
        RunError: ``cuda`` was asked for and this machine has none.
    """
    if execution.device == "cpu":
        return "cpu"
    if execution.scheduler is not None:
        with connect(execution, device="cpu", clips=1) as client:
            return "cuda" if execution.device == "cuda" or _offers_gpu(client) else "cpu"
    if _gpus():
        return "cuda"
    if execution.device == "cuda":
        raise RunError("--device cuda: PyTorch sees no CUDA device here; check the driver, or choose --device cpu")
    return "cpu"


def _offers_gpu(client: Client) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(worker["resources"].get("GPU") for worker in workers)


def check_workers(client: Client, *, root: Path, out: Path, device: Device) -> None:
    """Make sure that every worker sees the dataset and the output, and that a GPU is there if one is needed.

    Raises:
        RunError: naming the worker and what it lacks.
    """
    if not client.nthreads():
        raise RunError("the Dask cluster has no workers; start some with `dask worker <scheduler address>`")
    if device == "cuda" and not _offers_gpu(client):
        raise RunError(
            'no worker of the cluster offers a GPU; start GPU workers with `dask worker --resources "GPU=1"`, '
            "or choose --device cpu"
        )
    for address, problem in client.run(_missing_paths, [str(root), str(out)]).items():
        if problem:
            raise RunError(f"worker {address} does not see {problem}; dataset and output must lie on a shared drive")


def _missing_paths(paths: list[str]) -> str:
    return ", ".join(path for path in paths if not Path(path).exists())


def local_workers(requested: int | None, *, device: Device, clips: int) -> int:
    """Worker processes for this machine: one a GPU, else one a core as far as memory and clips go."""
    if requested is not None:
        return requested
    if device == "cuda":
        return len(_gpus())
    by_memory = int(psutil.virtual_memory().available // _MEMORY_PER_WORKER)
    return max(1, min(CPU_COUNT, by_memory, clips))


def _gpus() -> list[str]:
    import torch  # slow to import, and not needed to connect to a cluster

    if not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


@contextmanager
def _local(requested: int | None, *, device: Device, clips: int) -> Iterator[Client]:
    count = local_workers(requested, device=device, clips=clips)
    memory = psutil.virtual_memory().total // count
    gpus = _gpus() if device == "cuda" else []
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": _CLIPS_PER_GPU if gpus else 1,
                "memory_limit": memory,
                "resources": {"GPU": 1} if gpus else {},
                "env": {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {},
                "silence_logs": 40,
            },
        }
        for number in range(count)
    }
    # A dead worker's clips come back at once, to be tried alone, not three times more with others that then die too.
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0", "allowed_failures": 0}
    scheduler = {"cls": Scheduler, "options": options}
    with _interrupts_kept_from_workers():
        cluster = SpecCluster(workers=workers, scheduler=scheduler, silence_logs=40)
    with cluster, workers_kept(cluster), Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def workers_kept(cluster: SpecCluster) -> Iterator[None]:
    """Start workers again that Dask has given up.

    It does so with one that died while it started, and with one that was not back after 15 s
    (``distributed.deploy.lost-worker-timeout``), which a busy machine may well need. Without the last worker a run
    would wait for ever.
    """

    def revive() -> None:
        if cluster.status == Status.running and len(cluster.workers) < len(cluster.worker_spec):
            cluster.scale(len(cluster.worker_spec))

    watch, loop = PeriodicCallback(revive, _WATCH * 1000), cluster.loop
    assert loop is not None, "the cluster has started"
    loop.add_callback(watch.start)
    try:
        yield
    finally:
        loop.add_callback(watch.stop)


@contextmanager
def _interrupts_kept_from_workers() -> Iterator[None]:
    """Ctrl-C is for the main thread alone, which ends the workers in order.

    A terminal sends it to every process. Threads and processes started in here inherit the blocked signal
    for good; here it is only put off.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        resource_tracker.ensure_running()  # starting it later would lift the block
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Processor(WorkerPlugin):
    """Holds a worker's models."""

    def __init__(self, build: "Callable[[], ClipProcessor]", *, name: str) -> None:
        self.name = name
        self._build = build
        self.processor: ClipProcessor | None = None

    def setup(self, worker: Any) -> None:
        self.processor = self._build()


def _process(plugin: str, index: int, clip: Clip) -> ClipRecord:
    held = get_worker().plugins[plugin]
    assert isinstance(held, _Processor)
    assert held.processor is not None, "setup() has run"
    return held.processor.process(index, clip)


def _stream(client: Client, plugin: str, tasks: Iterable[Task], *, device: Device) -> Iterator[ClipRecord]:
    """Records as they come, with a bounded number of clips in flight."""
    window = _QUEUED_PER_THREAD * max(1, sum(client.nthreads().values()))
    resources = {"GPU": 1 / _CLIPS_PER_GPU} if device == "cuda" else None
    remaining = iter(tasks)
    in_flight: dict[Any, Task] = {}

    def submit(count: int) -> list[Any]:
        futures = []
        for index, clip in islice(remaining, count):
            future = client.submit(_process, plugin, index, clip, resources=resources, pure=False)
            in_flight[future.key] = index, clip
            futures.append(future)
        return futures

    suspects: list[Task] = []
    completed = as_completed(submit(window), loop=client.loop)
    for future in completed:
        task = in_flight.pop(future.key)
        try:
            yield future.result()
        except KilledWorker:
            suspects.append(task)  # this clip killed the worker, or one that waited there beside it
        for following in submit(1):
            completed.add(following)
    for index, clip in suspects:  # one at a time: a worker that dies now was killed by this clip
        _wait_for_worker(client)
        try:
            yield client.submit(_process, plugin, index, clip, resources=resources, pure=False).result()
        except KilledWorker:
            died = RunError("the worker died of this clip, also with no other clip beside it; most likely of memory")
            yield failed_record(index, clip, "worker", died)


def _wait_for_worker(client: Client) -> None:
    """Until a worker is there, and has been for a moment: one that dies as it starts is missed for long.

    Raises:
        RunError: none comes.
    """
    try:
        client.wait_for_workers(1, timeout=_WAIT_FOR_WORKERS)
    except TimeoutError as error:
        raise RunError(
            "the cluster has no workers left; what is finished is safe: type the same command again to go on"
        ) from error
    time.sleep(_SETTLED)
