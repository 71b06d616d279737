"""A client that goes away, whenever it does, costs nothing and leaves no line in the log."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.gateway.serving import SERVERS
from tests.gateway.talker import a_gateway, talking, wait_until

SSE = "GET /sse?channel=/a HTTP/1.1\r\nhost: t\r\n\r\n"
POLL = (
    "POST /message-bus/c/poll HTTP/1.1\r\nhost: t\r\ncontent-length: 6\r\n"
    "content-type: application/x-www-form-urlencoded\r\n\r\n%2Fa=0"
)

pytestmark = pytest.mark.parametrize("server", SERVERS)


def reset(writer):
    """Close a connection as a crash does: with RST."""
    sock = writer.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def complaints(caplog):
    names = ("trunkline", "uvicorn", "hypercorn", "asyncio")
    return [
        one
        for one in caplog.records
        if one.name.startswith(names) and one.levelname in {"WARNING", "ERROR", "CRITICAL"}
    ]


async def publish_until(line, holds):
    async with asyncio.timeout(20):
        number = 0
        while not holds():
            await line.bus.publish("/a", {"n": number, "x": "x" * 2000})
            number += 1
            await asyncio.sleep(0)  # a line in memory never waits by itself


async def test_a_socket_cut_in_the_middle_of_messages(server, caplog):
    async with a_gateway(server) as (line, gateway, port):
        for _ in range(5):
            async with talking(port) as talker:
                await talker.ask("subscribe", channels=["/a"])
                await line.bus.publish("/a", 1)
                await talker.until("message")
                talker.ws.transport.abort()
            await publish_until(line, lambda: not gateway.board.connections)
        assert gateway.context.limits.total == 0
    assert not complaints(caplog)


@pytest.mark.parametrize(
    "request_text",
    [SSE, POLL],
)
async def test_a_stream_cut_in_the_middle_of_messages(server, request_text, caplog):
    async with a_gateway(server) as (line, gateway, port):
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_text.encode())
            await reader.readuntil(b"\r\n\r\n")
            await line.bus.publish("/a", 1)
            await reader.readuntil(b'"data":1')
            reset(writer)
            await publish_until(line, lambda: not gateway.board.connections)
        await wait_until(lambda: gateway.context.limits.total == 0)
    assert not complaints(caplog)
