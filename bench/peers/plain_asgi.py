"""The fan-out as a good engineer writes it for uvicorn in an afternoon, on ASGI's ``send``.

One task per client. A message is encoded once; publishing appends it to a list and wakes every
client by its future; a client sends what it has not sent, joined, and sleeps again. This is kinder
to the peer than most code in the wild: there is no queue per client, no second task that watches
for disconnects, no access rule, no filter, and nothing is durable.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from bench.servers.control import Control

Event = dict[str, Any]
Frames = tuple[Any, ...]  # a server-sent event, a block, a text

KEPT = 1000
STREAM_HEADERS = [(b"cache-control", b"no-store")]


class Room:
    """Hold the newest messages, and who waits for the next."""

    def __init__(self) -> None:
        self.frames: list[Frames] = []
        self.head = 0
        self._waiting: list[asyncio.Future[None]] = []

    def publish(self, channel: str, data: str) -> None:
        """Encode a message once for each transport, and wake everybody."""
        self.head += 1
        message = {
            "channel": channel,
            "message_id": self.head,
            "global_id": self.head,
            "published_at": time.time(),
            "data": data,
        }
        body = msgspec.json.encode(message)
        event = b"id: %d\ndata: %b\n\n" % (self.head, body)
        block = b"[%b]\r\n|\r\n" % body
        self.frames.append((event, block, body.decode()))
        if len(self.frames) > 2 * KEPT:
            del self.frames[:KEPT]
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def after(self, position: int) -> list[Frames]:
        """Wait for what comes after a position, and return it."""
        while self.head == position:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        return self.frames[position - self.head :]


rooms: dict[int, Room] = {}


def room(number: int) -> Room:
    """Return a channel's room."""
    return rooms.setdefault(number, Room())


async def publish(number: int, data: str) -> None:
    """Publish to a channel."""
    room(number).publish(f"/bench/{number:03d}", data)
    await asyncio.sleep(0)


control = Control(publish)


async def app(scope: Event, receive: Any, send: Any) -> None:
    """Be the ASGI application."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    number = int(scope["query_string"] or b"0")
    if scope["type"] == "websocket":
        await socket(room(number), receive, send)
    elif scope["path"] == "/sse":
        await stream(room(number), send, b"text/event-stream", b": ready\n\n", 0)
    else:
        await receive()
        await stream(room(number), send, b"text/plain; charset=utf-8", b"[]\r\n|\r\n", 1)


async def live(receive: Any, send: Any) -> None:
    """Take part in starting and stopping."""
    await receive()
    await control.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await control.stop()
    await send({"type": "lifespan.shutdown.complete"})


async def stream(here: Room, send: Any, kind: bytes, opening: bytes, form: int) -> None:
    """Stream messages over HTTP."""
    position = here.head
    headers = [(b"content-type", kind), *STREAM_HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": opening, "more_body": True})
    while True:
        frames = await here.after(position)
        position += len(frames)
        body = frames[0][form] if len(frames) == 1 else b"".join([one[form] for one in frames])
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def socket(here: Room, receive: Any, send: Any) -> None:
    """Send messages over a WebSocket."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    position = here.head
    await send({"type": "websocket.send", "text": '{"type":"live"}'})
    while True:
        frames = await here.after(position)
        position += len(frames)
        for one in frames:
            await send({"type": "websocket.send", "text": one[2]})
