"""The server behind `mer view`: on loopback alone, and only for who has the token that it prints."""

import asyncio
import logging
import os
import secrets
import socket
import webbrowser
from contextlib import suppress
from threading import Thread
from typing import Any

from bokeh.document import Document
from bokeh.resources import Resources
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import ErrorHandler

from pipeline.view.page import Page
from pipeline.view.predictions import RunPredictions
from pipeline.view.thumbnails import Thumbnails
from schemas.errors import ConfigError
from schemas.store.reader import Store

_HOSTS = ("127.0.0.1", "localhost")


def view(store: Store, run: RunPredictions | None, *, port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C.

    Args:
        store: to look at; nothing is written.
        run: what a run answered on its clips.
        port: to listen on; 0 takes a free one.
        browser: whether to open one.

    Raises:
        ConfigError: the port is taken.
    """
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)  # it warns of every page that is closed

    async def serve() -> None:
        server, url = start(store, run, port=port)
        print(f"{url}\nCtrl-C ends it; nothing is written", flush=True)  # also through a pipe, before anybody asks
        if browser:
            Thread(target=webbrowser.open, args=[url], daemon=True).start()  # one in a terminal would block the server
        try:
            await asyncio.Event().wait()
        finally:
            server.stop()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


def start(store: Store, run: RunPredictions | None, *, port: int = 0) -> tuple[BaseServer, str]:
    """Listen on loopback, in the event loop that runs. Returns the server and the page's URL.

    Raises:
        ConfigError: the port is taken.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise ConfigError(
            f"--port {port}: {os.strerror(error.errno or 0)}; choose another, or 0 for a free one"
        ) from error
    listening.setblocking(False)
    port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
    thumbnails = Thumbnails(store)

    def fill(document: Document) -> None:
        Page(store, run, thumbnails).add_to(document)

    guarded = _Guarded({"/": fill}, token=token, extra_websocket_origins=[f"{host}:{port}" for host in _HOSTS])
    http = HTTPServer(guarded)
    http.add_sockets([listening])
    server = BaseServer(IOLoop.current(), guarded, http)
    server.start()
    return server, f"http://localhost:{port}/?token={token}"


class _Guarded(BokehTornado):  # type: ignore[misc]  # see pyproject.toml on Bokeh's stubs
    """Bokeh's application behind a token, which its own script hands on to the web socket."""

    def __init__(self, applications: Any, *, token: str, **options: Any) -> None:
        self._token = token
        super().__init__(applications, **options)

    def find_handler(self, request: HTTPServerRequest, **options: Any) -> Any:
        """The handler of a request; without the token, one that refuses whatever is asked for."""
        given = request.query_arguments.get("token", [b""])[0]
        if not secrets.compare_digest(given, self._token.encode()):
            return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **options)

    def resources(self, absolute_url: str | bool | None = None) -> Resources:
        """Where the page's scripts are: here too, behind the same token."""
        return Resources(mode="server", root_url="/", path_versioner=lambda path: f"{path}?token={self._token}")
