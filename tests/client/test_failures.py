"""What servers and networks do wrong: some of it is waited out, some is the caller's to know."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import pytest

from tests.client.scripted import Dialogue, event, napping_client, scripted, take, tell_one
from trunkline.client import Client
from trunkline.errors import AccessDeniedError, ProtocolError, UsageError

client = partial(napping_client, transport="sse")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 408])
async def test_waits_as_the_server_asks_and_comes_back(status: int) -> None:
    async def first(server: Dialogue) -> None:
        await server.answer(status, b"busy", retry_after="23")

    async with scripted(first, tell_one) as server:
        api, naps = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]
    assert naps.taken == [23.0]


async def test_backs_off_ever_longer_with_jitter_and_a_ceiling() -> None:
    async def fail(server: Dialogue) -> None:
        await server.answer(500)

    async with scripted(*[fail] * 9, tell_one) as server:
        api, naps = client(server.url, first_delay=1.0, max_delay=16.0)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]
    assert len(naps.taken) == 9
    for count, pause in enumerate(naps.taken):
        middle = min(16.0, 2.0**count)
        assert 0.5 * middle <= pause <= 1.5 * middle
    assert len(set(naps.taken)) == 9


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessDeniedError), (403, AccessDeniedError), (400, UsageError), (302, UsageError)],
)
async def test_what_waiting_cannot_cure_is_raised(status: int, kind: type[Exception]) -> None:
    async def script(server: Dialogue) -> None:
        body = b'{"type":"urn:trunkline:problem:why","title":"No","status":400,"detail":"because"}'
        await server.answer(status, body, "application/problem+json", location="http://x.invalid/")

    async with scripted(script) as server:
        api, naps = client(server.url)
        async with api:
            subscription = api.subscribe("/a")
            with pytest.raises(kind, match="because") as raised:
                await anext(subscription)
            with pytest.raises(kind):
                await subscription.open()
    assert raised.value.status == status
    assert naps.taken == []
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [200, 404])
async def test_another_servers_page_is_an_error_at_first_and_passes_later(status: int) -> None:
    async def page(server: Dialogue) -> None:
        await server.answer(status, b"<h1>Welcome</h1>", "text/html")

    async def work(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(event(len(served.seen)))

    async with scripted(page) as server:
        api, _ = client(server.url)
        async with api:
            with pytest.raises(ProtocolError, match="base URL"):
                await take(api.subscribe("/a"), 1)
    async with scripted(work, page, work) as served:
        api, _ = client(served.url)
        async with api:
            assert await take(api.subscribe("/a"), 2) == [1, 3]


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: no json\n\n",
        b'data: {"channel":1}\n\n',
        b"id: nonsense\n\n",
        b"event: gap\ndata: {}\n\n",
        b"event: ready\ndata: []\n\n",
        b"\xff\xfe\x00",
    ],
)
async def test_garbage_ends_the_connection_not_the_subscription(garbage: bytes) -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(garbage)

    async with scripted(first, tell_one) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]


async def test_what_is_no_http_at_all_is_met_with_patience() -> None:
    async def first(server: Dialogue) -> None:
        await server.send(b"\x00\x01SSH-2.0-what\r\n\r\n")

    async with scripted(first, tell_one) as server:
        api, _ = client(server.url)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]


async def test_a_silent_connection_is_given_up() -> None:
    async def first(server: Dialogue) -> None:
        await server.ready(0)
        await server.wait_for_close()

    async with scripted(first, tell_one) as server:
        api, _ = client(server.url, silence_timeout=0.05)
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    async with scripted() as gone:
        url = gone.url
    tries = asyncio.Event()

    async def sleep(_: float) -> None:
        tries.set()
        await asyncio.sleep(3600)

    async with Client(url, transport="sse", sleep=sleep) as api:
        subscription = api.subscribe("/a")
        async with asyncio.timeout(10):
            await tries.wait()
        subscription.close()
        with pytest.raises(StopAsyncIteration):
            await anext(subscription)


async def test_fresh_credentials_are_asked_for_before_each_connection() -> None:
    async def script(server: Dialogue) -> None:
        await server.ready(0)
        await server.stream(event(len(served.seen)))

    count = 0

    async def token() -> dict[str, str]:
        nonlocal count
        count += 1
        return {"Authorization": f"Bearer t{count}", "x-extra": "1"}

    async with scripted(script) as served:
        api, _ = client(served.url, token=token, headers={"X-App": "mine"})
        async with api:
            assert await take(api.subscribe("/a"), 2) == [1, 2]
    assert [one.headers["authorization"] for one in served.seen[:2]] == ["Bearer t1", "Bearer t2"]
    assert served.seen[0].headers["x-app"] == "mine"


async def test_secrets_stay_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def first(server: Dialogue) -> None:
        await server.answer(500)

    async with scripted(first, tell_one) as server:
        url = server.url.replace("http://", "http://user:hush@")
        api, _ = client(url, headers={"x-key": "hush"})
        async with api:
            assert await take(api.subscribe("/a"), 1) == [1]
    assert "hush" not in caplog.text
    api, _ = client(server.url, token="hush")
    assert "hush" not in repr(api) + repr(vars(api))
