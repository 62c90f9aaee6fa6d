"""What a run listens on, and whom it calls: nothing beyond this machine, nobody who was not named."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import psutil

_AUDIT = """
import os, sys
def heard(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        with open(os.environ["MER_TEST_CALLS"], "a") as file:
            file.write(f"{arguments[1][0]}\\n")
sys.addaudithook(heard)
"""


@dataclass(frozen=True)
class Sockets:
    """Addresses that a run listened on, and others that it connected to, without those of this machine alone."""

    listening: int
    beyond_loopback: tuple[str, ...]
    calls: tuple[str, ...]


def sockets_of(arguments: list[str], folder: Path) -> Sockets:
    """Run `mer` with its workers and look at every socket of its processes until it ends.

    Calls are seen by an audit hook in every Python process of the run; listening sockets by the system's tables.

    Raises:
        AssertionError: the command failed.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_AUDIT)
    calls = folder / "calls"
    calls.touch()
    environment = os.environ | {"PYTHONPATH": str(folder), "MER_TEST_CALLS": str(calls)}
    command = [str(Path(sys.executable).with_name("mer")), *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        listening: set[tuple[str, int]] = set()
        while process.poll() is None:
            listening |= _listening(process.pid)
            time.sleep(0.2)
    assert process.returncode == 0, (folder / "log").read_text()
    called = set(calls.read_text().split())
    return Sockets(
        listening=len(listening),
        beyond_loopback=tuple(sorted({address for address, _ in listening if not ip_address(address).is_loopback})),
        calls=tuple(sorted(address for address in called if not _is_here(address))),
    )


def _listening(pid: int) -> set[tuple[str, int]]:
    found = set()
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add((connection.laddr.ip, connection.laddr.port))
    except psutil.NoSuchProcess:
        pass  # it has just ended
    return found


def _is_here(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
