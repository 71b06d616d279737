"""Who is told goodbye and does not take it is cut off all the same."""

from __future__ import annotations

import asyncio

from tests.gateway.edge import a_line, scope_of
from tests.gateway.talker import wait_until
from trunkline.gateway import upkeep


async def test_a_client_that_does_not_take_the_goodbye_is_cut_off(monkeypatch):
    monkeypatch.setattr(upkeep, "GRACE", 0.05)
    bodies = []
    stuck = asyncio.Event()

    async def receive():
        if bodies:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event):
        if event["type"] != "http.response.body":
            return
        bodies.append(event["body"])
        if b"goodbye" in event["body"]:
            stuck.set()
            await asyncio.Event().wait()

    async with a_line() as line:
        gateway = line.gateway()
        scope = scope_of("GET", "/sse", query=b"channel=/a")
        task = asyncio.create_task(gateway(scope, receive, send))
        try:
            await wait_until(lambda: len(gateway.board.connections) == 1)
            (connection,) = gateway.board.connections
            await wait_until(lambda: bodies and connection.sink.is_writable)
            connection.end("revoked")
            await stuck.wait()
            await wait_until(task.done, within=5.0)
        finally:
            task.cancel()
            await asyncio.wait([task])
