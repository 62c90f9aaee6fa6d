"""Credentials in a URL: sent to the host that they are for, and shown nowhere."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from schemas.errors import hide_credentials
from schemas.store import remote
from schemas.store.location import StoreUrl
from schemas.store.reader import Store
from tests.command_line import mer
from tests.schemas.store.object_servers import web_server
from tests.tiny_stores import tiny_store

SECRETS = ("t0ken", "me:t0ken", "t0ken:", "me:pa:t0ken", "me:p@t0ken")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a web server, with a store."""
    folder = tmp_path_factory.mktemp("served")
    tiny_store(folder / "s.zarr", ["casme2/sub01/EP01", "casme2/sub02/EP01"], depth=False)
    return folder


class _Redirects(BaseHTTPRequestHandler):
    """Sends everybody to another place, and remembers what it was told."""

    target = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.target + self.path)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Redirects)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("host", ["good", "missing", "silent", "with a query"])
def test_a_token_reaches_no_terminal_log_or_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, host: str
) -> None:
    """Whatever becomes of the command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_TRIES", 1)
    with web_server(folder) as (url, _):
        address = url.removeprefix("http://")
        place = {
            "good": f"http://{secret}@{address}/s.zarr",
            "missing": f"http://{secret}@{address}/none.zarr",
            "silent": f"http://{secret}@127.0.0.1:1/s.zarr",
            "with a query": f"http://{secret}@{address}/s.zarr?signature=t0ken",
        }[host]
        for words in (("pull", place, "mine.zarr"), ("inspect", place)):
            done = mer(*words)
            assert "t0ken" not in done.printed + done.error, words
            assert (done.code == 0) == (host == "good"), done.error
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"t0ken" in path.read_bytes() or "t0ken" in str(path)]
    assert "t0ken" not in str(StoreUrl(f"https://{secret}@host")) + StoreUrl(f"https://{secret}@host").name


def test_a_signature_of_a_redirect_is_hidden() -> None:
    assert (
        hide_credentials("403, url='https://b.example/k?X-Sig=abc&x=1' now") == "403, url='https://b.example/k?***' now"
    )
    assert hide_credentials("s3://bucket/name@v1.zarr") == "s3://bucket/name@v1.zarr"


def test_redirects_keep_the_scheme_and_with_credentials_the_host(
    folder: Path, elsewhere: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another host is followed without credentials alone; another scheme never."""
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    address = f"127.0.0.1:{elsewhere.server_port}"
    with web_server(folder) as (url, faults):
        monkeypatch.setattr(_Redirects, "target", url.replace("127.0.0.1", "localhost"))
        assert len(Store.open(f"http://{address}/s.zarr").manifest.clips) == 2
        faults.clear()
        refused = mer("inspect", f"http://me:t0ken@{address}/s.zarr")
        assert refused.code == 2
        assert "http://127.0.0.1: redirects to http://localhost, which is not followed" in refused.error
        assert not faults.asked
        monkeypatch.setattr(_Redirects, "target", url.replace("http:", "https:"))
        for user in ("", "me:t0ken@"):
            refused = mer("inspect", f"http://{user}{address}/s.zarr")
            assert refused.code == 2
            assert "redirects to https://127.0.0.1, which is not followed" in refused.error
        monkeypatch.setattr(_Redirects, "target", "file:///etc/passwd?")
        assert mer("inspect", f"http://{address}/s.zarr").code == 2
