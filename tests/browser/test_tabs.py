"""One connection for all tabs of a real Chromium: the leading tab closes, freezes, crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.browser.sites import Site

pytestmark = pytest.mark.browser

CONNECT = """([channel, transports]) => {
  window.told = { gaps: [], statuses: [], errors: [], there: [] };
  window.line = new Trunkline("/", {
    share: "tests", backoff: { base: 50, cap: 300 }, ...(transports ? { transports } : {}),
  });
  line.on("gap", (gap) => told.gaps.push(gap));
  line.on("status", ({ status }) => told.statuses.push(status));
  line.on("error", (error) => told.errors.push(String(error)));
  window.subscription = line.subscribe(channel, (message) => got.push(message.data), {
    position: "0",
  });
}"""


async def a_tab(
    context: BrowserContext, site: Site, channel: str, transport: str | None = None
) -> Page:
    tab = await context.new_page()
    await tab.goto(site.url + "/native")
    await tab.wait_for_function("() => window.ready")
    await tab.evaluate(CONNECT, [channel, [transport] if transport else None])
    return tab


async def got(tab: Page, count: int) -> list[Any]:
    await tab.wait_for_function("(count) => got.length >= count", arg=count)
    return list(await tab.evaluate("() => got"))


@pytest.mark.parametrize("transport", [None, "sse", "long-polling"])
async def test_a_leading_tab_that_closes_is_followed_without_loss_or_doubles(
    site: Site, page: Page, transport: str | None
) -> None:
    channel = site.channel()
    tabs = [await a_tab(page.context, site, channel, transport) for _ in range(3)]
    number = 0
    while len(tabs) > 1:
        await site.publish(channel, *range(number, number + 50))
        number += 50
        for tab in tabs:
            assert await got(tab, number) == list(range(number))
        await asyncio.gather(
            site.publish(channel, *range(number, number + 100)), tabs.pop(0).close()
        )
        number += 100
        await site.publish(channel, *range(number, number + 50))
        number += 50
        for tab in tabs:
            assert await got(tab, number) == list(range(number))
    assert await tabs[0].evaluate("() => told.gaps") == []
    assert await tabs[0].evaluate("() => line.transport") == (transport or "websocket")


async def test_tabs_open_one_socket_between_them(site: Site, page: Page) -> None:
    channel, other = site.channel(), site.channel()
    opened: list[str] = []
    page.context.on("page", lambda tab: tab.on("websocket", lambda ws: opened.append(ws.url)))
    first = await a_tab(page.context, site, channel)
    await first.wait_for_function("() => line.status === 'live'")
    second = await a_tab(page.context, site, channel)
    third = await a_tab(page.context, site, other)
    await site.publish(channel, 0, 1)
    await site.publish(other, "else")
    assert await got(first, 2) == await got(second, 2) == [0, 1]
    assert await got(third, 1) == ["else"]
    assert len(opened) == 1
    assert await second.evaluate("() => line.status") == "live"
    ids = {await tab.evaluate("() => line.clientId") for tab in (first, second, third)}
    assert len(ids) == 1
    for tab in (first, second, third):
        await tab.close()


async def test_a_tab_without_its_own_past_begins_now_and_keeps_its_place(
    site: Site, page: Page
) -> None:
    channel = site.channel()
    await site.publish(channel, "old")
    leader = await a_tab(page.context, site, channel)
    await got(leader, 1)
    tab = await a_tab(page.context, site, site.channel())
    await tab.evaluate(
        """(channel) => {
          window.later = line.subscribe(channel, (message) => got.push(message.data));
        }""",
        channel,
    )
    await tab.wait_for_function("() => later.position !== null")
    await leader.close()
    await site.publish(channel, "new")
    assert await got(tab, 1) == ["new"]
    await tab.close()


async def test_a_server_that_crashes_is_the_same_for_all_tabs(site: Site, page: Page) -> None:
    channel = site.channel()
    tabs = [await a_tab(page.context, site, channel) for _ in range(2)]
    await site.publish(channel, *range(10))
    for tab in tabs:
        await got(tab, 10)
    await site.server.kill9()
    for tab in tabs:
        await tab.wait_for_function("() => line.status !== 'live'")
    await site.publish(channel, *range(10, 20))
    await site.server.restart()
    await site.publish(channel, *range(20, 30))
    for tab in tabs:
        assert await got(tab, 30) == list(range(30))
        await tab.wait_for_function("() => line.status === 'live'")
        await tab.close()


async def test_offline_and_online_again_all_tabs_go_on(site: Site, page: Page) -> None:
    channel = site.channel()
    tabs = [await a_tab(page.context, site, channel) for _ in range(2)]
    await site.publish(channel, 0)
    for tab in tabs:
        await got(tab, 1)
    await page.context.set_offline(True)
    for tab in tabs:
        await tab.wait_for_function("() => ['offline', 'waiting'].includes(line.status)")
    await site.publish(channel, 1, 2)
    await page.context.set_offline(False)
    for tab in tabs:
        assert await got(tab, 3) == [0, 1, 2]
        await tab.close()


async def test_a_frozen_leader_loses_its_office(site: Site, page: Page) -> None:
    channel = site.channel()
    leader = await a_tab(page.context, site, channel)
    await site.publish(channel, 0)
    await got(leader, 1)
    # It holds the lock and does nothing: what a frozen tab does.
    blocked = asyncio.ensure_future(
        leader.evaluate("() => { const end = Date.now() + 9000; while (Date.now() < end); }")
    )
    tab = await a_tab(page.context, site, channel)
    assert await got(tab, 1) == [0]
    assert not blocked.done()
    await blocked
    await site.publish(channel, 1, 2)
    assert await got(tab, 3) == [0, 1, 2]
    assert await got(leader, 3) == [0, 1, 2]
    await leader.close()
    await tab.close()


async def test_paused_and_resumed_nothing_is_lost_or_doubled(site: Site, page: Page) -> None:
    channel = site.channel()
    tabs = [await a_tab(page.context, site, channel) for _ in range(2)]
    await site.publish(channel, 0, 1)
    for tab in tabs:
        await got(tab, 2)
    for tab in tabs:
        await tab.evaluate("() => line.pause()")
        assert await tab.evaluate("() => line.status") == "paused"
    await site.publish(channel, 2, 3)
    for tab in tabs:
        await tab.evaluate("() => line.resume()")
        assert await got(tab, 4) == [0, 1, 2, 3]
        log = await tab.evaluate("() => line.diagnostics().log.map((one) => one.detail.status)")
        assert "paused" in log
        await tab.close()
