"""Requests below a prefix, in raw bytes, and what must come of them."""

from __future__ import annotations

import asyncio
import os

from tests.gateway.held import wire
from trunkline import Trunkline
from trunkline.client import Client
from trunkline.testing.servers import HOST

PREFIX = "/events"


def get(path: str, *headers: str) -> bytes:
    """Write a GET request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: shop.test", *headers, "", ""]).encode()


def poll(channel: str, after: int, query: str = "") -> bytes:
    """Write a poll of message_bus's."""
    body = f"{channel.replace('/', '%2F')}={after}"
    lines = [
        f"POST {PREFIX}/message-bus/{os.urandom(8).hex()}/poll{query} HTTP/1.1",
        "Host: shop.test",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


async def streams_pass(port: int, line: Trunkline) -> None:
    """Check that each message of a stream arrives while the stream is open."""
    async with wire(port, get(f"{PREFIX}/sse?channel=/a", "Accept: text/event-stream")) as client:
        head = await client.until(b"\r\n\r\n", within=20)
        assert b" 200 " in head
        assert b"text/event-stream" in head.lower()
        for number in range(3):
            await line.publish("/a", f"sse {number}")
            await client.until(f"sse {number}".encode(), within=20)


async def polls_stream(port: int, line: Trunkline) -> None:
    """Check that a held poll writes blocks as messages come, and then ends."""
    last = await line.last_id("/a")
    async with wire(port, poll("/a", last)) as client:
        await client.until(b"[]", within=20)
        await line.publish("/a", "held")
        await client.until(b'"held"', within=20)
        await client.until(b"[]", within=20)


async def sockets_pass(port: int, line: Trunkline) -> None:
    """Check that a WebSocket opens and delivers."""
    async with Client(f"http://{HOST}:{port}{PREFIX}") as client:
        subscription = await client.subscribe("/sockets").open()
        await line.publish("/sockets", "through")
        async with asyncio.timeout(20):
            assert (await anext(subscription)).data == "through"


async def the_shop_answers(port: int) -> None:
    """Check that the rest of the application is served as before."""
    async with wire(port, get("/", "Connection: close")) as client:
        await client.until(b"the shop", within=20)


async def all_is_well(port: int, line: Trunkline) -> None:
    """Check all of it, and that listeners do not stand in each other's way."""
    await the_shop_answers(port)
    await sockets_pass(port, line)
    await streams_pass(port, line)
    await asyncio.gather(*(polls_stream(port, line) for _ in range(3)))
