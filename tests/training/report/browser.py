"""A page in a real headless Chromium: what it looks like to who opens it."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# Stands before all else in the page, so that the page's own policy, which allows no script, does not reach it.
_MEASURE = """<script>
addEventListener("load", () => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const box = (element) => { const r = element.getBoundingClientRect(); return [r.width, r.height]; };
  const found = {
    title: document.title,
    figures: Object.fromEntries(all("figure").map((figure) => [figure.id, box(figure.querySelector("svg"))])),
    images: all("image").map((i) => i.href.baseVal.slice(0, 10)),
    width: [document.documentElement.scrollWidth, document.documentElement.clientWidth],
    colours: [getComputedStyle(document.body).color, getComputedStyle(all("section")[0]).backgroundColor],
    ink: getComputedStyle(all("svg text")[0]).fill,
  };
  console.log("measured");
  const out = document.createElement("output");
  out.textContent = JSON.stringify(found);
  out.id = "measured";
  document.body.append(out);
});
</script>
"""


def find_browser() -> str | None:
    """Path of the first that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def measure(browser: str, page: Path, work: Path, *, width: int = 1100, dark: bool = False) -> dict[str, Any]:
    """Open a copy of a page without a network; what is measured, and ``console``: every line that it wrote.

    Args:
        browser: from ``find_browser``.
        page: to open.
        work: folder for the copy and the browser's profile.
        width: of the window, px.
        dark: whether the reader prefers a dark ground.
    """
    work.mkdir()
    copy = work / "page.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("<head>", "<head>" + _MEASURE, 1), encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={work / 'profile'}", f"--window-size={width},900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--enable-logging=stderr", "--v=0",
        "--virtual-time-budget=5000", "--dump-dom", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<output id="measured">(.*?)</output>', done.stdout, re.DOTALL)
    assert found is not None, f"the page did not load: {done.stderr[-2000:]}"
    console = [line.split("CONSOLE", 1)[1] for line in done.stderr.splitlines() if "CONSOLE" in line]
    return {**json.loads(unescape(found[1])), "console": console}
