"""A page in a real headless Chromium, driven over its DevTools protocol: clicks, keys, and what the page then holds."""

import asyncio
import base64
import itertools
import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect


class Tab:
    """One page. ``problems`` collects what it logs as an error, and exceptions."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self.problems: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol and its result."""
        number = next(self._numbers)
        await self._connection.write_message(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = await self._connection.read_message()
            assert message is not None, "the browser has gone"
            found = json.loads(message)
            if found.get("id") == number:
                assert "error" not in found, found["error"]
                return dict(found["result"])
            self._note(found)

    async def value(self, script: str) -> Any:
        """What a JavaScript expression is, awaited."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> Any:
        """The same, once it is true."""
        end = time.monotonic() + seconds
        while not (found := await self.value(script)):
            assert time.monotonic() < end, f"never true: {script}; problems: {self.problems}"
            await asyncio.sleep(0.05)
        return found

    async def press(self, key: str) -> None:
        """Press and release a key, whose ``key`` value this is."""
        text = {"text": key} if len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self, x: float, y: float) -> None:
        """Click at a place of the window, px."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def picture(self, file: Path) -> None:
        """Write what is seen, as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(found["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(params["exceptionDetails"])[:500])
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.problems.append(json.dumps(params["args"])[:500])
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(json.dumps(params["entry"])[:500])


@asynccontextmanager
async def opened(
    browser: str, url: str, profile: Path, *, width: int = 1400, height: int = 1000, dark: bool = False
) -> AsyncIterator[Tab]:
    """A page in a browser of its own, which ends with it.

    Args:
        browser: program.
        url: to open.
        profile: folder that the browser makes.
        width: of the window, px.
        height: of the window, px.
        dark: whether the reader prefers a dark ground.
    """
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--remote-debugging-port=0", f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = await websocket_connect(await _address(profile), max_message_size=2**28)
        tab = Tab(connection)
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await tab.call("Emulation.setEmulatedMedia", features=[scheme])
        await tab.call("Page.navigate", url=url)
        yield tab
        connection.close()
    finally:
        process.terminate()
        process.wait()


async def _address(profile: Path) -> str:
    """Web socket of the browser's first page."""
    file = profile / "DevToolsActivePort"
    end = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < end, "the browser did not start"
        await asyncio.sleep(0.05)
    found = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{file.read_text().split()[0]}/json")
    return str(next(page["webSocketDebuggerUrl"] for page in json.loads(found.body) if page["type"] == "page"))
