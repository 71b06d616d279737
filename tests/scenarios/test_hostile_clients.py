"""Clients that mean ill, or are broken, cost the server little and everybody else nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.replies import ask, poll, request, send
from trunkline import Trunkline
from trunkline.client import Client
from trunkline.testing.servers import Server, trunkline_serve

KEY = "a-key-of-the-tests"
MIB = 1024 * 1024
DEAF = 45
SETTINGS = {
    "TRUNKLINE_SLOW_TIMEOUT": "1",
    "TRUNKLINE_BODY_TIMEOUT": "2",
    "TRUNKLINE_RING_BYTES": str(MIB),
    "TRUNKLINE_PUBLISH_KEYS": KEY,
    "TRUNKLINE_MAX_BACKLOG_SIZE": "100000",
}
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBE = b'{"id":1,"type":"subscribe","channels":["/flood"]}'
AUTHORISED = (f"authorization: Bearer {KEY}", "content-type: application/json")


@pytest.fixture(scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Server, Trunkline]]:
    folder = tmp_path_factory.mktemp("hostile")
    log = f"sqlite:///{folder / 'line.db'}"
    server = trunkline_serve("--log", log, environment=SETTINGS, directory=folder)
    async with Trunkline(log, max_backlog_size=100_000) as line, server:
        yield server, line


@pytest.fixture
async def calm(served: tuple[Server, Trunkline]) -> AsyncIterator[None]:
    """Have an innocent client listen, to everything in order, and the server say nothing."""
    server, line = served
    async with Client(server.url, transport="sse") as client:
        messages = await client.subscribe("/calm").open()
        before = await line.last_id("/calm")
        stop = asyncio.Event()

        async def publish() -> int:
            count = 0
            while not stop.is_set() or count < 5:
                await line.publish("/calm", count)
                count += 1
                await asyncio.sleep(0.02)
            return count

        publishing = asyncio.create_task(publish())
        yield
        stop.set()
        async with asyncio.timeout(20):
            for number in range(await publishing):
                message = await anext(messages)
                assert (message.message_id, message.data) == (before + number + 1, number)
        messages.close()
    assert server.is_running()
    expected = ("serving ", "WARNING:  Invalid HTTP request received.")
    printed = server.output().splitlines()
    assert [one for one in printed if not one.startswith(expected)] == []


def frame(payload: bytes, *, opcode: int = 1, mask: bool = True) -> bytes:
    """Write a client's WebSocket frame (RFC 6455 section 5.2), masked with zeros."""
    bit = 0x80 if mask else 0
    length = len(payload)
    size = bytes([bit | length]) if length < 126 else bytes([bit | 127]) + struct.pack(">Q", length)
    return bytes([0x80 | opcode]) + size + (b"\0" * 4 if mask else b"") + payload


