"""A real S3 server and a real web server on loopback, which fail when they are told to."""

import re
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Fault = Literal["500", "cut", "slow", "wrong", "short"]


class Faults:
    """What goes wrong, and what was asked for.

    ``500``: the server says so. ``cut``: the connection ends half way. ``slow``: half a second is lost half way.
    ``wrong``: a byte is another one. ``short``: the answer ends half way, and says that this is all.
    """

    def __init__(self) -> None:
        self._planned: list[list[Any]] = []
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.sent = 0  # bytes of answers, by the web server

    def plan(self, part: str, fault: Fault, times: int = 1) -> None:
        """The next ``times`` requests whose ``METHOD path`` has this part fail."""
        self._planned.append([part, fault, times])

    def clear(self) -> None:
        """Nothing goes wrong any more, and nothing was asked for."""
        with self._lock:
            self._planned.clear()
            self.asked.clear()
            self.sent = 0

    def left(self) -> int:
        """How many failures are still to come."""
        return sum(plan[2] for plan in self._planned)

    def moved(self, method: str) -> list[str]:
        """Paths of objects that were asked for, without those that every push and pull looks at."""
        return sorted(
            path.partition(" ")[2]
            for path in self.asked
            if path.startswith(f"{method} ") and path.count("/") > 2 and "push." not in path and "manifest" not in path
        )

    def take(self, request: str) -> Fault | None:
        """The fault of this request."""
        with self._lock:
            self.asked[request] += 1
            for plan in self._planned:
                if plan[0] in request and plan[2]:
                    plan[2] -= 1
                    return plan[1]  # type: ignore[no-any-return]
        return None


def spoilt(body: bytes, fault: Fault | None) -> tuple[bytes, bytes]:
    """Both halves of a body as they are sent."""
    half = len(body) // 2
    if fault in ("cut", "short"):
        return body[:half], b""
    if fault == "wrong":
        return body[:half], bytes([body[half] ^ 1]) + body[half + 1 :]
    return body[:half], body[half:]


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, faults: Faults, ranges: bool, **kwargs: Any) -> None:
        self.faults, self.ranges = faults, ranges
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        fault = self.faults.take(f"GET {self.path}")
        file = Path(self.translate_path(self.path))
        if fault == "500":
            self.send_error(500)
            return
        if not file.is_file():
            self.send_error(404)
            return
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.ranges else None
        start, end = (int(part[1]), int(part[2]) + 1) if part else (0, file.stat().st_size)
        with file.open("rb") as stream:
            stream.seek(start)
            body = stream.read(end - start)
        self.faults.sent += len(body)
        first, second = spoilt(body, fault)
        self.send_response(200 if part is None else 206)
        self.send_header("Content-Length", str(len(first) if fault == "short" else len(body)))
        self.end_headers()
        self.wfile.write(first)
        if fault == "slow":
            self.wfile.flush()
            time.sleep(0.5)
        self.wfile.write(second)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    """A server at work in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server(folder: Path, *, ranges: bool = True) -> Iterator[tuple[str, Faults]]:
    """URL of a web server for a folder, and what goes wrong with it; with ``ranges`` it sends parts of files too."""
    faults = Faults()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Handler, directory=str(folder), faults=faults, ranges=ranges)
    )
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}", faults


class _FaultyApp:
    """A WSGI application that fails when it is told to."""

    def __init__(self, app: Callable[..., Iterable[bytes]], faults: Faults) -> None:
        self.app, self.faults = app, faults

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        fault = self.faults.take(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if fault == "500":
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return
        if fault is None:
            yield from self.app(environ, start_response)
            return
        said: list[Any] = []
        body = b"".join(self.app(environ, lambda *args: said.extend(args)))
        first, second = spoilt(body, fault)
        if fault == "short":
            said[1] = [(name, value) for name, value in said[1] if name.lower() != "content-length"]
            said[1].append(("Content-Length", str(len(first))))
        start_response(*said[:2])
        yield first
        if fault == "slow":
            time.sleep(0.5)
        yield second


@contextmanager
def s3_server() -> Iterator[tuple[str, Faults]]:
    """Endpoint of an S3 server, and what goes wrong with it."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *args: object) -> None:
            pass

    faults = Faults()
    app = _FaultyApp(DomainDispatcherApplication(create_backend_app), faults)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    with _served(server):
        yield f"http://127.0.0.1:{server.server_port}", faults
