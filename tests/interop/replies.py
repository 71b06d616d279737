"""HTTP/1.1 answers read from a raw socket, so that nothing between hides what was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from trunkline.wire.chunks import SEPARATOR

WITHIN = 15.0


class Reply:
    """Read one answer, head first.

    Attributes:
        raw: All bytes so far, as they came.
        status: The status code.
        headers: Lower-case names to values.
        names: The names as sent, in order.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.raw = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.names: list[str] = []
        self._reader = reader
        self._body = b""
        self._has_ended = False

    async def head(self) -> None:
        """Read status and headers."""
        async with asyncio.timeout(WITHIN):
            head = await self._reader.readuntil(b"\r\n\r\n")
        self.raw += head
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        pairs = [line.split(":", 1) for line in lines if line]
        self.names = [name for name, _ in pairs]
        assert len(set(map(str.lower, self.names))) == len(pairs), (
            f"a header stands twice: {head!r}"
        )
        self.headers = {name.lower(): value.strip() for name, value in pairs}

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding") == "chunked"

    async def chunk(self) -> bytes:
        """Read one HTTP chunk, or all there will be of a body that is none; empty at the end."""
        async with asyncio.timeout(WITHIN):
            if not self.is_chunked:
                return await self._whole()
            line = await self._reader.readuntil(b"\r\n")
            part = await self._reader.readexactly(int(line, 16) + 2)
            self.raw += line + part
            return part[:-2]

    async def _whole(self) -> bytes:
        if self._has_ended:
            return b""
        self._has_ended = True
        length = self.headers.get("content-length")
        if length is None:
            part = await self._reader.read()
        else:
            part = await self._reader.readexactly(int(length))
        self.raw += part
        return part

    async def block(self) -> Any:
        """Read the next block of a stream, decoded."""
        while SEPARATOR not in self._body:
            part = await self.chunk()
            assert part, f"the stream ended: {self.raw[-300:]!r}"
            self._body += part
        found, _, self._body = self._body.partition(SEPARATOR)
        return msgspec.json.decode(found)

    async def news(self) -> Any:
        """Read blocks until one is not empty."""
        while not (found := await self.block()):
            pass
        return found

    async def body(self) -> bytes:
        """Read the rest of the body."""
        parts = []
        while part := await self.chunk():
            parts.append(part)
        return b"".join(parts)

    async def json(self) -> Any:
        return msgspec.json.decode(await self.body())

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection."""
        async with asyncio.timeout(WITHIN):
            return await self._reader.read(1) == b""


@contextlib.asynccontextmanager
async def send(port: int, request: bytes) -> AsyncIterator[Reply]:
    """Connect, send bytes, and read the answer's head when asked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        yield Reply(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def ask(port: int, request: bytes) -> AsyncIterator[Reply]:
    """Connect, send bytes, and read the answer's head."""
    async with send(port, request) as reply:
        await reply.head()
        yield reply


def request(
    path: str,
    body: bytes | str = b"",
    *,
    method: str = "POST",
    headers: Iterable[str] = (),
    version: str = "1.1",
) -> bytes:
    """Write a request."""
    body = body.encode() if isinstance(body, str) else body
    lines = [
        f"{method} {path} HTTP/{version}",
        "host: localhost",
        *headers,
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def poll(
    positions: str, *headers: str, client: str = "c1", query: str = "", version: str = "1.1"
) -> bytes:
    """Write a poll with a form, as message-bus-client does."""
    form = ("content-type: application/x-www-form-urlencoded", *headers)
    return request(f"/message-bus/{client}/poll{query}", positions, headers=form, version=version)
