"""Nobody else reaches the workers of a run, and a cluster that is lost ends a run with advice."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
import pytest
from distributed import Client
from distributed.core import rpc
from distributed.security import Security

from pipeline.preprocessing import cluster
from pipeline.preprocessing.cluster import connect
from schemas.config import Execution
from schemas.errors import RunError
from tests.command_line import mer
from tests.pipeline.preprocessing.commands import OPTIONS
from tests.training.small_stores import CONFIG, PROTOCOL, small_store


@pytest.mark.slow
def test_nobody_else_reaches_the_workers_of_a_run() -> None:
    """Scheduler, nannies, workers and dashboards listen on loopback alone; without the run's keys none answers."""
    with connect(Execution(workers=2), device="cpu", clips=2) as client:
        client.wait_for_workers(2, timeout=120)
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        sockets = [socket for member in family for socket in member.net_connections("inet")]
        listening = {(socket.laddr.ip, socket.laddr.port) for socket in sockets if socket.status == psutil.CONN_LISTEN}
        assert len(listening) >= 8  # of the scheduler, and of the nanny, the worker and its dashboard, twice
        assert {address for address, _ in listening} == {"127.0.0.1"}
        info = client.scheduler_info()
        ours = [info["address"], *info["workers"], *(worker["nanny"] for worker in info["workers"].values())]
        assert len(ours) == 5
        for address in ours:
            assert address.startswith("tls://127.0.0.1:")
            for scheme, security in (("tcp", None), ("tls", Security.temporary())):
                stranger = f"{scheme}://{address.removeprefix('tls://')}"
                with pytest.raises((OSError, TimeoutError)):
                    asyncio.run(_asked(stranger, security))


async def _asked(address: str, security: Security | None) -> object:
    """The identity of a Dask server, as anybody could ask for it."""
    arguments = (security or Security()).get_connection_args("client")
    async with rpc(address, connection_args=arguments, timeout=3) as server:
        return await server.identity()


def run_module(module: str, *arguments: str) -> subprocess.Popen[str]:
    """One of Dask's own commands."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stderr=subprocess.PIPE, text=True)


@contextmanager
def dask_cluster(
    folder: Path, *options: str, security: Security | None = None
) -> Iterator[tuple[str, subprocess.Popen[str], subprocess.Popen[str]]]:
    """A scheduler and one worker as somebody else starts them: address, and both processes."""
    file = str(folder / "scheduler.json")
    scheduler = run_module(
        "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0",
        "--scheduler-file", file, *options,
    )  # fmt: skip
    worker = run_module(
        "distributed.cli.dask_worker", "--scheduler-file", file, "--host", "127.0.0.1", "--dashboard-address",
        "127.0.0.1:0", "--no-nanny", "--nthreads", "1", "--death-timeout", "60", *options,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not Path(file).exists() or "address" not in Path(file).read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        address = json.loads(Path(file).read_text())["address"]
        with Client(address, security=security, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(1, timeout=60)
        yield address, scheduler, worker
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["scheduler", "worker"])
def test_a_lost_cluster_ends_the_run_with_advice(
    shared_casme2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    """SIGKILL of somebody else's scheduler, or of the only worker, which none replaces: one line, and exit 3."""
    assert cluster._PATIENCE == 60
    monkeypatch.setattr(cluster, "_PATIENCE", 3.0)
    with dask_cluster(tmp_path) as (address, *processes):
        process = processes[victim == "worker"]
        killer = Thread(target=kill_once_connected, args=(process, int(address.rpartition(":")[2])))
        killer.start()
        code, printed, error = mer(
            "preprocess", shared_casme2, "--out", tmp_path / "out.zarr", *OPTIONS, "--scheduler", address
        )
        killer.join()
    assert code == 3, printed + error
    assert error == (
        "error: the Dask cluster is lost (its scheduler does not answer, or it has had no worker for a minute); "
        "what is finished is safe: type the same command again to go on\n"
    )


def kill_once_connected(victim: subprocess.Popen[str], port: int) -> None:
    """Kill a process of a cluster when this process is connected to its scheduler and has used it for a moment."""
    while not any(
        socket.raddr and socket.raddr.port == port and socket.status == psutil.CONN_ESTABLISHED
        for socket in psutil.Process().net_connections("inet")
    ):
        time.sleep(0.05)
    time.sleep(1)
    victim.kill()


@pytest.mark.slow
def test_a_scheduler_with_tls(tmp_path: Path) -> None:
    """With its keys the client is let in, without it is not, and the message says what is missing."""
    security = Security.temporary()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    files["ca"].write_text(security.tls_ca_file)
    files["cert"].write_text(security.tls_client_cert)
    files["key"].write_text(security.tls_client_key)
    keys = ["--tls-ca-file", str(files["ca"]), "--tls-cert", str(files["cert"]), "--tls-key", str(files["key"])]
    with dask_cluster(tmp_path, "--protocol", "tls", *keys, security=security) as (address, _, _):
        execution = Execution(
            scheduler=address, device="cpu", tls_ca=files["ca"], tls_cert=files["cert"], tls_key=files["key"]
        )
        with connect(execution, device="cpu", clips=1) as client:
            assert client.submit(sum, [1, 2]).result() == 3
        with (
            pytest.raises(RunError, match="add --tls-ca, --tls-cert and --tls-key, or set distributed"),
            connect(Execution(scheduler=address), device="cpu", clips=1),
        ):
            pass


def test_tls_keys_go_together() -> None:
    """Two of three, or keys without a scheduler, are a mistake."""
    key = Path("key.pem")
    for options in ({"scheduler": "tls://a:1", "tls_ca": key}, {"tls_ca": key, "tls_cert": key, "tls_key": key}):
        with pytest.raises(ValueError, match="--tls-ca, --tls-cert and --tls-key"):
            Execution.model_validate(options)


@pytest.mark.slow
def test_training_ends_with_the_same_advice(tmp_path: Path) -> None:
    """SIGKILL of the scheduler in mid fold: exit 3, and no fold is written down as failed."""
    store = small_store(tmp_path / "casme2.zarr")
    (tmp_path / "two.toml").write_text(PROTOCOL)
    (tmp_path / "c.toml").write_text(CONFIG)
    out = tmp_path / "run"
    with dask_cluster(tmp_path) as (address, scheduler, _):
        process = subprocess.Popen(
            [Path(sys.executable).with_name("mer"), "train", "--store", store.path, "--protocol", tmp_path / "two.toml",
             "--config", tmp_path / "c.toml", "--partial", "--device", "cpu", "--scheduler", address, "--out", out],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        while not list(out.rglob("checkpoint.safetensors")):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        scheduler.kill()
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert "error: the Dask cluster is lost" in output
    assert "Traceback" not in output
    assert not list(out.rglob("failed.json"))
