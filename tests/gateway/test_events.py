"""An event stream carries every message from its position on, over a transport and over ASGI."""

from __future__ import annotations

import pytest

from tests.gateway.held import HANDED_OVER, PLAIN, get, served, wire


@pytest.fixture(params=[HANDED_OVER, PLAIN], ids=["handed-over", "asgi"])
def http(request):
    return request.param


async def test_live_messages_arrive_in_order_after_ready(http):
    async with served(http=http) as held, wire(held.port, get("/sse?channel=/a")) as client:
        head = await client.until(b"\n\n")
        assert b"HTTP/1.1 200 OK\r\n" in head
        assert b"content-type: text/event-stream; charset=utf-8\r\n" in head
        assert b"event: ready\n" in head
        for number in range(3):
            await held.line.bus.publish("/a", number)
        await client.until(b'"data":0}\n\n')
        await client.until(b'"data":1}\n\n')
        await client.until(b'"data":2}\n\n')


async def test_a_stream_resumes_after_the_last_event_id(http):
    async with served(http=http) as held:
        for number in range(5):
            await held.line.bus.publish("/a", number)
        position = (await held.line.bus.backlog("/a"))[1].position
        request = get("/sse?channel=/a", f"last-event-id: {position}")
        async with wire(held.port, request) as client:
            seen = await client.until(b'"data":4}\n\n')
            assert [b'"data":%d}' % n in seen for n in range(5)] == [False, False, True, True, True]
