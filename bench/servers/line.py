"""Trunkline as its users run it, under ``trunkline serve``; only the control socket is added."""

from __future__ import annotations

from typing import Any

from bench.servers.control import Control
from trunkline import Trunkline

line = Trunkline()


async def publish(number: int, data: str) -> None:
    """Publish to a channel."""
    await line.publish(f"/bench/{number:03d}", data)


control = Control(publish)


async def site(scope: Any, receive: Any, send: Any) -> None:
    """Be the wrapped application: start and stop the control socket with the server."""
    while scope["type"] == "lifespan":
        event = await receive()
        if event["type"] == "lifespan.startup":
            await control.start()
        else:
            await control.stop()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


app = line.gateway(open=True, wrapped=site)
