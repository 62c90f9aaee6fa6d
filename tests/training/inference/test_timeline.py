"""The page that one scrubs through, in a real headless Chromium: the slider says what the models say of that moment."""

import json
import re
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tests.training.report.browser import find_browser
from training.inference.predict import StorePrediction
from training.inference.timeline import timeline_page

SPANS = {f"windows/1/{n}": ("talk <1>.mp4", n / 4, n / 4 + 0.5) for n in range(4)}  # the last ends at 1.25 s
PREDICTION = StorePrediction(
    ("calm", "<happy>"), tuple(SPANS), np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan], [0.6, 0.4]]),
    ("", "", "no face on it", ""), ("one",), ("trained on the same person",), "run", "store",
)  # fmt: skip

# Moves the slider as a hand does, and notes what then stands there.
_SCRUB = """<script>
addEventListener("load", () => {
  const slider = document.querySelector("input"), seen = [];
  for (const time of [0, 0.45, 0.8, 1.25]) {
    slider.value = time;
    slider.dispatchEvent(new Event("input"));
    seen.push({
      said: document.querySelector("output").textContent,
      numbers: [...document.querySelectorAll(".lane b")].map((b) => b.textContent),
      line: document.querySelector(".now").getAttribute("x1"),
      played: document.querySelector("video")?.currentTime,
    });
  }
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify({seen, width: [document.documentElement.scrollWidth, innerWidth]});
  document.body.append(out);
});
</script>"""


def test_the_slider_shows_the_window_of_each_moment(tmp_path: Path) -> None:
    """Windows every quarter of a second: 0.45 s is nearest to the second, 0.8 s to the third, which has no face."""
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "timeline.html"
    html = timeline_page(PREDICTION, SPANS, {"talk <1>.mp4": tmp_path / "talk <1>.mp4"})
    page.write_text(html.replace("<head>", "<head>" + _SCRUB, 1))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=420,900", "--virtual-time-budget=5000",
               "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    result = json.loads(unescape(found[1]))
    first, second, third, last = result["seen"]
    assert first == {"said": "0.00 to 0.50 s: calm", "numbers": ["0.90", "0.10", "0.00 s"], "line": "0", "played": 0}
    assert second["said"] == "0.25 to 0.75 s: <happy>"
    assert second["numbers"] == ["0.20", "0.80", "0.45 s"]
    assert float(second["line"]) == pytest.approx(100 * 0.45 / 1.25)
    assert third["said"] == "0.50 to 1.00 s: no prediction: no face on it"
    assert third["numbers"] == ["", "", "0.80 s"]
    assert last["said"] == "0.75 to 1.25 s: calm"
    assert result["width"][0] <= result["width"][1], "a narrow window does not scroll sideways"


def test_intervals_with_gaps_between_them_have_bars_of_their_own_length() -> None:
    """What nobody looked at gets no probability from its neighbours."""
    spans = {"a": ("v.mp4", 1.0, 2.0), "b": ("v.mp4", 6.0, 10.0)}
    prediction = StorePrediction(("calm", "happy"), ("a", "b"), np.full((2, 2), 0.5), ("", ""), ("one",), (), "r", "s")
    html = timeline_page(prediction, spans, {})
    assert re.findall(r'<rect x="(.*?)" y="50.0" width="(.*?)"', html) == [("10.0", "10.0"), ("60.0", "40.0")] * 2


def test_bars_lie_where_their_windows_do() -> None:
    """As wide as the time that is nearest to a window, as high as its probability; none without a prediction."""
    html = timeline_page(PREDICTION, SPANS, {})
    bars = [
        tuple(map(float, bar)) for bar in re.findall(r'<rect x="(.*?)" y="(.*?)" width="(.*?)" height="(.*?)"', html)
    ]
    assert bars[:3] == [(0, 10, 30, 90), (30, 80, 20, 20), (70, 40, 30, 60)]  # the middles are 0.25, 0.5, 0.75, 1 s
    assert bars[3:] == [(0, 90, 30, 10), (30, 20, 20, 80), (70, 60, 30, 40)]
    assert "<video" not in html
    assert "trained on the same person" in html
    assert "&lt;happy&gt;" in html
    assert "<happy>" not in html
