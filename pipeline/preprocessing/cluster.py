"""Worker processes: local ones on this machine's cores or GPUs, or those of a running Dask cluster."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

import psutil
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.comm.core import CommClosedError
from distributed.core import Status
from distributed.security import Security
from distributed.utils import silence_logging_cmgr
from tornado.ioloop import PeriodicCallback

from schemas.config import Device, Execution
from schemas.errors import ClusterLostError, RunError

CLIPS_PER_GPU = 4  # decoded and compressed beside the one whose batch is on the GPU

_MEMORY_PER_WORKER = 2 * 2**30  # bytes: the models, one long clip, and room
_CONNECT_TIMEOUT = "20s"
_PATIENCE = 60.0  # s without any worker until a cluster is given up
_WATCH = 1.0  # s between looks at the workers
_LOOPBACK = "127.0.0.1"


class LastingCluster(SpecCluster):
    """A cluster on this machine that outlives its workers, whenever they die.

    Dask gives up one that dies while it starts, and one that is not back after 15 s
    (``distributed.deploy.lost-worker-timeout``), which a busy machine may well need: such workers are started again.
    """

    async def _start(self) -> None:
        self.periodic_callbacks["revive"] = PeriodicCallback(self._revive, _WATCH * 1000)
        await super()._start()

    def _revive(self) -> None:
        if self.status == Status.running and len(self.workers) < len(self.worker_spec):
            self.scale(len(self.worker_spec))

    def _update_worker_status(self, op: str, message: Any) -> None:
        # Of a worker that dies while it registers, only the end is told. Dask looks it up among those whose start
        # was told, stops watching, and raises the KeyError when the cluster is closed, after all work is done.
        if op == "add" or message in self.scheduler_info["workers"]:
            super()._update_worker_status(op, message)


@contextmanager
def connect(execution: Execution, *, device: Device, clips: int) -> Iterator[Client]:
    """A client of the running cluster, or of local workers that end with it.

    Raises:
        RunError: the scheduler does not answer.
        ClusterLostError: while the client is used the scheduler is lost, or has no worker for a minute.
    """
    if execution.scheduler is None:
        opened = _local(execution.workers, device=device, clips=clips)
    else:
        opened = _remote(execution)
    with opened as client, _lost_clusters_given_up(client):
        yield client


def choose_device(execution: Execution) -> Device:
    """The device to run on: what was asked for, or a GPU if there is one.

    Raises:
        RunError: ``cuda`` was asked for and this machine has none.
    """
    if execution.device == "cpu":
        return "cpu"
    if execution.scheduler is not None:
        with connect(execution, device="cpu", clips=1) as client:
            return "cuda" if execution.device == "cuda" or offers_gpu(client) else "cpu"
    if _gpus():
        return "cuda"
    if execution.device == "cuda":
        raise RunError("--device cuda: PyTorch sees no CUDA device here; check the driver, or choose --device cpu")
    return "cpu"


def offers_gpu(client: Client) -> bool:
    """Whether a worker of the cluster has the resource ``GPU``."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(worker["resources"].get("GPU") for worker in workers)


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
def _remote(execution: Execution) -> Iterator[Client]:
    """The cluster of ``--scheduler``, with the TLS keys of the command line, else those of Dask's own config."""
    address, keys = str(execution.scheduler), {}
    if execution.tls_ca is not None:
        keys = {
            "tls_ca_file": execution.tls_ca,
            "tls_client_cert": execution.tls_cert,
            "tls_client_key": execution.tls_key,
        }
    security = Security(**{name: str(file) for name, file in keys.items()}, require_encryption=bool(keys) or None)
    try:
        if address.startswith("tls://") and security.get_connection_args("client").get("ssl_context") is None:
            raise RunError(
                f"--scheduler {address}: add --tls-ca, --tls-cert and --tls-key, or set distributed.comm.tls in "
                "Dask's config"
            )
        client = Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False, security=security)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"--scheduler {address}: no Dask scheduler answers there ({error}); start one with `dask scheduler`, "
            "give its TLS keys if it has some, or leave the option out to use this machine"
        ) from error
    with silence_logging_cmgr(logging.CRITICAL), client:  # a scheduler that is lost would be logged with tracebacks
        yield client


@contextmanager
def _local(requested: int | None, *, device: Device, clips: int) -> Iterator[Client]:
    """Workers of our own, which nobody else can reach: loopback only, and TLS with keys that live as long as they do.

    Without the keys every other user of the machine could have them run any code.
    """
    count = local_workers(requested, device=device, clips=clips)
    gpus = _gpus() if device == "cuda" else []
    here = {
        "host": _LOOPBACK,
        "protocol": "tls://",
        "security": Security.temporary(),
        "dashboard_address": f"{_LOOPBACK}:0",
    }
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                **here,
                "nthreads": CLIPS_PER_GPU if gpus else 1,
                "memory_limit": psutil.virtual_memory().total // count,
                "resources": {"GPU": 1} if gpus else {},
                "env": {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {},
                "silence_logs": 40,
            },
        }
        for number in range(count)
    }
    # A dead worker's clips come back at once, to be tried alone, not three times more with others that then die too.
    scheduler = {"cls": Scheduler, "options": {**here, "port": 0, "allowed_failures": 0}}
    with _interrupts_kept_from_workers():
        cluster = LastingCluster(workers=workers, scheduler=scheduler, security=here["security"], silence_logs=40)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _lost_clusters_given_up(client: Client) -> Iterator[None]:
    """Close the client of a cluster that has had no worker for a minute, and say what a lost cluster means.

    Dask itself would wait for ever. When the connection to the scheduler breaks, it cancels what is under way.
    """
    ended, given_up = threading.Event(), threading.Event()

    def watch() -> None:
        seen = time.monotonic()
        while not ended.wait(_WATCH):
            with suppress(OSError, CommClosedError, TimeoutError, RuntimeError):
                if client.nthreads():
                    seen = time.monotonic()
            if time.monotonic() - seen > _PATIENCE:
                given_up.set()
                client.close()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except Exception as error:
        if not given_up.is_set() and not isinstance(error, (CancelledError, CommClosedError)):
            raise
        raise ClusterLostError(
            "the Dask cluster is lost (its scheduler does not answer, or it has had no worker for a minute); "
            "what is finished is safe: type the same command again to go on"
        ) from error
    finally:
        ended.set()
        watcher.join()


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
