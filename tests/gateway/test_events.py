"""An event stream carries every message from its position on, over a transport and over ASGI."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from tests.gateway.held import HANDED_OVER, PLAIN, Wire, get, served, wire
from trunkline.gateway.options import GatewayOptions
from trunkline.model.identity import ANONYMOUS


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


async def test_a_position_that_was_trimmed_is_told_as_a_gap(http):
    async with served(http=http) as held:
        for number in range(5):
            await held.line.bus.publish("/a", number)
        position = (await held.line.bus.backlog("/a"))[0].position
        await held.line.bus.trim("/a", 3)
        async with wire(held.port, get("/sse?channel=/a", f"last-event-id: {position}")) as client:
            seen = await client.until(b'"data":4}\n\n')
            assert b'event: gap\ndata: {"reason":"trimmed","channels":["/a"]' in seen
            assert seen.index(b"event: gap") < seen.index(b'"data":3}')
            assert b'"data":2}' not in seen


async def test_a_position_of_another_line_is_told_as_a_reset(http):
    async with served(http=http) as held:
        await held.line.bus.publish("/a", "first")
        async with wire(held.port, get("/sse?channel=/a", "last-event-id: zz-9")) as client:
            seen = await client.until(b'"data":"first"}\n\n')
            assert b'event: gap\ndata: {"reason":"reset"' in seen


async def test_a_reset_is_told_once_to_live_streams_and_nothing_after_it_is_lost(http):
    async with served(http=http) as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        await held.line.bus.publish("/a", "old")
        await client.until(b'"old"}\n\n')
        await held.line.bus.reset()
        await held.line.bus.publish("/a", "new")
        seen = await client.until(b'"new"}\n\n')
        assert seen.count(b"event: gap") == 1
        assert b'"reason":"reset"' in seen


async def test_the_oldest_kept_is_never_a_gap(http):
    async with served(http=http) as held:
        for number in range(4):
            await held.line.bus.publish("/a", number)
            await held.line.bus.publish("/b", number)
        await held.line.bus.trim("/a", 3)
        request = get("/sse?channel=/a&channel=/b&position=0")
        async with wire(held.port, request) as client:
            seen = await client.until(b'"/b","message_id":4')
            assert b"event: gap" not in seen
            assert seen.count(b'"channel":"/a"') == 1
            assert seen.count(b'"channel":"/b"') == 4


async def test_the_last_n_of_each_channel_come_first_in_global_order(http):
    async with served(http=http) as held:
        for number in range(4):
            await held.line.bus.publish("/a", number)
            await held.line.bus.publish("/b", number)
        request = get("/sse?channel=/a&channel=/b&last=2")
        async with wire(held.port, request) as client:
            seen = await client.until(b'"global_id":8,')
            ids = [int(part.split(b",")[0]) for part in seen.split(b'"global_id":')[1:]]
            assert ids == [5, 6, 7, 8]


async def test_what_a_listener_may_not_see_moves_its_position_at_the_next_heartbeat(http):
    async with served(http=http) as held:
        held.gateway.options.heartbeat_interval = 0.1
        async with wire(held.port, get("/sse?channel=/a&client_id=me")) as client:
            await client.until(b"event: ready")
            for audience in (["other"], ["me"]):
                await held.line.bus.publish("/a", audience, client_ids=audience)
            seen = await client.until(b'["me"]}\n\n')
            assert b'["other"]' not in seen
            await held.line.bus.publish("/a", "theirs", client_ids=["other"])
            epoch = (await held.line.bus.position()).epoch
            assert b"theirs" not in await client.until(f"id: {epoch}-3\n\n".encode())


async def test_channels_of_a_pattern_are_asked_for_one_by_one(http):
    asked = []

    async def access(_, name):
        asked.append(name)
        return name != "/room/secret"

    async def identify(_):
        return ANONYMOUS

    async with (
        served(http=http, access=access, identify=identify) as held,
        wire(held.port, get("/sse?channel=/room/*")) as client,
    ):
        await client.until(b"event: ready")
        for name in ("/room/one", "/room/secret", "/room/one", "/room/two"):
            await held.line.bus.publish(name, name)
        seen = await client.until(b'"data":"/room/two"}\n\n')
        assert b"secret" not in seen
        assert seen.count(b'"/room/one"}\n\n') == 2
        assert sorted(asked) == ["/room/one", "/room/secret", "/room/two"]


async def test_refused_channels_are_named_and_all_refused_is_forbidden(http):
    async with served(
        http=http, access=lambda _, name: name == "/a", identify=lambda _: ANONYMOUS
    ) as held:
        async with wire(held.port, get("/sse?channel=/a&channel=/b")) as client:
            seen = await client.until(b"}]}")
            assert b'"channels":["/a"],"refused":[{"channel":"/b","code":"access-denied"' in seen
        async with wire(held.port, get("/sse?channel=/b")) as client:
            assert b"HTTP/1.1 403" in await client.until(b"}")


async def test_a_client_that_went_away_is_forgotten_and_no_error_is_logged(http, caplog):
    async with served(http=http) as held:
        for _ in range(3):
            async with wire(held.port, get("/sse?channel=/a")) as client:
                await client.until(b"event: ready")
                await held.line.bus.publish("/a", "x" * 1000)
        async with asyncio.timeout(5):
            while held.gateway.board.connections or held.gateway.board.cohorts:
                await asyncio.sleep(0.01)
        assert held.gateway.context.limits.total == 0
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_a_slow_client_reads_everything_in_the_end(http):
    """It falls out of memory, reads pages of the log, and costs nobody else anything."""
    async with served(http=http) as held:
        held.line.hub._ring.max_bytes = 500_000
        async with (
            wire(held.port, get("/sse?channel=/a")) as slow,
            wire(held.port, get("/sse?channel=/a")) as quick,
        ):
            await slow.until(b"event: ready")
            await quick.until(b"event: ready")
            slow.writer.transport.pause_reading()
            for number in range(350):
                await held.line.bus.publish("/a", f"{number}:" + "x" * 20_000)
                if number % 50 == 49:
                    await quick.until(f'"{number}:'.encode())
            slow.writer.transport.resume_reading()
            seen = await slow.until(b'"349:', within=20)
            found = [int(n) for n in re.findall(rb'"data":"(\d+):', seen)]
            assert found == list(range(349)) or found == list(range(350))


async def test_a_client_that_never_reads_is_cut_off(http):
    async with served(http=http) as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        client.writer.transport.pause_reading()
        held.gateway.options.slow_timeout = 0.2
        held.gateway.options.heartbeat_interval = 0.1
        (connection,) = held.gateway.board.connections
        held.gateway.board.upkeep.renew(connection)  # at the new pace
        async with asyncio.timeout(15):
            while held.gateway.board.connections:
                await held.line.bus.publish("/a", "x" * 200_000)
                await asyncio.sleep(0.01)


async def test_a_shutdown_says_goodbye_with_a_retry_of_its_own():
    async with served() as held:
        held.gateway.options.retry_after = 2.0
        reader, writer = await asyncio.open_connection("127.0.0.1", held.port)
        client = Wire(reader, writer)
        writer.write(get("/sse?channel=/a"))
        await client.until(b"event: ready")
        held.server.should_exit = True
        seen = await client.rest()
        assert re.search(rb'retry: \d+\nevent: goodbye\ndata: {"reason":"shutdown"', seen)
        assert seen.endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_client_that_never_reads_does_not_hold_up_the_shutdown():
    async with served(graceful=30) as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        client.writer.transport.pause_reading()
        (connection,) = held.gateway.board.connections
        async with asyncio.timeout(10):
            while connection.sink.is_writable:
                await held.line.bus.publish("/a", "x" * 500_000)
                await asyncio.sleep(0.01)
        started = asyncio.get_running_loop().time()
        held.server.should_exit = True
        async with asyncio.timeout(10):
            while held.gateway.board.connections:
                await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - started < 5


async def test_an_expired_hold_asks_the_client_back(http):
    async with (
        served(http=http, options=GatewayOptions(max_hold=0.1)) as held,
        wire(held.port, get("/sse?channel=/a", "connection: close")) as client,
    ):
        assert b"event: goodbye" in await client.rest()
