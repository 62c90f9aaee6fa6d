"""`mer view` in a real browser: clicks, keys, and exactly the store's frames on the screen."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.inspect.figures import change_against
from pipeline.view.frames import CHANGE_STEP
from pipeline.view.server import start
from schemas.clip import ExpressionInterval
from schemas.labels import Label
from tests.pipeline.view.devtools import Tab, opened
from tests.tiny_stores import SIZE, tiny_store
from tests.training.report.browser import find_browser

KEYS = ("casme2/sub01/EP01", "casme2/sub<img src=x onerror=window.hurt=1>/EP02")  # a store may be anybody's
LENGTHS = dict(zip(KEYS, (6, 9), strict=True))

# All elements, also inside of shadow trees, and where those of a class are seen.
_SCRIPT = """
window.all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])])
window.boxes = (name) => all(document).filter((e) => e.classList.contains(name)).map((e) => e.getBoundingClientRect())
  .filter((box) => box.width > 0).map((box) => [box.x, box.y, box.width, box.height])
"""
_TIPS = """all(document).filter((e) => e.localName.includes("tooltip") || /Tooltip/.test(e.className))
  .map((e) => (e.shadowRoot ?? e).textContent)"""
_TEXTS = "all(document).filter((e) => e.localName === 'dd').map((e) => e.textContent)"
_MODEL = "Bokeh.documents[0].get_model_by_name"


async def open_first_card(tab: Tab) -> None:
    await tab.until("window.Bokeh?.documents?.[0]?.is_idle")
    await tab.value(_SCRIPT)
    x, y, width, height = await tab.until("boxes('card')[0]")
    await tab.click(x + width / 2, y + height / 2)


@pytest.mark.slow
def test_a_person_looks_at_clips(tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    store = tiny_store(tmp_path / "tiny.zarr", KEYS, lengths=LENGTHS)

    async def look() -> None:
        server, url = start(store, None)
        async with opened(browser, url, tmp_path / "profile") as tab:
            await open_first_card(tab)
            await tab.until(
                f"{_MODEL}('tabs').active === 1 && {_MODEL}('texture').data.image[0].some((value) => value > 0)"
            )

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

            x, y, width, height = (await tab.value("boxes('bk-events')"))[4]  # the motion chart, after four panels
            await tab.click(x + 0.9 * width, y + height / 2)
            await tab.until(f"{_MODEL}('frame').value > 3")
            await asyncio.sleep(0.5)  # a second click at once would be a double click
            await tab.click(x + 0.1 * width, y + height / 2)
            await tab.until(f"{_MODEL}('frame').value < 2")

            await tab.press(" ")
            await tab.until(f"{_MODEL}('frame').value === 5")  # at 1/4 speed
            await tab.until(f"{_MODEL}('frame').value < 5")  # and from the beginning again
            await tab.press(" ")
            assert await tab.value(f"{_MODEL}('play').active") is False

            await tab.press("n")
            await tab.until(f"{_MODEL}('frame').end === {LENGTHS[KEYS[1]] - 1}")
            assert await tab.value(f"{_MODEL}('frame').value") == 0

            await tab.value(f"{_MODEL}('tabs').active = 2")
            x, y, width, height = await tab.until("boxes('bk-events').at(-1)")
            for step in range(20):  # down the cells of the hostile subject, until its name is shown at the pointer
                place = {"x": x + 0.75 * width, "y": y + height * step / 20}
                await tab.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
                await asyncio.sleep(0.05)
                if any("hurt=1" in text for text in await tab.value(_TIPS)):
                    break
            else:
                pytest.fail(f"no tip: {await tab.value(_TIPS)}")
            assert await tab.value("window.hurt === undefined")
            assert tab.problems == []
        server.stop()

    asyncio.run(look())


@pytest.mark.slow
def test_a_tap_on_an_expression_of_a_recording_shows_its_onset(tmp_path: Path) -> None:
    """Frames count from 10: the macro-expression at 200 to 259 of 10 to 309 is at position 190, wherever it is hit."""
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium on this machine")
    key = "casme-sq/s1/v"
    shown = [
        ExpressionInterval(onset=60, offset=63, label=Label(expression_type="micro")),
        ExpressionInterval(onset=200, offset=259, label=Label(expression_type="macro")),
    ]
    store = tiny_store(tmp_path / "long.zarr", [key], depth=False, lengths={key: 300}, intervals={key: shown})

    async def look() -> None:
        server, url = start(store, None)
        async with opened(browser, url, tmp_path / "profile") as tab:
            await open_first_card(tab)
            await tab.until(f"{_MODEL}('tabs').active === 1 && {_MODEL}('frame').end === 299")
            assert any("1 micro, 1 macro" in text for text in await tab.value(_TEXTS))
            place = f"""(() => {{
              const view = Bokeh.index.find_one_by_id({_MODEL}('timeline').id), box = view.el.getBoundingClientRect()
              const at = (number, lane) =>
                [box.x + view.frame.x_scale.compute(number), box.y + view.frame.y_scale.compute(lane)]
              return box.width > 0 && [at(230, "macro"), at(61, "micro"), at(120, "micro")]
            }})()"""
            macro, micro, nothing = await tab.until(place)
            for (x, y), position in ((macro, 190), (micro, 50), (nothing, 110)):
                await tab.click(x, y)
                await tab.until(f"Math.abs({_MODEL}('frame').value - {position}) <= {2 * (position == 110)}")
                await asyncio.sleep(0.5)  # a second click at once would be a double click
            assert tab.problems == []
        server.stop()

    asyncio.run(look())
