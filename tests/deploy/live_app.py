"""What is put behind every server and proxy: a gateway below /events, and a shop around it."""

from __future__ import annotations

from typing import Any

from trunkline import Trunkline

line = Trunkline(base_path="/events", heartbeat_interval=0.5, long_polling_interval=1.0)


async def shop(scope: Any, receive: Any, send: Any) -> None:
    """Answer what is not the gateway's."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the shop"})


app = line.gateway(open=True, wrapped=shop)
