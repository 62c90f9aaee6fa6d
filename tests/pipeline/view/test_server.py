"""The server of `mer view`: on loopback alone, and nothing without its token."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from pipeline.view.server import start
from schemas.store.reader import Store
from tests.command_line import mer
from tests.tiny_stores import tiny_store
from tests.tree_hash import tree_hash

T = TypeVar("T")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("view") / "tiny.zarr", ["casme2/sub01/EP01"])


def served(store: Store, ask: Callable[[str], Awaitable[T]]) -> T:
    """What is asked of a running server, given its URL."""

    async def run() -> T:
        server, url = start(store, None)
        try:
            return await ask(url)
        finally:
            server.stop()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def status(url: str) -> int:
    return (await AsyncHTTPClient().fetch(url, raise_error=False)).code


def test_without_the_token_everything_is_refused(small: Store) -> None:
    async def ask(url: str) -> None:
        place, token = url.split("?")
        assert len(token) > 32
        assert await status(url) == 200
        for path in ("", "ws", "static/js/bokeh.min.js", "metadata", "autoload.js", "nothing"):
            assert await status(place + path) == 403, path
            assert await status(f"{place}{path}?{token[:-1]}") == 403, path
        assert await status(f"{place}static/js/bokeh.min.js?{token}") == 200

    before = tree_hash(Path(str(small.path)))
    served(small, ask)
    assert tree_hash(Path(str(small.path))) == before


def test_each_start_has_a_token_of_its_own(small: Store) -> None:
    async def ask(url: str) -> str:
        return url.split("token=")[1]

    assert served(small, ask) != served(small, ask)


@pytest.mark.parametrize(
    ("token", "origin", "code"), [(True, "own", 101), (False, "own", 403), (True, "http://evil.example", 403)]
)
def test_a_web_socket_needs_the_token_and_our_own_page(small: Store, token: bool, origin: str, code: int) -> None:
    async def ask(url: str) -> int:
        place, _, secret = url.partition("?")
        request = HTTPRequest(
            place.replace("http", "ws") + "ws" + (f"?{secret}" if token else ""),
            headers={"Origin": place.rstrip("/") if origin == "own" else origin},
        )
        try:
            (await websocket_connect(request, subprotocols=["bokeh", "x.y"])).close()
        except HTTPClientError as error:
            return error.code
        return 101

    assert served(small, ask) == code


def test_it_listens_on_loopback_alone(small: Store) -> None:
    async def ask(url: str) -> None:
        port = int(url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it tells this machine's address on the network
            address = probe.getsockname()[0]
        assert not address.startswith("127.")
        with pytest.raises(OSError), socket.create_connection((address, port), 5):  # noqa: PT011
            pass

    served(small, ask)


def test_a_port_that_is_taken_is_said(small: Store) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        found = mer("view", small.path, "--port", port, "--no-browser")
    assert found.code == 2
    assert f"--port {port}: Address already in use; choose another, or 0 for a free one" in found.error


@pytest.mark.slow
def test_the_command_prints_its_url_at_once_and_ends_with_ctrl_c(small: Store) -> None:
    command = [sys.executable, "-m", "cli", "view", str(small.path), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with pytest.raises(HTTPError, match="403"):
            urlopen(url.split("?")[0])
        with urlopen(url) as answer:
            assert "mer view tiny.zarr" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in error
