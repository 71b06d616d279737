"""Frames that no well-behaved client sends: closed with the right code, and nothing is left."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import struct

import pytest

from tests.gateway.talker import a_gateway, talking, wait_until
from trunkline.gateway.options import GatewayOptions

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# On hypercorn the server reads frames itself; what it makes of bad ones is its own concern.
both = pytest.mark.parametrize("server", ["handed-over", "uvicorn"])
handed_over = pytest.mark.parametrize("server", ["handed-over"])


def frame(opcode, payload=b"", *, final=True, masked=True, reserved=0):
    """Write a client's frame, as wrong as it is asked for."""
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += struct.pack("!BH", bit | 126, len(payload))
    else:
        head += struct.pack("!BQ", bit | 127, len(payload))
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


class Raw:
    """Be a WebSocket client that writes bytes."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self):
        """Return the next frame's opcode and payload."""
        async with asyncio.timeout(10):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self):
        """Return the code of the close frame, or None when the connection just ends."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005
        return None


@contextlib.asynccontextmanager
async def raw(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /ws HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\n"
            f"connection: upgrade\r\nsec-websocket-version: 13\r\n"
            f"sec-websocket-key: {key}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@both
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(TEXT, b"{}", reserved=0x40), 1002),
        (frame(0x3, b"{}"), 1002),
        (frame(0x0, b"{}"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", final=False), 1002),
        (frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(BINARY, b"{}"), 1003),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(CLOSE, struct.pack("!H", 1001)), 1001),
        (frame(CLOSE), 1005),
        (frame(TEXT, b"x" * 70_000), 1009),
        (frame(TEXT, b"x" * 40_000, final=False) + frame(0x0, b"x" * 40_000), 1009),
    ],
)
async def test_a_violation_closes_with_its_code(server, sent, code, caplog):
    async with a_gateway(server) as (_, gateway, port), raw(port) as client:
        await client.send(sent)
        assert await client.close_code() == code
        await wait_until(lambda: not gateway.board.connections)
        assert gateway.context.limits.total == 0
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


@handed_over
async def test_a_size_over_the_limit_is_refused_before_it_is_sent(server):
    async with a_gateway(server) as (_, _, port), raw(port) as client:
        await client.send(b"\x81\xff" + struct.pack("!Q", 2**40) + b"mask")
        assert await client.close_code() == 1009


@both
@pytest.mark.parametrize(
    "cut",
    [b"\x81", b"\x81\xfe\x01", frame(TEXT, b'{"id":1,"type":"ping"}')[:-3], b""],
)
async def test_a_client_that_leaves_in_the_middle_of_a_frame_is_let_go(server, cut, caplog):
    async with a_gateway(server) as (_, gateway, port):
        async with raw(port) as client:
            await client.send(cut)
            await wait_until(lambda: gateway.board.connections)
        await wait_until(lambda: not gateway.board.connections)
        assert gateway.context.limits.total == 0
    assert not [one for one in caplog.records if one.levelname in {"ERROR", "WARNING"}]


@both
async def test_a_request_may_come_in_fragments_and_byte_by_byte(server):
    async with a_gateway(server) as (_, _, port), raw(port) as client:
        request = b'{"id":1,"type":"ping"}'
        whole = frame(TEXT, request[:5], final=False)
        whole += frame(PING, b"hi")
        whole += frame(0x0, request[5:])
        for byte in whole:
            await client.send(bytes([byte]))
        assert await client.frame() == (PONG, b"hi")
        opcode, payload = await client.frame()
        assert (opcode, json.loads(payload)["type"]) == (TEXT, "pong")
        await client.send(frame(TEXT, request) * 3)
        for _ in range(3):
            assert json.loads((await client.frame())[1])["type"] == "pong"


@both
async def test_a_pong_nobody_asked_for_is_fine(server):
    async with a_gateway(server) as (_, _, port), raw(port) as client:
        await client.send(frame(PONG, b"x") + frame(TEXT, b'{"id":1,"type":"ping"}'))
        assert (await client.frame())[0] == TEXT


@handed_over
async def test_an_idle_socket_is_pinged(server):
    options = GatewayOptions(heartbeat_interval=0.05)
    async with a_gateway(server, options=options) as (_, _, port), raw(port) as client:
        while (await client.frame())[0] != PING:
            pass


@both
async def test_a_client_that_reads_nothing_costs_only_itself(server):
    options = GatewayOptions(slow_timeout=0.5, heartbeat_interval=0.2)
    async with (
        a_gateway(server, options=options) as (line, gateway, port),
        raw(port) as stuck,
        talking(port, max_size=None) as other,
    ):
        await stuck.send(frame(TEXT, b'{"id":1,"type":"subscribe","channels":["/a"]}'))
        assert (await stuck.frame())[0] == TEXT
        stuck.writer.transport.pause_reading()
        await other.ask("subscribe", channels=["/a"])
        await other.until("live")
        sent = 0
        async with asyncio.timeout(30):
            while len(gateway.board.connections) == 2:
                await line.bus.publish("/a", {"n": sent, "x": "x" * 100_000})
                sent += 1
                told = (await other.until("message"))[-1]
                assert told["data"]["n"] == sent - 1
        assert (await other.ask("ping"))["type"] == "pong"
