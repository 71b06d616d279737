"""The npm package message-bus-client runs unchanged in a real Chromium against our server."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, Request

from tests.browser.proxies import buffering
from tests.browser.sites import Site

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("switched_back")]


@pytest.fixture
async def tab(site: Site, page: Page) -> Page:
    await page.goto(site.url)
    return page


@pytest.fixture
async def polls(page: Page) -> list[Request]:
    """Collect the polls that the page makes."""
    found: list[Request] = []

    def note(request: Request) -> None:
        if request.url.partition("?")[0].endswith("/poll"):
            found.append(request)

    page.on("request", note)
    return found


async def listen(tab: Page, channel: str, last_id: int | None = None) -> None:
    await tab.evaluate("([channel, lastId]) => void listen(channel, lastId)", [channel, last_id])


async def got(tab: Page, count: int, channel: str | None = None) -> list[Any]:
    """Wait for messages, and return their data."""
    await tab.wait_for_function(
        "([count, channel]) => "
        "got.filter(([name]) => !channel || name === channel).length >= count",
        arg=[count, channel],
    )
    rows = await tab.evaluate("() => got")
    return [data for name, data, _ in rows if channel in (None, name)]


async def established(tab: Page) -> None:
    """Wait until the client knows where its channels stand."""
    await tab.wait_for_function("() => MessageBus.callbacks.every((one) => one.last_id >= 0)")


@pytest.mark.parametrize(
    ("last_id", "seen"), [(0, [1, 2, 3, 4, 5]), (-1, [5]), (-3, [3, 4, 5]), (2, [3, 4, 5])]
)
async def test_a_subscription_begins_where_it_says(
    site: Site, tab: Page, last_id: int, seen: list[int]
) -> None:
    channel = site.channel()
    await site.publish(channel, 1, 2, 3, 4)
    await listen(tab, channel, last_id)
    await tab.wait_for_function("() => MessageBus.callbacks[0].last_id === 4")
    await site.publish(channel, 5)
    assert await got(tab, len(seen)) == seen


async def test_status_moves_a_client_to_the_end_without_a_message(site: Site, tab: Page) -> None:
    channel, statuses = site.channel(), "/__status"
    await site.publish(channel, *range(7))
    await listen(tab, statuses)
    await listen(tab, channel)
    await tab.wait_for_function("() => MessageBus.callbacks[1].last_id === 7")
    assert (await got(tab, 1))[-1][channel] == 7


async def test_a_withheld_message_moves_the_position_by_status(site: Site, tab: Page) -> None:
    channel = site.channel()
    await site.line.publish(channel, "theirs", client_ids=["another"])
    await listen(tab, channel, 0)
    await tab.wait_for_function("() => MessageBus.callbacks[0].last_id === 1")
    mine = await tab.evaluate("() => MessageBus.clientId")
    await site.line.publish(channel, "mine", client_ids=[mine])
    assert await got(tab, 1) == ["mine"]


async def test_streamed_messages_arrive_while_the_request_is_open(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    channel = site.channel()
    await listen(tab, channel)
    await established(tab)
    for number in range(1, 6):
        await site.publish(channel, number)
        assert await got(tab, number) == list(range(1, number + 1))
    assert await tab.evaluate("() => MessageBus.longPoll !== null")
    assert len(polls) == 1
    headers = await polls[0].all_headers()
    assert "dont-chunk" not in headers
    assert headers["x-silence-logger"] == "true"
    assert polls[0].post_data == f"{channel.replace('/', '%2F')}=-1&__seq=1"


async def test_a_stream_that_ends_is_followed_by_the_next(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    await site.switch(long_polling_interval=0.4)
    channel = site.channel()
    await listen(tab, channel, 0)
    for number in range(12):
        await site.publish(channel, number)
        await got(tab, number + 1)
        if number % 4 == 3:
            await tab.wait_for_function("() => MessageBus.longPoll === null")
            await tab.wait_for_function("() => MessageBus.longPoll !== null")
    assert await got(tab, 12) == list(range(12))
    assert len(polls) > 2


async def test_without_streaming_it_falls_back_to_long_polls(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    await tab.evaluate("() => { MessageBus.enableChunkedEncoding = false }")
    channel = site.channel()
    await listen(tab, channel)
    await established(tab)
    for number in range(3):
        await site.publish(channel, number)
        await got(tab, number + 1)
    assert await got(tab, 3) == [0, 1, 2]
    await tab.evaluate("() => MessageBus.stop()")  # the headers of a held request come late
    for request in polls:
        assert (await request.all_headers())["dont-chunk"] == "true"
        assert "dlp" not in request.url
    response = await polls[0].response()
    assert response is not None
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_behind_a_buffering_proxy_it_falls_back_to_long_polls(
    site: Site, page: Page, polls: list[Request]
) -> None:
    channel = site.channel()
    async with buffering(site.server.port) as port:
        await page.goto(f"http://127.0.0.1:{port}/")
        await page.evaluate("() => { MessageBus.firstChunkTimeout = 300 }")
        await listen(page, channel, 0)
        await page.wait_for_function("() => MessageBus.longPoll === null")
        for number in range(4):
            await site.publish(channel, number)
            await got(page, number + 1)
        assert await got(page, 4) == [0, 1, 2, 3]
        await page.evaluate("() => MessageBus.stop()")
        await page.wait_for_function("() => MessageBus.longPoll === null")
    kinds = ["dont-chunk" in await request.all_headers() for request in polls]
    assert kinds[0] is False
    assert kinds[1:]
    assert all(kinds[1:])


async def test_without_long_polling_it_falls_back_to_polls(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    await tab.evaluate("() => { MessageBus.enableLongPolling = false }")
    channel = site.channel()
    await listen(tab, channel, 0)
    for number in range(3):
        await site.publish(channel, number)
        await got(tab, number + 1)
    assert await got(tab, 3) == [0, 1, 2]
    assert all(request.url.endswith("?dlp=t") for request in polls)


async def test_a_server_that_does_not_hold_is_polled(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    await site.switch(long_polling_enabled=False)
    channel = site.channel()
    await listen(tab, channel, 0)
    for number in range(3):
        await site.publish(channel, number)
        await got(tab, number + 1)
    assert await got(tab, 3) == [0, 1, 2]
    assert len(polls) >= 3
    response = await polls[0].response()
    assert response is not None
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_hidden_tab_polls_and_a_shown_one_streams_again(
    site: Site, tab: Page, polls: list[Request]
) -> None:
    await site.switch(long_polling_interval=0.5)
    channel = site.channel()
    await listen(tab, channel, 0)
    await site.publish(channel, "seen")
    await got(tab, 1)
    await tab.evaluate("() => show(false)")
    async with tab.expect_request(lambda request: "?dlp=t" in request.url):
        pass
    await site.publish(channel, "hidden")
    await got(tab, 2)
    assert polls[-1].url.endswith("?dlp=t")
    await site.switch(long_polling_interval=25)
    async with tab.expect_request(lambda request: request.url.endswith("/poll")):
        await tab.evaluate("() => show(true)")
    await site.publish(channel, "shown")
    assert await got(tab, 3) == ["seen", "hidden", "shown"]


async def test_nothing_is_lost_over_a_crash_of_the_server(site: Site, tab: Page) -> None:
    first, second = site.channel(), site.channel()
    await listen(tab, first, 0)
    await listen(tab, second, 0)
    await site.publish(first, *range(200))
    await site.publish(second, *range(200))
    await got(tab, 50)
    await site.server.kill9()
    await site.publish(first, *range(200, 400))
    await site.publish(second, *range(200, 400))
    await site.server.restart()
    await site.publish(first, *range(400, 600))
    await site.publish(second, *range(400, 600))
    assert await got(tab, 600, first) == list(range(600))
    assert await got(tab, 600, second) == list(range(600))
    assert await tab.evaluate("() => got.length") == 1200


async def test_a_pause_keeps_messages_until_it_is_over(site: Site, tab: Page) -> None:
    channel = site.channel()
    await listen(tab, channel)
    await established(tab)
    await tab.evaluate("() => MessageBus.pause()")
    assert await tab.evaluate("() => MessageBus.status()") == "paused"
    await site.publish(channel, "one", "two", "three")
    await tab.wait_for_function("() => parsed.includes('three')")
    assert await tab.evaluate("() => got.length") == 0
    await tab.evaluate("() => MessageBus.resume()")
    assert await got(tab, 3) == ["one", "two", "three"]
    assert await tab.evaluate("() => MessageBus.status()") == "started"


async def test_what_was_unsubscribed_is_heard_no_more(site: Site, tab: Page) -> None:
    left, kept = site.channel(), site.channel()
    await listen(tab, left, 0)
    await listen(tab, kept, 0)
    await site.publish(left, 1)
    await site.publish(kept, 1)
    await got(tab, 2)
    assert await tab.evaluate("(channel) => MessageBus.unsubscribe(channel)", left)
    await site.publish(left, 2)
    await site.publish(kept, 2)
    assert await got(tab, 2, kept) == [1, 2]
    assert await got(tab, 1, left) == [1]
    assert await tab.evaluate("() => MessageBus.unsubscribe('/room/*')")
    assert await tab.evaluate("() => MessageBus.callbacks.length") == 0


async def test_a_stopped_client_starts_again_where_it_was(site: Site, tab: Page) -> None:
    channel = site.channel()
    await listen(tab, channel, 0)
    await site.publish(channel, 1)
    await got(tab, 1)
    await tab.evaluate("() => MessageBus.stop()")
    assert await tab.evaluate("() => MessageBus.status()") == "stopped"
    await site.publish(channel, 2)
    await tab.evaluate("() => MessageBus.start()")
    await site.publish(channel, 3)
    assert await got(tab, 3) == [1, 2, 3]


async def test_two_tabs_hear_the_same(site: Site, tab: Page) -> None:
    other = await tab.context.new_page()
    await other.goto(site.url)
    channel = site.channel()
    for one in (tab, other):
        await listen(one, channel, 0)
    await site.publish(channel, *range(20))
    assert await got(tab, 20) == await got(other, 20) == list(range(20))
