"""The browser client in a real Chromium, over every transport, against a server that crashes."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, WebSocketRoute

from tests.browser.sites import Site
from trunkline.testing.servers import HOST, Server

pytestmark = pytest.mark.browser

TRANSPORTS = ("websocket", "sse", "long-polling", "polling")
CONNECT = """([transports, channel, start]) => {
  window.told = { gaps: [], statuses: [], errors: [] };
  window.line = new Trunkline("/", {
    ...(transports ? { transports } : {}), pollInterval: 100, backoff: { base: 50, cap: 300 },
  });
  line.on("gap", (gap) => told.gaps.push(gap));
  line.on("status", ({ status }) => told.statuses.push(status));
  line.on("error", (error) => told.errors.push(String(error)));
  window.subscription = line.subscribe(channel, (message) => {
    got.push([message.message_id, message.data]);
  }, start);
}"""


async def connect(
    page: Page, site: Site, channel: str, transport: str | None = None, **start: Any
) -> None:
    await page.goto(site.url + "/native")
    await page.wait_for_function("() => window.ready")
    await page.evaluate(CONNECT, [[transport] if transport else None, channel, start])


async def got(page: Page, count: int) -> list[Any]:
    """Wait for messages, and return their data, having checked that their ids are dense."""
    await page.wait_for_function("(count) => got.length >= count", arg=count)
    rows = await page.evaluate("() => got")
    ids = [number for number, _ in rows]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    return [data for _, data in rows]


async def is_live(page: Page) -> None:
    await page.wait_for_function("() => line.status === 'live'")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nothing_is_lost_or_doubled_over_a_crash(
    site: Site, page: Page, transport: str
) -> None:
    channel = site.channel()
    await site.publish(channel, *range(100))
    await connect(page, site, channel, transport, position="0")
    await got(page, 100)
    await site.publish(channel, *range(100, 300))
    await site.server.kill9()
    await site.publish(channel, *range(300, 500))
    await site.server.restart()
    await site.publish(channel, *range(500, 600))
    assert await got(page, 600) == list(range(600))
    assert await page.evaluate("() => line.transport") == transport
    assert await page.evaluate("() => told.gaps") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_was_trimmed_meanwhile_is_told_as_a_gap(
    site: Site, page: Page, transport: str
) -> None:
    channel = site.channel()
    await site.publish(channel, *range(10))
    await connect(page, site, channel, transport, position="0")
    await got(page, 10)
    await site.server.kill9()
    await site.publish(channel, *range(10, 20))
    await site.line.trim(channel, 15)
    await site.server.restart()
    await page.wait_for_function("() => told.gaps.length > 0")
    await page.wait_for_function("() => got.length >= 15")
    await site.publish(channel, 20)
    await page.wait_for_function("() => got.length >= 16")
    rows = await page.evaluate("() => got")
    assert [data for _, data in rows] == [*range(10), *range(15, 21)]
    gaps = await page.evaluate("() => told.gaps")
    assert [(gap["reason"], gap["channels"]) for gap in gaps] == [("trimmed", [channel])]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_it_starts_with_the_last_messages_and_goes_on(
    site: Site, page: Page, transport: str
) -> None:
    channel = site.channel()
    await site.publish(channel, *range(10))
    await connect(page, site, channel, transport, last=3)
    await got(page, 3)
    await site.publish(channel, 10)
    assert await got(page, 4) == [7, 8, 9, 10]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_pattern_hears_every_channel_in_the_order_of_the_line(
    site: Site, page: Page, transport: str
) -> None:
    root = site.channel()
    await connect(page, site, f"{root}/*", transport, position="0")
    await is_live(page)
    for number in range(30):
        await site.publish(f"{root}/{number % 3}", number)
    await page.wait_for_function("() => got.length >= 30")
    assert [data for _, data in await page.evaluate("() => got")] == list(range(30))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_offline_and_online_again_loses_nothing(
    site: Site, page: Page, transport: str
) -> None:
    channel = site.channel()
    await connect(page, site, channel, transport, position="0")
    await site.publish(channel, 0)
    await got(page, 1)
    await page.context.set_offline(True)
    await page.wait_for_function("() => line.status === 'offline' || line.status === 'waiting'")
    await site.publish(channel, 1, 2)
    await page.context.set_offline(False)
    await site.publish(channel, 3)
    assert await got(page, 4) == [0, 1, 2, 3]
    await is_live(page)


async def test_without_sockets_and_streams_it_falls_back_to_polling(site: Site, page: Page) -> None:
    async def refuse(socket: WebSocketRoute) -> None:
        await socket.close(code=1011)

    await page.route_web_socket(re.compile(r"/ws"), refuse)
    await page.route(re.compile(r"/sse\?"), lambda route: route.abort())
    channel = site.channel()
    await site.publish(channel, 0)
    await connect(page, site, channel, position="0")
    await got(page, 1)
    await site.publish(channel, 1)
    assert await got(page, 2) == [0, 1]
    assert await page.evaluate("() => line.transport") == "long-polling"


async def test_a_changed_transport_goes_on_where_the_other_was(site: Site, page: Page) -> None:
    channel = site.channel()
    await connect(page, site, channel, "websocket", position="0")
    for number, transport in enumerate([*TRANSPORTS, "sse", "websocket"]):
        await page.evaluate("(name) => line.use([name])", transport)
        await site.publish(channel, number)
        await got(page, number + 1)
    assert await got(page, 6) == list(range(6))


# -- the demo ---------------------------------------------------------------------------------


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Server]:
    start = "from trunkline.cli import main; main()"
    log = f"sqlite:///{tmp_path / 'demo.db'}"
    where = ["--host", HOST, "--port", "{port}", "--log", log]
    async with Server([sys.executable, "-c", start, "demo", *where], directory=tmp_path) as server:
        yield server
        assert "Traceback" not in server.output()


async def said(tab: Page, text: str) -> None:
    await tab.locator("#messages .bubble", has_text=text).wait_for()


async def drawn(tab: Page) -> None:
    """Wait until the vitals are there, in words and as a line on the canvas."""
    await tab.wait_for_function(
        """() => {
          const canvas = document.getElementById("chart-cpu");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const colours = new Set();
          for (let at = 0; at < data.length; at += 4) {
            if (data[at + 3] > 200) colours.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
          }
          return colours.size > 2 && document.getElementById("now-cpu").textContent.includes("%");
        }"""
    )


async def received(tab: Page) -> int:
    return int((await tab.locator("#figure-received").inner_text()).replace(",", "") or 0)


async def test_two_tabs_share_the_demos_room_over_a_crash(
    browser: Browser, page: Page, demo: Server, tmp_path: Path
) -> None:
    other = await page.context.new_page()
    for tab in (page, other):
        await tab.goto(demo.url)
        await tab.locator("#status[data-status=live]").wait_for()
    await page.locator("#text").fill("hello from the first tab")
    await page.locator("#text").press("Enter")
    await said(other, "hello from the first tab")
    for tab in (page, other):
        await drawn(tab)
    await demo.kill9()
    for tab in (page, other):
        await tab.locator("#status:not([data-status=live])").wait_for()
    await demo.restart()
    for tab in (page, other):
        await tab.locator("#status[data-status=live]").wait_for()
    await other.locator("#text").fill("and back")
    await other.locator("#text").press("Enter")
    await said(page, "and back")
    before = await received(page)
    await page.wait_for_function(
        "(before) => +document.getElementById('figure-received').textContent"
        ".replaceAll(',', '') > before + 4",
        arg=before,
    )
    for tab in (page, other):
        await drawn(tab)
        assert await tab.locator("#figure-missing").inner_text() == "0"
    assert await page.locator("#messages .bubble").count() == 2
    await page.screenshot(path=tmp_path / "demo.png", full_page=True)
    assert (tmp_path / "demo.png").stat().st_size > 10_000
