"""A proxy that holds an answer back until it is complete, as some between browser and server do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    body = await reader.readexactly(int(found[1])) if found else b""
    head = re.sub(rb"\r\nconnection: *[^\r]*", b"", head, flags=re.IGNORECASE)
    return head[:-2] + b"connection: close\r\n\r\n" + body


async def _serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await _request(reader)
    upstream, out = await asyncio.open_connection("127.0.0.1", port)
    try:
        out.write(request)
        answer = asyncio.ensure_future(upstream.read(-1))
        gone = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        for one in (gone, answer):
            if not one.done():
                one.cancel()
        if answer.done() and not answer.cancelled():
            writer.write(answer.result())
            await writer.drain()
    finally:
        out.close()


@contextlib.asynccontextmanager
async def buffering(port: int) -> AsyncIterator[int]:
    """Run a buffering proxy in front of *port* and give its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await _serve(port, reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