def memory(server: Server) -> int:
    """Return the server's resident memory, bytes."""
    return int(_proc(server, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _proc(server: Server, name: str) -> str:
    return Path(f"/proc/{server.pid}/{name}").read_text()


def cut(writer: asyncio.StreamWriter) -> None:
    """Close as a crash does, with RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:  # the server was not first
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def deaf(port: int, opening: bytes, then: bytes = b"") -> socket.socket:
    """Connect with a small buffer, read that the server has taken it, and nothing after that."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    for part in filter(None, (opening, then)):
        await loop.sock_sendall(sock, part)
        assert await loop.sock_recv(sock, 4096)
    return sock


def sockets(server: Server) -> int:
    """Count the sockets that the server has open."""
    count = 0
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += str(entry.readlink()).startswith("socket:")
    return count


async def shrunk(server: Server, limit: int) -> None:
    """Wait until the server has no more than so many sockets open."""
    async with asyncio.timeout(30):
        while sockets(server) > limit:
            await asyncio.sleep(0.02)


async def flood(server: Server, line: Trunkline, size: int) -> int:
    """Publish so many bytes, and return the most memory the server had meanwhile."""
    peak = 0
    for _ in range(size // MIB):
        await line.publish_many([("/flood", "x" * (MIB // 64))] * 64)
        peak = max(peak, memory(server))
    return peak


async def test_clients_that_never_read_cost_bounded_memory(
    served: tuple[Server, Trunkline], calm: None
) -> None:
    server, line = served
    sse = request("/sse?channel=/flood", method="GET")
    present = sockets(server)
    openings = [(sse, b""), (poll("%2Fflood=0", client="{}"), b""), (HANDSHAKE, frame(SUBSCRIBE))]
    socks = []
    for number in range(DEAF):
        opening, then = openings[number % 3]
        socks.append(await deaf(server.port, opening.replace(b"{}", b"deaf%d" % number), then))
    before = memory(server)
    first = await flood(server, line, 100 * MIB) - before
    second = await flood(server, line, 100 * MIB) - before
    # Each may hold one write that its socket refused, and a few readers a page each; nobody has a
    # queue that would grow with what is published.
    assert first < 256 * MIB, f"{first / MIB:.0f} MiB"
    assert second < first + 32 * MIB, f"{first / MIB:.0f}, then {second / MIB:.0f} MiB"
    await shrunk(server, present)  # the slow are cut off
    for sock in socks:
        sock.close()


async def test_clients_that_vanish_in_the_middle_leave_no_trace(
    served: tuple[Server, Trunkline], calm: None
) -> None:
    server, line = served
    whole = request("/api/publish", '{"channel":"/half","data":1}', headers=AUTHORISED)
    stream = poll("%2Fhalf=0", client="half")
    chunked = whole.replace(b"content-length: 28", b"transfer-encoding: chunked")
    middles = [
        b"G",
        b"POST /message-bus/c/poll HTTP/1.1\r\nhost: lo",
        whole[:-5],
        stream[:-3],
        chunked.replace(b'{"channel', b'1c\r\n{"channel')[:-4],
        HANDSHAKE[:-20],
        HANDSHAKE + frame(SUBSCRIBE)[:9],
        HANDSHAKE + frame(SUBSCRIBE),
        HANDSHAKE + frame(b"", opcode=9)[:1],
        request("/sse?channel=/half", method="GET"),
        stream,
    ]
    for part in middles:
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(part)
            await writer.drain()
            await line.publish("/half", "x" * 1000)
            cut(writer)
    async with ask(server.port, request("/trunkline.js", method="GET")) as reply:
        assert reply.status == 200
    assert {one.data for one in await line.backlog("/half")} == {"x" * 1000}


async def test_a_vanished_streams_connection_is_forgotten(
    served: tuple[Server, Trunkline], calm: None
) -> None:
    server, _ = served
    before = sockets(server)
    for number in range(50):
        async with ask(server.port, poll("%2Fgone=0", client=f"gone{number}")) as reply:
            await reply.block()
            cut(reply.writer)
    await shrunk(server, before)


BIG = "x" * 100_000
ATTACKS = [
    request("/sse?channel=/a", method="GET", headers=[f"x-big: {BIG}"]),
    request("/message-bus/c/poll", "%2Fa=0", headers=[f"x{n}: {BIG[:900]}" for n in range(200)]),
    request(f"/sse?channel=/{BIG}", method="GET"),
    request(f"/message-bus/{BIG}/poll", "%2Fa=0"),
    request("/message-bus/a%0d%0ax-evil:1/poll?dlp=t", "%2Fa=0"),
    request("/message-bus/%00/poll?dlp=t", "%2Fa=0"),
    request("/message-bus/%ff%fe/poll?dlp=t", "%2Fa=0"),
    request("/sse?channel=/a%0d%0ax-evil:1", method="GET"),
    request("/sse?channel=/a&position=%0d%0ax-evil:1", method="GET"),
    request("/sse?channel=/a", method="GET", headers=["last-event-id: 1\rx-evil: 1"]),
    request("/sse?channel=/a", method="GET", headers=["last-event-id: \xff\xfe"]),
    request("/sse?channel=/a", method="GET", headers=["origin: http://evil\rx-evil: 1"]),
    request("/message-bus/c/poll", "%2Fa=0", headers=["x: a\n x-evil: 1"]),
    request("/message-bus/c/poll", "%2Fa=0", headers=["content-length: 1"]),
    request("/message-bus/c/poll", "5\r\nhello", headers=["transfer-encoding: chunked"]),
    request("/message-bus/c/poll", "%2Fa%0d%0ax-evil: 1=0", headers=["x-trunkline-gaps: true"]),
    request("/message-bus/c/poll", b"\xff\xfe\x00=1"),
    request("/message-bus/c/poll", "{" * 50_000, headers=["content-type: application/json"]),
    request("/message-bus/c/poll", "[" * 50_000, headers=["content-type: application/json"]),
    request("/api/publish", '{"channel":"/a","data":' + "[" * 50_000, headers=AUTHORISED),
    request("/api/publish", '{"channel":"/a","data":NaN}', headers=AUTHORISED),
    request("/api/publish", '{"channel":"/a","data":"\\ud800"}', headers=AUTHORISED),
    request("/api/publish", '{"channel":"/a","data":1,"key":"\\u0000"}', headers=AUTHORISED),
    request("/api/publish", "{}", headers=["authorization: Bearer \xff", AUTHORISED[1]]),
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\n\r\n",
    HANDSHAKE.replace(b"13", b"99"),
    HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n\r\n\r\n" * 100,
    b"GET http://evil/sse HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
]


@pytest.mark.parametrize("number", range(len(ATTACKS)))
async def test_no_attack_forges_a_header_or_fails_the_server(
    served: tuple[Server, Trunkline], calm: None, number: int
) -> None:
    server, _ = served
    async with send(server.port, ATTACKS[number]) as reply:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            async with asyncio.timeout(1.5):
                await reply.head()
        assert reply.status < 500, reply.raw
        assert "x-evil" not in reply.headers


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (frame(b"[1,2]"), 1007),
        (frame(b"{}", opcode=2), 1003),
        (frame(SUBSCRIBE, mask=False), 1002),
        (frame(b"x" * 10 * MIB), 1009),
        (b"\x81\xff" + struct.pack(">Q", 2**62) + b"\0" * 4, 1009),
        (b"\xf1\x80\0\0\0\0", 1002),
        (frame(b"{}", opcode=5), 1002),
        (frame(b"x" * 20, opcode=0), 1002),
        (frame(b"\x03\xe8\xff", opcode=8), None),
    ],
)
async def test_a_socket_that_breaks_the_protocol_is_closed_with_its_code(
    served: tuple[Server, Trunkline], calm: None, payload: bytes, code: int | None
) -> None:
    server, _ = served
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    writer.write(payload)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            rest = await reader.read(-1)
            if code is not None:
                assert re.search(rb"\x88.\x03" + re.escape(struct.pack(">H", code)[1:]), rest), rest
    cut(writer)


async def test_of_racing_clients_with_one_id_the_newest_is_served(
    served: tuple[Server, Trunkline], calm: None
) -> None:
    server, line = served
    count = 40
    got: dict[int, list[Any]] = {}

    async def listen(seq: int) -> None:
        got[seq] = []
        async with ask(server.port, poll(f"%2Frace=&__seq={seq}", client="racer")) as reply:
            assert reply.status == 200
            with contextlib.suppress(asyncio.CancelledError):
                while block := await reply.chunk():
                    got[seq].append(block)

    async with asyncio.TaskGroup() as tasks:
        racers = {seq: tasks.create_task(listen(seq)) for seq in range(1, count + 1)}
        async with asyncio.timeout(20):
            while sum(racer.done() for racer in racers.values()) < count - 1:
                await asyncio.sleep(0.01)
        assert not racers[count].done()
        await line.publish("/race", "for the newest")
        async with asyncio.timeout(10):
            while not any(b"for the newest" in block for block in got[count]):
                await asyncio.sleep(0.01)
        racers[count].cancel()
    assert sum(b"for the newest" in block for blocks in got.values() for block in blocks) == 1


def _chunked(path: str, size: int, *headers: str) -> bytes:
    part = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    lines = [f"POST {path} HTTP/1.1", "host: localhost", *headers, "transfer-encoding: chunked"]
    return "\r\n".join([*lines, "", ""]).encode() + part * (size // 0x10000) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "asked",
    [
        request("/message-bus/c/poll", b"x" * 10 * MIB),
        request("/api/publish", b"x" * 10 * MIB, headers=AUTHORISED),
        _chunked("/message-bus/c/poll", 10 * MIB),
        _chunked("/api/publish", 10 * MIB, *AUTHORISED),
        request("/sse?channel=/a", b"x" * 10 * MIB, method="GET"),
    ],
    ids=["poll", "publish", "poll-chunked", "publish-chunked", "sse"],
)
async def test_ten_megabytes_are_refused_and_not_kept(
    served: tuple[Server, Trunkline], calm: None, asked: bytes
) -> None:
    server, _ = served
    before = memory(server)

    async def once() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writing = asyncio.ensure_future(_write(writer, asked))
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 413"), head
            assert b"application/problem+json" in head
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        cut(writer)

    await asyncio.gather(*(once() for _ in range(8)))
    assert memory(server) - before < 48 * MIB


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(data)
        await writer.drain()


async def test_a_body_that_never_comes_is_given_up(
    served: tuple[Server, Trunkline], calm: None
) -> None:
    server, _ = served
    asked = request("/api/publish", b"x" * 100, headers=AUTHORISED)[:-50]
    async with ask(server.port, asked) as reply:
        assert reply.status == 408
        assert await reply.body()
