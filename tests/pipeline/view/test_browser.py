"""`mer view` in a real browser: clicks, keys, and exactly the store's frames on the screen."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.inspect.figures import change_against
from pipeline.view.frames import CHANGE_STEP
from pipeline.view.server import start
from tests.pipeline.view.devtools import opened
from tests.tiny_stores import SIZE, tiny_store
from tests.training.report.browser import find_browser

KEYS = ("casme2/sub01/EP01", "casme2/sub<img src=x onerror=window.hurt=1>/EP02")  # a store may be anybody's
LENGTHS = dict(zip(KEYS, (6, 9), strict=True))

# A first card, also inside of shadow trees, and a model of the page by its name.
_CARD = """(() => {
  const find = (root) => {
    for (const element of root.querySelectorAll("*")) {
      const found = element.dataset?.clip ? element : element.shadowRoot ? find(element.shadowRoot) : null
      if (found) return found
    }
  }
  const box = find(document)?.getBoundingClientRect()
  return box && [box.x + box.width / 2, box.y + box.height / 2]
})()"""
_MODEL = "Bokeh.documents[0].get_model_by_name"


@pytest.mark.slow
def test_a_person_looks_at_clips(tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    store = tiny_store(tmp_path / "tiny.zarr", KEYS, lengths=LENGTHS)

    async def look() -> None:
        server, url = start(store, None)
        async with opened(browser, url, tmp_path / "profile") as tab:
            await tab.until("window.Bokeh?.documents?.[0]?.is_idle")
            await tab.click(*await tab.until(_CARD))
            await tab.until(f"{_MODEL}('texture').data.image[0].some((value) => value > 0)")

            await tab.press("ArrowRight")
            await tab.press("ArrowRight")
            assert await tab.value(f"{_MODEL}('frame').value") == 2
            seen = await tab.value(f"Array.from(new Uint8Array({_MODEL}('texture').data.image[0].buffer))")
            texture = store.texture(KEYS[0])
            shown = np.array(seen, np.uint8).reshape(SIZE, SIZE, 4)
            assert np.array_equal(shown[..., :3], texture[2])
            assert (shown[..., 3] == 255).all()
            change = np.array(await tab.value(f"Array.from({_MODEL}('change').data.image[0])")).reshape(SIZE, SIZE)
            assert np.abs(change - change_against(texture[0], texture[2])).max() <= CHANGE_STEP / 2

            await tab.press(" ")
            await tab.until(f"{_MODEL}('frame').value === 5")  # at 1/4 speed
            await tab.until(f"{_MODEL}('frame').value < 5")  # and from the beginning again
            await tab.press(" ")
            assert await tab.value(f"{_MODEL}('play').active") is False

            await tab.press("n")
            await tab.until(f"{_MODEL}('frame').end === {LENGTHS[KEYS[1]] - 1}")
            assert await tab.value(f"{_MODEL}('frame').value") == 0

            await tab.value("Bokeh.documents[0].get_model_by_name('tabs').active = 2")
            x, y, width, height = await tab.until(_CANVAS)
            for step in range(0, int(width), 4):  # across the two clips' points and cells, whose names are shown
                await tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y + height / 2)
            assert await tab.value("window.hurt === undefined")
            assert tab.problems == []
        server.stop()

    asyncio.run(look())
