"""When the npm package polls, and how: the promises of its own suite, in a real Chromium."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, Request, Route

from tests.browser.proxies import buffering
from tests.browser.sites import Site

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("switched_back")]

#: Every wait that the page's programs ask for, in milliseconds, is noted and made short.
NOTE_WAITS = """
window.waits = [];
const setTimeout_ = window.setTimeout;
window.setTimeout = (call, ms, ...rest) => {
  waits.push(ms);
  return setTimeout_(call, Math.min(ms, window.longest ?? 50), ...rest);
};
"""
#: The package's own defaults, which the page shortens.
DEFAULTS = """() => Object.assign(MessageBus, {
  callbackInterval: 15000, backgroundCallbackInterval: 60000, minPollInterval: 100,
  maxPollInterval: 180000, firstChunkTimeout: 3000,
})"""


@pytest.fixture
async def tab(site: Site, page: Page) -> Page:
    await page.add_init_script(NOTE_WAITS)
    await page.goto(site.url)
    await page.evaluate(DEFAULTS)
    return page


async def listen(tab: Page, *channels: str, last_id: int = 0, **settings: Any) -> None:
    """Set the client's settings, and subscribe in the same turn."""
    await tab.evaluate(
        """([channels, lastId, settings]) => {
          Object.assign(MessageBus, settings);
          for (const channel of channels) listen(channel, lastId);
        }""",
        [channels, last_id, settings],
    )


async def got(tab: Page, count: int) -> None:
    await tab.wait_for_function("(count) => got.length >= count", arg=count)


async def waited(tab: Page, low: float, high: float) -> None:
    """Wait until the client has asked for a wait between two lengths, in milliseconds."""
    await tab.wait_for_function(
        "([low, high]) => waits.some((ms) => low <= ms && ms <= high)", arg=[low, high]
    )


async def test_requests_have_exactly_the_headers_of_the_client_and_the_page(
    site: Site, tab: Page
) -> None:
    async with tab.expect_request("**/poll") as found:
        await listen(tab, site.channel(), last_id=-1, headers={"X-Mine": "1"})
    sent = await (await found.value).all_headers()
    assert sent["x-silence-logger"] == "true"
    assert sent["x-mine"] == "1"
    assert sent["content-type"].startswith("application/x-www-form-urlencoded")
    assert "dont-chunk" not in sent


async def test_the_base_url_comes_before_the_path(site: Site, tab: Page) -> None:
    async with tab.expect_request("**/message-bus/*/poll") as found:
        await listen(tab, site.channel(), baseUrl=f"{site.url}/elsewhere/")
    assert (await found.value).url.startswith(f"{site.url}/elsewhere/message-bus/")


async def test_the_least_interval_is_a_tenth_of_a_second_and_can_be_set(
    site: Site, tab: Page
) -> None:
    fresh = await tab.context.new_page()
    source = await (await fresh.goto(f"{site.url}/message-bus.js")).text()
    assert "minPollInterval: 100" in source
    await listen(tab, site.channel(), minPollInterval=137, enableChunkedEncoding=False)
    await site.publish((await tab.evaluate("() => MessageBus.callbacks[0].channel")), "data")
    await got(tab, 1)
    await waited(tab, 137, 137)


@pytest.mark.parametrize(("retry_after", "wait"), [(23, 23_000), (13, 15_000)])
async def test_a_limit_is_waited_out_for_as_long_as_the_server_says_and_15_seconds_at_least(
    site: Site, tab: Page, retry_after: int, wait: int
) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=429, headers={"Retry-After": str(retry_after)})

    await tab.route("**/message-bus/*/poll*", refuse)
    await listen(tab, site.channel())
    await waited(tab, wait, wait)


async def test_after_a_stream_with_data_the_next_poll_keeps_the_interval(
    site: Site, tab: Page
) -> None:
    await site.switch(long_polling_interval=0.3)
    channel = site.channel()
    await site.publish(channel, "data")
    await listen(tab, channel)
    await got(tab, 1)
    await waited(tab, 10_000, 15_000)


async def test_without_long_polling_the_next_poll_keeps_the_longer_interval(
    site: Site, tab: Page
) -> None:
    channel = site.channel()
    await site.publish(channel, "data")
    await tab.evaluate("() => { MessageBus.shouldLongPollCallback = () => false }")
    await listen(tab, channel)
    await got(tab, 1)
    await waited(tab, 55_000, 60_000)


async def test_a_plain_long_poll_with_data_is_followed_at_once(site: Site, tab: Page) -> None:
    channel = site.channel()
    await site.publish(channel, "data")
    await listen(tab, channel, enableChunkedEncoding=False)
    await got(tab, 1)
    await waited(tab, 100, 100)
    assert not await tab.evaluate("() => waits.some((ms) => 10000 <= ms)")


async def test_where_no_first_chunk_comes_so_many_polls_as_set_go_without(
    site: Site, page: Page
) -> None:
    kinds: list[bool] = []
    streamed_again = asyncio.Event()

    async def note(request: Request) -> None:
        if request.url.endswith("/poll"):
            kinds.append("dont-chunk" in await request.all_headers())
            if kinds[-2:] == [True, False]:
                streamed_again.set()

    page.on("request", note)
    channel = site.channel()
    async with buffering(site.server.port) as port:
        await page.goto(f"http://127.0.0.1:{port}/")
        await listen(page, channel, firstChunkTimeout=300, retryChunkedAfterRequests=1)
        await page.wait_for_function("() => MessageBus.longPoll === null")
        await site.publish(channel, "data")
        async with asyncio.timeout(20):
            await streamed_again.wait()
        await page.evaluate("() => MessageBus.stop()")
    assert kinds[:3] == [False, True, False]


async def test_a_poll_cut_for_a_new_subscription_is_no_sign_of_a_buffering_proxy(
    site: Site, tab: Page
) -> None:
    kinds: list[bool] = []
    held, let_go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        kinds.append("dont-chunk" in await route.request.all_headers())
        held.set()
        if len(kinds) == 1:
            await let_go.wait()
            await route.abort()
        else:
            await route.continue_()

    await tab.route("**/message-bus/*/poll*", hold)
    first, second = site.channel(), site.channel()
    await site.publish(second, "data")
    await listen(tab, first)
    await held.wait()
    await listen(tab, second)
    await got(tab, 1)
    let_go.set()
    assert len(kinds) >= 2
    assert not any(kinds)
