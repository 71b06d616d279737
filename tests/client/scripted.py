"""A small real server that does exactly what a test says, byte by byte, call by call."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from trunkline.client import Client
from trunkline.testing.clock import ManualClock
from trunkline.wire.chunks import LAST_CHUNK, block_chunk, chunk
from trunkline.wire.frames import FrameParser, TextFrame, encode_close, encode_text

EPOCH = "e1"
WS_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Naps:
    """Be a client's sleep: no time passes but on the clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)


def napping_client(url: str, **options: Any) -> tuple[Client, Naps]:
    """Return a client that sleeps by the clock alone, and its naps."""
    naps = Naps()
    return Client(url, **{"sleep": naps, "clock": naps.clock, **options}), naps


class Dialogue:
    """Hold one connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.method = ""
        self.target = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self._frames = FrameParser(1 << 20)
        self._texts: deque[str] = deque()

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    async def read_request(self) -> bool:
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        first, *lines = head.rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self.body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
        return True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, body: bytes = b"", content_type: str = "text/plain", **headers: str
    ) -> None:
        fields = {"content-type": content_type, "content-length": str(len(body)), **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        head = "\r\n".join([f"HTTP/1.1 {status} X", *lines, "connection: close", "", ""])
        await self.send(head.encode() + body)

    async def answer_json(self, value: Any, status: int = 200) -> None:
        await self.answer(status, msgspec.json.encode(value), "application/json; charset=utf-8")

    async def start_stream(self, content_type: str = "text/event-stream") -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: "
            + content_type.encode()
            + b"\r\n\r\n"
        )

    async def stream(self, data: bytes) -> None:
        await self.send(chunk(data))

    async def blocks(self, *arrays: Any) -> None:
        for array in arrays:
            await self.send(block_chunk(msgspec.json.encode(array)))

    async def end_stream(self) -> None:
        await self.send(LAST_CHUNK)

    async def ready(self, place: int = 0, channels: tuple[str, ...] = ("/a",), **more: Any) -> None:
        await self.start_stream()
        told = {"position": f"{EPOCH}-{place}", "channels": channels, "refused": [], **more}
        await self.stream(b"event: ready\ndata: " + msgspec.json.encode(told) + b"\n\n")

    async def wait_for_close(self) -> None:
        """Wait until the client goes away."""
        while await self.reader.read(65536):
            pass

    # -- WebSocket ----------------------------------------------------------------------------

    async def accept_socket(self) -> None:
        key = self.headers["sec-websocket-key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + WS_MAGIC).digest()).decode()
        lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}")
        await self.send("\r\n".join(["HTTP/1.1 101 X", *lines, "", ""]).encode())

    async def say(self, *pushes: Any) -> None:
        await self.send(b"".join(encode_text(msgspec.json.encode(push)) for push in pushes))

    async def hear(self) -> dict[str, Any]:
        """Return the client's next request."""
        while not self._texts:
            data = await self.reader.read(65536)
            if not data:
                raise ConnectionResetError
            frames = self._frames.feed(data)
            self._texts += [one.text for one in frames if isinstance(one, TextFrame)]
        return msgspec.json.decode(self._texts.popleft())

    async def close_socket(self, code: int) -> None:
        await self.send(encode_close(code))

    async def grant(self, place: int = 0, *backlog: Any) -> dict[str, Any]:
        """Answer the next request, which must be a subscribe."""
        request = await self.hear()
        assert request["type"] == "subscribe", request
        told = {"type": "subscribed", "id": request["id"], "channels": request["channels"]}
        end = max([place, *(one["global_id"] for one in backlog)])
        await self.say({**told, "refused": [], "position": f"{EPOCH}-{place}"}, *backlog)
        await self.say({"type": "live", "id": request["id"], "position": f"{EPOCH}-{end}"})
        return request


Script = Callable[[Dialogue], Awaitable[None]]


class ScriptedServer:
    """Serve each request by the next script; the last one serves all that follow."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.seen: list[Dialogue] = []
        self.failures: list[BaseException] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialogue = Dialogue(reader, writer)
        try:
            if await dialogue.read_request():
                self.seen.append(dialogue)
                index = min(len(self.seen), len(self._scripts)) - 1
                await self._scripts[index](dialogue)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        except Exception as error:  # noqa: BLE001 - it fails the test, at the end
            self.failures.append(error)
        finally:
            writer.close()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[ScriptedServer]:
    """Run a server; a script that fails fails the test."""
    served = ScriptedServer(*scripts)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with asyncio.timeout(30):
            yield served
    finally:
        server.close()
        for one in served.seen:
            one.writer.transport.abort()
        await asyncio.sleep(0)
    if served.failures:
        raise served.failures[0]


def carried(number: int, channel: str = "/a", **more: Any) -> dict[str, Any]:
    """Return a message object."""
    return {
        "channel": channel,
        "message_id": number,
        "global_id": number,
        "published_at": 1.5,
        "data": number,
        **more,
    }


def pushed(number: int, channel: str = "/a", **more: Any) -> dict[str, Any]:
    """Return a message as a socket carries it."""
    return {"type": "message", **carried(number, channel, **more)}


def event(number: int, channel: str = "/a") -> bytes:
    """Return a message as an event stream carries it."""
    return b"id: %b-%d\ndata: %b\n\n" % (
        EPOCH.encode(),
        number,
        msgspec.json.encode(carried(number, channel)),
    )


async def tell_one(server: Dialogue) -> None:
    """Answer with a stream of one message, and wait until the client goes away."""
    await server.ready(0)
    await server.stream(event(1))
    await server.wait_for_close()


def polled(number: int, channel: str = "/a", data: Any = None) -> dict[str, Any]:
    """Return a message as a poll's answer carries it."""
    value = number if data is None else data
    return {"global_id": number, "message_id": number, "channel": channel, "data": value}


def status(**ids: int) -> dict[str, Any]:
    """Return a status message; names without their slash."""
    data = {f"/{name}": number for name, number in ids.items()}
    return {"global_id": -1, "message_id": -1, "channel": "/__status", "data": data}


async def until(condition: Callable[[], object], within: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.001)


async def take(subscription: Any, count: int, within: float = 20.0) -> list[Any]:
    """Return the data of the next messages."""
    async with asyncio.timeout(within):
        return [(await anext(subscription)).data for _ in range(count)]
