"""A transport is taken only when nothing is unusual, and given up cleanly whatever happens."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from tests.gateway.held import get, poll, served, wire
from tests.gateway.test_polling import END, FORM, chunk
from trunkline.gateway.transport import TransportSink


def sinks(held):
    return [type(one.sink) for one in held.gateway.board.connections]


async def until(condition, within=5.0):
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_held_stream_leaves_no_task_and_no_server_object_behind():
    async with served() as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        assert sinks(held) == [TransportSink]
        await until(lambda: not held.server.server_state.tasks)
        assert [type(one) for one in held.server.server_state.connections] == [TransportSink]
        gc.collect()
        names = [type(one).__name__ for one in gc.get_objects()]
        assert "RequestResponseCycle" not in names
        assert "HandOverProtocol" not in names


async def test_two_requests_in_one_packet_are_served_over_asgi():
    async with served() as held:
        held.gateway.options.long_polling_interval = 0.3
        both = poll("a", FORM.format(0)) + poll("b", FORM.format(0))
        async with wire(held.port, both) as client:
            await client.until(chunk())
            assert TransportSink not in sinks(held)


async def test_middleware_that_delays_the_head_is_served_over_asgi():
    def late(gateway):
        async def app(scope, receive, send):
            queue = asyncio.Queue()

            async def pass_on():
                while True:
                    await asyncio.sleep(0.02)
                    await send(await queue.get())

            task = asyncio.create_task(pass_on())
            try:
                await gateway(scope, receive, queue.put)
            finally:
                task.cancel()

        return app

    async with served(app=late) as held, wire(held.port, get("/sse?channel=/a")) as client:
        seen = await client.until(b"event: ready")
        assert seen.startswith(b"HTTP/1.1 200")
        assert TransportSink not in sinks(held)


async def test_what_a_held_client_sends_is_dropped_up_to_a_limit():
    async with served() as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        client.writer.write(b"x" * 1000)
        await held.line.bus.publish("/a", 1)
        await client.until(b'"data":1}')
        client.writer.write(b"x" * 200_000)
        await until(lambda: not held.gateway.board.connections)


@pytest.mark.parametrize("how", ["close", "half", "reset"])
async def test_a_client_that_leaves_is_noticed_at_once(how):
    async with served() as held, wire(held.port, get("/sse?channel=/a")) as client:
        await client.until(b"event: ready")
        if how == "half":
            client.writer.write_eof()
        elif how == "reset":
            client.writer.transport.abort()
        else:
            client.writer.close()
        await until(lambda: not held.gateway.board.connections, within=1)
        await until(lambda: not held.server.server_state.connections, within=1)


async def test_a_request_that_waits_for_100_continue_may_be_held():
    async with served() as held:
        head, _, body = poll("c", FORM.format(0), "Expect: 100-continue").partition(b"\r\n\r\n")
        async with wire(held.port, head + b"\r\n\r\n") as client:
            await client.until(b"100 Continue\r\n\r\n")
            client.writer.write(body)
            assert b"transfer-encoding: chunked" in await client.until(chunk())


async def test_a_large_body_leaves_reading_on():
    """The server pauses reading behind one; a client that leaves must still be noticed."""
    async with served() as held:
        names = "&".join(f"%2F{n}{'x' * 240}=0" for n in range(90))
        async with wire(held.port, poll("c", names + "&__seq=1" + "0" * 60_000)) as client:
            seen = await client.until(b"\r\n\r\n")
            assert seen.startswith(b"HTTP/1.1 4")
        body = '{"/a":' + " " * 120_000 + "0}"
        request = (
            "POST /message-bus/c/poll HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        async with wire(held.port, request) as client:
            await client.until(chunk())
            client.writer.close()
            await until(lambda: not held.gateway.board.connections, within=1)


async def test_shutdown_ends_held_polls_with_the_final_block():
    async with served() as held, wire(held.port, poll("c", FORM.format(0))) as client:
        await client.until(chunk())
        held.server.should_exit = True
        assert await client.rest() == END


async def test_plain_answers_keep_the_connection_for_the_next_request(caplog):
    async with (
        served() as held,
        wire(held.port, poll("c", FORM.format(0), query="?dlp=t")) as client,
    ):
        await client.until(b"[]")
        client.writer.write(poll("c", FORM.format(0)))
        assert b"transfer-encoding: chunked" in await client.until(chunk())
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
