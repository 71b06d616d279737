"""A receiver of webhooks as small as one can be: it reads a request, answers, and counts.

Paths that begin with ``/hang`` get no answer for 30 seconds. A body that begins with a time, in
seconds and twenty characters wide, is the time since which it was on its way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import cast

import uvloop

from bench.servers.control import percentiles

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STAMP = 20


class Receiving(asyncio.Protocol):
    """Be one connection.

    Args:
        delays: Where to note how long requests were on their way.
    """

    def __init__(self, delays: list[float]) -> None:
        self._delays = delays
        self._data = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know where to answer."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._data += data
        while True:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + size:
                return
            body, self._data = self._data[end + 4 : end + 4 + size], self._data[end + 4 + size :]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"post /hang"):
            asyncio.get_running_loop().call_later(30.0, self._transport.write, ANSWER)
            return
        if body[:1] == b'"':
            self._delays.append(time.time() - float(body[1 : STAMP + 1]))
        else:
            self._delays.append(0.0)
        self._transport.write(ANSWER)


async def receive() -> None:
    """Receive until the input ends, then tell."""
    delays: list[float] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiving(delays), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "forget":
            delays.clear()
    print(json.dumps({"count": len(delays), "ms": percentiles(delays or [0.0])}))


def main() -> None:
    """Run it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    uvloop.run(receive())


if __name__ == "__main__":
    main()
