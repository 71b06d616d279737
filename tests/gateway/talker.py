"""A client that talks over a WebSocket, and a served gateway for it to talk to."""

from __future__ import annotations

import asyncio
import contextlib
import json

import websockets

from tests.gateway.edge import a_line
from tests.gateway.serving import serving


class Talker:
    """Talk over a WebSocket in JSON."""

    def __init__(self, ws):
        self.ws = ws
        self.number = 0

    async def say(self, kind, **members):
        self.number += 1
        await self.ws.send(json.dumps({"id": self.number, "type": kind, **members}))
        return self.number

    async def next(self):
        async with asyncio.timeout(10):
            return json.loads(await self.ws.recv())

    async def until(self, kind):
        """Return what comes up to the first push of a kind, that included."""
        told = []
        while not told or told[-1]["type"] != kind:
            told.append(await self.next())
        return told

    async def ask(self, kind, **members):
        number = await self.say(kind, **members)
        while (told := await self.next()).get("id") != number:
            pass
        return told

    async def closed(self):
        """Return what came before the close, and its code."""
        told = []
        async with asyncio.timeout(60):  # signs of life would go on for ever
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    told.append(await self.next())
        return told, self.ws.close_code


@contextlib.asynccontextmanager
async def talking(port, query="", **how):
    how.setdefault("compression", None)
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws{query}", **how) as ws:
        yield Talker(ws)


@contextlib.asynccontextmanager
async def a_gateway(server, **how):
    """Serve a gateway; give line, gateway and port."""
    async with a_line() as line:
        gateway = line.gateway(**how)
        try:
            async with serving(gateway, server) as port:
                yield line, gateway, port
        finally:
            await gateway.close()


async def wait_until(holds, within=10.0):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.005)
