"""Our gateway under uvicorn in this process, with or without the hand-over, and raw clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import uvicorn

from tests.gateway.edge import Line, a_line
from trunkline.gateway.assembly import Gateway

HANDED_OVER = "trunkline.gateway.handover:HandOverProtocol"
PLAIN = "httptools"


class Held(NamedTuple):
    """Be a gateway that is being served."""

    line: Line
    gateway: Gateway
    server: uvicorn.Server
    port: int


@contextlib.asynccontextmanager
async def served(
    *, http: str = HANDED_OVER, app: Any = None, graceful: int = 2, **how: Any
) -> AsyncIterator[Held]:
    """Serve a gateway on a free port.

    Args:
        http: The HTTP protocol class.
        app: Wraps the gateway, if given.
        graceful: Seconds the shutdown may take.
        how: For the gateway.
    """
    async with a_line() as line:
        gateway = line.gateway(**how)
        config = uvicorn.Config(
            app(gateway) if app else gateway,
            http=http,
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=graceful,
            ws_per_message_deflate=False,
        )
        server = uvicorn.Server(config)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1024)
            running = asyncio.create_task(server._serve(sockets=[listener]))
            try:
                while not server.started:
                    await asyncio.sleep(0.005)
                yield Held(line, gateway, server, listener.getsockname()[1])
            finally:
                server.should_exit = True
                await running
        await gateway.close()


class Wire:
    """Talk to a port in raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""

    async def until(self, end: bytes, *, within: float = 5.0) -> bytes:
        """Read until *end* is there, and return what came since the last call."""
        async with asyncio.timeout(within):
            while end not in self.seen:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError(f"closed after {self.seen[-500:]!r}, waiting for {end!r}")
                self.seen += data
        cut = self.seen.index(end) + len(end)
        found, self.seen = self.seen[:cut], self.seen[cut:]
        return found

    async def rest(self, *, within: float = 5.0) -> bytes:
        """Read until the peer closes."""
        async with asyncio.timeout(within):
            while data := await self.reader.read(65536):
                self.seen += data
        found, self.seen = self.seen, b""
        return found


@contextlib.asynccontextmanager
async def wire(port: int, request: bytes) -> AsyncIterator[Wire]:
    """Connect and send a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def get(path: str, *headers: str) -> bytes:
    """Write a GET request."""
    lines = [f"GET {path} HTTP/1.1", "host: t", *headers, "", ""]
    return "\r\n".join(lines).encode()


def poll(
    client: str, body: str = "", *headers: str, query: str = "", version: str = "1.1"
) -> bytes:
    """Write a poll with a form."""
    lines = [
        f"POST /message-bus/{client}/poll{query} HTTP/{version}",
        "host: t",
        "content-type: application/x-www-form-urlencoded",
        f"content-length: {len(body.encode())}",
        *headers,
        "",
        body,
    ]
    return "\r\n".join(lines).encode()
