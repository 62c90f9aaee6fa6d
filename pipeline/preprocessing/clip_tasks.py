"""Clips as tasks: one after the other in this process, or on the workers of a Dask cluster."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from distributed import Client, Future, as_completed, get_worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from pipeline.preprocessing.cluster import CLIPS_PER_GPU, offers_gpu
from pipeline.preprocessing.journal import ClipRecord, failed_record
from schemas.clip import Clip
from schemas.config import Device
from schemas.errors import RunError

if TYPE_CHECKING:
    from pipeline.preprocessing.process import ClipProcessor  # brings PyTorch along, which only the workers need

Task = tuple[int, Clip]
Run = Callable[[Iterable[Task]], Iterator[ClipRecord]]

_QUEUED_PER_THREAD = 2  # in flight; more would only fill the scheduler
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
        MerError: a worker cannot load the models.
    """
    plugin = _Processor(build, name=f"mer-{uuid.uuid4().hex}")
    client.register_plugin(plugin)
    in_flight: dict[Future[ClipRecord | None], Task] = {}
    try:
        yield lambda tasks: _stream(client, plugin.name, tasks, in_flight, device=device)
    finally:
        if client.status == "running":
            client.cancel(list(in_flight))  # of a run that was interrupted, or that failed
            client.unregister_worker_plugin(plugin.name)


def check_workers(client: Client, *, root: Path, out: Path, device: Device) -> None:
    """Make sure that every worker sees the dataset and the output, and that a GPU is there if one is needed.

    Raises:
        RunError: naming the worker and what it lacks.
    """
    if not client.nthreads():
        raise RunError("the Dask cluster has no workers; start some with `dask worker <scheduler address>`")
    if device == "cuda" and not offers_gpu(client):
        raise RunError(
            'no worker of the cluster offers a GPU; start GPU workers with `dask worker --resources "GPU=1"`, '
            "or choose --device cpu"
        )
    for address, problem in client.run(_missing_paths, [str(root), str(out)]).items():
        if problem:
            raise RunError(f"worker {address} does not see {problem}; dataset and output must lie on a shared drive")


def _missing_paths(paths: list[str]) -> str:
    return ", ".join(path for path in paths if not Path(path).exists())


class _Processor(WorkerPlugin):
    """Holds a worker's models, loaded for its first clip: workers that join after a run was killed load none."""

    def __init__(self, build: "Callable[[], ClipProcessor]", *, name: str) -> None:
        self.name = name
        self._build = build

    def setup(self, worker: Any) -> None:
        self._loading = Lock()
        self._loaded: ClipProcessor | None = None

    @property
    def processor(self) -> "ClipProcessor":
        with self._loading:
            if self._loaded is None:
                self._loaded = self._build()
        return self._loaded


def _process(plugin: str, index: int, clip: Clip) -> ClipRecord | None:
    held = get_worker().plugins.get(plugin)
    if held is None:
        return None  # the run has been left, and word that its tasks are cancelled was overtaken: nobody waits for this
    assert isinstance(held, _Processor)
    return held.processor.process(index, clip)


def _stream(
    client: Client,
    plugin: str,
    tasks: Iterable[Task],
    in_flight: "dict[Future[ClipRecord | None], Task]",
    *,
    device: Device,
) -> Iterator[ClipRecord]:
    """Records as they come, with a bounded number of clips ``in_flight``."""
    window = _QUEUED_PER_THREAD * max(1, sum(client.nthreads().values()))
    resources = {"GPU": 1 / CLIPS_PER_GPU} if device == "cuda" else None
    remaining = iter(tasks)

    def submit(tasks: Iterable[Task]) -> "list[Future[ClipRecord | None]]":
        submitted = {client.submit(_process, plugin, *task, resources=resources, pure=False): task for task in tasks}
        in_flight.update(submitted)
        return list(submitted)

    def record_of(future: "Future[ClipRecord | None]") -> ClipRecord:
        record = future.result()
        assert record is not None, "the models stay on the workers while somebody waits"
        return record

    suspects: list[Task] = []
    completed = as_completed(submit(islice(remaining, window)), loop=client.loop)
    for future in completed:
        task = in_flight.pop(future)
        try:
            yield record_of(future)
        except KilledWorker:
            suspects.append(task)  # this clip killed the worker, or one that waited there beside it
        for following in submit(islice(remaining, 1)):
            completed.add(following)
    for task in suspects:  # one at a time: a worker that dies now was killed by this clip
        client.wait_for_workers(1)
        time.sleep(_SETTLED)
        (future,) = submit([task])
        try:
            yield record_of(future)
        except KilledWorker:
            died = RunError("the worker died of this clip, also with no other clip beside it; most likely of memory")
            yield failed_record(*task, "worker", died)
